"""The crossed experiment: each cell is measured once, and its row is kept."""

import pandas as pd
import pytest

from atviz.app import crossing
from atviz.app.engines import Ended
from atviz.evidence import crossed
from atviz.evidence.crossed import Cell

CELLS = [Cell("inside", "shape"), Cell("inside", norm="linf", eps=0.05), Cell("inside", norm="linf", eps=0.05, seed=1)]


class Here:
    """An engine that answers at once; the cells of seed 1 fail."""

    def __init__(self):
        self.asked, self.tasks, self.progress = [], [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def room(self):
        return not self.tasks

    def start(self, task):
        self.tasks.append(task)
        self.asked.append(task.arguments)

    def wait(self):
        task = self.tasks.pop()
        world, cue, norm, eps, seed = task.arguments
        if seed:
            return Ended(task.name, error="no room")
        return Ended(task.name, {"world": world, "cue": cue, "norm": norm, "eps": eps, "seed": seed, "shape": 0.123456}, seconds=2.04)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))


def test_what_has_a_row_is_not_measured_again(monkeypatch):
    engine = Here()
    errors = crossing.run(engine, CELLS)
    assert errors == ["inside linf 0.05 seed 1: no room"] and len(engine.asked) == 3
    rows = pd.read_csv(crossing.table())
    assert rows["shape"].tolist() == [0.1235] * 2 and rows.seconds.tolist() == [2.0] * 2
    engine = Here()
    assert len(crossing.run(engine, CELLS)) == 1 and engine.asked == [("inside", "both", "linf", 0.05, 1)]
    monkeypatch.setattr(crossed, "EPOCHS", 9)  # another experiment
    engine = Here()
    crossing.run(engine, CELLS[:1])
    assert engine.asked == [("inside", "shape", "none", 0.0, 0)] and len(pd.read_csv(crossing.table())) == 1

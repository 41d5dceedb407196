"""The crossed experiment: each network is measured once and read once, and its rows are kept."""

from dataclasses import asdict

import pandas as pd
import pytest

from atviz.app import crossing
from atviz.app.engines import Ended
from atviz.evidence import crossed, removed
from atviz.evidence.crossed import Cell

CELLS = [Cell("inside", "shape"), Cell("inside", norm="linf", eps=0.05), Cell("inside", norm="linf", eps=0.05, seed=1)]


class Here:
    """An engine that answers at once; the trainings of seed 1 fail."""

    def __init__(self):
        self.trained, self.read, self.tasks, self.progress = [], [], [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def room(self):
        return not self.tasks

    def start(self, task):
        self.tasks.append(task)

    def wait(self):
        task = self.tasks.pop()
        if task.call is removed.measured:
            kind, seed = task.arguments
            self.trained.append((kind, seed))
            return Ended(task.name, {"kind": kind, "seed": seed, "clean": 0.87654321}, seconds=3.0)
        if task.call is crossed.read:
            (cells,) = task.arguments
            self.read.append(cells)
            return Ended(task.name, pd.DataFrame([asdict(cell) | {"saturate-1024": 0.98768} for cell in cells]), seconds=1.0)
        cell = Cell(*task.arguments)
        self.trained.append(cell)
        return Ended(task.name, error="no room") if cell.seed else Ended(task.name, asdict(cell) | {"shape": 0.123456}, seconds=2.04)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    monkeypatch.setattr(crossed, "shipped", lambda *parts: tmp_path / "nothing")


def run(cells):
    engine = Here()
    return crossing.run(lambda: engine, cells), engine


def test_what_has_a_row_is_not_measured_again(monkeypatch):
    errors, engine = run(CELLS)
    assert errors == ["inside-linf-0.05-s1: no room"] and set(engine.trained) == set(CELLS) and engine.read == [[*CELLS[:2]]]
    kept = crossed.rows(crossed.CROSSED)
    assert kept["shape"].tolist() == [0.1235] * 2 and kept.seconds.tolist() == [2.0] * 2
    assert crossed.rows(crossed.READINGS)["saturate-1024"].tolist() == [0.9877] * 2
    errors, engine = run(CELLS)
    assert len(errors) == 1 and engine.trained == CELLS[2:] and not engine.read
    monkeypatch.setattr(crossed, "EPOCHS", 9)  # another experiment
    assert not len(crossed.rows(crossed.CROSSED))
    errors, engine = run(CELLS[:1])
    assert engine.trained == CELLS[:1] and len(pd.read_csv(crossed.place(crossed.CROSSED))) == 1


def test_networks_of_a_world_and_seed_are_read_together():
    cells = [Cell("inside"), Cell("inside", "shape"), Cell("alike-fine-shape")]
    assert {tuple(part) for part in run(cells)[1].read} == {(cells[0], cells[1]), (cells[2],)}


def test_controls_on_real_images_are_kept_by_themselves(monkeypatch):
    wanted, engine = removed.cells((0,)), Here()
    assert crossing.run_removed(lambda: engine, wanted) == [] and set(engine.trained) == set(wanted)
    assert removed.rows().clean.tolist() == [0.8765] * len(wanted)
    again = Here()
    assert crossing.run_removed(lambda: again, [*wanted, ("normal", 1)]) == [] and again.trained == [("normal", 1)]
    monkeypatch.setattr(removed, "EPOCHS", 9)  # another experiment
    assert not len(removed.rows())

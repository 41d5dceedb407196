"""Tasks that need each other: in which order they run, and what becomes of those that cannot."""

from graphlib import CycleError

import pytest

from atviz.app import engines
from atviz.app.engines import Ended, Failed, Task, attempt


class Here:
    """An engine that runs a task when it is asked for the next that ends; the last started is the first."""

    def __init__(self, room=2):
        self.progress = {}
        self.most, self.started, self.open, self.entered = room, [], [], 0

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *_):
        self.entered -= 1

    def room(self):
        return len(self.open) < self.most

    def start(self, task):
        assert self.entered == 1 and self.room()
        self.started.append(task.name)
        self.open.append(task)

    def wait(self):
        task = self.open.pop()
        return Ended(task.name, *attempt(task.call, task.arguments))


def refuse():
    raise ValueError("the number is 3; it must be 2")


def fail():
    raise Failed("RuntimeError: no such luck (cell 2)")


def break_down():
    return {}["nothing"]


def one(name, *needs, call=abs):
    return Task(name, call, () if call is not abs else (-1,), needs)


def test_a_task_starts_when_those_it_needs_have_ended_and_others_do_not_wait_for_it():
    engine = Here()
    tasks = [one("last", "a", "b"), one("a"), one("b", "a"), one("c")]
    ended = [done.name for done in engines.run(tasks, engine, title="x")]
    assert sorted(ended) == ["a", "b", "c", "last"] and ended.index("a") < ended.index("b") < ended.index("last")
    assert engine.started.index("c") < engine.started.index("last") and engine.entered == 0


def test_what_needs_a_failed_task_is_not_started_and_the_others_go_on(capsys):
    engine = Here(room=1)
    tasks = [one("bad", call=refuse), one("child", "bad"), one("grandchild", "child"), one("good"), one("worse", call=break_down)]
    found = {done.name: done for done in engines.run(tasks, engine, title="x")}
    assert {name: done.error for name, done in found.items()} == {
        "bad": "the number is 3; it must be 2", "child": "it needs bad, which failed", "grandchild": "it needs child, which failed",
        "good": "", "worse": "KeyError: 'nothing'",
    }  # fmt: skip
    assert sorted(engine.started) == ["bad", "good", "worse"]
    assert found["good"].value == 1
    said = capsys.readouterr()
    assert "child failed: it needs bad, which failed\n" in said.out and "good: done in 0.0 s\n" in said.out
    # what the user got wrong is told without a traceback, and what we got wrong with one
    assert 'return {}["nothing"]' in said.err and "must be 2" not in said.err


def test_a_reason_is_told_in_its_own_words():
    assert attempt(fail, ())[:2] == (None, "RuntimeError: no such luck (cell 2)")


def test_no_tasks_open_no_engine_and_a_circle_is_refused():
    engine = Here()
    assert list(engines.run([], engine, title="x")) == []
    with pytest.raises(CycleError):
        list(engines.run([one("a", "b"), one("b", "a")], engine, title="x"))
    assert engine.started == []


def test_the_engine_is_closed_when_the_one_who_asks_is_interrupted():
    engine = Here()
    with pytest.raises(KeyboardInterrupt):
        for _ in engines.run([one("a"), one("b")], engine, title="x"):
            raise KeyboardInterrupt
    assert engine.entered == 0


@pytest.mark.parametrize(
    ("cpus", "gpus", "message"), [(0, None, "cpus is 0; it must be at least 1"), (None, 2, "gpus is 2; a task runs on one")]
)
def test_a_task_runs_in_one_process_on_one_device(cpus, gpus, message):
    with pytest.raises(ValueError, match=message):
        engines.check_demands(cpus, gpus)


def test_the_bar_counts_running_tasks_by_what_is_done_of_them():
    assert engines._ended(2, {"a": "40 %", "b": "", "c": "30 %"}) == 2.7
    assert engines._ended(2, {}) == 2


def test_the_bar_names_only_a_few():
    assert engines._few(["a", "b"], {"b": "7 %"}) == "a, b 7 %"
    assert engines._few([str(i) for i in range(10)], {}) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_a_log_gets_a_line_of_progress_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(engines, "EVERY", 0)

    class Slow(Here):
        def wait(self):
            if self.progress.get("a") != "40 %":
                self.progress["a"] = "40 %" if self.progress else "20 %"
                return None
            self.progress = {}
            return super().wait()

    list(engines.run([one("a")], Slow(), title="networks"))
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in said] == ["networks: a 20 %", "networks: a 40 %", "a: done in 0.0 s"]


def test_the_time_that_is_left_is_told_in_round_numbers():
    assert (engines._left(60, 1, 3), engines._left(60, 0.5, 12), engines._left(5, 0, 3)) == (
        "; about 2 min left",
        "; about 23 min left",
        "",
    )
    assert engines._left(60, 1, 3, after=2.0) == "; about 2 min left, 8 min for the whole run"
    assert engines._left(20, 2, 3) == "; about 10 s left"

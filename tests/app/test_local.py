"""Processes of this machine: that they die, and what becomes of their tasks."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from atviz.app import engines, local
from atviz.app.engines import Task
from atviz.app.local import Local


def run(tasks, **options):
    return {done.name: done for done in engines.run(tasks, Local(**options), title="x")}


def test_results_are_those_of_a_plain_loop_and_the_processes_are_used_again(jobs, tmp_path):
    pairs = [(i, 2 * i) for i in range(12)]
    log = str(tmp_path / "log")
    found = run([Task(str(i), jobs.add, (*pair, log)) for i, pair in enumerate(pairs)], workers=2)
    assert [found[str(i)].value for i in range(12)] == [a + b for a, b in pairs]
    notes = jobs.notes(tmp_path / "log")
    assert sorted(note["added"][0] for note in notes) == list(range(12))  # each once
    assert len({note["pid"] for note in notes}) <= 2 and os.getpid() not in {note["pid"] for note in notes}


def test_tasks_run_side_by_side(jobs, tmp_path):
    met = run([Task(name, jobs.meet, (str(tmp_path), name, 2)) for name in "ab"], workers=2)
    assert [done.value for done in met.values()] == [2, 2]


def test_a_task_whose_process_dies_is_started_again_and_one_that_always_dies_is_reported(jobs, tmp_path):
    log = tmp_path / "log"
    tasks = [
        Task("once", jobs.die_once, (str(tmp_path / "flag"),)),
        Task("always", jobs.die_always, (str(log),)),
        Task("child", jobs.add, (1, 1), ("always",)),
        Task("other", jobs.add, (1, 1)),
    ]
    found = run(tasks, workers=1)
    assert (found["once"].value, found["other"].value) == ("lived", 2)
    assert len(jobs.notes(log)) == 1 + local.RETRIES
    assert found["always"].error == "its process died 3 times, at last by exit code 3"
    assert found["child"].error == "it needs always, which failed"


def test_processes_get_their_share_of_the_threads_and_the_folders_of_this_one(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "3")  # of the job that this process is part of
    monkeypatch.setattr(local, "cores", lambda: 2)
    before = dict(os.environ)
    (found,) = run([Task("x", jobs.surroundings)], workers=2).values()
    assert found.value == {"threads": 1, "home": str(tmp_path), "slurm": None}
    assert dict(os.environ) == before
    monkeypatch.setattr(local, "cores", lambda: 6)
    assert (Local(workers=2).threads, Local(workers=4).threads, Local(cpus=2).threads, Local(cpus=2).workers) == (3, 1, 2, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the user's own limit
    assert (Local(workers=2).threads, Local(workers=6).threads, Local(cpus=1).threads) == (2, 1, 1)


@pytest.mark.parametrize(("seen", "gpus", "workers"), [(1, [], 1), (6, [], 6), (64, [], 8), (64, ["0", "3"], 2)])
def test_there_is_a_process_for_each_core_or_for_each_gpu(seen, gpus, workers, monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: seen)
    monkeypatch.setattr(local, "devices", lambda: gpus)
    engine = Local()
    assert engine.workers == workers
    if gpus:
        assert Local(gpus=0.5).workers == 4
        assert [engine.environment(i)["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["0", "3", "0"]
    assert Local(gpus=0).environment(0)["CUDA_VISIBLE_DEVICES"] == ""  # no GPU, even where there is one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"cpus": 99}, "cpus is 99, but this machine gives 4"),
        ({"gpus": 1}, "gpus is 1, but this machine has none that torch can use"),
    ],
)
def test_what_this_machine_cannot_give_is_refused(options, message, monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 4)
    monkeypatch.setattr(local, "devices", list)
    with pytest.raises(ValueError, match=message):
        Local(**options)


def test_bars_of_the_processes_become_the_progress_of_the_one_bar(jobs, monkeypatch, capfd):
    monkeypatch.delenv("TQDM_DISABLE")
    seen = []
    monkeypatch.setattr(engines, "_few", lambda running, progress: seen.append(dict(progress)) or "")
    found = run([Task("x", jobs.count_with_a_bar, ("a warning",))], workers=1)
    assert not found["x"].error
    assert {"x": "50 %"} in seen
    said = capfd.readouterr().err
    assert "a warning\n" in said and "counting" not in said


SLEEPING = """
from atviz.app import engines
from atviz.app.engines import Task
from atviz.app.local import Local
import signal, sys, tasks_of_tests as jobs
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
    list(engines.run([Task(name, jobs.sleep, (sys.argv[1],)) for name in "ab"], Local(workers=2), title="x"))
"""


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_the_one_that_started_them(kill, jobs, tmp_path):
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", SLEEPING, str(log)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(jobs.notes(log)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    children = [note["pid"] for note in jobs.notes(log)]
    parent.send_signal(kill)
    assert parent.wait(30) == -kill and len(children) == 2
    while any(map(psutil.pid_exists, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(psutil.pid_exists, children))

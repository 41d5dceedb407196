"""Runs tasks that need each other on an engine: processes of this machine (`Local`), or a Ray cluster (`Ray`)."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Protocol

PLAIN = (ValueError, OSError, FloatingPointError)  # errors whose own words are a sentence for the user
SHOWN = 8  # running tasks that the bar names
EVERY = 30  # seconds between two lines of progress in a log


class Failed(Exception):
    """A task that could not be done; the message is the reason, in one sentence."""


@dataclass(frozen=True)
class Task:
    """A call of a function at the top level of a module. It starts when the tasks that it ``needs`` have ended well."""

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A task that has ended: its value and its seconds, or why it failed."""

    name: str
    value: Any = None
    error: str = ""
    seconds: float = 0.0


class Engine(AbstractContextManager[Any], Protocol):
    """Where tasks run; open while they do."""

    @property
    def progress(self) -> Mapping[str, str]:
        """How far running tasks are, where that is known."""

    def room(self) -> bool:
        """Whether one more task can be started."""

    def start(self, task: Task) -> None:
        """Start a task."""

    def wait(self) -> Ended | None:
        """The next task that ends; None where only the progress has changed."""


def run(tasks: Sequence[Task], engine: Engine, *, title: str, after: float = 0.0) -> Iterator[Ended]:
    """Run tasks, each after those it needs, and yield each as it ends. A task that needs a failed one fails without being started.

    One bar shows how many have ended, which are running and how far they are, and from both the time that is left; a line tells of each
    that ends. Where the output is no terminal, a line tells the same every `EVERY` seconds. Where more work follows, ``after`` is about
    how many times as long it takes, and the line also tells the time that is left for the whole.

    Raises:
        ValueError: tasks that need each other in a circle (`graphlib.CycleError`).
    """
    from tqdm.auto import tqdm

    if not tasks:
        return
    by_name, failed = {task.name: task for task in tasks}, set()
    ready: deque[str] = deque()
    order = TopologicalSorter({task.name: task.needs for task in tasks})
    order.prepare()
    running: dict[str, None] = {}
    began = told = time.monotonic()
    bar = tqdm(total=len(tasks), desc=title, unit="task", smoothing=0, disable=bool(os.environ.get("TQDM_DISABLE")))
    done = 0
    with engine, bar:
        while order.is_active():
            ready += order.get_ready()
            ended = None
            while ready and engine.room() and ended is None:
                task = by_name[ready.popleft()]
                lost = next((name for name in task.needs if name in failed), None)
                if lost:
                    ended = Ended(task.name, error=f"it needs {lost}, which failed")
                else:
                    engine.start(task)
                    running[task.name] = None
            bar.set_postfix_str(_few(running, engine.progress))
            while ended is None:
                ended = engine.wait()
                bar.n = _ended(done, engine.progress)
                bar.set_postfix_str(_few(running, engine.progress), refresh=sys.stderr.isatty())  # a log would be full of it
                if ended is None and not sys.stderr.isatty() and time.monotonic() - told > EVERY:
                    told = time.monotonic()
                    bar.write(f"{title}: {_few(running, engine.progress)}{_left(told - began, bar.n, len(tasks), after)}")
            running.pop(ended.name, None)
            failed |= {ended.name} if ended.error else set()
            order.done(ended.name)
            bar.write(f"{ended.name} failed: {ended.error}" if ended.error else f"{ended.name}: done in {ended.seconds:.1f} s")
            done += 1
            bar.n = _ended(done, {name: said for name, said in engine.progress.items() if name != ended.name})
            bar.refresh()
            told = time.monotonic()
            yield ended


def _ended(done: int, progress: Mapping[str, str]) -> float:
    """How many tasks are done, those that are running by the share of them that is done: the rest of the time is estimated from it."""
    shares = [float(said.removesuffix("%")) / 100 for said in progress.values() if said.endswith("%")]
    return round(done + sum(shares), 1) if shares else done


def _left(seconds: float, done: float, total: int, after: float = 0.0) -> str:
    """About how much time is left for these tasks, and with what comes ``after`` them, in words; "" where nothing is done yet."""
    if not done:
        return ""
    whole = seconds * total / done
    left = f"; about {_duration(whole - seconds)} left"
    return f"{left}, {_duration(whole - seconds + after * whole)} for the whole run" if after else left


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _few(running: Iterable[str], progress: Mapping[str, str]) -> str:
    names = [f"{name} {progress.get(name, '')}".strip() for name in running]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def attempt(call: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, str, float]:
    """A task's call, made here: its value, or in one sentence why it failed, and its seconds."""
    began, value, error = time.perf_counter(), None, ""
    try:
        value = call(*arguments)
    except (*PLAIN, Failed) as found:
        error = str(found)
    except Exception as found:  # our mistake, or the machine's: the other tasks go on
        error = "".join(traceback.format_exception_only(found)).strip()
        traceback.print_exc()
    return value, error, time.perf_counter() - began


def environment() -> dict[str, str]:
    """What the process of every task finds in its environment: the same folders, and threads that leave their core to others."""
    from .. import home

    found = {"ATVIZ_HOME": str(home()), "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    return found | ({"ATVIZ_BF16": os.environ["ATVIZ_BF16"]} if "ATVIZ_BF16" in os.environ else {})


def inherit(environment: Mapping[str, str]) -> None:
    """Make this process one of tasks. A task is a job by itself: Lightning must not take it for a part of the Slurm job around it."""
    os.environ.update(environment)
    os.environ.pop("SLURM_NTASKS", None)


def check_demands(cpus: int | None, gpus: float | None) -> None:
    """ValueError for a number of CPUs or GPUs that no task can ask for: it runs in one process, on one device."""
    if cpus is not None and cpus < 1:
        raise ValueError(f"cpus is {cpus}; it must be at least 1")
    if gpus is not None and not 0 <= gpus <= 1:
        raise ValueError(f"gpus is {gpus:g}; a task runs on one GPU, or on a share of it, so it must be in [0, 1]")

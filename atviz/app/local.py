"""The engine of one machine: processes that each make one call after another."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, TextIO

from tqdm import tqdm

from .engines import EVERY, Ended, Task, attempt, check_demands, environment, inherit

MOST_WORKERS = 8  # by default: each holds a copy of torch and of the images
BAR = re.compile(r"(\d+)%\|")  # as tqdm draws it
RETRIES = 2  # how often a task whose process died is started again


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(i) for i in range(count)]


@dataclass
class Local:
    """Processes of this machine, started afresh: a process that was forked from one with torch's threads may hang.

    ``workers`` is how many, ``cpus`` (as threads) and ``gpus`` what each gets. By default there is one for each core, at most
    `MOST_WORKERS`; on a machine with GPUs one for each GPU.

    Raises:
        ValueError: numbers that this machine cannot give.
    """

    workers: int | None = None
    cpus: int | None = None
    gpus: float | None = None
    _pool: list[_Worker] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        check_demands(self.cpus, self.gpus)
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; it must be at least 1")
        if (self.cpus or 1) > cores():
            raise ValueError(f"cpus is {self.cpus}, but this machine gives {cores()}")
        self._devices = [] if self.gpus == 0 else devices()
        if self.gpus and not self._devices:
            raise ValueError(f"gpus is {self.gpus:g}, but this machine has none that torch can use")
        most = int(len(self._devices) / (self.gpus or 1)) if self._devices else min(MOST_WORKERS, cores() // (self.cpus or 1))
        self.workers = self.workers or most

    @property
    def threads(self) -> int:
        """Threads of each worker; the user's OMP_NUM_THREADS is not exceeded.

        Without ``cpus`` an equal share of the cores. More threads than cores cost far more than they give: they meet after every operation,
        and wait there for one that has no core.
        """
        share = self.cpus or max(1, cores() // (self.workers or 1))
        limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # of nested threads it is a list
        return min(share, int(limit)) if limit.isdecimal() else share

    @property
    def progress(self) -> dict[str, str]:
        return {worker.task.name: worker.progress for worker in self._pool if worker.task}

    def environment(self, number: int) -> dict[str, str]:
        """The environment of a worker: its threads, and its GPU or none."""
        found = environment() | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.threads))
        return found | {"CUDA_VISIBLE_DEVICES": self._devices[number % len(self._devices)] if self._devices else ""}

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._pool:
            worker.stop()
        self._pool.clear()

    def room(self) -> bool:
        return sum(worker.task is not None for worker in self._pool) < (self.workers or 1)

    def start(self, task: Task) -> None:
        worker = next((worker for worker in self._pool if worker.task is None), None)
        if worker is None:
            worker = _Worker(self.environment(len(self._pool)))
            self._pool.append(worker)
        worker.give(task)

    def wait(self) -> Ended | None:
        busy = {worker.pipe: worker for worker in self._pool if worker.task}
        answers = connection.wait(list(busy), EVERY)
        return busy[answers[0]].answer() if answers else None  # type: ignore[index]


class _Worker:
    """A process that makes one call after another."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment, self.task, self.deaths, self.progress = environment, None, 0, ""
        self._begin()

    task: Task | None

    def _begin(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.environment))
        self.process.start()
        theirs.close()  # so that the end of the process ends the pipe

    def give(self, task: Task) -> None:
        self.task, self.deaths, self.progress = task, 0, ""
        self._send()

    def _send(self) -> None:
        with suppress(BrokenPipeError):  # it died before it had anything to do: `answer` sees it
            self.pipe.send((self.task.call, self.task.arguments))  # type: ignore[union-attr]

    def answer(self) -> Ended | None:
        """What became of the task; None where it tells its progress, or its process died and another one makes the call again."""
        assert self.task
        name = self.task.name
        try:
            answer = self.pipe.recv()
            if isinstance(answer, str):
                self.progress = answer
                return None
            value, error, seconds = answer
        except (EOFError, OSError):
            self.process.join()
            how, self.deaths = _how(self.process.exitcode or 0), self.deaths + 1
            self.pipe.close()
            self._begin()
            if self.deaths <= RETRIES:
                self._send()
                return None
            value, error, seconds = None, f"its process died {self.deaths} times, at last by {how}", 0.0
        self.task = None
        return Ended(name, value, error, seconds)

    def stop(self) -> None:
        self.pipe.close()
        if self.task:
            self.process.terminate()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.process.close()


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _serve(pipe: Connection, environment: dict[str, str]) -> None:
    inherit(environment)  # before torch is imported, which reads it once
    if "torch" in sys.modules:  # by the user's own script
        sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the parent's: it ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lock = threading.Lock()
    tqdm.set_lock(threading.RLock())  # its own, of many processes, would be left over when this one is ended

    def send(answer: Any) -> None:
        with lock:
            pipe.send(answer)

    sys.stderr = _Progress(sys.stderr, send)
    while True:
        try:
            call, arguments = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # a call that only the parent knows
            send((None, "".join(traceback.format_exception_only(error)).strip(), 0.0))
        else:
            send(attempt(call, arguments))


class _Progress(io.TextIOBase):
    """A process's stderr: bars become how far they are, which is sent at most once a second, and all else is written."""

    def __init__(self, below: TextIO, send: Callable[[str], None]) -> None:
        self.below, self.send, self.last = below, send, 0.0

    def isatty(self) -> bool:
        return True  # bars are drawn

    def write(self, text: str) -> int:
        percent = BAR.search(text)
        if percent and time.monotonic() - self.last > 1:
            self.last = time.monotonic()
            self.send(f"{percent[1]} %")
        elif not percent and text.strip("\r\n "):
            self.below.write(text.rstrip("\n") + "\n")
            self.below.flush()
        return len(text)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its children, and the same command may be given again at once."""
    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
        os._exit(1)

"""The engine on a Ray cluster: many machines, of which each may go away at any time."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__, home
from .engines import Ended, Task, attempt, check_demands, environment, inherit

RETRIES = 3  # once more than on one machine: nodes are taken away more often than processes die


@dataclass
class Ray:
    """A Ray cluster: the one of RAY_ADDRESS, or the one that this machine belongs to, else one of this machine alone.

    ``cpus`` and ``gpus`` are what each task asks for; by default one CPU, and a GPU where the cluster has any. A task whose process or
    machine dies is started again elsewhere. All machines must see the folder ATVIZ_HOME and have the same version of atviz.

    Raises:
        ValueError: Ray is not installed; a cluster that cannot give what a task asks for, or a node that cannot take part.
    """

    cpus: int | None = None
    gpus: float | None = None
    _running: dict[Any, Task] = field(default_factory=dict, init=False)
    _mine: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        check_demands(self.cpus, self.gpus)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ValueError('--engine ray needs Ray; install it with: pip install "atviz[cluster]"') from error
        self.ray: Any = ray

    def __enter__(self) -> Ray:
        ray = self.ray
        self._mine = not ray.is_initialized()
        if self._mine:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        try:
            nodes = [node for node in ray.nodes() if node["Alive"]]
            most = {kind: max(node["Resources"].get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
            cpus, gpus = self.cpus or 1, self.gpus if self.gpus is not None else float(most["GPU"] > 0)
            for kind, asked in (("CPU", cpus), ("GPU", gpus)):
                if asked > most[kind]:
                    raise ValueError(f"a cell asks for {asked:g} {kind}, but no node of the cluster has more than {most[kind]:g}")
            self._check(nodes)
        except BaseException:
            self.__exit__()
            raise
        self._given = environment() | {"TQDM_DISABLE": "1"} | ({} if gpus else {"CUDA_VISIBLE_DEVICES": ""})
        self._remote = ray.remote(max_retries=RETRIES, num_cpus=cpus, num_gpus=gpus)(_attempt)
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            self.ray.cancel(reference, force=True)
        self._running.clear()
        if self._mine:
            self.ray.shutdown()

    def _check(self, nodes: list[dict[str, Any]]) -> None:
        """ValueError, in one sentence, for a node that does not share the folder or has another atviz."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token = home() / "results" / f".shared-{uuid.uuid4().hex}"
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch()
        try:
            for node in nodes:
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ask = self.ray.remote(num_cpus=0, scheduling_strategy=here)(_node)
                try:
                    shared, version = self.ray.get(ask.remote(str(token)))
                except self.ray.exceptions.RayError as error:
                    reason = str(error).strip().splitlines()[-1]
                    raise ValueError(f"the node {node['NodeManagerAddress']} cannot run atviz {__version__}: {reason}") from error
                if not shared:
                    raise ValueError(
                        f"the node {node['NodeManagerAddress']} does not see {home()}; set ATVIZ_HOME to a folder that all nodes share"
                    )
                if version != __version__:
                    raise ValueError(
                        f"the node {node['NodeManagerAddress']} has atviz {version}, not {__version__}; install the same there"
                    )
        finally:
            token.unlink(missing_ok=True)

    @property
    def progress(self) -> dict[str, str]:
        return {}  # Ray does not tell

    def room(self) -> bool:
        return True  # Ray has a queue of its own

    def start(self, task: Task) -> None:
        self._running[self._remote.options(name=task.name).remote(task.call, task.arguments, self._given)] = task

    def wait(self) -> Ended:
        (reference,), _ = self.ray.wait(list(self._running), num_returns=1)
        task = self._running.pop(reference)
        try:
            return Ended(task.name, *self.ray.get(reference))
        except self.ray.exceptions.RayError as error:
            return Ended(task.name, error=f"its process died {RETRIES + 1} times: {type(error).__name__}")


def _attempt(call: Callable[..., Any], arguments: tuple[Any, ...], given: dict[str, str]) -> tuple[Any, str, float]:
    inherit(given)  # Ray itself sets the threads and the GPU
    return attempt(call, arguments)


def _node(token: str) -> tuple[bool, str]:
    return Path(token).exists(), __version__

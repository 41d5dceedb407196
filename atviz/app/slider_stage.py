"""The stage of a run that makes the data of the page's sliders, in a process of its own, after the notebooks."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..notebook import Settings
from . import engines, files
from .engines import Task
from .local import Local


def make(
    settings: Settings, record: dict[str, Any], common: dict[str, Any], folder: Path, engine: Local, *, shipped: Collection[str]
) -> bool:
    """Make the sliders' data, unless nothing that they depend on has changed, and say so in the run's ``record``; whether they were made.

    A run of one's own notebooks alone, without any that is ``shipped``, has none. They come last: the shares that they show are those that
    the notebooks have measured.
    """
    stages = record["stages"]
    if not any(stages.get(name, {}).get("status") == "done" for name in record["order"] if name in shipped):
        return False
    key = files.sha256([common, {name: stages.get(name, {}).get("key") for name in record["order"]}])
    if stages.get("sliders", {}).get("key") == key and (folder / "sliders" / "sliders.json").is_file():
        return False
    for ended in engines.run([Task("sliders", write, (folder, settings))], engine, title="sliders"):
        outcome = {"status": "failed", "error": ended.error} if ended.error else {"status": "done", "key": key}
        stages["sliders"] = outcome | {"seconds": ended.seconds}
    return True


def write(folder: Path, settings: Settings) -> None:
    """`sliders.write_sliders`, whose imports are heavy."""
    from .sliders import write_sliders

    write_sliders(folder, settings)

"""Runs a grid of data sets, networks and seeds: its cells side by side on an engine, its results in one table and on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__, disk, home
from ..names import unknown
from ..notebook import Settings
from . import engines, files
from .cells import Cell, check_images, finished, grid, measure
from .engines import Engine, Task
from .local import Local

ENGINES = ("local", "ray")


def engine_of(name: str, *, workers: int | None = None, cpus: int | None = None, gpus: float | None = None) -> Engine:
    """The engine of a name, and how much of it each cell gets.

    Raises:
        ValueError: an unknown name, Ray where it is not installed, or numbers that cannot be given.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name == "local":
        return Local(workers, cpus, gpus)
    if workers is not None:
        raise ValueError(f"workers is {workers}, but Ray runs as many cells as there is room for; leave it out, or set --cpus and --gpus")
    from .cluster import Ray

    return Ray(cpus, gpus)


def run(studies: Sequence[Settings], distortions: Sequence[str], engine: Engine, *, name: str = "", command: str = "") -> tuple[Path, bool]:
    """Do the cells that are not done, and write ``results/<name>/``: ``cells/``, ``table.csv``, ``summary.csv``, ``index.html``.

    Args:
        studies: the settings of each data set and seed.
        command: what the page says that made it.

    Returns:
        the folder, and whether every cell is done.

    Raises:
        ValueError: before anything is done, distortions that cannot be measured, or a folder that holds a sweep of other cells.
        OSError: another process runs in the same folder.
    """
    cells = grid(studies, distortions)
    folder = home() / "results" / (name or default_name(cells))
    _checked(folder, cells)
    for cell in {cell.settings.dataset: cell for cell in _missing(folder, cells)}.values():
        check_images(cell)
    with disk.alone(folder):
        return folder, _run(cells, distortions, engine, folder, command)


def _run(cells: Sequence[Cell], distortions: Sequence[str], engine: Engine, folder: Path, command: str) -> bool:
    """`run` in a folder; whether every cell is done."""
    from .sweep_page import write_page

    record = _checked(folder, cells)
    places = {cell.name: folder / "cells" / f"{cell.name}.json" for cell in cells}
    missing = _missing(folder, cells)
    print(f"{len(cells) - len(missing)} of {len(cells)} cells are done")
    record |= {
        "version": __version__, "command": command, "cells": list(places), "failed": {}, "distortions": list(distortions),
        "settings": cells[0].settings.described, "datasets": list(dict.fromkeys(cell.settings.dataset for cell in cells)),
        "models": list(dict.fromkeys(cell.model for cell in cells)), "seeds": list(dict.fromkeys(cell.settings.seed for cell in cells)),
    }  # fmt: skip
    disk.write_json(folder / "sweep.json", record)
    tasks = [Task(cell.name, measure, (cell, places[cell.name]), _needs(cell, missing)) for cell in missing]
    for ended in engines.run(tasks, engine, title="cells"):
        if ended.error:
            record["failed"][ended.name] = ended.error
            disk.write_json(folder / "sweep.json", record)
    write_page(folder)
    return not record["failed"]


def default_name(cells: Sequence[Cell]) -> str:
    """A name that no other sweep has: the profile, and a hash of the cells' own."""
    return f"sweep-{cells[0].settings.profile}-{files.sha256([cell.name for cell in cells])[:6]}"


def _checked(folder: Path, cells: Sequence[Cell]) -> dict[str, Any]:
    """The record of a folder; ValueError where it holds a run, or cells that this sweep does not have. A grid may grow."""
    record = files.read(folder / "sweep.json")
    others = [name for name in record.get("cells", []) if name not in {cell.name for cell in cells}]
    if others or (folder / "run.json").is_file():
        held = f"a sweep of other cells ({others[0]}, …)" if others else "a run"
        raise ValueError(f"results/{folder.name} holds {held}; choose another --name, or delete it")
    return record


def _missing(folder: Path, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if not finished(folder / "cells" / f"{cell.name}.json")]


def _needs(cell: Cell, missing: Sequence[Cell]) -> tuple[str, ...]:
    """The cell whose network must be trained before this one."""
    place = cell.settings.dataset, cell.settings.seed, cell.stops_at
    return tuple(other.name for other in missing if (other.settings.dataset, other.settings.seed, other.model) == place)

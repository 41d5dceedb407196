"""The crossed experiment on this machine: every training that has no row yet, side by side, each row kept as soon as it is there."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pandas as pd

from .. import disk, home
from ..evidence import crossed
from . import engines
from .engines import Task
from .local import Local


def table() -> Path:
    """Where the rows lie."""
    return home() / "checkpoints" / "worlds" / "crossed.csv"


def run(engine: Local | None = None, wanted: list[crossed.Cell] | None = None) -> list[str]:
    """Train and measure the cells that are missing; the errors of those that failed.

    An interruption loses the cells that are running. Rows of another experiment (`crossed.digest`) are dropped.
    """
    path, now = table(), crossed.digest()
    rows = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    rows = rows[rows.experiment == now] if len(rows) else rows
    tasks = {_name(cell): cell for cell in crossed.missing(rows, crossed.cells() if wanted is None else wanted)}
    errors = []
    for ended in engines.run(
        [Task(name, crossed.measured, astuple(cell)) for name, cell in tasks.items()], engine or Local(), title="trainings"
    ):
        if ended.error:
            errors.append(f"{ended.name}: {ended.error}")
            continue
        row = pd.DataFrame([ended.value | {"seconds": round(ended.seconds, 1), "experiment": now}])
        rows = pd.concat([rows, row], ignore_index=True) if len(rows) else row
        disk.write(path, rows.round(4).to_csv(index=False))
    return errors


def _name(cell: crossed.Cell) -> str:
    how = cell.cue if cell.norm == "none" else f"{cell.norm} {cell.eps:g}"
    return f"{cell.world} {how} seed {cell.seed}"

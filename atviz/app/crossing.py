"""The crossed experiment on this machine: every network that has no row yet, side by side, each row kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from itertools import groupby

import pandas as pd

from .. import disk
from ..evidence import crossed
from . import engines
from .engines import Task
from .local import Local


def run(engine: Callable[[], Local] = Local, wanted: list[crossed.Cell] | None = None) -> list[str]:
    """Train and measure the networks that are missing, then read every instrument on those that no reading is kept of; the errors.

    An interruption loses the networks that are running. Rows of another experiment (`crossed.digest`) are dropped.
    """
    wanted = crossed.cells() if wanted is None else wanted
    trained = [Task(cell.label, crossed.measured, astuple(cell)) for cell in crossed.missing(crossed.rows(crossed.CROSSED), wanted)]
    errors = _kept(engine(), trained, "trainings", crossed.CROSSED)
    failed = {said.partition(": ")[0] for said in errors}
    unread = crossed.missing(crossed.rows(crossed.READINGS), [cell for cell in wanted if cell.label not in failed])
    unread.sort(key=lambda cell: (cell.seed, cell.world))
    parts = [(f"{world} seed {seed}", list(part)) for (seed, world), part in groupby(unread, key=lambda cell: (cell.seed, cell.world))]
    return errors + _kept(engine(), [Task(name, crossed.read, (part,)) for name, part in parts], "readings", crossed.READINGS)


def _kept(engine: Local, tasks: list[Task], title: str, table: str) -> list[str]:
    """Run tasks, whose values are a row or a table; keep each in a table as it comes. Returns the errors of those that failed."""
    errors, rows = [], crossed.rows(table)
    for ended in engines.run(tasks, engine, title=title):
        if ended.error:
            errors.append(f"{ended.name}: {ended.error}")
            continue
        new = ended.value if isinstance(ended.value, pd.DataFrame) else pd.DataFrame([ended.value | {"seconds": round(ended.seconds, 1)}])
        new = new.assign(experiment=crossed.digest())
        rows = pd.concat([rows, new], ignore_index=True) if len(rows) else new
        disk.write(crossed.place(table), rows.round(4).to_csv(index=False))
    return errors

"""The networks of known bias that are measured once, each by itself: the missing ones side by side, each row kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import groupby

import pandas as pd

from .. import disk
from ..evidence import crossed, removed
from . import engines
from .engines import Task
from .local import Local


def run(engine: Callable[[], Local] = Local, wanted: Sequence[crossed.Cell] | None = None) -> list[str]:
    """The crossed experiment: train and measure the networks that are missing, then read every instrument on those without a kept reading.

    Returns the errors. An interruption loses the networks that are running. Rows of another experiment (`crossed.digest`) are dropped.
    """
    wanted = crossed.cells() if wanted is None else wanted
    trained = [Task(cell.label, crossed.measured, astuple(cell)) for cell in crossed.missing(crossed.rows(crossed.CROSSED), wanted)]
    errors = _kept(engine(), trained, "trainings", crossed.CROSSED, crossed.digest())
    failed = {said.partition(": ")[0] for said in errors}
    unread = crossed.missing(crossed.rows(crossed.READINGS), [cell for cell in wanted if cell.label not in failed])
    unread.sort(key=lambda cell: (cell.seed, cell.world))
    parts = [(f"{world} seed {seed}", list(part)) for (seed, world), part in groupby(unread, key=lambda cell: (cell.seed, cell.world))]
    read = [Task(name, crossed.read, (part,)) for name, part in parts]
    return errors + _kept(engine(), read, "readings", crossed.READINGS, crossed.digest())


def run_removed(engine: Callable[[], Local] = Local, wanted: Sequence[tuple[str, int]] | None = None) -> list[str]:
    """The controls on real images: train and read the networks that have no row yet; the errors."""
    rows = removed.rows()
    known = set(rows[["kind", "seed"]].itertuples(index=False, name=None)) if len(rows) else set()
    missing = [cell for cell in (removed.cells() if wanted is None else wanted) if cell not in known]
    tasks = [Task(f"{kind} seed {seed}", removed.measured, (kind, seed)) for kind, seed in missing]
    return _kept(engine(), tasks, "controls on real images", removed.TABLE, removed.digest())


def _kept(engine: Local, tasks: list[Task], title: str, table: str, experiment: str) -> list[str]:
    """Run tasks, whose values are a row or a table; keep each in a table as it comes. Returns the errors of those that failed."""
    errors, rows = [], crossed.rows(table, experiment)
    for ended in engines.run(tasks, engine, title=title):
        if ended.error:
            errors.append(f"{ended.name}: {ended.error}")
            continue
        new = ended.value if isinstance(ended.value, pd.DataFrame) else pd.DataFrame([ended.value | {"seconds": round(ended.seconds, 1)}])
        new = new.assign(experiment=experiment)
        rows = pd.concat([rows, new], ignore_index=True) if len(rows) else new
        disk.write(crossed.place(table), rows.round(4).to_csv(index=False))
    return errors

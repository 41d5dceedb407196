"""The first page of a run: findings and pictures of the networks that ship, to be read while the run trains its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .. import disk, home, shipped
from . import answer
from .report import PLACE, read_findings, write_report
from .rows import cells

KEPT = ("settings", "version", "order", "notes", "command", "commit", "date", "seconds")  # of a run's record


def keep(run: Path) -> Path:
    """Keep what the first page shows of a finished run: its findings and the figures at its head, in ``checkpoints/first/<data set>``."""
    record = json.loads((run / "run.json").read_text())
    target = home() / "checkpoints" / "first" / record["settings"]["dataset"]
    found = {name: rows for name in record["order"] if (rows := read_findings(run, name))}
    record = {name: record[name] for name in KEPT if name in record} | {"order": list(found)}
    stages: dict[str, Any] = {name: {"status": "done"} for name in ("train", *found)}
    shutil.rmtree(target, ignore_errors=True)
    disk.write_json(target / "run.json", record | {"set": {}, "stages": stages})
    for name, rows in found.items():
        disk.write_json(target / "findings" / f"{name}.json", rows)
    shown = answer.pictures(run, [cells(row) for rows in found.values() for row in rows])
    for figure in (figure for card in shown for figure in card["figures"]):
        disk.write(target / figure["file"], (run / figure["file"]).read_bytes())
    return target


def write(folder: Path, dataset: str) -> Path | None:
    """Write the first page of a run's folder; None where the folder has a page already, or none ships for the data set.

    Its figures lie in ``first/`` until `remove`.
    """
    source = shipped("checkpoints", "first", dataset)
    if (folder / "index.html").exists() or not (source / "run.json").is_file():
        return None
    shutil.copytree(source, folder / PLACE, dirs_exist_ok=True)
    return write_report(folder / PLACE, first=folder / "index.html")


def remove(folder: Path) -> None:
    """Remove the figures of the first page, which the run's own page has replaced."""
    shutil.rmtree(folder / PLACE, ignore_errors=True)

"""What lies in results/: runs, sweeps, comparisons, records, and what is none of these."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import disk, home
from ..names import unknown
from .files import GOOD

# kind of a folder -> the file that tells it
MARKS = {"run": "run.json", "sweep": "sweep.json", "comparison": "compare.json"}
OWN = {  # folders by their names
    "records": "what was measured, read by later runs",
    "explore": "notebooks that `atviz explore` opened",
    "book": "the site of `make book`",
}
SHOWN = 3  # names in a column
LATEST = 2.5e11  # seconds: the year 9892


@dataclass(frozen=True)
class Held:
    """Something in results/. ``state`` is a few words, ``changed`` the time of the last change, ``size`` in bytes."""

    name: str
    kind: str  # of `MARKS`, of `OWN`, "leftover" of an interrupted write, or "foreign"
    state: str
    changed: datetime
    size: int
    datasets: tuple[str, ...] = ()
    profile: str = ""
    networks: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """All of it, as JSON knows it."""
        return asdict(self) | {"changed": self.changed.isoformat(timespec="seconds")}


def listed() -> list[Held]:
    """Everything in results/, the newest first. What is damaged is said in its ``state``."""
    return sorted(map(held, _places()), key=lambda found: (-found.changed.timestamp(), found.name))


def held(place: Path) -> Held:
    """What a folder or a file of results/ holds."""
    size, changed = measured(place)
    changed = min(max(changed, 0), LATEST)  # a file system may give any time
    common: dict[str, Any] = {"name": place.name, "size": size, "changed": datetime.fromtimestamp(changed).astimezone()}
    kind = kind_of(place)
    if disk.BESIDE.fullmatch(place.name):
        return Held(
            kind="leftover", state=f"an interrupted write of {disk.original(place).name}; `atviz clean leftovers` frees it", **common
        )
    if not kind and place.name in OWN and place.is_dir():
        return Held(kind=place.name, state=OWN[place.name], **common)
    if not kind:
        return Held(kind="foreign", state="no run" if place.is_dir() else "a file, no run", **common)
    read = {"run": _run, "sweep": _sweep, "comparison": _comparison}[kind]
    try:
        return Held(kind=kind, **common, **read(place))
    except (ValueError, OSError) as error:
        return Held(kind=kind, state=f"damaged: {error}", **common)


def kind_of(place: Path) -> str:
    """Which of `MARKS` a folder is; "" for none."""
    return next((kind for kind, mark in MARKS.items() if (place / mark).is_file()), "")


def find(text: str) -> Path:
    """The folder of a run, of a sweep or of a comparison: a name in results/, or a path.

    Raises:
        ValueError: there is no such folder; the sentence names the nearest in results/.
        FileNotFoundError: a folder that holds none.
    """
    named = home() / "results" / text
    place = named if is_name(text) and named.is_dir() else Path(os.path.expanduser(text))
    if kind_of(place):
        return place
    if place.is_dir():
        raise FileNotFoundError(f"{text} holds no run (no run.json); `atviz run` makes one")
    known = [path.name for path in _places() if kind_of(path)]
    raise unknown("run", text, known, hint=f"results/ holds {', '.join(sorted(known)) or 'none; `atviz run` makes one'}")


def is_name(text: str) -> bool:
    """Whether a text can be the name of something in results/: no path, and neither the folder itself nor the one above."""
    return text not in ("", ".", "..") and not {"/", "\\", "\0"} & set(text)


def _places() -> list[Path]:
    results = home() / "results"
    return sorted(results.iterdir()) if results.is_dir() else []


def _record(place: Path, kind: str, what: str) -> dict[str, Any]:
    found: dict[str, Any] = disk.read_json(place / MARKS[kind], Path(__file__).with_name(f"{kind}.schema.json"), what)
    return found


def _run(place: Path) -> dict[str, Any]:
    record = _record(place, "run", "a run's record")
    settings = record["settings"]
    return {
        "state": state_of_run(record), "datasets": (settings["dataset"],), "profile": settings["profile"], "networks": tuple(settings["models"]),
        "seeds": (settings["seed"],),
    }  # fmt: skip


def state_of_run(record: dict[str, Any]) -> str:
    """The state of a run in words: done, how many notebooks failed, or how many are done."""
    stages, order = record["stages"], record["order"]
    status = [stages.get(name, {}).get("status", "") for name in order]
    done, failed = sum(s in GOOD for s in status), status.count("failed")
    training = stages.get("train", {}).get("status", "")
    if training == "failed":
        return "training failed"
    if failed:
        rest = len(order) - done - failed
        return f"{failed} of {len(order)} notebooks failed" + (f", {rest} not done" if rest else "")
    if training in GOOD and done == len(order):
        return "done"
    return f"unfinished: {done} of {len(order)} notebooks done"


def _sweep(place: Path) -> dict[str, Any]:
    record = _record(place, "sweep", "a sweep's record")
    cells, failed = record["cells"], len(record["failed"])
    done = sum((place / "cells" / f"{name}.json").is_file() for name in cells)
    state = "done" if done == len(cells) else f"unfinished: {done} of {len(cells)} cells done"
    return {
        "state": f"{failed} of {len(cells)} cells failed" if failed else state, "datasets": tuple(record["datasets"]),
        "profile": str(record["settings"]["profile"]), "networks": tuple(record["models"]), "seeds": tuple(record["seeds"]),
    }  # fmt: skip


def _comparison(place: Path) -> dict[str, Any]:
    found = disk.read_json(place / MARKS["comparison"])
    names = [found.get(side, {}).get("name", "?") if isinstance(found, dict) else "?" for side in ("a", "b")]
    return {"state": f"of {names[0]} and {names[1]}"}


def measured(place: Path) -> tuple[int, float]:
    """Bytes of all files in a folder, or of a file, and the time of the last change. Links are not followed: they hold nothing."""
    size, changed = 0, 0.0
    for path in inside(place):
        with suppress(OSError):  # it has just been removed
            info = path.lstat()
            size, changed = size + info.st_size, max(changed, info.st_mtime)
    with suppress(OSError):
        changed = changed or place.lstat().st_mtime
    return size, changed


def inside(place: Path) -> Iterator[Path]:
    """All files in a folder, at any depth, or the file itself."""
    if place.is_symlink() or not place.is_dir():
        yield place
        return
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names)


def several(names: tuple[Any, ...]) -> str:
    """The first few names, and how many more there are."""
    more = f" +{len(names) - SHOWN}" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more

"""Frees what can be made again: decoded images, leftovers of interrupted writes, records, networks trained here, a run."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from .. import disk, home
from ..names import unknown
from .runs import is_name, kind_of, measured

CARD = "card.json"  # of a checkpoint
TRAINING = ".training"  # the last epoch of an interrupted training, and, with ".before", the one before it
WRITER = re.compile(r".+\.(?P<host>[\w-]+)-(?P<process>\d+)-[0-9a-f]{8}\.(?:partial|old)")
DAY = 24 * 3600  # seconds: what has not changed for so long is written by nobody
CHEAP = ("caches", "leftovers")  # what is freed if nothing is named: atviz makes it again by itself, or never reads it
ABOUT = {
    "caches": "decoded images; they are decoded again",
    "leftovers": "of interrupted writes; nothing reads them",
    "records": "what was measured; the next run measures it again",
    "networks": "trained here; the next run trains them again",
}


@dataclass(frozen=True)
class Part:
    """What is to be freed of one kind, or a run: its ``places``, their ``size`` in bytes, and what is kept, and why."""

    what: str
    about: str
    places: list[Path]
    size: int
    kept: list[str] = field(default_factory=list)


def plan(what: Sequence[str] = ()) -> list[Part]:
    """What each of these kinds, or runs, would free; `CHEAP` for none. Nothing is deleted.

    A checkpoint that a killed process had moved aside is moved back, as `atviz doctor` does: it may be the only copy.

    Raises:
        ValueError: something that is neither a kind nor the name of a run in results/.
    """
    for name in what:
        check(name)
    names = dict.fromkeys(what or CHEAP)
    if {"networks", "leftovers"} & names.keys():
        settle()
    return [_kinds()[name]() if name in ABOUT else _run(name.removeprefix("results/")) for name in names]


def check(name: str) -> None:
    """ValueError for what is neither a kind, nor the name of a run, a sweep or a comparison in results/."""
    if name in ABOUT:
        return
    inner = name.removeprefix("results/")
    if not is_name(inner):
        raise ValueError(f"{name!r} is a path; clean takes {', '.join(ABOUT)}, or the name of a run in results/")
    place = home() / "results" / inner
    if place.is_symlink():
        raise ValueError(f"results/{inner} is a link to {place.readlink()}; delete the link, or what it leads to, by hand")
    if not kind_of(place) and place.exists():
        raise ValueError(f"results/{inner} holds no run, so clean leaves it alone; delete it by hand")
    if not kind_of(place):
        runs = [path.name for path in place.parent.iterdir() if kind_of(path)] if place.parent.is_dir() else []
        raise unknown("thing to clean", name, [*ABOUT, *sorted(runs)])


def free(parts: Sequence[Part]) -> list[Part]:
    """Delete what a plan names; return what has been freed, and what is kept, such as a run or a network that another process works on.

    A folder first gets the name of an interrupted write, so that no half of it is taken for the whole.
    """
    return [_freed(part) for part in parts]


def _freed(part: Part) -> Part:
    gone, kept, freed = [], [*part.kept], 0
    for place in part.places:
        size, lock = measured(place)[0], _lock(place)
        try:
            with disk.alone(lock) if lock else nullcontext():
                _delete(place)
        except OSError as error:
            kept.append(f"{place} is kept: {error}")
        else:
            gone.append(place)
            freed += size
    return replace(part, places=gone, size=freed, kept=kept)


def _lock(place: Path) -> Path | None:
    """What a process takes that works on a place: on a run's folder that folder, on a network what its training takes; None for others."""
    if place.parent == home() / "checkpoints" / "local":
        name = disk.original(place).name.removesuffix(".before").removesuffix(TRAINING)
        return place.with_name(name + TRAINING)
    return place if kind_of(place) else None


def _delete(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return
    doomed = place if disk.BESIDE.fullmatch(place.name) else disk.beside(place)
    if doomed != place:
        place.rename(doomed)
    shutil.rmtree(doomed)


def _kinds() -> dict[str, Callable[[], Part]]:
    cache, records = home() / "data" / "cache", home() / "results" / "records"
    return {
        "caches": partial(_part, "caches", [*cache.glob("*.pixels"), *cache.glob("unreadable.json")]),
        "leftovers": _leftovers,
        "records": partial(_part, "records", [*records.glob("*.json")]),
        "networks": _networks,
    }


def _part(what: str, places: Sequence[Path], kept: Sequence[str] = (), about: str = "") -> Part:
    """A part, without places that a link leads to out of home."""
    out = {folder for folder in {place.parent for place in places} if not folder.resolve().is_relative_to(home().resolve())}
    kept = [*kept, *(f"{folder} is left alone: a link leads from it out of {home()}" for folder in sorted(out))]
    inner = [place for place in places if place.parent not in out]
    return Part(what, about or ABOUT[what], inner, sum(measured(place)[0] for place in inner), kept)


def _run(name: str) -> Part:
    place = home() / "results" / name
    return _part(name, [place], about=f"a {kind_of(place)}; the same command makes it again")


def _networks() -> Part:
    """Checkpoints, each with what was moved aside for it, and the kept epochs of interrupted trainings."""
    local = home() / "checkpoints" / "local"
    here = [path for path in local.iterdir() if not disk.BESIDE.fullmatch(path.name)] if local.is_dir() else []
    trained = [path for path in here if (path / CARD).is_file() and not path.is_symlink()]
    epochs = [path for path in here if path.name.removesuffix(".before").endswith(TRAINING) and path.is_file()]
    return _part("networks", [*(old for path in trained for old in disk.aside(path)), *trained, *epochs])


def _leftovers() -> Part:
    """Leftovers whose writer has ended. What was moved aside counts only where the new one is there."""
    gone, kept = [], []
    for path in leftovers():
        new = disk.original(path)
        if path.suffix == ".old" and not (new / CARD if (path / CARD).is_file() else new).exists():
            kept.append(f"{path} is kept: there is no other copy of it")
        elif _in_use(path):
            kept.append(f"{path} is kept: the process that writes it may still run")
        else:
            gone.append(path)
    return _part("leftovers", gone, kept)


def settle() -> None:
    """Move back what was moved aside and has no new one."""
    for path in leftovers():
        disk.settled(disk.original(path))


def leftovers() -> list[Path]:
    """The leftovers of interrupted writes below checkpoints, results and data; what lies inside one of them is not counted again."""
    places = (home() / name for name in ("checkpoints", "results", "data"))
    return [path for place in places if place.is_dir() for path in _left(place)]


def _left(place: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(place):
        left = [name for name in (*folders, *files) if disk.BESIDE.fullmatch(name)]
        folders[:] = [name for name in folders if name not in left]
        yield from (Path(folder, name) for name in sorted(left))


def _in_use(path: Path) -> bool:
    """Whether the process that made a leftover may still run: it has changed within a day, and its process runs or is of another machine."""
    made = WRITER.fullmatch(path.name)
    if not made or time.time() - measured(path)[1] > DAY:
        return False
    if made["host"] != re.sub(r"\W+", "-", socket.gethostname()) or os.name == "nt":  # where a signal of 0 ends a process
        return True
    process = int(made["process"])
    if process == os.getpid():
        return False
    with suppress(ProcessLookupError, OverflowError):
        try:
            os.kill(process, 0)
        except PermissionError:  # it runs, and is another user's
            return True
        return True
    return False

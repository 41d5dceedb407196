"""Results on disk: one readable JSON file for each cell of work, found again by what the work depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__, disk, home


@dataclass
class Store:
    """A folder of records. ``computed`` and ``read`` count what this process did and what it found done."""

    folder: Path
    computed: int = field(default=0, init=False)
    read: int = field(default=0, init=False)

    def cell(self, key: dict[str, Any], compute: Callable[[], Any], *, alone: bool = False) -> Any:
        """The value kept under ``key``; when there is none, ``compute()``, which is kept.

        ``key`` and value must be JSON. A file that was damaged is computed again. ``alone``: where another process of this machine computes
        the same value, this one waits and reads it; for what takes minutes.
        """
        with suppress(KeyError):
            return self.find(key)
        with disk.alone(self._path(key), wait=lambda said: None) if alone else nullcontext():
            with suppress(KeyError):
                return self.find(key)
            value = compute()
            self.keep(key, value)
            return value

    def find(self, key: dict[str, Any]) -> Any:
        """The value kept under ``key``; KeyError where there is none, or only a damaged file, or one that was written for another key."""
        try:
            kept = disk.read_json(self._path(key))
            value, whole = kept["value"], kept["key"] == _plain(key) and _whole(kept)
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise KeyError(f"no record of {key}") from error
        if not whole:
            raise KeyError(f"no record of {key}")
        self.read += 1
        return value

    def examined(self) -> tuple[int, list[Path]]:
        """How many records of the folder are whole, and the files of those that are not."""
        good, bad = 0, list[Path]()
        for path in sorted(self.folder.glob("*.json")):
            try:
                whole = _whole(disk.read_json(path))
            except (ValueError, KeyError, TypeError):
                whole = False
            good, bad = good + whole, bad if whole else [*bad, path]
        return good, bad

    def keep(self, key: dict[str, Any], value: Any) -> None:
        """Keep a value under ``key``, in a file that is complete or not there."""
        kept = {"key": _plain(key), "value": _plain(value)}
        disk.write_json(self._path(key), kept | {"sha256": _checksum(**kept)}, indent=None)
        self.computed += 1

    def _path(self, key: dict[str, Any]) -> Path:
        text = json.dumps(key | {"atviz": __version__}, sort_keys=True)  # another version may measure otherwise
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _plain(value: Any) -> Any:
    """A value as JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(value))


def _whole(kept: dict[str, Any]) -> bool:
    """Whether a record is as it was written; KeyError or TypeError for what is no record."""
    return kept["sha256"] == _checksum(kept["key"], kept["value"])


def _checksum(key: Any, value: Any) -> str:
    return hashlib.sha256(json.dumps([key, value], sort_keys=True).encode()).hexdigest()


def cell(store: Store | None, key: dict[str, Any], compute: Callable[[], Any], *, alone: bool = False) -> Any:
    """`Store.cell`, or just the computation where nothing is kept."""
    return compute() if store is None else store.cell(key, compute, alone=alone)


def store_of_home() -> Store:
    """The records in ``results/records``."""
    return Store(home() / "results" / "records")


def described(function: Callable[..., Any]) -> Any:
    """What a record's key says of a function: its own ``key``, or name and arguments of a `functools.partial` whose arguments are
    plain values or tuples of them; None where that is not known, and what it computes must not be kept."""
    if hasattr(function, "key"):
        return function.key
    if not isinstance(function, partial) or function.args:
        return None
    values = [v for value in function.keywords.values() for v in (value if isinstance(value, tuple) else [value])]
    plain = all(isinstance(value, str | int | float | bool) for value in values)
    return {"name": f"{function.func.__module__}.{function.func.__qualname__}", **function.keywords} if plain else None

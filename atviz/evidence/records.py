"""Results on disk: one readable JSON file for each cell of work, found again by what the work depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__, disk, home, shipped


@dataclass
class Store:
    """A folder of records. ``computed`` and ``read`` count what this process did and what it found done.

    Records are also found in the folder ``ready``, which is never written to.
    """

    folder: Path
    ready: Path | None = None
    computed: int = field(default=0, init=False)
    read: int = field(default=0, init=False)

    def cell(self, key: dict[str, Any], compute: Callable[[], Any], *, alone: bool = False) -> Any:
        """The value kept under ``key``; when there is none, ``compute()``, which is kept.

        ``key`` and value must be JSON. A file that was damaged is computed again. ``alone``: where another process of this machine computes
        the same value, this one waits and reads it; for what takes minutes.
        """
        with suppress(KeyError):
            return self.find(key)
        with disk.alone(self.folder / self.name(key), wait=lambda said: None) if alone else nullcontext():
            with suppress(KeyError):
                return self.find(key)
            value = compute()
            self.keep(key, value)
            return value

    def find(self, key: dict[str, Any]) -> Any:
        """The value kept under ``key``; KeyError where there is none, or only a damaged file, or one that was written for another key."""
        for folder in (self.folder, self.ready):
            with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                kept = disk.read_json(folder / self.name(key)) if folder else {}
                if kept["key"] == _plain(key) and _whole(kept):
                    self.read += 1
                    return kept["value"]
        raise KeyError(f"no record of {key}")

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
        disk.write_json(self.folder / self.name(key), kept | {"sha256": _checksum(**kept)}, indent=None)
        self.computed += 1

    @staticmethod
    def name(key: dict[str, Any]) -> str:
        """The name of a record's file."""
        text = json.dumps(key | {"atviz": __version__}, sort_keys=True)  # another version may measure otherwise
        return f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


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


def each(store: Store | None, keys: Sequence[dict[str, Any]], compute: Callable[[list[int]], Iterable[Any]]) -> list[Any]:
    """The values kept under several keys; those that are not kept are computed together, and each is kept as soon as it is there.

    ``compute`` gets the numbers of the missing keys, and yields their values in this order.
    """
    values: dict[int, Any] = {}
    for i, key in enumerate(keys):
        with suppress(KeyError):
            values[i] = store.find(key) if store else values[i]
    missing = [i for i in range(len(keys)) if i not in values]
    for i, value in zip(missing, compute(missing) if missing else (), strict=True):
        values[i] = value
        if store:
            store.keep(keys[i], value)
    return [values[i] for i in range(len(keys))]


def store_of_home() -> Store:
    """The records in ``results/records``, and those that ship."""
    return Store(home() / "results" / "records", shipped("checkpoints", "controls", "records"))


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

"""Image files that were found unreadable are remembered: a set that is streamed is only listed when it is loaded.

`atviz data check NAME` decodes every file once. Later loads leave out what it found, as loads of sets in memory do at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from .. import disk, home
from .decode import attempt
from .folders import SPARE, stamp

AT_ONCE = 1024  # files that are asked for before the first is decoded


def examine(files: Sequence[Path | str], size: int | None) -> dict[int, str]:
    """Decode every file, and remember those that cannot be read: place in ``files`` → what is wrong. No pixels are kept."""
    found: dict[int, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(total=len(files), desc="examining", unit=" images", leave=False) as bar:
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            found |= {place: why for place, why in enumerate(pool.map(lambda path: _wrong(path, size), some), first) if why}
            bar.update(len(some))
    here = {os.path.abspath(path) for path in files}
    others = {path: known for path, known in _known().items() if path not in here}
    disk.write_json(_place(), others | {os.path.abspath(files[i]): [*stamp(files[i]), why] for i, why in found.items()})
    return found


def remembered(files: Sequence[Path | str]) -> dict[int, str]:
    """Which of the files could not be read when they were examined, and have not changed since; none where they are more than `SPARE`."""
    if not (known := _known()):
        return {}
    found = {}
    for place, path in enumerate(files):
        if (entry := known.get(os.path.abspath(path))) and tuple(entry[:2]) == stamp(path):
            found[place] = str(entry[2])
    return found if len(found) <= SPARE * len(files) else {}


def _wrong(path: Path | str, size: int | None) -> str:
    image = attempt(path, size)
    return image if isinstance(image, str) else ""


def _place() -> Path:
    return home() / "data" / "cache" / "unreadable.json"


def _known() -> dict[str, list]:
    """Path → size, time, what is wrong; nothing where the file is not there or is damaged, as it is only a memory."""
    try:
        known = json.loads(_place().read_bytes())
        return {path: entry for path, entry in known.items() if isinstance(entry, list) and len(entry) == 3}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}

"""JSON files of a run or a sweep, and hashes of what they depend on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .. import disk

GOOD = ("done", "left out")  # of a stage of a run


def sha256(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> dict[str, Any]:
    """What a file holds; {} where it is not there or damaged: what it told of is then done again."""
    try:
        found = disk.read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

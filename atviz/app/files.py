"""JSON files of a run or a sweep, complete or not there, and hashes of what they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any


def sha256(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> dict[str, Any]:
    """What a file holds; {} where it is not there or damaged."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def save(path: Path, record: dict[str, Any]) -> None:
    """Write a file, whichever processes and machines write it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    partial.write_text(json.dumps(record, indent=1))
    partial.replace(path)

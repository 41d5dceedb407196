"""The file from which an interrupted training goes on: the last finished epoch and the one before it, each with its checksum."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from .. import disk
from ..models import refused, tensors_only

START = b"atviz training\n"  # then the SHA-256 of the rest, and the rest as torch saves it
DIGITS = 64
DONE = ("epoch", "history", "collapsed_at", "stopped_at")
# what torch and the parts raise for a state that is not theirs
WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, EOFError, OSError)


def before(path: Path) -> Path:
    """Where the epoch before the last one is kept."""
    return path.with_name(f"{path.name}.before")


def keep(path: Path, state: Mapping[str, Any], done: Mapping[str, Any], of: Any) -> None:
    """Keep a finished epoch: the states of the training's parts, what is ``done``, and what training it is ``of``."""
    buffer = io.BytesIO()
    torch.save({"state": dict(state), "done": dict(done), "of": of}, buffer)
    content = buffer.getvalue()
    with disk.replacing(path) as partial:
        partial.write_bytes(START + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        if path.is_file():
            path.replace(before(path))


def forget(path: Path) -> None:
    for file in (path, before(path)):
        file.unlink(missing_ok=True)


def restore(path: Path, parts: Mapping[str, Any], of: Any, device: torch.device) -> dict[str, Any] | None:
    """Load the last epoch that can be read into the parts (model, optimizer, schedule); return what was done, or None where there is none.

    A file that is damaged, or of another training, is named in a warning, and the epoch before is taken; then the parts stay as they are.
    """
    fresh = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    for file, instead in ((path, "the epoch before it" if before(path).is_file() else "the start"), (before(path), "the start")):
        if not file.is_file():
            continue
        try:
            held = _read(file, device)
            if held["of"] != of:
                raise ValueError("it is of another training")
            done = {key: held["done"][key] for key in DONE}
            for name, part in parts.items():
                part.load_state_dict(held["state"][name])
            return done
        except WRONG as error:
            for name, part in parts.items():
                part.load_state_dict(fresh[name])
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            warnings.warn(f"{file} cannot be used ({reason}); the training goes on from {instead}", stacklevel=3)
    return None


def _read(file: Path, device: torch.device) -> dict[str, Any]:
    content = file.read_bytes()
    head, rest = content[: len(START) + DIGITS + 1], content[len(START) + DIGITS + 1 :]
    if not head.startswith(START):
        raise ValueError(f"it does not begin with {START.decode().strip()!r}")
    if head[len(START) :].strip() != hashlib.sha256(rest).hexdigest().encode():
        raise ValueError("its checksum is wrong: it was cut or changed")
    try:
        with tensors_only():
            return torch.load(io.BytesIO(rest), map_location=device, weights_only=True)
    except Exception as error:  # torch has many for what is no state
        raise ValueError(refused(error) or " ".join(str(error).split())[:200]) from error

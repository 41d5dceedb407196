"""Files that are complete or not there: written beside their place, flushed to the disk, and renamed."""

from __future__ import annotations

import errno
import getpass
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

BESIDE = re.compile(r"(.+)\.[\w-]+-\d+-[0-9a-f]{8}\.(?:partial|old)")  # what an interruption may leave

OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES) if os.name == "nt" else (errno.ENOTEMPTY, errno.EEXIST)  # of a rename


def beside(path: Path, kind: str = "partial") -> Path:
    """A new name in the same folder. It says which process of which machine made it."""
    host = re.sub(r"\W+", "-", socket.gethostname())
    return path.with_name(f"{path.name}.{host}-{os.getpid()}-{secrets.token_hex(4)}.{kind}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write a file to. At the end the file takes the place of ``path``, whatever happens meanwhile: a process that is killed, a
    full disk, another process that writes the same file. After an error ``path`` is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(path)
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, *, flushed: bool = True) -> Iterator[Path]:
    """A new folder to fill. At the end it takes the place of ``folder``; after an error ``folder`` is as it was.

    ``flushed`` has the disk hold every file before. For a data set of 100,000 files that takes minutes.

    No system replaces one folder by another in one step. The old one is moved aside first, and `settled` moves it back where a process
    was killed in between.
    """
    partial = beside(folder)
    partial.mkdir(parents=True)
    try:
        yield partial
        for place in [*partial.rglob("*"), partial] if flushed else []:
            flush(place)
        _exchange(partial, folder)
        flush(folder.parent)
        for old in aside(folder):
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(new: Path, folder: Path) -> None:
    while True:
        try:
            new.rename(folder)
            return
        except OSError as error:
            if error.errno not in OCCUPIED:
                raise
        with suppress(FileNotFoundError):  # another process has moved it aside
            folder.rename(beside(folder, "old"))


def settled(folder: Path) -> Path:
    """``folder``; where it is missing because a process was killed in `replacing_folder`, the old one is moved back first."""
    if not folder.exists():
        for old in aside(folder):
            with suppress(OSError):  # another process does the same
                old.rename(folder)
                break
    return folder


def original(place: Path) -> Path:
    """What a name of `beside` was made for."""
    found = BESIDE.fullmatch(place.name)
    return place.with_name(found[1]) if found else place


def aside(path: Path) -> list[Path]:
    """What was moved aside for ``path``, the newest first."""
    found = [place for place in path.parent.glob(f"{_literal(path.name)}.*.old") if BESIDE.fullmatch(place.name)]
    return sorted(found, key=_time, reverse=True)


def _time(place: Path) -> int:
    with suppress(FileNotFoundError):  # another process has removed it, or moved it back
        return place.stat().st_mtime_ns
    return 0


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def flush(path: Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder."""
    if path.is_dir() and os.name != "posix":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: str | bytes) -> None:
    """Write a file as `replacing` does; text as UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a value as JSON, as `replacing` does."""
    write(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_json(path: Path, schema: Path | None = None, what: str = "") -> Any:
    """What a file of JSON holds; with a ``schema``, a file of JSON Schema, only where it fits, and ``what`` is what it should be.

    Raises:
        FileNotFoundError: no such file.
        ValueError: in one sentence, a file that is no JSON, or the first thing that does not fit.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # wrong bytes are ValueErrors, too
        raise ValueError(f"{path} is no JSON ({' '.join(str(error).split())[:120]})") from error
    if schema and (wrong := misfit(value, schema)):
        raise ValueError(f"{path} is not {what}: {wrong}")
    return value


def misfit(value: Any, schema: Path) -> str:
    """Where a value of JSON does not fit a schema, and why; "" where it fits."""
    from jsonschema.exceptions import best_match

    try:
        error = best_match(_validator(schema).iter_errors(value))
    except RecursionError:
        return "it is nested too deeply"
    if error is None:
        return ""
    place, reason = ".".join(map(str, error.absolute_path)), error.message
    return f"{place}: {reason}"[:300] if place else reason[:300]


@cache
def _validator(schema: Path) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema.read_text()))


@contextmanager
def alone(path: Path, *, wait: Callable[[str], object] | None = None) -> Iterator[None]:
    """Only one process of this machine at a time, of those that ask for the same ``path``. Nothing is written beside ``path``.

    Args:
        wait: is told who has it, in a sentence, and then this process waits; None: it does not wait.

    Raises:
        OSError: another process has it, and ``wait`` is None.
    """
    place = Path(tempfile.gettempdir()) / f"atviz-{getpass.getuser()}" / hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:24]
    place.parent.mkdir(mode=0o700, exist_ok=True)
    lock, holder = FileLock(place.with_suffix(".lock")), place.with_suffix(".holder")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        said = ""
        with suppress(OSError):  # it has just begun, or just ended
            said = holder.read_text()
        said = said or "another process"
        if wait is None:
            raise OSError(f"{path.name} is in use by {said}; wait for it, or end it") from None
        wait(f"{path.name} is in use by {said}; waiting for it")
        lock.acquire()
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()

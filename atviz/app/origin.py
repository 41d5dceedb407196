"""Where a run came from: the command that makes it again, the commit of the package, and the time."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ..notebook import Settings

ROOT = Path(__file__).parents[2]


def command(settings: Settings, given: Mapping[str, Any], chosen: Sequence[str], name: str) -> str:
    """The ``atviz run`` that makes a run again, with the options that are not the defaults, ready for a shell.

    ``chosen`` are its notebooks, none for all.
    """
    words = ["atviz", "run"]
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value != field.default and value is not None:
            words += [f"--{field.name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else f"{value}"]
    words += ["--notebooks", ",".join(chosen)] if chosen else []
    for parameter, value in given.items():
        words += ["--set", f"{parameter}={value!r}"]
    return shlex.join([*words, "--name", name])


def commit(root: Path = ROOT) -> str:
    """The commit of a checkout of the package, and whether files differ from it; "" where it is no checkout."""
    if not (root / ".git").exists():
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        said = [_git(root, *words) for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))]
        return said[0] + (" with changes" if said[1] else "")
    return ""


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def now() -> str:
    """The time in UTC: ``2026-01-31 12:00 UTC``."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def project() -> str:
    """The address of the project that the package's metadata name; "" where they name none."""
    with suppress(metadata.PackageNotFoundError):
        urls = dict(line.split(", ", 1) for line in metadata.metadata("atviz").get_all("Project-URL") or [])
        return next((url for url in urls.values() if url.startswith("https://")), "")
    return ""

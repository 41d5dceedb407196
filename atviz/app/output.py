"""How commands print: a table or JSON for the result, and nothing else on stdout."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress: print only where the result lies")]
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def say(text: str, *, err: bool = False) -> None:
    """Print text. What no terminal can show, such as a line break in the name of a folder, is written as an escape."""
    typer.echo("\n".join(printable(line) for line in text.split("\n")), err=err)


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say_json(value: Any) -> None:
    """Print a value as JSON; null stands for numbers that are not finite."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(text.encode("utf-8", "backslashreplace").decode())  # half a surrogate, of a file's name that is no text, as JSON's escape


def plain(value: Any) -> Any:
    """A value as JSON knows it: None for numbers that are not finite, text for paths, lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text below a header, each column as wide as its longest cell."""
    lines = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def size_text(size: float) -> str:
    """A number of bytes in words.

    >>> size_text(0), size_text(2457766), size_text(1023.9 * 2**20)
    ('0 B', '2.3 MiB', '1023.9 MiB')
    """
    unit = 0
    while round(size, 1) >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size:.0f} B"


@contextmanager
def result_alone(asked: bool = True) -> Iterator[None]:
    """While this lasts, what is printed goes to stderr, where ``asked``: stdout then holds the result alone."""
    with redirect_stdout(sys.stderr) if asked else nullcontext():
        yield


@contextmanager
def quietly(asked: bool) -> Iterator[None]:
    """While this lasts, where ``asked``, nothing is printed to stdout and no progress is shown, in processes that are started meanwhile, too.

    Warnings are still shown. It must begin before tqdm is imported, which looks at the environment once.
    """
    if not asked:
        yield
        return
    before, level = os.environ.get("TQDM_DISABLE"), logging.root.manager.disable
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.INFO)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(level)
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before

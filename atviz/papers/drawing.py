"""A figure before it is drawn: which kind of figure, what it shows, and its caption."""

from __future__ import annotations

from typing import Any, NamedTuple


class Drawing(NamedTuple):
    """``kind`` is the name of a function of `notebook.figures`, and ``content`` are its arguments; ``name`` is for the file."""

    kind: str
    content: dict[str, Any]
    name: str
    caption: str

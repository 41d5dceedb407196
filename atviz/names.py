"""Names that a user types: what to say when one is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(what: str, name: str, known: Iterable[str], *, hint: str = "", cutoff: float = 0.4) -> ValueError:
    """The error for an unknown ``name``: it offers the nearest known name, else ``hint``, else all known names."""
    names = list(known)
    near = get_close_matches(name, names, 1, cutoff)
    return ValueError(f"unknown {what} {name!r}; " + (f"did you mean {near[0]!r}?" if near else hint or f"known are {', '.join(names)}"))

"""Checks of what an attack is given, before it calls the model."""

from __future__ import annotations

from collections.abc import Iterable


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """ValueError unless ``value`` is one of ``known``."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}")


def check_count(name: str, value: int, least: int) -> None:
    """ValueError unless ``value`` is at least ``least``."""
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")


def check_size(name: str, value: float, unit: str = "") -> None:
    """ValueError unless ``value`` is at least 0 and finite."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value}; it must be at least 0 and finite{unit}")

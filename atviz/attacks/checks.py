"""Checks of what an attack is given, before it calls the model."""

from __future__ import annotations

from collections.abc import Iterable

from .ball import NORMS


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


def check_ball(norm: str, eps: float) -> None:
    """ValueError unless ``norm`` is known and ``eps`` a radius in pixel units."""
    check_choice("norm", norm, NORMS)
    check_size("eps", eps, ", in pixel units (8/255, not 8)")
    if norm == "linf" and eps > 1:
        raise ValueError(f"eps is {eps}, more than the whole range of a pixel, [0, 1]; for 255ths write {eps:g}/255")

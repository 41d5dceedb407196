"""The sliders of the explore panel: one for each row of the instruments, and those of the attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose
from typing import Any

from ...evidence import Instrument, Study, find
from ...training import eps_text, eval_eps
from ..explore import State, active, recorded, rows

OFF = "off"  # the first stop of a slider whose distortion changes an image at every level
ATTACK = ("eps", "steps")  # the sliders that are fields of `State`; the others are its levels
Stop = tuple[str, Any]  # label and value


def choices(study: Study, levels: Mapping[str, Sequence[float]] | None = None) -> dict[str, tuple[str, list[Stop]]]:
    """The sliders of a study: the name of an instrument, ``eps`` or ``steps`` → title, and the labels and values of its stops.

    With ``levels`` only the sliders of these instruments, with these levels as stops.
    """
    if levels is not None:
        chosen = {name: find(name) for name in levels}
        return {name: (row.short or name, _labeled(row, _weakest_first(row, levels[name]))) for name, row in chosen.items()}
    eps = eval_eps(study.images.name)
    factors = (0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3)
    attack: dict[str, tuple[str, list[Stop]]] = {
        "eps": ("attack ε", [(OFF, 0.0), *((eps_text(eps * factor), eps * factor) for factor in factors)]),
        "steps": ("attack steps", [(str(steps), steps) for steps in (1, 2, 5, 10, 20, 40)]),
    }
    return {name: (row.short or name, _stops(row, study)) for name, row in rows().items()} | attack


def _stops(instrument: Instrument, study: Study) -> list[Stop]:
    return _labeled(instrument, instrument.usable(study.images.shape, stops=True))


def _weakest_first(instrument: Instrument, levels: Sequence[float]) -> list[float]:
    known = instrument.stops or instrument.levels
    return sorted(levels, reverse=known[0] > known[-1])


def _labeled(instrument: Instrument, levels: Sequence[float]) -> list[Stop]:
    values = [float(v) for v in levels]
    original = instrument.original
    if original is not None and original not in values:
        values = [float(original), *values]
    labels = [f"{v:g} (original)" if v == original else f"{v:.3g}" if v < 1000 else f"{v:g}" for v in values]
    return [(OFF, OFF)] * (original is None) + list(zip(labels, values, strict=True))


def with_stop(options: Sequence[Stop], value: Any) -> list[Stop]:
    """A slider's stops and one more, in its place."""
    off, known = [stop for stop in options if stop[1] == OFF], [stop for stop in options if stop[1] != OFF]
    falling = known[0][1] > known[-1][1]
    return off + sorted([*known, (f"{value:g}", value)], key=lambda stop: stop[1], reverse=falling)


def value_of(state: State, name: str) -> Any:
    """The value of a slider at a state."""
    if name in ATTACK:
        return getattr(state, name)
    level = state.level(name)
    return OFF if level is None else level


def moved(state: State, values: Mapping[str, Any]) -> State:
    """The state with its sliders at these values."""
    levels = {name: value for name, value in values.items() if name not in ATTACK and value != OFF}
    return replace(state, levels=levels, **{name: values[name] for name in ATTACK if name in values})


def at_stops(state: State, sliders: Mapping[str, Any]) -> State:
    """The state, each slider at the stop that a link names by a rounded number; distortions without a slider are off."""
    values = {}
    for name, slider in sliders.items():
        value = value_of(state, name)
        stops = [stop for _, stop in slider.options if OFF not in (stop, value) and isclose(stop, value, rel_tol=1e-5)]
        values[name] = stops[0] if stops else value
    return moved(state, values)


def nearest(study: Study, state: State, model: str, sliders: Mapping[str, Any]) -> str:
    """The share of correct images at the nearest stop at which a network was measured, in words: ``68.9 % at 1024``.

    "" where no stop was measured, and where another number of sliders than one is moved. ``model`` is the fingerprint of the network.
    """
    steps = active(state)
    name = steps[0][0] if len(steps) == 1 and not state.eps else "eps" if state.eps and not steps else ""
    if not name:
        return ""
    stops = list(sliders[name].options)
    at = [value for _, value in stops].index(value_of(state, name))
    by_distance = sorted((abs(i - at), label, value) for i, (label, value) in enumerate(stops) if i != at and value not in (OFF, 0.0))
    for _, label, value in by_distance:
        right = recorded(study, moved(state, {**dict(steps), "eps": state.eps, name: value}), {"": model})[""]
        if right is not None:
            return f"{100 * right.mean():.1f} % at {label}"
    return ""

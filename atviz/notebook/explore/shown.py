"""A state in words, as a figure, as a row of a table, and as the Python that draws it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ... import saliency
from ...evidence import Study, find
from ...training import eps_text
from ..settings import Settings
from .state import State, rows
from .view import View, active, check, explore

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def row(study: Study, state: State, settings: Settings) -> dict[str, Any]:
    """The settings of a state in one row: every field, the level of every slider, and the code that draws the figure again."""
    fields = {name: value for name, value in asdict(state).items() if name != "levels"} | {name: state.level(name) for name in rows()}
    return fields | {"models": " ".join(check(study, state)), "dataset": study.images.name, "code": code(state, settings)}


def parting(study: Study, distortion: str, level: float) -> str:
    """The number of the first test image that both networks classify correctly, and that only the subject still classifies correctly
    when it is distorted; "0" where there is none, or only one network. One image proves nothing: this one is chosen because the networks
    part on it."""
    if study.alone:
        return "0"
    found = study.pair.outcomes({distortion: [level]})
    hit = {name: (found.clean[name], found.distorted[name, distortion, float(level)]) for name in study.pair.networks}
    (before, after), (still_before, still_after) = hit[study.baseline], hit[study.subject]
    return str(int((before & ~after & still_before & still_after).argmax()))


def code(state: State, settings: Settings) -> str:
    """Python that draws the figure of a state again."""
    given = {name: value for name, value in settings.literals.items() if value != Settings().literals[name]}
    return "\n".join(
        [
            "from atviz.notebook import open_study",
            "from atviz.notebook.explore import State, figure",
            "",
            f'study, page = open_study("11_explore", {json.dumps(given)})',
            f"figure(study, {state.code})",
        ]
    )


def figure(study: Study, state: State) -> Figure:
    """The view of a state as a figure."""
    from .. import figures

    view = explore(study, state)
    return figures.exploration(
        view.image, view.shown, view.seen, saliency.as_shown(view.maps, state.scale), view.probability,
        classes=study.class_names, label=view.label, note=caption(study, state, view),
    )  # fmt: skip


def caption(study: Study, state: State, view: View) -> str:
    """What is shown, in two sentences."""
    what = f"Test image {state.image}, {study.class_names[view.label]}" if view.label is not None else "An upload, without a true class"
    method = f"{state.method} of {'the true class' if view.label is not None else 'the likeliest class'}"
    method += f" ({view.copies} copies)" if view.copies else ""
    return f"{what}; {words(state)}. {method}, {saliency.SCALES[state.scale]}."


def words(state: State) -> str:
    """The distortions of a state in words, in their order."""
    parts = [find(name).words(level) + (f", style {state.style}" if name == "stylize" else "") for name, level in active(state)]
    parts += [f"attacked by PGD, ε = {eps_text(state.eps)}, {state.steps} steps, each network for itself"] if state.eps else []
    return ", ".join(parts) or "unchanged"

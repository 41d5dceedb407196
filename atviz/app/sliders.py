"""The data of the page's sliders: what the explore panel shows at each stop of each slider, computed once, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .. import disk, saliency
from ..data import stratified
from ..evidence import Study, find
from ..notebook import Settings, explore, figures
from ..notebook.explore import State
from ..notebook.panel.sliders import OFF, choices
from ..notebook.study import study_of
from ..training import eps_text, eval_eps
from .sprites import pack

SCHEMA = Path(__file__).with_name("sliders.schema.json")
IMAGES, NETWORKS = 8, 3
# the sliders of the page, in its order -> title, and what "more" means
TITLES = {
    "saturate": ("Saturation", "level; 2 leaves the image as it is, more drives pixels to black and white"),
    "patch_shuffle": ("Patches", "cut into k × k patches, which are shuffled"),
    "low_pass": ("Low-pass filter", "radius of the frequencies that are kept; lower removes more detail"),
    "high_pass": ("High-pass filter", "radius of the frequencies that are removed; higher keeps only fine detail"),
    "gaussian_blur": ("Blur", "σ in pixels"),
    "median_filter": ("Median filter", "how many times"),
    "stylize": ("Style strength", "α; 1 gives the image the texture of another"),
    "eps": ("Attack", "ε: the most that each pixel may change, of 1"),
}
STOPS, LARGE, FEW = 12, 64, 6  # most stops of a slider; of images that are larger than so many pixels
ATTACKED = (0.0, 0.25, 0.5, 1.0, 1.5)  # multiples of the ε that robustness is measured at
Stop = tuple[str, Any]  # label and value
Frames = dict[str, list[list[Tensor]]]  # sheet -> image -> state


def write_sliders(folder: Path, settings: Settings) -> None:
    """Compute the sliders' data of a run and write them to ``sliders/`` in its folder, complete or not at all.

    Images, probabilities and maps are those of `explore.explore`, with maps by Grad. The shares of test images are read from the records;
    nothing is measured for them.

    Raises:
        ValueError: settings or networks that the explore panel does not take, either.
    """
    write(folder, study_of(settings))


def write(folder: Path, study: Study) -> None:
    """`write_sliders` of a study."""
    names = main(study)
    chosen = stratified(study.images.y, min(len(study.images), IMAGES), study.seed).tolist()
    sliders = {name: stops(study, name) for name in TITLES}
    if not attackable(study, State(image=str(chosen[0]), models=names)):
        del sliders["eps"]
    moved, columns = _states(study, sliders)
    frames, views = _drawn(study, names, chosen, moved)
    sheets = pack(frames)
    labels = [int(study.images.y[i]) for i in chosen]
    used = {c for row in views for view in row for c in (*view["classes"], *view["top"])} | set(labels)
    prints = {name: print_ for name, print_ in explore.fingerprints(study).items() if name in names}
    record = {
        "size": list(sheets.size), "original": list(study.images.shape[1:]), "quality": sheets.quality, "columns": len(moved),
        "attacked_from": next((i for i, state in enumerate(moved) if state.eps), len(moved)), "steps": study.scale.eval_steps,
        "method": State().method, "dataset": study.images.name, "n": len(study.images),
        "models": [{"name": name, "color": figures.look(name)["color"]} for name in names],
        "classes": {str(c): study.class_names[c] for c in sorted(used)},
        "images": [{"number": int(i), "label": label} for i, label in zip(chosen, labels, strict=True)],
        "sliders": [_slider(name, given, columns) for name, given in sliders.items()],
        "shares": [list(_shares(study, state, prints)) for state in moved], "views": views,
    }  # fmt: skip
    with disk.replacing_folder(folder / "sliders") as place:
        disk.write_json(place / "sliders.json", record, indent=None)
        for sheet, content in sheets.files.items():
            disk.write(place / f"{sheet}.webp", content)


def _drawn(study: Study, names: tuple[str, ...], chosen: list[int], moved: list[State]) -> tuple[Frames, list[list[dict[str, Any]]]]:
    """The pictures of every image at every state, by sheet: the distorted image, each network's map and, attacked, what it is given. And
    what the views say in numbers."""
    frames: Frames = {"shown": [], **{f"{kind}-{i}": [] for i in range(len(names)) for kind in ("map", "seen")}}
    numbers = []
    for image in chosen:
        views = [explore.explore(study, replace(state, image=str(image), models=names)) for state in moved]
        attacked = [view for view, state in zip(views, moved, strict=True) if state.eps]
        maps = [saliency.as_shown(view.maps, "map") for view in views]
        frames["shown"].append([view.shown for view in views])
        for i, name in enumerate(names):
            frames[f"map-{i}"].append([shown[name] for shown in maps])
            frames[f"seen-{i}"].append([view.seen[name] for view in attacked])
        numbers.append([_said(view) for view in views])
    return {sheet: rows for sheet, rows in frames.items() if rows[0]}, numbers


def main(study: Study) -> tuple[str, ...]:
    """The main networks of a study: baseline, underfit if there, subject; in the study's order, and with others up to three."""
    first = [study.baseline, *(["underfit"] if "underfit" in study.networks else []), study.subject, *study.networks]
    kept = list(dict.fromkeys(first))[:NETWORKS]
    return tuple(name for name in study.networks if name in kept)


def stops(study: Study, name: str) -> list[Stop]:
    """The stops of a slider: those of the explore panel, or where these are too many the levels of the sweeps, or every few of them."""
    known = choices(study)[name][1]
    if name == "eps":
        return [stop for stop in known if any(np.isclose(stop[1], factor * eval_eps(study.images.name)) for factor in ATTACKED)]
    most = STOPS if max(study.images.shape[1:]) <= LARGE else FEW
    if len(known) <= most:
        return known
    instrument = find(name)
    kept = {OFF, instrument.original, instrument.base, *instrument.usable(study.images.shape)}
    swept = [stop for stop in known if stop[1] in kept]
    if len(swept) <= most:
        return swept
    unchanged = next(i for i, stop in enumerate(swept) if stop[1] in (OFF, instrument.original))
    step = -(-(len(swept) - 1) // (most - 1))
    return [stop for i, stop in enumerate(swept) if (i - unchanged) % step == 0]


def attackable(study: Study, state: State) -> bool:
    """Whether the attack can be made on a state's networks; one that has no gradient cannot be attacked."""
    try:
        explore.explore(study, replace(state, eps=eval_eps(study.images.name), steps=1))
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _states(study: Study, sliders: dict[str, list[Stop]]) -> tuple[list[State], dict[tuple[str, int], int]]:
    """Every state that a slider leads to, the unchanged one first and the attacked ones last; (slider, stop) → number of its state."""
    found, columns = [State()], {}
    for name, given in sliders.items():
        for i, (_, value) in enumerate(given):
            state = State(eps=value, steps=study.scale.eval_steps if value else State().steps) if name == "eps" else _at(name, value)
            if state not in found:
                found.append(state)
            columns[name, i] = found.index(state)
    return found, columns


def _at(name: str, value: Any) -> State:
    return State() if value == OFF else State(levels={name: value})


def _said(view: explore.View) -> dict[str, Any]:
    """What a view says in numbers: some classes, and their probabilities in percent by each network."""
    chosen = figures.likeliest(view.probability, view.label)
    likeliest = [int(p.argmax()) for p in view.probability.values()]
    percent = [[round(100 * float(p[c]), 2) for c in chosen] for p in view.probability.values()]
    return {"classes": [int(c) for c in chosen], "p": percent, "top": likeliest} | (
        {"outside": round(view.outside, 4)} if view.outside else {}
    )


def _shares(study: Study, state: State, prints: dict[str, str]) -> Iterator[dict[str, Any] | None]:
    """For each network how many test images are right at a state, how many without distortion, and how many both ways; None: no record."""
    clean, now = explore.recorded(study, State(), prints), explore.recorded(study, state, prints)
    for name in prints:
        before, right = clean[name], now[name]
        both = None if before is None or right is None else int((before & right).sum())
        yield None if right is None else {"right": int(right.sum()), "clean": None if before is None else int(before.sum()), "both": both}


def _slider(name: str, given: list[Stop], columns: dict[tuple[str, int], int]) -> dict[str, Any]:
    title, axis = TITLES[name]
    said = [_words(name, value, columns[name, i]) for i, (_, value) in enumerate(given)]
    found = [{"label": label, "words": said[i], "column": columns[name, i]} for i, (label, _) in enumerate(given)]
    return {"name": name, "title": title, "axis": axis, "stops": found, "start": [stop["column"] for stop in found].index(0)}


def _words(name: str, value: Any, column: int) -> str:
    if column == 0:
        return "unchanged"
    return f"attacked with ε = {eps_text(value)}" if name == "eps" else find(name).words(value)

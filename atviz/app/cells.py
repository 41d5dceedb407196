"""The cells of a sweep: one network of one data set and seed each, trained and then measured."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__, attacks, disk, evidence
from ..evidence.instruments import ACCURACY, named
from ..notebook import Settings
from ..notebook.study import mean_of
from ..training import Trainer, eval_eps
from . import files


@dataclass(frozen=True)
class Cell:
    """A network of ``settings``, and the distortions that it is measured under. ``name`` holds a hash of all that the cell depends on."""

    name: str
    settings: Settings
    model: str
    distortions: tuple[str, ...]

    @property
    def stops_at(self) -> str:
        """The network that must be trained before this one, or ""."""
        stops = self.settings.recipes.get(self.model) == "underfit" and self.settings.profile != "zoo"
        return self.settings.first(adversarial=True) if stops else ""


def grid(studies: Sequence[Settings], distortions: Sequence[str]) -> list[Cell]:
    """A cell for each network of each of the ``studies``, in their order.

    Images that the user gives by a path may change, so their hash is in the name.

    Raises:
        ValueError: an unknown distortion, one without levels, or two of a kind.
    """
    check_distortions(distortions)
    digests: dict[str, list[str]] = {}
    cells = []
    for settings in studies:
        if ":" in settings.dataset and settings.dataset not in digests:
            images = replace(settings).images  # a copy: the settings stay small
            digests[settings.dataset] = [images.train.digest, images.test.digest] if settings.recipes else [images.test.digest]
        for model in settings.names:
            depends = settings.described | {"model": model, "distortions": list(distortions), "start": settings.start}
            asked = settings.loaded[model].card["sha256"] if model in settings.loaded else settings.recipes[model]
            stop = settings.first(adversarial=True) if asked == "underfit" else ""
            depends |= {"images": digests.get(settings.dataset), "models": [asked, stop], "baseline": "", "subject": ""}
            place = re.sub(r"[^\w.-]+", "-", Path(settings.dataset.replace(":", "/")).name)
            name = f"{place}-{model}-s{settings.seed}-{files.sha256(depends)[:8]}"
            cells.append(Cell(name, replace(settings), model, tuple(distortions)))
    return cells


def usual_distortions() -> tuple[str, ...]:
    """The distortions that a paper makes a claim about, without those that need images or networks of their own."""
    return tuple(name for name, i in named(ACCURACY).items() if i.said and not i.needs & {"stylizer", "mean"})


def check_distortions(names: Sequence[str]) -> None:
    """ValueError for an unknown distortion, one without levels of its own, or two of a kind."""
    for name in names:
        if not evidence.find(name).levels:
            having = ", ".join(known for known, i in named(ACCURACY).items() if i.levels)
            raise ValueError(f"the distortion {name} has no levels of its own; a sweep takes {having}")
    if len(set(names)) < len(names):
        raise ValueError(f"the distortions {', '.join(names)} are not all different")


def check_images(cell: Cell) -> None:
    """Load the images of a cell, which fetches them where they are missing; ValueError for a distortion that they do not allow."""
    images = replace(cell.settings).images
    shape = images.test.shape
    if cell.settings.profile != "zoo":  # which trains nothing
        shape = images.train.shape
    for name in cell.distortions:
        if not evidence.find(name).usable(shape):
            c, h, w = shape
            raise ValueError(f"{name} has no level for the {c}x{h}x{w} images of {cell.settings.dataset}; leave it out, or set --size")


def finished(path: Path) -> bool:
    """Whether a cell's file holds what this version measured."""
    return files.read(path).get("version") == __version__


def measure(cell: Cell, path: Path) -> None:
    """Train a cell's network, or read it, measure it, and write ``path``. A finished cell is not done again."""
    if finished(path):
        return  # the machine went away after it was written and before anybody heard of it
    settings = cell.settings
    network = Trainer(settings).obtain(cell.model)
    test, store = settings.images.test, evidence.store_of_home()
    network.check_fits(test)
    eps = eval_eps(test.name)
    attack = partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=settings.scale.eval_steps)
    found = evidence.robust_accuracy(network.module, test, attack=attack, store=store)
    rows: list[dict[str, Any]] = [
        {"measure": "clean", "level": None, "top1": found["clean"], "acc_on_correct": None, "ci_low": None, "ci_high": None},
        {
            "measure": "robust", "level": eps, "top1": found["robust"], "acc_on_correct": found["defense_success"],
            "ci_low": found["defense_success_low"], "ci_high": found["defense_success_high"],
        },
    ]  # fmt: skip
    rows = [row | {"n": found["n"], "n_correct": found["n_correct"]} for row in rows]
    instruments = [evidence.find(name) for name in cell.distortions]
    needed = frozenset().union(*(i.needs for i in instruments))
    material: dict[str, Any] = {"stylizer": settings.stylizer(max(test.shape[1:]))} if "stylizer" in needed else {}
    if "mean" in needed:
        material["mean"] = mean_of(settings, {cell.model: network})
    levels = {i.name: i.usable(test.shape) for i in instruments}
    swept = evidence.sweep({cell.model: network.module}, test, levels, seed=settings.seed, store=store, material=material)
    rows += [{str(key): value for key, value in row.items()} for row in swept.rename(columns={"distortion": "measure"}).to_dict("records")]
    columns = ("measure", "level", "n", "top1", "n_correct", "acc_on_correct", "ci_low", "ci_high")
    disk.write_json(
        path,
        {
            "version": __version__, "dataset": settings.dataset, "model": cell.model, "seed": settings.seed, "classes": len(test.classes),
            "collapsed_at": network.card.get("collapsed_at"), "rows": [{key: _json(row[key]) for key in columns} for row in rows],
        },
    )  # fmt: skip


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value

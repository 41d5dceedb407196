"""The crossed experiment: which cue decides after training, where shape is the bolder or the fainter, the coarser or the finer of two cues."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data import WORLDS, World, shapetex
from ..training import CatastrophicOverfitting, Recipe, drawn, fit, recipes
from .accuracy import accuracy
from .conflict import cue_conflict

SEEDS = range(5)
RADII = 5  # of each world and norm
L2_WORLDS = ("bold-coarse-shape", "faint-coarse-shape")
TRAIN, TEST, EPOCHS, ARCH, LR = 4000, 2000, 24, "small", 0.05
WATCHED = 500  # test images that are looked at after every epoch
START = 1.25  # the step of the attack in training, in ε (Wong et al. 2020)
L2_STEP = 4 / float(np.sqrt(3 * 32**2))  # the L∞ step of which an L2 radius of 1 is a quarter of the length
HYPOTHESES = ("shape", "larger amplitude", "coarser cue")


@dataclass(frozen=True)
class Cell:
    """One training: images of a world in which ``cue`` tells the class, under an attack of a ``norm`` (``none``, ``linf``, ``l2``)."""

    world: str
    cue: str = "both"
    norm: str = "none"
    eps: float = 0.0
    seed: int = 0


def radii(world: World, norm: str = "linf") -> list[float]:
    """The ε of a world: from a quarter of the weaker cue's amplitude to twice that of the stronger, in equal ratios.

    For L2 the same numbers times √(3 · 32²) / 4, a quarter of the length of an L∞ step in all pixels.

    >>> radii(World(step=0.8, contrast=0.08))
    [0.02, 0.0438, 0.0961, 0.2107, 0.4619]
    """
    weaker, stronger = sorted(world.amplitudes)
    scale = 1.0 if norm == "linf" else 1 / L2_STEP
    return [round(float(eps) * scale, 4) for eps in np.geomspace(weaker / 4, 2 * stronger, RADII)]


def cells(worlds: Iterable[str] = tuple(WORLDS), seeds: Iterable[int] = SEEDS) -> list[Cell]:
    """Every training of the experiment: the cues alone, both without an attack, both under L∞, and in two worlds both under L2."""
    found = []
    for seed in seeds:
        for world in worlds:
            found += [Cell(world, cue, seed=seed) for cue in ("shape", "texture", "both")]
            for norm in ("linf", "l2") if world in L2_WORLDS else ("linf",):
                found += [Cell(world, norm=norm, eps=eps, seed=seed) for eps in radii(WORLDS[world], norm)]
    return found


def recipe(cell: Cell, *, epochs: int = EPOCHS) -> Recipe:
    """How a cell is trained: an attack of one step from a random start (Wong et al. 2020), so that hundreds of trainings fit on two cores.

    This training does not yet carry a conclusion. Trials of one seed, where ε is just above the amplitude of the texture
    (``bold-coarse-shape``, ε = 0.096): with ε that grows over the first half (``warmup``) and one to four steps, or noise (N-FGSM), the
    networks overfit their attack, and decide 3 to 6 % of the conflict images by shape; 40 epochs of three steps: 96 % clean, 15 % under
    PGD of 10 steps, 9 % by shape. ``robust`` of `measured` says so in each row.
    """
    made = recipes.lasting(recipes.get("normal", lr=LR, batch_size=64, augment=None), epochs)
    if cell.norm == "none":
        return made
    return replace(
        made, name=f"{cell.norm}-{cell.eps:g}", attack="pgd", norm=cell.norm, eps=cell.eps, step_size=START * cell.eps, steps=1,
        step="sign" if cell.norm == "linf" else "gradient", random_start=True,
    )  # fmt: skip


def measured(
    world: str, cue: str, norm: str, eps: float, seed: int, *, train: int = TRAIN, test: int = TEST, epochs: int = EPOCHS
) -> dict[str, Any]:
    """Train a cell's network, and what it does then.

    Returns:
        The cell; ``clean`` accuracy on test images of its own kind, ``robust``: under PGD of 10 steps at its ε; ``overfitted``: whether
        training overfitted its attack; ``alone_shape`` and ``alone_texture``: accuracy where only that cue tells the class;
        and of `cue_conflict` ``shape``, ``texture``, ``neither``, ``shape_rank``, ``texture_rank``, ``shape_bias`` and ``n``.
    """
    cell, made = Cell(world, cue, norm, eps, seed), WORLDS[world]
    images = {kind: shapetex(test, cue=kind, seed=2 * seed + 1, world=made) for kind in ("both", "shape", "texture", "conflict")}
    training = shapetex(train, cue=cue, seed=2 * seed, world=made).images
    mean, std = training.channel_stats()
    shape = {"arch": ARCH, "num_classes": len(training.classes), "in_channels": 3, "image_size": 32, "mean": mean, "std": std}
    network = drawn(shape, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CatastrophicOverfitting)  # it is in the row
        report = fit(network, recipe(cell, epochs=epochs), training, images[cue].images[:WATCHED], seed=seed)
    conflict = images["conflict"]
    decided = cue_conflict(network, conflict.images, shape=conflict.shape, texture=conflict.texture)
    return asdict(cell) | {
        "clean": accuracy(network, images[cue].images)["top1"], "robust": report["history"][-1]["robust"],
        "overfitted": report["collapsed_at"] is not None,
        "alone_shape": accuracy(network, images["shape"].images)["top1"],
        "alone_texture": accuracy(network, replace(images["texture"].images, classes=training.classes))["top1"],
        **{name: decided[name] for name in ("shape", "texture", "neither", "shape_rank", "texture_rank", "shape_bias", "n")},
    }  # fmt: skip


def missing(rows: pd.DataFrame, wanted: Sequence[Cell]) -> list[Cell]:
    """The cells that have no row yet."""
    known = {Cell(*row) for row in rows[["world", "cue", "norm", "eps", "seed"]].itertuples(index=False)} if len(rows) else set()
    return [cell for cell in wanted if cell not in known]


@cache
def wavelengths(world: World) -> tuple[float, float]:
    """Of silhouettes and of textures, in shares of the image's side: one over the mean frequency of their power, in images of 32 pixels."""
    drawn, found = shapetex(400, world=world), []
    k = torch.fft.fftfreq(32, 1 / 32, dtype=torch.float64)
    for field in (drawn.mask.double(), drawn.pattern.double()):
        power = torch.fft.fft2(field - field.mean((1, 2), keepdim=True)).abs().square()
        mean = (power * (k[:, None].square() + k.square()).sqrt()).sum((1, 2)) / power.sum((1, 2))
        found.append(float((1 / mean).mean()))
    return found[0], found[1]


def predictions() -> pd.DataFrame:
    """What each hypothesis says of the cue that adversarial training leads to, by world: ``shape``, ``texture`` or ``either``.

    Columns: ``world``; ``amplitude ratio`` and ``scale ratio`` (shape to texture); one column for each of `HYPOTHESES`.
    """
    rows = []
    for name, world in WORLDS.items():
        amplitude, scale = (one / other for one, other in (world.amplitudes, wavelengths(world)))
        said = {"shape": "shape", "larger amplitude": _larger(amplitude), "coarser cue": _larger(scale)}
        rows.append({"world": name, "amplitude ratio": amplitude, "scale ratio": scale} | said)
    return pd.DataFrame(rows)


def _larger(ratio: float) -> str:
    return "either" if 0.8 < ratio < 1.25 else "shape" if ratio > 1 else "texture"


def digest() -> str:
    """What the rows depend on besides their cells: rows of other worlds, or of another training, are not of this experiment."""
    said = {"worlds": {name: asdict(world) for name, world in WORLDS.items()}, "training": [TRAIN, TEST, EPOCHS, ARCH, LR, START]}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

"""The crossed experiment: which of two cues decides after training. In some worlds shape is the bolder cue, in some the fainter; in some the
coarser, in some the finer."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import home, models, shipped
from ..data import WORLDS, ShapeTex, World, shapetex
from ..training import CatastrophicOverfitting, Recipe, describe, drawn, fit, recipes
from . import constructed, controls
from .accuracy import accuracy
from .conflict import cue_conflict
from .intervals import mean_interval

SEEDS = range(5)
RADII = 5  # of each world and norm
L2_WORLDS = ("bold-coarse-shape", "faint-coarse-shape")
SHARES = (0.25, 0.5, 0.75)  # of the images in which one cue is random: the graded controls between one cue alone (1) and both (0)
VIEWS = ("local", "low-passed", "untextured")  # the constructed controls
TRAIN, TEST, EPOCHS, BATCH, ARCH, LR = 8000, 2000, 8, 64, "small", 0.05
STEPS, WARMUP = 5, 0.5  # of the attack in training
READ, COPIES = 400, 16  # images that the instruments see, a quarter of them for saliency, and noisy copies of SmoothGrad
WATCHED = 500  # test images that are looked at after every epoch
L2_STEP = 4 / float(np.sqrt(3 * 32**2))  # the L∞ step of which an L2 radius of 1 is a quarter of the length
CROSSED, READINGS = "crossed.csv", "readings.csv"  # tables: what decides each network, and what each instrument reads on it
HYPOTHESES = ("shape", "larger amplitude", "coarser cue")


@dataclass(frozen=True)
class Cell:
    """One network: what it is trained on, what it can see, and under which attack.

    Args:
        cue: ``both`` cues tell the class; or one of them, ``shape`` or ``texture``.
        share: of the images in which the other cue is random; in the rest it agrees. Only with one cue.
        view: ``all``: an ordinary network. ``local``: `constructed.local`. ``low-passed``: `constructed.low_passed`. ``untextured``: trained
            on images without a texture.
        norm: of the attack in training: ``none``, ``linf`` or ``l2``.
    """

    world: str
    cue: str = "both"
    share: float = 1.0
    view: str = "all"
    norm: str = "none"
    eps: float = 0.0
    seed: int = 0

    @property
    def kind(self) -> str:
        """The network without its world and seed, in words: ``shape-only``, ``texture 0.75``, ``PGD L∞ ε=0.02``."""
        if self.norm != "none":
            return f"PGD {'L∞' if self.norm == 'linf' else 'L2'} ε={self.eps:g}"
        if self.cue == "both":
            return "normal" if self.view == "all" else self.view
        return f"{self.cue}-only" if self.share == 1 else f"{self.cue} {self.share:g}"

    @property
    def label(self) -> str:
        """The name of its folder."""
        how = [self.norm, f"{self.eps:g}"]
        if self.norm == "none":
            how = [self.cue, *([self.view] * (self.view != "all")), f"{self.share:g}"]
        return "-".join([self.world, *how, f"s{self.seed}"])


KEY = [*Cell.__dataclass_fields__]


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
    """Every network of the experiment, seed after seed: in each world the controls, one normal network, and those under L∞; in two under L2."""
    found = []
    for seed in seeds:
        for world in worlds:
            found += [Cell(world, cue, seed=seed) for cue in ("both", "shape", "texture")]
            found += [Cell(world, cue, share, seed=seed) for cue in ("shape", "texture") for share in SHARES]
            found += [Cell(world, view=view, seed=seed) for view in VIEWS]
            for norm in ("linf", "l2") if world in L2_WORLDS else ("linf",):
                found += [Cell(world, norm=norm, eps=eps, seed=seed) for eps in radii(WORLDS[world], norm)]
    return found


def plain(epochs: int = EPOCHS) -> Recipe:
    """Normal training, which the attacks are added to."""
    return recipes.lasting(recipes.get("normal", lr=LR, batch_size=BATCH, augment=None), epochs)


def recipe(cell: Cell, *, epochs: int = EPOCHS) -> Recipe:
    """How a cell is trained."""
    made = plain(epochs)
    if cell.norm == "none":
        return made
    return replace(
        made, name=f"{cell.norm}-{cell.eps:g}", attack="pgd", norm=cell.norm, eps=cell.eps, step_size=cell.eps / 2, steps=STEPS,
        step="sign" if cell.norm == "linf" else "gradient", random_start=True, warmup=WARMUP,
    )  # fmt: skip


def images(cell: Cell, n: int, cue: str = "both", **given: Any) -> ShapeTex:
    """Test images of a cell's world, the same for all cells of a world and seed."""
    return shapetex(n, cue=cue, seed=2 * cell.seed + 1, **{"world": WORLDS[cell.world]} | given)


def _own(cell: Cell) -> dict[str, Any]:
    """How the images of a cell's training are drawn."""
    world = WORLDS[cell.world]
    return {"cue": cell.cue, "share": cell.share, "world": replace(world, contrast=0.0) if cell.view == "untextured" else world}


def network(cell: Cell, *, train: int = TRAIN, epochs: int = EPOCHS) -> tuple[nn.Module, dict[str, Any]]:
    """A cell's network and what its training said (``history``, ``collapsed_at``): kept since its training, else trained and kept."""
    folder = home() / "checkpoints" / "local" / "worlds" / cell.label
    of = {"experiment": digest(), "train": train, "epochs": epochs}
    training = shapetex(train, seed=2 * cell.seed, **_own(cell)).images
    made = _untrained(cell, *training.channel_stats())
    if models.checkpoints.exists(folder):
        state, card = models.checkpoints.read(folder)
        if card["of"] == of:
            made.load_state_dict(state)
            return made.eval(), card["training"]
    watched = images(cell, WATCHED, **_own(cell)).images
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CatastrophicOverfitting)  # it is in the row
        report = fit(made, recipe(cell, epochs=epochs), training, watched, seed=cell.seed)
    last = report["history"][-1]
    card = {
        "model": {}, "recipe": describe(recipe(cell, epochs=epochs)), "seed": cell.seed, "of": of, "cell": asdict(cell), "training": report,
        "metrics": {"clean": last["clean"], "probe": last["robust"]}, "collapsed_at": report["collapsed_at"],
    }  # fmt: skip
    models.checkpoints.save(folder, made.state_dict(), card)
    return made.eval(), report


def _untrained(cell: Cell, mean: list[float], std: list[float]) -> nn.Module:
    if cell.view == "local":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            return constructed.local(num_classes=8, mean=mean, std=std)
    shape = {"arch": ARCH, "num_classes": 8, "in_channels": 3, "image_size": 32, "mean": mean, "std": std, "small_stem": False}
    made = drawn(shape, cell.seed)
    return constructed.low_passed(made) if cell.view == "low-passed" else made


def measured(*cell: Any, train: int = TRAIN, test: int = TEST, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train a cell's network, given as its fields, and what it does then.

    Returns:
        The cell; ``clean`` accuracy on test images of its own kind, ``robust``: under PGD of 10 steps at its ε, on the first of
        the images that are watched in training; ``overfitted``: whether
        training overfitted its attack; ``alone_shape`` and ``alone_texture``: accuracy where only that cue tells the class;
        and of `cue_conflict` ``shape``, ``texture``, ``neither``, ``shape_rank``, ``texture_rank``, ``shape_bias`` and ``n``.
    """
    of = Cell(*cell)
    net, report = network(of, train=train, epochs=epochs)
    alone = {cue: accuracy(net, images(of, test, cue).images)["top1"] for cue in ("shape", "texture")}
    clean = accuracy(net, images(of, test, **_own(of)).images)["top1"]
    conflict = images(of, test, "conflict")
    decided = cue_conflict(net, conflict.images, shape=conflict.shape, texture=conflict.texture)
    return asdict(of) | {
        "clean": clean, "robust": report["history"][-1]["robust"], "overfitted": report["collapsed_at"] is not None,
        "alone_shape": alone["shape"], "alone_texture": alone["texture"],
        **{name: decided[name] for name in ("shape", "texture", "neither", "shape_rank", "texture_rank", "shape_bias", "n")},
    }  # fmt: skip


def read(wanted: Sequence[Cell], *, n: int = READ, train: int = TRAIN, epochs: int = EPOCHS) -> pd.DataFrame:
    """What each instrument reads on networks of one world and seed, on images whose cues agree: a row for each network.

    Columns: those of `KEY`, and one for each instrument of `reliability.judged`. Networks that are not there are trained.
    """
    networks = [controls.Control(of.label, of.seed, of.eps, network(of, train=train, epochs=epochs)[0], {}) for of in wanted]
    found = controls.readings(networks, images(wanted[0], n), saliency_images=n // 4, copies=COPIES)
    wide = found.pivot(index="network", columns="instrument", values="value")
    return pd.concat([pd.DataFrame(map(asdict, wanted)), wide.loc[[of.label for of in wanted]].reset_index(drop=True)], axis=1)


def place(table: str) -> Path:
    """Where the rows of a table, `CROSSED` or `READINGS`, are kept."""
    return home() / "checkpoints" / "worlds" / table


def rows(table: str, experiment: str | None = None) -> pd.DataFrame:
    """The rows of a table that belong to an experiment, this one by default: kept here, else those that ship; an empty table without any."""
    for path in (place(table), shipped("checkpoints", "worlds", table)):
        found = pd.read_csv(path) if path.is_file() else pd.DataFrame()
        if len(found) and len(mine := found[found.experiment == (experiment or digest())]):
            return mine.reset_index(drop=True)
    return pd.DataFrame()


def missing(rows: pd.DataFrame, wanted: Sequence[Cell]) -> list[Cell]:
    """The cells that have no row yet."""
    known = {Cell(*row) for row in rows[KEY].itertuples(index=False)} if len(rows) else set()
    return [cell for cell in wanted if cell not in known]


def summary(rows: pd.DataFrame, norm: str = "linf") -> pd.DataFrame:
    """Means over seeds of what the rows say of the ordinary networks with both cues, normal or trained under a norm, with 95 % t intervals.

    Columns: ``world``, ``eps`` (0: normal), ``measure`` (``by shape``, ``by texture``, ``by neither``, ``clean``, ``robust``), ``value``,
    ``ci_low`` and ``ci_high``, within [0, 1], and ``seeds``.
    """
    names = {"shape": "by shape", "texture": "by texture", "neither": "by neither", "clean": "clean", "robust": "robust"}
    chosen = rows[(rows.cue == "both") & (rows.view == "all") & rows.norm.isin(["none", norm])]
    long = chosen.rename(columns=names).melt(["world", "eps"], list(names.values()), var_name="measure").dropna(subset="value")
    found = []
    for (world, eps, measure), part in long.groupby(["world", "eps", "measure"], sort=False):
        value, low, high = mean_interval(part.value.to_numpy(float))
        found.append(
            {
                "world": world,
                "eps": eps,
                "measure": measure,
                "value": value,
                "ci_low": max(low, 0.0),
                "ci_high": min(high, 1.0),
                "seeds": len(part),
            }
        )
    order = {name: i for i, name in enumerate(WORLDS)}
    return pd.DataFrame(found).sort_values(
        ["world", "eps", "measure"], key=lambda c: c.map(order) if c.name == "world" else c, ignore_index=True
    )


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
    """What the networks depend on besides their cells: rows of other worlds, or of another training, are of another experiment."""
    said = {"worlds": {name: asdict(world) for name, world in WORLDS.items()}, "training": [TRAIN, EPOCHS, BATCH, ARCH, LR, STEPS, WARMUP],
            "read": [TEST, READ, COPIES, WATCHED]}  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

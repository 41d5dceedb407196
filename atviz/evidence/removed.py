"""Controls on real images: networks whose training images lacked something, and what each instrument reads on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import data
from ..data import Images
from ..training import drawn, fit
from . import crossed
from .accuracy import accuracy
from .instruments import ACCURACY, INSTRUMENTS, MAPS, Instrument, find, key
from .intervals import unpaired_difference
from .maps import saliency_scores
from .material import completed
from .outcomes import outcomes
from .sweeps import table

TABLE = "removed.csv"  # beside those of `crossed`
SEEDS = range(5)
DATASET = "fashion"
TRAIN, TEST, EPOCHS = 10_000, 2000, 8
READ, MAPPED, COPIES = 1000, 100, 16  # test images under the distortions, those of which maps are made, and noisy copies of SmoothGrad
PART = 500  # images that are distorted at once


@dataclass(frozen=True)
class Removed:
    """What the training images went through: a distortion at a level, or ``""`` for none; what they then lacked, in words.

    ``shape`` says what follows for the use of shape, by the papers' argument, compared with the normal network: 1 more, −1 less, 0 nothing,
    since a frequency is no shape.
    """

    distortion: str
    level: float
    lacked: str
    shape: int


KINDS = {
    "normal": Removed("", 0, "nothing", 0),
    "shuffled": Removed("patch_shuffle", 4, "the arrangement of the parts", -1),
    "low-passed": Removed("low_pass", 4, "frequencies above 4 cycles per image: fine detail", 0),
    "high-passed": Removed("high_pass", 4, "frequencies up to 4 cycles per image: surfaces and coarse form", 0),
    "binarized": Removed("saturate", 1024, "all gray levels but black and white", 1),
    "stylized": Removed("stylize", 1, "the object's own texture", 1),
}


def without(images: Images, kind: str, *, seed: int = 0) -> Images:
    """The images as networks of a kind see them in training, in 256 steps; random numbers are drawn from ``seed``."""
    of = KINDS[kind]
    if not of.distortion:
        return images
    instrument = find(of.distortion)
    distort = instrument.at(of.level, seed=seed, material=completed(instrument, images, None))
    parts = [(distort(x).clamp(0, 1) * 255).round().byte() for x, _ in images.batches(PART)]
    return replace(images, x=torch.cat(parts), name=f"{images.name}, {kind}")


def instruments() -> dict[str, tuple[Instrument, float]]:
    """The instruments that need no drawn images, at each level that the controls read, by `key`. Color is left out: the images are gray."""
    chosen = [i for i in INSTRUMENTS if i.sign and "mask" not in i.needs and i.name not in ("grayscale", "channel_shuffle")]
    return {key(i.name, level): (i, level) for i in chosen for level in i.judged}


def measured(kind: str, seed: int, *, train: int = TRAIN, test: int = TEST, read: int = READ, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train one network and read the instruments on whole test images.

    Returns:
        ``kind``; ``seed``; ``clean``: accuracy on whole images; ``own``: on images that lack the same; and of each instrument its number,
        accuracy on correct or the mean over maps.
    """
    whole, tested = data.load(DATASET, "train", limit=train), data.load(DATASET, "test", limit=test)
    training, own = without(whole, kind, seed=seed), without(tested, kind, seed=seed)
    mean, std = training.channel_stats()
    shape = {
        "arch": crossed.ARCH, "num_classes": len(whole.classes), "in_channels": whole.shape[0], "image_size": whole.shape[-1], "mean": mean, "std": std,
        "small_stem": False,  # as in the worlds: a third of the time
    }  # fmt: skip
    net = drawn(shape, seed)
    fit(net, crossed.plain(epochs), training, own, seed=seed)
    net.eval()
    row: dict[str, Any] = {"kind": kind, "seed": seed, "clean": accuracy(net, tested)["top1"], "own": accuracy(net, own)["top1"]}
    known = instruments()
    wanted = {i.name: i.judged for i, _ in known.values() if i.reads == ACCURACY}
    found = table(outcomes({kind: net}, tested[:read], wanted)).set_index(["distortion", "level"]).acc_on_correct
    maps = {method: saliency_scores(net, tested[:MAPPED], method=method, copies=COPIES) for method in ("SmoothGrad", "Grad")}
    for name, (i, level) in known.items():
        row[name] = float(maps[i.method][i.number].mean()) if i.reads == MAPS else float(found[i.name, float(level)])
    return row


def rated(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether each instrument reads on the networks what is known of them, one row for each instrument and kind.

    Returns:
        ``instrument``; ``kind``; ``difference``: the reading of the kind minus that of the normal network, signed so that above 0 means more
        shape, with its 95 % interval over seeds ``ci_low``, ``ci_high`` (Welch's t); ``order``: of all pairs of a network of the kind and
        a normal one, the share in which the first reads more shape minus the share in which it reads less, from −1 to 1; ``expected``: 1, −1,
        or 0 where nothing is known, or where the network was trained on the instrument's own distortion; ``verdict``: ``right`` where the
        interval lies on the expected side, ``wrong`` where it lies on the other, else ``uncertain``; ``""`` where nothing is expected.
    """
    found: list[dict[str, Any]] = []
    for name, (i, _) in instruments().items():
        if name not in rows:
            continue
        values = {kind: i.sign * part[name].dropna().to_numpy(float) for kind, part in rows.groupby("kind", sort=False)}
        for kind in (kind for kind in KINDS if kind != "normal" and len(values.get(kind, ())) and len(values.get("normal", ()))):
            difference, low, high = unpaired_difference(values[kind], values["normal"])
            expected = KINDS[kind].shape if KINDS[kind].distortion != i.name else 0  # what a network has practiced says nothing of its cue
            order = float(np.sign(values[kind][:, None] - values["normal"]).mean())
            sides = sorted((expected * low, expected * high))
            verdict = "" if not expected else "right" if sides[0] > 0 else "wrong" if sides[1] < 0 else "uncertain"
            found.append({
                "instrument": name, "kind": kind, "difference": difference, "ci_low": low, "ci_high": high, "order": order,
                "expected": expected, "verdict": verdict,
            })  # fmt: skip
    return pd.DataFrame(found)


def cells(seeds: Sequence[int] = tuple(SEEDS)) -> list[tuple[str, int]]:
    """Every network, seed after seed: its kind and its seed."""
    return [(kind, seed) for seed in seeds for kind in KINDS]


def rows() -> pd.DataFrame:
    """The rows of the networks that were measured: kept here, else those that ship; an empty table without any."""
    return crossed.rows(TABLE, digest())


def digest() -> str:
    """What the networks and their rows depend on."""
    said = {"kinds": {k: asdict(v) for k, v in KINDS.items()}, "training": [DATASET, TRAIN, EPOCHS, crossed.BATCH, crossed.ARCH, crossed.LR],
            "read": [TEST, READ, MAPPED, COPIES]}  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

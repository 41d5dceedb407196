"""Controls: networks whose bias is known, and what each instrument reads on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import models, saliency, shipped
from ..data import SHAPES, Images, ShapeTex
from ..models import check_fits, device_of, fingerprint
from ..training import Plan, Trainer
from .conflict import cue_conflict
from .drawn import DRAWN, READS, SETTINGS
from .instruments import ACCURACY, INSTRUMENTS, key
from .intervals import mean_interval
from .maps import COPIES, map_numbers, method_of
from .outcomes import outcomes
from .records import Store, each
from .sweeps import table

CONTROLS = ("shape-only", "texture-only")
EPS = (0.005, 0.0075, 0.01, 0.015)
SEEDS = (0, 1, 2)
NORM = 2.0  # of the noise of Fourier heat maps: a standard deviation of 1/16 of the range of pixels
STEPS = 3  # of PGD in training; all else is the quick profile's
IMAGES = {"smoke": 64, "quick": 400, "zoo": 400, "full": 2000}  # behind each number, by profile
SALIENCY = {"smoke": (16, 4), "quick": (100, 25), "zoo": (100, 25), "full": (200, 50)}  # images, and noisy copies of SmoothGrad


@dataclass(frozen=True)
class Control:
    """A trained network of the grid; ``name`` says what it was trained on and how, ``card`` is its model card."""

    name: str
    seed: int
    eps: float
    model: nn.Module
    card: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.name}-s{self.seed}"


def grid(eps: Iterable[float] = EPS, seeds: Iterable[int] = SEEDS, *, profile: str = "quick", retrain: bool = False) -> list[Control]:
    """For each seed ``shape-only``, ``texture-only``, ``normal`` and PGD L∞ at each ``eps``.

    The networks are read from ``checkpoints/controls`` where they ship, else from where they were trained before, else trained.
    ``retrain`` ignores the networks that ship. The smoke profile takes the first seed alone.
    """
    plan = [("shape-only", "shapetex-shape", "normal", 0.0), ("texture-only", "shapetex-texture", "normal", 0.0)]
    plan += [("normal", "shapetex", "normal", 0.0), *((f"pgd-inf-{e:g}", "shapetex", f"pgd-inf-{e:g}", float(e)) for e in eps)]
    effort: dict[str, Any] = {"profile": "smoke"} if profile == "smoke" else {"profile": "quick", "train_steps": STEPS}
    found = []
    for seed in list(seeds)[: 1 if profile == "smoke" else None]:
        for name, dataset, recipe, e in plan:
            ready = shipped("checkpoints", "controls", f"{name}-s{seed}")
            if models.checkpoints.exists(ready) and not retrain:
                network = models.load(ready)
            else:
                network = Trainer(Plan(dataset=dataset, seed=seed, **effort)).obtain(recipe)
            if name == "texture-only":  # its class i is the i-th texture, which goes with the i-th shape where both tell the class
                network.module.known = models.Known(list(SHAPES), network.shape)  # type: ignore[assignment]
            found.append(Control(name, seed, e, network.module, network.card))
    return found


def poles(networks: Sequence[Control]) -> dict[str, list[nn.Module]]:
    """The networks of the two single cues, the normal ones and those under the strongest attack: name → the networks of its seeds."""
    strongest = max(networks, key=lambda n: n.eps).name
    return {name: [n.model for n in networks if n.name == name] for name in (*CONTROLS, "normal", strongest)}


def truth(networks: Sequence[Control], conflict: ShapeTex, *, store: Store | None = None) -> pd.DataFrame:
    """True shape bias of each network, one row each: `cue_conflict` with ``network``, ``seed``, ``eps`` and ``clean`` accuracy."""
    rows: list[dict[str, Any]] = []
    for n in networks:
        decided = cue_conflict(n.model, conflict.images, shape=conflict.shape, texture=conflict.texture, store=store)
        rows.append({"network": n.name, "seed": n.seed, "eps": n.eps, "clean": n.card["metrics"]["clean"], **decided})
    return pd.DataFrame(rows)


def readings(
    networks: Sequence[Control], agree: ShapeTex, *, saliency_images: int = 200, copies: int = COPIES, store: Store | None = None
) -> pd.DataFrame:
    """What each instrument reads on each network: ``network``, ``seed``, ``instrument``, ``value``, ``ci_low``, ``ci_high`` (95 %).

    Distortions are read on all images of ``agree``, whose cues agree. Saliency numbers are means over the first ``saliency_images``, those
    of SmoothGrad with so many noisy ``copies``. What needs drawn images is read as `drawn` says.
    """
    known = [(instrument, level) for instrument in (*INSTRUMENTS, *DRAWN) for level in instrument.judged]
    images, mask = agree.images[:saliency_images], agree.mask[:saliency_images]

    def read(missing: list[int]) -> Iterator[dict[str, list[float]]]:
        by_label = {networks[i].label: networks[i].model for i in missing}
        wanted = {i.name: i.judged for i in INSTRUMENTS if i.reads == ACCURACY and i.judged}
        accuracy = table(outcomes(by_label, agree.images, wanted)).set_index(["model", "distortion", "level"])
        for label, model in by_label.items():
            numbers = {method: _of_maps(model, images, mask, map_numbers, method, copies) for method in ("SmoothGrad", "Grad")}
            found = {}
            with TemporaryDirectory() as folder:
                scratch = Store(Path(folder))  # two numbers of one measurement are not measured twice
                for i, level in known:
                    if i.reads == READS:
                        value = i.function(model, agree, scratch)
                    elif i.reads == ACCURACY:
                        value = accuracy.loc[(label, i.name, float(level)), ["acc_on_correct", "ci_low", "ci_high"]]
                    else:
                        value = mean_interval(numbers[i.method][i.number])
                    found[key(i.name, level)] = [float(v) for v in value]
            yield found

    of = {
        "measure": "controls",
        "instruments": [key(i.name, level) for i, level in known],
        "images": agree.images.digest,
        "drawn": SETTINGS,
    }
    keys = [of | {"of maps": saliency_images, "copies": copies, "model": fingerprint(n.model)} for n in networks]
    rows = [
        {"network": n.name, "seed": n.seed, "instrument": name, "value": value, "ci_low": low, "ci_high": high}
        for n, found in zip(networks, each(store, keys, read), strict=True)
        for name, (value, low, high) in found.items()
    ]
    return pd.DataFrame(rows)


def regions(model: nn.Module, images: Images, mask: Tensor, *, method: str = "SmoothGrad", copies: int = COPIES) -> dict[str, np.ndarray]:
    """`saliency.region_shares`, (N,) each, of each image's map for its label; ``mask``, (N, H, W), is the silhouettes' coverage."""
    return _of_maps(model, images, mask, lambda maps, x, mask: saliency.region_shares(maps, mask), method, copies)


def _of_maps(
    model: nn.Module, images: Images, mask: Tensor, measure: Callable[..., dict[str, Tensor]], method: str, copies: int
) -> dict[str, np.ndarray]:
    """``measure(maps, x=x, mask=mask)``, (N,) each, of each image's map for its label."""
    check_fits(model, images)
    device, ask, parts = device_of(model), method_of(method, copies), []
    for (x, y), part in zip(images.batches(100, device=device), mask.split(100), strict=True):
        parts.append(measure(ask(model, x, y), x=x, mask=part.to(device)))
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}


def region_table(
    networks: Sequence[Control], conflict: ShapeTex, *, n: int = 200, copies: int = COPIES, store: Store | None = None
) -> pd.DataFrame:
    """Where SmoothGrad's energy lies when the cues conflict, for the class that each network decides for, on the first ``n`` images.

    One row per network: ``network``, ``seed``, and the mean shares on the silhouette's ``edge``, ``inside`` and ``outside`` it. The first
    row, ``uniform map``, is what a map has that is the same everywhere: the regions' shares of the image.
    """
    images, mask = conflict.images[:n], conflict.mask[:n]
    uniform = saliency.region_shares(torch.ones_like(mask)[:, None], mask)

    def look(missing: list[int]) -> Iterator[dict[str, float]]:
        for model in (networks[i].model for i in missing):
            decided = replace(images, y=models.predict(model, images.batches(500, device=device_of(model)))[:, 0])
            yield {name: float(v.mean()) for name, v in regions(model, decided, mask, copies=copies).items()}

    keys = [{"measure": "region table", "copies": copies, "model": fingerprint(n.model), "images": images.digest} for n in networks]
    found = zip(networks, each(store, keys, look), strict=True)
    first: dict[str, Any] = {"network": "uniform map", "seed": None, **{name: float(v.mean()) for name, v in uniform.items()}}
    return pd.DataFrame([first, *({"network": n.name, "seed": n.seed, **shares} for n, shares in found)])

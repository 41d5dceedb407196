"""Networks whose bias is known, and what each instrument of the toolkit reads on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from . import checkpoints, data, evaluate, findings, home, models, recipes, saliency, scores, shipped, study
from .data import Images
from .distortions import DISTORTIONS
from .intervals import Z95, mean_interval
from .notebook import Notebook
from .records import Store
from .stylize import Stylizer, load_adain, load_styles
from .synthetic import ShapeTex, shapetex

CONTROLS = ("shape-only", "texture-only")
EPS = (0.005, 0.0075, 0.01, 0.015)
SEEDS = (0, 1, 2)
STEPS = 3  # of PGD in training; all else is the quick profile's
IMAGES = {"smoke": 64, "quick": 400, "zoo": 400, "full": 2000}  # behind each number, by profile


@dataclass(frozen=True)
class Instrument:
    """A number taken for a sign of shape bias: by the papers' argument more of it means more (``sign`` 1) or less (−1).

    ``measure`` and ``level`` are a distortion, whose number is accuracy on correct, or a saliency number, at level 0.
    """

    measure: str
    level: float
    sign: int
    title: str

    @property
    def name(self) -> str:
        return findings.key(self.measure, self.level)


INSTRUMENTS = [
    Instrument("saturate", 1024, 1, "saturated to 1024"),
    Instrument("patch_shuffle", 2, -1, "2 × 2 patches shuffled"),
    Instrument("patch_shuffle", 4, -1, "4 × 4 patches shuffled"),
    Instrument("low_pass", 4, 1, "low-pass, radius 4"),
    Instrument("high_pass", 4, -1, "high-pass, radius 4"),
    Instrument("random_modes", 0.1, 1, "a tenth of the modes removed"),
    Instrument("stylize", 1, 1, "stylized (α = 1)"),
    Instrument("gaussian_blur", 2, 1, "blurred, σ = 2"),
    Instrument("median_filter", 1, 1, "median-filtered once"),
    Instrument("sparsity", 0, 1, "sparsity of Grad (Gini)"),
    Instrument("edges", 0, 1, "Grad with edges (Spearman)"),
    Instrument("coarse", 0, 1, "Grad up to 4 cycles (share)"),
    Instrument("edge", 0, 1, "Grad on the outline (share)"),
    Instrument("inside", 0, -1, "Grad inside it (share)"),
]


@dataclass(frozen=True)
class Network:
    """A trained network of the grid; ``name`` says what it was trained on and how, ``card`` is its checkpoint's."""

    name: str
    seed: int
    eps: float
    model: nn.Module
    card: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.name}-s{self.seed}"


def grid(eps: Iterable[float] = EPS, seeds: Iterable[int] = SEEDS, *, profile: str = "quick", retrain: bool = False) -> list[Network]:
    """For each seed ``shape-only``, ``texture-only``, ``normal`` and PGD L∞ at each ``eps``.

    They are read from ``checkpoints/controls`` where they ship, else trained, or read where they have been; ``retrain`` passes over
    the shipped ones, and the smoke profile over all seeds but the first.
    """
    plan = [("shape-only", "shapetex-shape", "normal", 0.0), ("texture-only", "shapetex-texture", "normal", 0.0)]
    plan += [("normal", "shapetex", "normal", 0.0), *((f"pgd-inf-{e:g}", "shapetex", f"pgd-inf-{e:g}", float(e)) for e in eps)]
    found = []
    for seed in list(seeds)[: 1 if profile == "smoke" else None]:
        for name, dataset, recipe, e in plan:
            ready = shipped("checkpoints", "controls", f"{name}-s{seed}")
            if checkpoints.exists(ready) and not retrain:
                model, card = study.load_checkpoint(ready)
            else:
                model, card = _train(dataset, recipe, seed, profile)
            found.append(Network(name, seed, e, model, card))
    return found


def _train(dataset: str, recipe: str, seed: int, profile: str) -> tuple[nn.Module, dict[str, Any]]:
    effort: dict[str, Any] = {"profile": "smoke"} if profile == "smoke" else {"profile": "quick", "train_steps": STEPS}
    made = study.Study(study.Settings(dataset=dataset, seed=seed, **effort))
    return made.obtain(recipe), made.cards[recipe]


def open_controls(profile: str, eps: float, *, out: str = "") -> Notebook:
    """The study behind notebook 00: drawn images, the normal network and the adversarial one of ``eps``; the zoo's run measures as much
    as the quick profile."""
    settings = study.Settings("shapetex", "quick" if profile == "zoo" else profile, models=("normal", f"pgd-inf-{eps:g}"))
    return Notebook(settings, name="00_controls", out=out)


def truth(networks: Sequence[Network], conflict: ShapeTex, *, store: Store | None = None) -> pd.DataFrame:
    """True shape bias of each network, a row each: `evaluate.cue_conflict` with ``network``, ``seed``, ``eps`` and ``clean`` accuracy."""
    rows: list[dict[str, Any]] = []
    for n in networks:
        decided = evaluate.cue_conflict(n.model, conflict.images, shape=conflict.shape, texture=conflict.texture, store=store)
        rows.append({"network": n.name, "seed": n.seed, "eps": n.eps, "clean": n.card["metrics"]["clean"], **decided})
    return pd.DataFrame(rows)


def bias_curve(bias: pd.DataFrame) -> pd.DataFrame:
    """Shape bias against eps of the networks trained on both cues: mean over seeds, its 95 % normal interval, number of seeds."""
    rows = []
    for eps, part in bias[~bias.network.isin(CONTROLS)].groupby("eps"):
        mean, low, high = mean_interval(part.shape_bias.to_numpy())
        rows.append({"eps": eps, "shape_bias": mean, "ci_low": np.clip(low, 0, 1), "ci_high": np.clip(high, 0, 1), "seeds": len(part)})
    return pd.DataFrame(rows)


def readings(networks: Sequence[Network], agree: ShapeTex, *, saliency_images: int = 200, store: Store | None = None) -> pd.DataFrame:
    """What each of `INSTRUMENTS` reads on each network: ``network``, ``seed``, ``instrument``, ``value``, ``ci_low``, ``ci_high`` (95 %).

    Distortions are read on all images of ``agree``, whose cues agree; saliency numbers, means over images, on the first ``saliency_images``.
    """
    by_label = {n.label: n.model for n in networks}
    wanted: dict[str, list[float]] = {}
    for i in INSTRUMENTS:
        if i.measure in DISTORTIONS:
            wanted.setdefault(i.measure, []).append(i.level)
    found = evaluate.outcomes(by_label, agree.images, wanted, store=store)
    painted = evaluate.outcomes(by_label, _stylized(agree.images), {}, store=store).clean  # painted once for all networks
    found = replace(found, distorted=found.distorted | {(model, "stylize", 1.0): hit for model, hit in painted.items()})
    accuracy = evaluate.table(found).set_index(["model", "distortion", "level"])
    images, mask = agree.images[:saliency_images], agree.mask[:saliency_images]
    rows: list[dict[str, Any]] = []
    for n in networks:
        numbers = scores.saliency_scores(n.model, images, store=store) | regions(n.model, images, mask)
        for i in INSTRUMENTS:
            if i.level:
                value, low, high = accuracy.loc[(n.label, i.measure, i.level), ["acc_on_correct", "ci_low", "ci_high"]]
            else:
                value, low, high = mean_interval(numbers[i.measure])
            rows.append({"network": n.name, "seed": n.seed, "instrument": i.name, "value": value, "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows)


def _stylized(images: Images) -> Images:
    painter = Stylizer(load_adain("small"), load_styles("procedural", size=images.x.shape[-1]), alpha=1.0)
    painted = torch.cat([painter(x) for x, _ in images.batches(500)])
    return replace(images, x=(painted * 255).round().byte())


def regions(model: nn.Module, images: Images, mask: Tensor) -> dict[str, np.ndarray]:
    """`saliency.region_shares`, (N,) each, of each image's Grad map for its label; ``mask``, (N, H, W), is the silhouettes' coverage."""
    parts = [
        saliency.region_shares(saliency.grad(model, x, y), part) for (x, y), part in zip(images.batches(100), mask.split(100), strict=True)
    ]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def region_table(networks: Sequence[Network], conflict: ShapeTex, *, n: int = 200) -> pd.DataFrame:
    """Where Grad's energy lies when the cues conflict, for the class that each network decides for, on the first ``n`` images.

    A row a network: ``network``, ``seed``, and the mean shares on the silhouette's ``edge``, ``inside`` and ``outside`` it. The first
    row, ``uniform map``, is what a map has that is the same everywhere: the regions' shares of the image.
    """
    images, mask = conflict.images[:n], conflict.mask[:n]
    uniform = saliency.region_shares(torch.ones_like(mask)[:, None], mask)
    rows: list[dict[str, Any]] = [{"network": "uniform map", "seed": None, **{name: float(v.mean()) for name, v in uniform.items()}}]
    for network in networks:
        decided = replace(images, y=models.predict(network.model, images.batches(500))[:, 0])
        found = regions(network.model, decided, mask)
        rows.append({"network": network.name, "seed": network.seed, **{name: float(v.mean()) for name, v in found.items()}})
    return pd.DataFrame(rows)


def reliability(bias: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """How far each instrument can be trusted as a sign of shape bias, a row each.

    Columns: ``instrument``; ``expected`` (``higher`` or ``lower`` with more shape bias, by the papers' argument); ``shape_only`` and
    ``texture_only`` (the two controls' readings, mean over seeds); ``gap`` (their difference, signed so that above 0 is as expected)
    with its 95 % interval ``gap_low``, ``gap_high``; ``rho`` (Spearman's correlation of reading and true bias over all networks,
    signed alike) with its 95 % interval ``rho_low``, ``rho_high`` from 2,000 resamplings of the networks; ``rho_both`` (the same
    over the networks trained on both cues); ``networks``; ``verdict``; ``why``.

    The gap's standard error joins, of each control, its image error and the spread of its seeds. ``reliable``: the intervals of gap
    and rho lie above 0. ``unreliable``: one of them lies below. ``uncertain``: neither.
    """
    rng, rows = np.random.default_rng(0), []
    for i in INSTRUMENTS:
        merged = read[read.instrument == i.name].merge(bias[["network", "seed", "shape_bias"]], on=["network", "seed"])
        merged = merged.dropna(subset=["value", "shape_bias"])
        part = {name: merged[merged.network == name] for name in CONTROLS}
        if any(p.empty for p in part.values()):
            continue
        mean = {name: float(p.value.mean()) for name, p in part.items()}
        gap = i.sign * (mean["shape-only"] - mean["texture-only"])
        half = Z95 * np.sqrt(sum(_variance(p) for p in part.values()))
        rho, rho_low, rho_high = _rank_interval(merged.value.to_numpy() * i.sign, merged.shape_bias.to_numpy(), rng)
        both = merged[~merged.network.isin(CONTROLS)]
        row = {
            "instrument": i.name, "expected": "higher" if i.sign > 0 else "lower", "shape_only": mean["shape-only"],
            "texture_only": mean["texture-only"], "gap": gap, "gap_low": gap - half, "gap_high": gap + half,
            "rho": rho, "rho_low": rho_low, "rho_high": rho_high,
            "rho_both": _spearman(both.value.to_numpy()[None] * i.sign, both.shape_bias.to_numpy()[None])[0] if len(both) > 2 else np.nan,
            "networks": len(merged),
        }  # fmt: skip
        rows.append(row | _verdict(row))
    return pd.DataFrame(rows)


def _variance(control: pd.DataFrame) -> float:
    """Variance of a control's mean reading: that of its images, which all seeds share, and that of its seeds."""
    images = float(((control.ci_high - control.ci_low) / (2 * Z95)).pow(2).mean())
    return images + (float(control.value.var(ddof=1)) / len(control) if len(control) > 1 else 0.0)


def _verdict(row: dict[str, Any]) -> dict[str, str]:
    why = []
    if not row["gap_low"] > 0:
        failed = "orders {} wrongly" if row["gap_high"] < 0 else "does not tell {} apart"
        why.append(failed.format("the shape-only and the texture-only network"))
    if not row["rho_low"] > 0:
        why.append("falls as the true bias rises" if row["rho_high"] < 0 else "does not rank the networks by their true bias")
    bad = row["gap_high"] < 0 or row["rho_high"] < 0
    return {"verdict": "unreliable" if bad else "uncertain" if why else "reliable", "why": " and ".join(why)}


def _rank_interval(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Spearman's correlation with its 95 % percentile interval over 2,000 resamplings of the pairs; nan for fewer than three."""
    if len(a) < 3:
        return float("nan"), float("nan"), float("nan")
    drawn = rng.integers(len(a), size=(2000, len(a)))
    low, high = np.percentile(_spearman(a[drawn], b[drawn]), [2.5, 97.5])
    return float(_spearman(a[None], b[None])[0]), float(low), float(high)


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two (R, N) arrays."""
    return saliency.rank_correlation(torch.tensor(a), torch.tensor(b)).numpy()


def summary(trust: pd.DataFrame) -> str:
    """What `reliability` says of the instruments, as a sentence."""
    titles = {i.name: i.title for i in INSTRUMENTS}
    named = {v: [titles[name] for name in trust[trust.verdict == v].instrument] for v in ("reliable", "unreliable", "uncertain")}
    return "As signs of shape bias, " + "; ".join(f"{verdict}: {', '.join(names) or 'none'}" for verdict, names in named.items()) + "."


def ship() -> Path:
    """Train the grid where it is missing, store it in 16 bits in ``checkpoints/controls``, and write what it says of the instruments.

    Each card's accuracy is that of the stored weights. ``verdicts.json``, which `findings` reads, is of the full profile's images.
    """
    folder, store = home() / "checkpoints" / "controls", Store(home() / "results" / "records")
    for n in grid():
        if not checkpoints.exists(folder / n.label):
            checkpoints.save(folder / n.label, *_halved(n))
    networks = grid()
    agree, conflict = (shapetex(IMAGES["full"], cue=cue, seed=1) for cue in ("both", "conflict"))
    bias = truth(networks, conflict, store=store)
    read = readings(networks, agree, saliency_images=recipes.profile("full").saliency_images, store=store)
    record = {
        "command": "atviz controls", "images": IMAGES["full"], "networks": len(networks), "biases": bias.round(4).to_dict("records"),
        "instruments": {row["instrument"]: row for row in reliability(bias, read).round(4).to_dict("records")},
    }  # fmt: skip
    (folder / "verdicts.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return folder


def _halved(network: Network) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State of a network with its floating-point numbers in 16 bits, and its card with the accuracy that these have."""
    state = models.halve(network.model)
    card, of = network.card, network.card["data"]
    test = data.load(of["name"], "test", limit=of["test"])
    return state, card | {"metrics": card["metrics"] | {"clean": evaluate.accuracy(network.model, test)["top1"]}, "stored": "float16"}

"""Networks whose bias is known, and what each instrument of the toolkit reads on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from . import evaluate
from .data import Images
from .intervals import Z95, mean_interval
from .records import Store
from .saliency import rank_correlation
from .study import Settings, Study
from .synthetic import ShapeTex


@dataclass(frozen=True)
class Instrument:
    """A number that is taken for a sign of shape bias: ``sign`` is 1 where more of it is said to mean more, −1 where less."""

    name: str
    distortion: str  # of `distortions.DISTORTIONS`; "" for a saliency number
    level: float
    sign: int
    title: str


INSTRUMENTS = [
    Instrument("saturate", "saturate", 1024, 1, "accuracy on correct,\nsaturated to 1024"),
    Instrument("patch_shuffle-2", "patch_shuffle", 2, -1, "accuracy on correct,\n2 × 2 patches shuffled"),
    Instrument("patch_shuffle-4", "patch_shuffle", 4, -1, "accuracy on correct,\n4 × 4 patches shuffled"),
    Instrument("low_pass", "low_pass", 4, 1, "accuracy on correct,\nlow-pass, radius 4"),
    Instrument("high_pass", "high_pass", 4, -1, "accuracy on correct,\nhigh-pass, radius 4"),
    Instrument("stylize", "stylize", 1, 1, "accuracy on correct,\nstylized"),
    Instrument("gaussian_blur", "gaussian_blur", 2, 1, "accuracy on correct,\nblurred, σ = 2"),
    Instrument("median_filter", "median_filter", 1, 1, "accuracy on correct,\nmedian-filtered once"),
    Instrument("sparsity", "", 0, 1, "sparsity of Grad\n(Gini)"),
    Instrument("edges", "", 0, 1, "edge agreement of Grad\n(Spearman)"),
    Instrument("coarse", "", 0, 1, "share of Grad's energy\nup to 4 cycles per image"),
]


@dataclass(frozen=True)
class Network:
    """A trained network of the grid: ``name`` tells what it was trained on and how."""

    name: str
    seed: int
    eps: float
    model: nn.Module


def networks(eps: Sequence[float], seeds: Sequence[int], *, profile: str = "quick", arch: str = "") -> list[Network]:
    """The grid: for each seed ``shape-only``, ``texture-only``, ``normal`` and PGD L∞ at each ``eps``; read, or trained where missing."""
    plan = [
        ("shape-only", "shapetex-shape", "normal", 0.0),
        ("texture-only", "shapetex-texture", "normal", 0.0),
        ("normal", "shapetex", "normal", 0.0),
    ]
    plan += [(f"pgd-inf-{e}", "shapetex", f"pgd-inf-{e}", e) for e in map(float, eps)]
    studies = {dataset: Study(Settings(dataset=dataset, profile=profile, arch=arch)) for _, dataset, _, _ in plan}
    return [Network(name, seed, e, studies[dataset].obtain(recipe, seed=seed)) for seed in seeds for name, dataset, recipe, e in plan]


def truth(networks: Sequence[Network], conflict: ShapeTex, *, store: Store | None = None) -> pd.DataFrame:
    """True shape bias of each network, a row each: `evaluate.cue_conflict` with ``network``, ``seed`` and ``eps``."""
    rows: list[dict[str, Any]] = []
    for n in networks:
        decided = evaluate.cue_conflict(n.model, conflict.images, shape=conflict.shape, texture=conflict.texture, store=store)
        rows.append({"network": n.name, "seed": n.seed, "eps": n.eps, **decided})
    return pd.DataFrame(rows)


def readings(
    networks: Sequence[Network],
    images: Images,
    *,
    own: evaluate.Distortions | None = None,
    saliency_images: int = 200,
    store: Store | None = None,
) -> pd.DataFrame:
    """What each instrument reads on each network, a row each: ``network``, ``seed``, ``instrument``, ``value``, ``ci_low``, ``ci_high``.

    Args:
        images: on which the cues agree.
        own: distortions that have no name in `distortions.DISTORTIONS`, such as ``{"stylize": {1: …}}``; an instrument of neither kind is left out.
    """
    own = own or {}
    wanted: dict[str, Any] = {}
    for i in INSTRUMENTS:
        if i.distortion in evaluate.DISTORTIONS:
            wanted.setdefault(i.distortion, []).append(i.level)
    sample = images.sample(min(saliency_images, len(images)))
    rows: list[dict[str, Any]] = []
    for n in networks:
        swept = evaluate.sweep({n.name: n.model}, images, {**wanted, **own}, store=store)
        measured = {(row.distortion, row.level): row for row in swept.itertuples()}
        scores = evaluate.saliency_scores(n.model, sample, store=store)
        for i in INSTRUMENTS:
            row: dict[str, Any] = {"network": n.name, "seed": n.seed, "instrument": i.name}
            if not i.distortion:
                mean, low, high = mean_interval(scores[i.name])
                rows.append(row | {"value": mean, "ci_low": low, "ci_high": high})
            elif found := measured.get((i.distortion, i.level)):
                rows.append(row | {"value": found.acc_on_correct, "ci_low": found.ci_low, "ci_high": found.ci_high})
    return pd.DataFrame(rows)


def reliability(bias: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """How far each instrument can be trusted, a row each.

    Columns: ``instrument``; ``expected`` (``higher`` or ``lower`` with more shape bias); ``shape_only`` and ``texture_only`` (mean
    reading of the two controls); ``orders_controls`` (whether these differ the expected way, by more than their 95 % intervals
    allow); ``rho`` (Spearman's correlation of reading and true bias over all networks but the two controls, signed so that 1 is as
    expected); ``rho_all`` (with the controls); ``rho_low``, ``rho_high`` (95 %, bootstrap over networks); ``networks``; ``verdict``:
    ``reliable`` where the controls are ordered rightly and the whole interval of ``rho`` is above 0, ``unreliable`` where the
    controls are ordered wrongly or the whole interval lies below 0, else ``uncertain``.
    """
    rng, rows = np.random.default_rng(0), []
    for i in INSTRUMENTS:
        merged = read[read.instrument == i.name].merge(bias[["network", "seed", "shape_bias"]], on=["network", "seed"])
        if merged.empty:
            continue
        controls = {name: merged[merged.network == name] for name in ("shape-only", "texture-only")}
        mean = {name: float(part.value.mean()) for name, part in controls.items()}
        half = {name: float((part.ci_high - part.ci_low).mean() / 2) / np.sqrt(max(1, len(part))) for name, part in controls.items()}
        gap = i.sign * (mean["shape-only"] - mean["texture-only"])
        margin = np.hypot(half["shape-only"], half["texture-only"])
        others = merged[~merged.network.isin(controls)].dropna(subset=["value", "shape_bias"])
        values, truths = others.value.to_numpy() * i.sign, others.shape_bias.to_numpy()
        rho, low, high = _rank_interval(values, truths, rng)
        orders = "rightly" if gap > margin else "wrongly" if gap < -margin else "not at all"
        good, bad = orders == "rightly" and low > 0, orders == "wrongly" or high < 0
        rows.append({
            "instrument": i.name, "expected": "higher" if i.sign > 0 else "lower", "shape_only": mean["shape-only"],
            "texture_only": mean["texture-only"], "orders_controls": orders, "rho": rho, "rho_low": low, "rho_high": high,
            "rho_all": float(_spearman(merged.value.to_numpy()[None] * i.sign, merged.shape_bias.to_numpy()[None])[0]),
            "networks": len(others), "verdict": "reliable" if good else "unreliable" if bad else "uncertain",
        })  # fmt: skip
    return pd.DataFrame(rows)


def summary(trust: pd.DataFrame) -> str:
    """What `reliability` says of the instruments, as the end of a sentence."""
    named = {v: ", ".join(trust[trust.verdict == v].instrument) for v in ("reliable", "unreliable", "uncertain")}
    return "".join(f"; {verdict} as a sign of shape bias: {names}" for verdict, names in named.items() if names)


def _rank_interval(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Spearman's correlation with its 95 % percentile interval over 2,000 resamplings of the pairs; nan for fewer than three."""
    if len(a) < 3:
        return float("nan"), float("nan"), float("nan")
    drawn = rng.integers(len(a), size=(2000, len(a)))
    low, high = np.percentile(_spearman(a[drawn], b[drawn]), [2.5, 97.5])
    return float(_spearman(a[None], b[None])[0]), float(low), float(high)


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two (R, N) arrays."""
    return rank_correlation(torch.tensor(a), torch.tensor(b)).numpy()


def bias_curve(bias: pd.DataFrame) -> pd.DataFrame:
    """Shape bias against eps, a row an eps of the networks trained on both cues: mean over seeds, its 95 % normal interval, and their number."""
    rows = []
    for eps, part in bias[~bias.network.isin(["shape-only", "texture-only"])].groupby("eps"):
        mean, count = float(part.shape_bias.mean()), len(part)
        half = Z95 * float(part.shape_bias.std(ddof=1)) / np.sqrt(count) if count > 1 else 0.0
        rows.append({"eps": eps, "shape_bias": mean, "ci_low": max(0.0, mean - half), "ci_high": min(1.0, mean + half), "seeds": count})
    return pd.DataFrame(rows)

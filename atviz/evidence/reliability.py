"""How far each instrument can be trusted as a sign of shape bias: its readings compared with networks of known bias."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..saliency import rank_correlation
from .claims import MARGIN
from .controls import CONTROLS
from .drawn import DRAWN
from .instruments import INSTRUMENTS, Instrument, key
from .intervals import Z95, mean_interval, t_quantile


def judged() -> dict[str, tuple[Instrument, float]]:
    """The instruments that the controls read, at each of their levels, by `key`."""
    return {key(i.name, level): (i, level) for i in (*INSTRUMENTS, *DRAWN) for level in i.judged}


def titles() -> dict[str, str]:
    """What the judged instruments are called in tables and figures."""
    return {name: i.words(level) for name, (i, level) in judged().items()}


def bias_curve(bias: pd.DataFrame) -> pd.DataFrame:
    """Shape bias against eps of the networks trained on both cues: mean over seeds, its 95 % t interval, number of seeds."""
    rows = []
    for eps, part in bias[~bias.network.isin(CONTROLS)].groupby("eps"):
        mean, low, high = mean_interval(part.shape_bias.to_numpy())
        rows.append({"eps": eps, "shape_bias": mean, "ci_low": np.clip(low, 0, 1), "ci_high": np.clip(high, 0, 1), "seeds": len(part)})
    return pd.DataFrame(rows)


def reliability(bias: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """How far each instrument can be trusted as a sign of shape bias, one row each.

    Columns: ``instrument``; ``expected`` (``higher`` or ``lower`` with more shape bias, by the papers' argument; empty where an
    instrument is no sign of shape); ``shape_only`` and ``texture_only`` (the two controls' readings, mean over seeds); ``gap`` (their
    difference, signed so that above 0 is as expected; shape-only minus texture-only where nothing is expected)
    with its 95 % interval ``gap_low``, ``gap_high``; ``rho`` (Spearman's correlation of reading and true bias over all networks,
    signed alike) with its 95 % interval ``rho_low``, ``rho_high`` from 2,000 resamplings of the networks; ``rho_both`` (the same
    over the networks trained on both cues); ``networks``; ``verdict``; ``why``.

    The gap's variance joins, of each control, that of its images and that of its seeds: v = Σ image variance + Σ s²/n. Its interval
    is gap ± t · √v, with Student's t of the Welch–Satterthwaite degrees of freedom v² / Σ (s²/n)²/(n − 1), in which the image
    variances count as known; with one seed per control, t is 1.96.

    ``reliable``: the intervals of gap and rho lie above 0. ``unreliable``: one of them lies below. ``uncertain``: neither. An
    instrument that is no sign of shape, such as brightness, is a ``rival`` where the whole interval of the gap lies beyond `MARGIN`: what
    it measures could explain another instrument's reading. It is ``no rival`` where the whole interval lies within, else ``uncertain``.
    """
    rows = []
    for name, (i, _) in judged().items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))  # of its own: a further instrument changes no other's interval
        merged = read[read.instrument == name].merge(bias[["network", "seed", "shape_bias"]], on=["network", "seed"])
        merged = merged.dropna(subset=["value", "shape_bias"])
        part = {control: merged[merged.network == control] for control in CONTROLS}
        if any(p.empty for p in part.values()):
            continue
        mean = {control: float(p.value.mean()) for control, p in part.items()}
        sign = i.sign or 1
        gap, half = sign * (mean["shape-only"] - mean["texture-only"]), _half_width(list(part.values()))
        rho, rho_low, rho_high = _rank_interval(merged.value.to_numpy() * sign, merged.shape_bias.to_numpy(), rng)
        both = merged[~merged.network.isin(CONTROLS)]
        row = {
            "instrument": name, "expected": i.expected, "shape_only": mean["shape-only"],
            "texture_only": mean["texture-only"], "gap": gap, "gap_low": gap - half, "gap_high": gap + half,
            "rho": rho, "rho_low": rho_low, "rho_high": rho_high,
            "rho_both": _spearman(both.value.to_numpy()[None] * sign, both.shape_bias.to_numpy()[None])[0] if len(both) > 2 else np.nan,
            "networks": len(merged),
        }  # fmt: skip
        rows.append(row | (_verdict(row) if i.sign else _rival(row)))
    return pd.DataFrame(rows)


def _half_width(controls: list[pd.DataFrame]) -> float:
    """Half the width of the gap's 95 % interval, by the formula in `reliability`."""
    # all seeds of a control share its images
    images = sum(float(((control.ci_high - control.ci_low) / (2 * Z95)).pow(2).mean()) for control in controls)
    seeds = [(float(control.value.var(ddof=1)) / len(control), len(control) - 1) for control in controls if len(control) > 1]
    variance = images + sum(v for v, _ in seeds)
    unknown = sum(v**2 / df for v, df in seeds)
    if not variance and not seeds:
        return float("nan")  # one network of each, and a number without an interval over images
    return t_quantile(variance**2 / unknown if unknown else np.inf) * float(np.sqrt(variance))


def _verdict(row: dict[str, Any]) -> dict[str, str]:
    why = []
    if not row["gap_low"] > 0:
        failed = "orders {} wrongly" if row["gap_high"] < 0 else "does not tell {} apart"
        why.append(failed.format("the shape-only and the texture-only network"))
    if not row["rho_low"] > 0:
        why.append("falls as the true bias rises" if row["rho_high"] < 0 else "does not rank the networks by their true bias")
    bad = row["gap_high"] < 0 or row["rho_high"] < 0
    return {"verdict": "unreliable" if bad else "uncertain" if why else "reliable", "why": " and ".join(why)}


def _rival(row: dict[str, Any]) -> dict[str, str]:
    """The verdict on an instrument that is no sign of shape: where the whole interval of the gap lies."""
    low, high = row["gap_low"], row["gap_high"]
    if low > MARGIN or high < -MARGIN:
        return {"verdict": "rival", "why": f"tells the shape-only from the texture-only network by more than {100 * MARGIN:g} points"}
    small = -MARGIN <= low and high <= MARGIN
    return {"verdict": "no rival" if small else "uncertain", "why": "" if small else "the gap may be small or large"}


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


def summary(trust: pd.DataFrame) -> str:
    """What `reliability` says of the instruments, in one sentence; in a second one, how many of those without a sign are rivals."""
    signs, others = trust[trust.expected != ""], trust[trust.expected == ""]
    counts = signs.verdict.value_counts()
    said = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in ("reliable", "unreliable", "uncertain"))
    text = f"Of the {len(signs)} instruments above, as signs of shape bias: {said}."
    if len(others):
        rivals = int((others.verdict == "rival").sum())
        text += f" Not taken for signs of shape bias are {len(others)} more; {rivals} of them could explain what another instrument reads."
    return text

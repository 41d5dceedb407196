"""Verdicts that hold across worlds: each instrument is compared with the networks of every world by itself, and then over all worlds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data import WORLDS
from ..saliency import rank_correlation
from . import crossed
from .choice import learned
from .controls import CONTROLS
from .intervals import mean_interval
from .reliability import judged

RESAMPLES = 2000


def in_worlds(rows: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """How far each instrument can be trusted in each world, one row for each pair of them.

    Args:
        rows: of `crossed.measured`.
        read: of `crossed.read`.

    Returns:
        ``instrument``; ``world``; ``gap``: the reading of the network that learned shape alone minus that of the one that learned texture
        alone, signed so that above 0 is as expected, mean over seeds, with its 95 % t interval ``gap_low``, ``gap_high``; ``rho``: Spearman's
        correlation over all networks of the world between the reading, signed alike, and what decides, the share of conflict images
        decided by shape minus that by texture, with its 95 % interval ``rho_low``, ``rho_high`` from 2,000 resamplings of the seeds;
        ``rho_inner``: the same without the two single-cue networks; ``networks``; ``verdict``: ``reliable`` where gap and rho lie above 0
        with their intervals, ``unreliable`` where one of them lies below, else ``uncertain``. Instruments without a sign are left out.
    """
    both = rows.merge(read, on=crossed.KEY)
    both = both[learned(both)]
    kinds = [crossed.Cell(*key).kind for key in both[crossed.KEY].itertuples(index=False)]
    both = both.assign(kind=kinds, decides=both["shape"] - both.texture)
    found = []
    for name, (instrument, _) in judged().items():
        if not instrument.sign or name not in both:
            continue
        for world, part in both.dropna(subset=[name]).groupby("world", sort=False):
            signed = part.assign(value=instrument.sign * part[name])
            wide = signed[signed.kind.isin(CONTROLS)].pivot(index="seed", columns="kind", values="value").reindex(columns=list(CONTROLS))
            gaps = (wide[CONTROLS[0]] - wide[CONTROLS[1]]).dropna().to_numpy()
            gap, gap_low, gap_high = mean_interval(gaps) if len(gaps) else (float("nan"),) * 3
            rho, rho_low, rho_high = _by_seed(signed)
            row: dict[str, Any] = {
                "instrument": name, "world": world, "gap": gap, "gap_low": gap_low, "gap_high": gap_high, "rho": rho, "rho_low": rho_low,
                "rho_high": rho_high, "rho_inner": _by_seed(signed[~signed.kind.isin(CONTROLS)], 0)[0], "networks": len(part),
            }  # fmt: skip
            found.append(row | {"verdict": _verdict(row)})
    return pd.DataFrame(found)


def _verdict(row: Mapping[str, Any]) -> str:
    if row["gap_low"] > 0 and row["rho_low"] > 0:
        return "reliable"
    return "unreliable" if row["gap_high"] < 0 or row["rho_high"] < 0 else "uncertain"


def _by_seed(part: pd.DataFrame, resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """Spearman's correlation of ``value`` and ``decides``, and its 95 % percentile interval of resampled seeds; nan for too few."""
    if len(part) < 3:
        return float("nan"), float("nan"), float("nan")
    value, decides = (torch.tensor(part[name].to_numpy(float)) for name in ("value", "decides"))
    rho = float(rank_correlation(value[None], decides[None])[0])
    seeds = [np.flatnonzero(part.seed == seed) for seed in part.seed.unique()]
    if not resamples or len(seeds) < 2:
        return rho, float("nan"), float("nan")
    drawn = np.sort(np.random.default_rng(0).integers(len(seeds), size=(resamples, len(seeds))), 1)
    different, place = np.unique(drawn, axis=0, return_inverse=True)  # few, since there are few seeds
    chosen = (np.concatenate([seeds[i] for i in row]) for row in different)
    many = np.array([float(rank_correlation(value[i][None], decides[i][None])[0]) for i in chosen])[place.ravel()]
    low, high = np.nanpercentile(many, [2.5, 97.5])
    return rho, float(low), float(high)


def overall(found: pd.DataFrame) -> pd.DataFrame:
    """One verdict for each instrument from its rows of `in_worlds`.

    Columns: ``instrument``; ``reliable_in``, ``worlds``: in how many worlds, and of how many; ``agreement``: the share of worlds in which
    the instrument is as reliable or not as in most of the others; ``verdict``:

    - ``reliable``: in every world.
    - ``measures amplitude``: in every world where shape is the larger cue, and in no other; ``measures scale``: in every world where shape is
      the coarser cue, and in no other.
    - ``unreliable``: it orders the controls wrongly in at least one world.
    - ``uncertain``: all else.
    """
    predicted = crossed.predictions().set_index("world")
    rows = []
    for name, part in found.groupby("instrument", sort=False):
        trusted = part.set_index("world").verdict == "reliable"
        others = [trusted.drop(world).mean() > 0.5 for world in trusted.index]
        rows.append({
            "instrument": name, "reliable_in": int(trusted.sum()), "worlds": len(trusted),
            "agreement": float(np.mean(np.array(others) == trusted.to_numpy())) if len(trusted) > 1 else float("nan"),
            "verdict": _joined(trusted, part, predicted),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _joined(trusted: pd.Series, part: pd.DataFrame, predicted: pd.DataFrame) -> str:
    if trusted.all():
        return "reliable"
    for column, label in (("larger amplitude", "measures amplitude"), ("coarser cue", "measures scale")):
        favored = predicted[column].reindex(trusted.index) == "shape"
        if favored.any() and (trusted == favored).all():
            return label
    return "unreliable" if (part.verdict == "unreliable").any() else "uncertain"


def settings() -> pd.DataFrame:
    """The worlds as a table: ``world``, the amplitude of each cue in pixel units, the wavelength of each in shares of the image's side."""
    rows = []
    for name, world in WORLDS.items():
        (shape, texture), (large, small) = world.amplitudes, crossed.wavelengths(world)
        rows.append(
            {
                "world": name,
                "shape ±": shape,
                "texture ±": texture,
                "shape's scale": large,
                "texture's scale": small,
                "texture lies": world.extent,
            }
        )
    return pd.DataFrame(rows)

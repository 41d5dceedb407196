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


def by_seed(rows: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """What each instrument reads on the networks of one world and seed, one row for each.

    Args:
        rows: of `crossed.measured`.
        read: of `crossed.read`.

    Returns:
        ``instrument``; ``world``; ``seed``; ``gap``: the reading of the network that learned shape alone minus that of the one that learned
        texture alone, signed so that above 0 is as expected; ``rho``: Spearman's correlation over the networks between the reading, signed alike, and
        what decides, the share of conflict images decided by shape minus that by texture; ``rho_inner``: the same without the two single-cue
        networks; ``networks``. NaN where a number cannot be had. Networks that did not learn and instruments without a sign are left out.
    """
    both = rows.merge(read, on=crossed.KEY)
    both = both[learned(both)]
    kinds = [crossed.Cell(*key).kind for key in both[crossed.KEY].itertuples(index=False)]
    both = both.assign(kind=kinds, decides=both["shape"] - both.texture)
    names = {name: instrument.sign for name, (instrument, _) in judged().items() if instrument.sign and name in both}
    parts = [
        (world, seed, part.kind.to_numpy(), part.decides.to_numpy(float), {name: sign * part[name].to_numpy(float) for name, sign in names.items()})
        for (world, seed), part in both.groupby(["world", "seed"], sort=False)
    ]  # fmt: skip
    found = []
    for name in names:
        for world, seed, kind, decides, readings in parts:
            values, known = readings[name], ~np.isnan(readings[name])
            inner = known & ~np.isin(kind, CONTROLS)
            one, other = (values[kind == control] for control in CONTROLS)
            found.append({
                "instrument": name, "world": world, "seed": seed, "gap": float(one[0] - other[0]) if len(one) and len(other) else float("nan"),
                "rho": _rho(values[known], decides[known]), "rho_inner": _rho(values[inner], decides[inner]), "networks": int(known.sum()),
            })  # fmt: skip
    return pd.DataFrame(found)


def _rho(values: np.ndarray, decides: np.ndarray) -> float:
    """Spearman's correlation; NaN for fewer than three networks."""
    return float(rank_correlation(torch.tensor(values[None]), torch.tensor(decides[None]))[0]) if len(values) > 2 else float("nan")


def in_worlds(seeds: pd.DataFrame) -> pd.DataFrame:
    """How far each instrument can be trusted in each world, one row for each pair of them, from the rows of `by_seed`.

    Columns: ``instrument``; ``world``; ``gap`` and ``rho``, means over seeds, with their 95 % t intervals over seeds ``gap_low``, ``gap_high``,
    ``rho_low``, ``rho_high``; ``rho_inner``, mean over seeds; ``networks`` of all seeds; ``verdict``: ``reliable`` where gap and rho lie above 0
    with their intervals, ``unreliable`` where one of them lies below, ``not measured`` where one of them has no interval, else ``uncertain``.
    """
    found = []
    for (name, world), part in seeds.groupby(["instrument", "world"], sort=False):
        row = {"instrument": name, "world": world, **_means(part), "rho_inner": part.rho_inner.mean(), "networks": part.networks.sum()}
        found.append(row | {"verdict": _verdict(row)})
    return pd.DataFrame(found)


def _means(part: pd.DataFrame) -> dict[str, float]:
    """Gap and rho with their intervals over seeds."""
    row: dict[str, float] = {}
    for name in ("gap", "rho"):
        values = part[name].dropna().to_numpy()
        mean, low, high = mean_interval(values) if len(values) else (float("nan"),) * 3
        row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return row


def _verdict(row: Mapping[str, Any]) -> str:
    ends = [row[f"{name}_{end}"] for name in ("gap", "rho") for end in ("low", "high")]
    if np.isnan(ends).any():
        return "not measured"
    if row["gap_low"] > 0 and row["rho_low"] > 0:
        return "reliable"
    return "unreliable" if row["gap_high"] < 0 or row["rho_high"] < 0 else "uncertain"


def overall(seeds: pd.DataFrame) -> pd.DataFrame:
    """One verdict for each instrument over all worlds, from the rows of `by_seed`.

    Columns: ``instrument``; ``reliable_in``, ``worlds``: in how many worlds, and of how many; ``inner_above_0``: in how many worlds ``rho_inner`` is
    above 0; ``agreement``: the share of worlds in which the instrument is as reliable or not as in the other worlds together, whose gap and rho are, for each
    seed, means over these worlds; ``verdict``:

    - ``reliable``: in every world.
    - ``measures amplitude``: in every world where shape is the larger cue, and in no other; ``measures scale``: in every world where shape is
      the coarser cue, and in no other.
    - ``not measured``: in most worlds.
    - ``unreliable``: in at least one world.
    - ``uncertain``: all else.
    """
    predicted = crossed.predictions().set_index("world")
    rows = []
    for name, of in seeds.groupby("instrument", sort=False):
        part = in_worlds(of).set_index("world")
        trusted = part.verdict == "reliable"
        others = [_verdict(_means(of[of.world != world].groupby("seed")[["gap", "rho"]].mean())) == "reliable" for world in trusted.index]
        rows.append({
            "instrument": name, "reliable_in": int(trusted.sum()), "worlds": len(trusted), "inner_above_0": int((part.rho_inner > 0).sum()),
            "agreement": float(np.mean(np.array(others) == trusted.to_numpy())) if len(trusted) > 1 else float("nan"),
            "verdict": _joined(part, predicted),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _joined(part: pd.DataFrame, predicted: pd.DataFrame) -> str:
    trusted = part.verdict == "reliable"
    if trusted.all():
        return "reliable"
    for column, label in (("larger amplitude", "measures amplitude"), ("coarser cue", "measures scale")):
        favored = predicted[column].reindex(trusted.index) == "shape"
        if favored.any() and (trusted == favored).all():
            return label
    if (part.verdict == "not measured").mean() > 0.5:
        return "not measured"
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

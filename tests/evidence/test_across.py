"""Verdicts across worlds: what is reliable everywhere, what measures amplitude or scale, and what is neither."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from atviz.data import WORLDS
from atviz.evidence import across, controls, crossed, reliability

SHAPE = {"shape-only": 1.0, "shape 0.5": 0.8, "normal": 0.5, "texture 0.5": 0.2, "texture-only": 0.0}
CELLS = [
    cell for cell in crossed.cells(seeds=range(3)) if cell.kind in SHAPE
]  # fmt: skip
SIGN = {name: i.sign for name, (i, _) in reliability.judged().items()}


def tables(follows):
    """Rows and readings; ``follows``: instrument → world → how its reading follows the share decided by shape (1, 0 or −1)."""
    rng = np.random.default_rng(0)
    shape = np.array([SHAPE[cell.kind] for cell in CELLS]) + rng.normal(0, 0.01, len(CELLS))
    rows = pd.DataFrame(map(asdict, CELLS)).assign(clean=0.99, robust=np.nan, shape=shape, texture=1 - shape)
    read = pd.DataFrame(map(asdict, CELLS))
    for name, how in follows.items():
        factor = np.array([how(cell.world) for cell in CELLS])
        read[name] = 0.5 + SIGN[name] * (factor * (shape - 0.5) * 0.8 + rng.normal(0, 0.02, len(CELLS)))
    return rows, read


def bold(world):
    one, other = WORLDS[world].amplitudes
    return one / other > 1.25


def coarse(world):
    large, small = crossed.wavelengths(WORLDS[world])
    return large / small > 1.25


INSTRUMENTS = {
    "saturate-1024": lambda world: 1, "patch_shuffle-2": lambda world: bold(world), "low_pass-4": lambda world: coarse(world),
    "grayscale-1": lambda world: -1, "median_filter-1": lambda world: world != "inside",
}  # fmt: skip
VERDICTS = ["reliable", "measures amplitude", "measures scale", "unreliable", "uncertain"]


def test_an_instrument_is_judged_by_where_it_is_reliable():
    found = across.overall(across.by_seed(*tables(INSTRUMENTS))).set_index("instrument")
    assert found.verdict.loc[list(INSTRUMENTS)].tolist() == VERDICTS
    assert found.worlds.eq(len(WORLDS)).all()
    assert found.reliable_in["saturate-1024"] == 7 and found.agreement["saturate-1024"] == 1
    assert found.reliable_in["median_filter-1"] == 6 and found.agreement["median_filter-1"] == pytest.approx(6 / 7)
    assert found.inner_above_0["saturate-1024"] == 7 and found.inner_above_0["grayscale-1"] == 0


def test_the_other_worlds_are_taken_together():
    """Reliable in two worlds by so much that the seven together seem so, too: the five others disagree."""
    seeds = pd.DataFrame([
        {"instrument": "a", "world": world, "seed": seed, "gap": (1 if i < 2 else -0.01) + 0.001 * seed, "rho": (0.9 if i < 2 else -0.01) + 0.001 * seed,
         "rho_inner": 0.5, "networks": 5}
        for i, world in enumerate(WORLDS) for seed in range(3)
    ])  # fmt: skip
    found = across.overall(seeds).iloc[0]
    assert found.reliable_in == 2 and found.agreement == pytest.approx(2 / 7)


def test_a_rank_correlation_is_also_given_without_the_two_poles():
    rows, read = tables({"saturate-1024": lambda world: 1})
    inner = ~np.array([cell.kind in controls.CONTROLS for cell in CELLS])
    read.loc[inner, "saturate-1024"] = 0.5 - 0.1 * rows["shape"][inner]  # the poles are ordered rightly, all others wrongly
    found = across.in_worlds(across.by_seed(rows, read))
    assert (found.rho_inner < -0.9).all() and (found.gap > 0.5).all() and (found.rho > found.rho_inner).all()


def test_intervals_count_seeds_and_not_networks():
    rows, read = tables({"saturate-1024": lambda world: 1})
    again = [table.assign(seed=table.seed + 10) for table in (rows, read)]  # the same networks, called other seeds
    both = across.by_seed(pd.concat([rows, again[0]]), pd.concat([read, again[1]]))
    once, twice = across.in_worlds(across.by_seed(rows, read)), across.in_worlds(both)
    assert (twice.gap_high - twice.gap_low < 0.6 * (once.gap_high - once.gap_low)).all()
    one = across.in_worlds(across.by_seed(rows[rows.seed == 0], read))
    assert one.gap_low.isna().all() and (one.verdict == "not measured").all()


def test_networks_that_learned_nothing_do_not_count():
    rows, read = tables({"saturate-1024": lambda world: 1})
    blind = rows.assign(clean=0.2)[rows.cue == "both"]
    found = across.in_worlds(across.by_seed(pd.concat([rows[rows.cue != "both"], blind]), read))
    assert (found.networks == 3 * 4).all()


def test_an_instrument_without_a_reading_of_a_pole_is_not_measured():
    rows, read = tables({"saturate-1024": lambda world: 1})
    read.loc[[cell.kind == "shape-only" for cell in CELLS], "saturate-1024"] = np.nan
    seeds = across.by_seed(rows, read)
    found = across.in_worlds(seeds)
    assert found.gap.isna().all() and (found.verdict == "not measured").all() and across.overall(seeds).verdict.tolist() == ["not measured"]


def test_settings_are_those_of_the_worlds():
    table = across.settings().set_index("world")
    assert list(table.index) == list(WORLDS)
    assert tuple(table.loc["inside", ["shape ±", "texture ±"]]) == WORLDS["inside"].amplitudes
    assert (table["shape's scale"] / table["texture's scale"]).to_dict() == pytest.approx(
        crossed.predictions().set_index("world")["scale ratio"].to_dict()
    )

"""The crossed experiment: its worlds separate the hypotheses, and a row is what its network does."""

import itertools

import numpy as np
import pandas as pd
import pytest

from atviz.data import WORLDS, World
from atviz.evidence import crossed
from atviz.evidence.crossed import Cell

FEW = {"train": 128, "test": 64, "epochs": 1}


@pytest.mark.parametrize("name", WORLDS)
def test_radii_go_from_a_quarter_of_the_weaker_cue_to_twice_the_stronger(name):
    found = crossed.radii(WORLDS[name])
    weaker, stronger = sorted(WORLDS[name].amplitudes)
    assert found[0] == pytest.approx(weaker / 4, abs=1e-4) and found[-1] == pytest.approx(2 * stronger, abs=1e-4)
    assert np.ptp(np.diff(np.log(found))) < 0.02 and len(found) == 5
    assert crossed.radii(WORLDS[name], "l2") == pytest.approx([eps * 3072**0.5 / 4 for eps in found], rel=0.02)


def test_the_cells_are_all_different_and_hold_every_cue_alone():
    cells = crossed.cells()
    assert len(set(cells)) == len(cells) == 5 * (7 * 8 + 2 * 5)
    for world in WORLDS:
        for cue in ("shape", "texture", "both"):
            assert sum((c.world, c.cue, c.norm) == (world, cue, "none") for c in cells) == 5
        assert sum((c.world, c.norm) == (world, "linf") for c in cells) == 25
    assert {c.world for c in cells if c.norm == "l2"} == set(crossed.L2_WORLDS)


def test_the_worlds_separate_every_two_hypotheses():
    said = crossed.predictions()
    for one, other in itertools.combinations(crossed.HYPOTHESES, 2):
        assert ((said[one] != said[other]) & (said[one] != "either") & (said[other] != "either")).any()
    assert (said["shape"] == "shape").all()
    for column, ratio in (("larger amplitude", "amplitude ratio"), ("coarser cue", "scale ratio")):
        assert ((said[column] == "shape") <= (said[ratio] > 1)).all() and ((said[column] == "texture") <= (said[ratio] < 1)).all()


def test_wavelengths_follow_the_scales_of_the_cues():
    usual, coarse, many = (crossed.wavelengths(World(**given)) for given in ({}, {"coarseness": 3.0}, {"rows": 3}))
    assert coarse[0] == usual[0] and many[1] == usual[1]
    assert coarse[1] > 1.5 * usual[1] and many[0] < usual[0] / 1.8
    assert 0.05 < usual[1] < 0.15 < 0.35 < usual[0] < 0.6  # a texture of wavelength 0.1, a silhouette of 0.84


def test_a_cell_is_trained_under_its_attack():
    plain, linf, l2 = (crossed.recipe(Cell("inside", norm=norm, eps=eps)) for norm, eps in (("none", 0.0), ("linf", 0.02), ("l2", 1.5)))
    assert plain.attack == "none" and plain.epochs == linf.epochs == crossed.EPOCHS
    assert (linf.norm, linf.eps, linf.step_size, linf.step, linf.steps, linf.random_start) == ("linf", 0.02, 0.025, "sign", 1, True)
    assert (l2.norm, l2.eps, l2.step_size, l2.step) == ("l2", 1.5, 1.875, "gradient")


@pytest.mark.parametrize("cell", [("inside", "texture", "none", 0.0, 1), ("faint-fine-shape", "both", "linf", 0.03, 0)])
def test_a_row_is_made_again_from_its_cell(cell):
    row = crossed.measured(*cell, **FEW)
    assert row == crossed.measured(*cell, **FEW)
    assert tuple(row[name] for name in ("world", "cue", "norm", "eps", "seed")) == cell and row["n"] == 64
    assert (row["robust"] is None) == (cell[2] == "none") and not (row["robust"] or 0) > row["clean"]
    assert row["shape"] + row["texture"] + row["neither"] == pytest.approx(1)
    assert all(0 <= row[name] <= 1 for name in ("clean", "alone_shape", "alone_texture", "shape_rank", "texture_rank"))


def test_a_network_that_learned_one_cue_has_it_in_its_row():
    row = crossed.measured("alike-fine-shape", "shape", "none", 0.0, 0, train=2000, test=200, epochs=6)
    assert row["alone_shape"] > 0.6 > 0.4 > row["alone_texture"] and row["shape"] > 0.6 and row["shape_rank"] > 2 * row["texture_rank"]


def test_missing_cells_are_those_without_a_row():
    cells = [Cell("inside"), Cell("inside", norm="linf", eps=0.0125), Cell("inside", seed=1)]
    rows = pd.DataFrame([vars(cells[1])])
    assert crossed.missing(rows, cells) == [cells[0], cells[2]]
    assert crossed.missing(pd.DataFrame(), cells) == cells


def test_the_digest_tells_another_experiment(monkeypatch):
    before = crossed.digest()
    assert before == crossed.digest()
    monkeypatch.setitem(crossed.WORLDS, "inside", World(contrast=0.06))
    assert crossed.digest() != before

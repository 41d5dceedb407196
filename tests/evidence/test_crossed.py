"""The crossed experiment: its worlds separate the hypotheses, and a row is what its network does."""

import itertools
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from atviz.app.cli import app
from atviz.data import WORLDS, World
from atviz.evidence import controls, crossed, reliability
from atviz.evidence.crossed import Cell

FEW = {"train": 128, "test": 64, "epochs": 1}


@pytest.mark.parametrize("name", WORLDS)
def test_radii_go_from_a_quarter_of_the_weaker_cue_to_twice_the_stronger(name):
    found = crossed.radii(WORLDS[name])
    weaker, stronger = sorted(WORLDS[name].amplitudes)
    assert found[0] == pytest.approx(weaker / 4, abs=1e-4) and found[-1] == pytest.approx(2 * stronger, abs=1e-4)
    assert np.ptp(np.diff(np.log(found))) < 0.02 and len(found) == 5
    assert crossed.radii(WORLDS[name], "l2") == pytest.approx([eps * 3072**0.5 / 4 for eps in found], rel=0.02)


def test_the_cells_are_all_different_and_hold_every_control():
    cells = crossed.cells()
    assert len(set(cells)) == len({cell.label for cell in cells}) == len(cells) == 5 * (7 * (3 + 6 + 3 + 5) + 2 * 5)
    for world in WORLDS:
        own = [cell for cell in cells if cell.world == world and cell.norm == "none"]
        counts = pd.Series([cell.kind for cell in own]).value_counts()
        assert (counts == 5).all() and set(counts.index) == {
            "normal", "shape-only", "texture-only", *crossed.VIEWS, *(f"{cue} {share}" for cue in ("shape", "texture") for share in crossed.SHARES)
        }  # fmt: skip
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
    assert (linf.norm, linf.eps, linf.step, linf.steps, linf.random_start) == ("linf", 0.02, "sign", crossed.STEPS, True)
    assert (l2.norm, l2.eps, l2.step) == ("l2", 1.5, "gradient") and 2 <= linf.steps * linf.step_size / linf.eps <= 4


KINDS = [
    Cell("inside", "texture", seed=1),
    Cell("faint-fine-shape", norm="linf", eps=0.03),
    Cell("inside", "shape", 0.5),
    Cell("inside", view="local"),
]


@pytest.mark.parametrize("cell", KINDS, ids=lambda cell: cell.label)
def test_a_row_is_made_again_from_its_cell(cell, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path / "one"))
    row = crossed.measured(*astuple(cell), **FEW)
    assert Cell(*(row[name] for name in crossed.KEY)) == cell and row["n"] == 64
    monkeypatch.setattr(crossed, "fit", None)  # the network is kept
    assert crossed.measured(*astuple(cell), **FEW) == row
    monkeypatch.undo()
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path / "two"))
    assert crossed.measured(*astuple(cell), **FEW) == row
    assert (row["robust"] is None) == (cell.norm == "none") and not (row["robust"] or 0) > row["clean"]
    assert row["shape"] + row["texture"] + row["neither"] == pytest.approx(1)
    assert all(0 <= row[name] <= 1 for name in ("clean", "alone_shape", "alone_texture", "shape_rank", "texture_rank"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))


def test_a_network_that_learned_one_cue_has_it_in_its_row(home):
    row = crossed.measured("alike-fine-shape", "shape", train=2000, test=200, epochs=6)
    assert row["alone_shape"] > 0.6 > 0.4 > row["alone_texture"] and row["shape"] > 0.6 and row["shape_rank"] > 2 * row["texture_rank"]


def test_a_kept_network_is_listed_like_any_other(home):
    crossed.network(Cell("inside", "shape"), train=128, epochs=1)
    listed = CliRunner().invoke(app, ["models", "list"])
    assert listed.exit_code == 0 and "inside-shape-1-s0" in listed.output


def test_an_untextured_network_has_seen_no_texture(home):
    row = crossed.measured("bold-coarse-shape", "both", 1.0, "untextured", train=1000, test=200, epochs=4)
    assert row["texture"] < 0.3 and row["alone_texture"] < 0.3


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_zero_is_both_cues_and_of_one_a_cue_alone(share):
    drawn = crossed.images(Cell("inside", "shape", share), 2000, "shape", share=share)
    expected = 1 - share + share / 8  # one in eight of the random ones agrees, too
    assert float((drawn.shape == drawn.texture).float().mean()) == pytest.approx(expected, abs=0.03)


def test_the_own_test_images_of_an_untextured_network_have_no_texture():
    cell = Cell("bold-coarse-shape", view="untextured")
    own, whole = crossed.images(cell, 20, **crossed._own(cell)), crossed.images(cell, 20)
    assert (own.images.x.float().std((2, 3)) < whole.images.x.float().std((2, 3))).all()


def test_readings_are_those_of_the_controls(home):
    cells = [Cell("inside", "shape"), Cell("inside", "texture")]
    table = crossed.read(cells, n=32, train=64, epochs=1)
    assert [Cell(*key) for key in table[crossed.KEY].itertuples(index=False)] == cells
    network = controls.Control("own", 0, 0.0, crossed.network(cells[1], train=64, epochs=1)[0], {})
    own = controls.readings([network], crossed.images(cells[1], 32), saliency_images=8, copies=crossed.COPIES).set_index("instrument").value
    assert set(own.index) == set(table.columns) - set(crossed.KEY) == set(reliability.judged())
    assert table.iloc[1][own.index].astype(float).tolist() == pytest.approx(own.tolist(), nan_ok=True)


def test_a_summary_is_a_mean_over_seeds():
    rows = pd.DataFrame([vars(Cell("inside", seed=seed)) | {"shape": share, "texture": 1 - share, "neither": 0.0, "clean": 1.0, "robust": None}
                         for seed, share in enumerate((0.1, 0.2, 0.3))])  # fmt: skip
    more = pd.DataFrame([vars(Cell("inside", view="local")) | {"shape": 1.0, "texture": 0.0, "neither": 0.0, "clean": 1.0}])
    table = crossed.summary(pd.concat([rows, more])).set_index("measure")
    assert table.value["by shape"] == pytest.approx(0.2) and table.seeds["by shape"] == 3 and "robust" not in table.index
    assert table.ci_low["by shape"] == 0 < table.ci_low["by texture"] and table.ci_high["by texture"] == 1  # t of two degrees: ± 0.25


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

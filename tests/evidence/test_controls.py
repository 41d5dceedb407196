"""Controls: networks of known bias, and what the instruments read on them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from atviz import data, models, saliency, shipped
from atviz.data import shapetex
from atviz.evidence import Store, accuracy, controls, findings, map_numbers, mean_interval, reliability, sweep

SHIPPED = shipped("checkpoints", "controls")


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_truth_is_the_share_that_was_built_in(conflict, follows, share):
    network = controls.Control("normal", 3, 0.0, follows(conflict, share), {"metrics": {"clean": 0.9}})
    row = controls.truth([network], conflict).iloc[0]
    assert row.shape_bias == pytest.approx(share)
    assert row.ci_low <= share <= row.ci_high
    assert (row.network, row.seed, row.clean, row.n) == ("normal", 3, 0.9, 200)


@pytest.fixture(scope="module")
def small_grid():
    """The grid of the smoke profile, trained for a moment."""
    return controls.grid([0.01], [0, 1], profile="smoke", retrain=True)


def test_the_grid_is_trained_on_what_its_names_say(small_grid):
    assert [(n.name, n.seed, n.eps) for n in small_grid] == [
        ("shape-only", 0, 0), ("texture-only", 0, 0), ("normal", 0, 0), ("pgd-inf-0.01", 0, 0.01),
    ]  # fmt: skip
    assert [n.card["data"]["name"] for n in small_grid] == ["shapetex-shape", "shapetex-texture", "shapetex", "shapetex"]
    assert [n.card["recipe"]["attack"] for n in small_grid] == ["none", "none", "none", "pgd"]


def test_every_instrument_is_read_on_every_network(small_grid, tmp_path):
    agree = shapetex(40, seed=1)
    read = controls.readings(small_grid, agree, saliency_images=8, store=Store(tmp_path))
    assert len(read) == len(small_grid) * len(reliability.judged())
    assert set(read.instrument) == reliability.judged().keys()
    n = small_grid[2]
    mine = read[read.network == "normal"].set_index("instrument")
    swept = sweep({"m": n.model}, agree.images, {"patch_shuffle": [2], "stylize": [1]})
    for name, row in zip(("patch_shuffle-2", "stylize-1"), swept.itertuples(), strict=True):
        assert mine.value[name] == row.acc_on_correct or np.isnan(row.acc_on_correct)
    regions = controls.regions(n.model, agree.images, agree.mask)
    assert sum(regions.values()) == pytest.approx(np.ones(40))
    assert mine.value["edge"] == pytest.approx(regions["edge"][:8].mean())
    x = agree.images.x[:8] / 255
    for prefix, maps in (
        ("", saliency.smooth_grad(n.model, x, agree.images.y[:8], n=50)),
        ("grad_", saliency.grad(n.model, x, agree.images.y[:8])),
    ):
        numbers = map_numbers(maps, x=x, mask=agree.mask[:8])
        assert numbers.keys() == {"sparsity", "edges", "coarse", "edge", "inside"}
        for name, values in numbers.items():
            assert tuple(mine.loc[prefix + name, ["value", "ci_low", "ci_high"]]) == pytest.approx(mean_interval(values.numpy()), rel=1e-3)


def test_regions_of_a_conflict_are_of_the_class_that_was_decided(small_grid):
    conflict = shapetex(12, cue="conflict", seed=1)
    n = small_grid[2]
    uniform, row = (row for _, row in controls.region_table([n], conflict, n=8).iterrows())
    assert uniform.outside == pytest.approx(1 - uniform.edge - uniform.inside)
    assert uniform.inside < conflict.mask[:8].mean() < uniform.inside + uniform.edge
    x = conflict.images.x[:8] / 255
    with torch.no_grad():
        y = n.model(x).argmax(1)
    shares = saliency.region_shares(saliency.smooth_grad(n.model, x, y, n=50), conflict.mask[:8])
    assert [row.edge, row.inside, row.outside] == pytest.approx([float(shares[k].mean()) for k in ("edge", "inside", "outside")], rel=1e-4)


# --- what ships


def test_what_ships_is_the_whole_grid_in_16_bits_within_4_megabytes():
    names = [n.label for n in controls.grid()]
    assert len(names) == len(controls.SEEDS) * (3 + len(controls.EPS))
    assert sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()) == sorted([*names, "records"])
    assert sum(p.stat().st_size for p in SHIPPED.rglob("*") if p.is_file()) <= 4e6
    state, _ = models.checkpoints.read(SHIPPED / names[0])
    assert {t.dtype for t in state.values()} == {torch.float16, torch.int64}


def test_a_shipped_card_states_the_accuracy_of_the_stored_weights():
    network = models.load(SHIPPED / "normal-s0")
    images = data.load("shapetex", "test")
    assert network.card["data"]["test_digest"] == images.digest  # the images are still drawn as they were
    assert accuracy(network.module, images)["top1"] == pytest.approx(network.card["metrics"]["clean"], abs=2 / len(images))


def test_shipped_verdicts_follow_from_their_numbers_and_the_controls_are_what_they_are_called():
    record = json.loads((SHIPPED / "verdicts.json").read_text())
    bias = pd.DataFrame(record["biases"])
    assert len(bias) == record["networks"]
    assert (bias[bias.network == "shape-only"].shape_bias > 0.98).all()
    assert (bias[bias.network == "texture-only"].shape_bias < 0.02).all()
    assert record["instruments"].keys() == reliability.judged().keys()
    for name, row in record["instruments"].items():
        good = row["gap_low"] > 0 and row["rho_low"] > 0
        bad = row["gap_high"] < 0 or row["rho_high"] < 0
        if reliability.judged()[name][0].sign:
            assert row["verdict"] == ("reliable" if good else "unreliable" if bad else "uncertain")
            assert bool(row["why"]) != good
        else:
            small, large = -0.05 <= row["gap_low"] and row["gap_high"] <= 0.05, row["gap_low"] > 0.05 or row["gap_high"] < -0.05
            assert row["verdict"] == ("rival" if large else "no rival" if small else "uncertain")
        assert row["expected"] == reliability.judged()[name][0].expected
    assert findings.verdicts() == record["instruments"]

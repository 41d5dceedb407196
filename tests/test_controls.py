"""Instruments held against the truth: on networks that are made to follow one cue, and on numbers that are made up."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from atviz import checkpoints, controls, data, evaluate, findings, saliency, study, synthetic
from atviz.records import Store


class Follows(nn.Module):
    """Answers with the shape of a share of the images it was shown, with the texture of the rest."""

    def __init__(self, drawn, share):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(share))
        by_shape = torch.arange(len(drawn.shape)) < share * len(drawn.shape)
        labels = torch.where(by_shape, drawn.shape, drawn.texture)
        self.answers = {x.numpy().tobytes(): label for x, label in zip(drawn.images.x, labels, strict=True)}

    def forward(self, x):
        found = torch.stack([self.answers[image.numpy().tobytes()] for image in (x * 255).round().byte()])
        return nn.functional.one_hot(found, 8).float()


@pytest.fixture(scope="module")
def conflict():
    return synthetic.shapetex(200, cue="conflict", size=16)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_truth_is_the_share_that_was_built_in(conflict, share):
    network = controls.Network("normal", 3, 0.0, Follows(conflict, share), {"metrics": {"clean": 0.9}})
    row = controls.truth([network], conflict).iloc[0]
    assert row.shape_bias == pytest.approx(share)
    assert row.ci_low <= share <= row.ci_high
    assert (row.network, row.seed, row.clean, row.n) == ("normal", 3, 0.9, 200)


def made_up(slope, *, shape_only=0.9, texture_only=0.1, width=0.01, seeds=3):
    """Readings of one instrument that follows the true bias with a slope, and of its two controls."""
    biases = {(name, s): b for name, b in (("shape-only", 1.0), ("texture-only", 0.0), ("normal", 0.2)) for s in range(seeds)}
    biases |= {(f"pgd-inf-{e}", s): 0.3 + e + s / 50 for e in (0.1, 0.2, 0.3) for s in range(seeds)}
    read_of = {"shape-only": shape_only, "texture-only": texture_only}
    bias = pd.DataFrame([{"network": n, "seed": s, "eps": 0.0, "shape_bias": b} for (n, s), b in biases.items()])
    values = {key: read_of.get(key[0], 0.5 + slope * (b - 0.5)) for key, b in biases.items()}
    rows = [
        {"network": n, "seed": s, "instrument": "saturate-1024", "value": v, "ci_low": v - width, "ci_high": v + width}
        for (n, s), v in values.items()
    ]
    return bias, pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("slope", "controls_read", "verdict", "why"),
    [
        (0.5, (0.9, 0.1), "reliable", ""),
        (0.5, (0.1, 0.9), "unreliable", "orders the shape-only and the texture-only network wrongly"),
        (-0.8, (0.1, 0.9), "unreliable", "falls as the true bias rises"),
        (0.5, (0.5, 0.5), "uncertain", "does not tell the shape-only and the texture-only network apart"),
        (-0.5, (0.9, 0.1), "uncertain", "does not rank the networks by their true bias"),
    ],
)
def test_verdict_on_an_instrument(slope, controls_read, verdict, why):
    bias, read = made_up(slope, shape_only=controls_read[0], texture_only=controls_read[1])
    row = controls.reliability(bias, read).iloc[0]
    assert row.verdict == verdict
    assert why in row.why
    assert bool(row.why) == bool(why)
    assert row.networks == 18
    merged = read.merge(bias, on=["network", "seed"])
    assert row.rho == pytest.approx(spearmanr(merged.value, merged.shape_bias).statistic)
    both = merged[~merged.network.isin(controls.CONTROLS)]
    assert row.rho_both == pytest.approx(spearmanr(both.value, both.shape_bias).statistic)
    assert row.rho_low <= row.rho <= row.rho_high
    assert row.gap == pytest.approx(controls_read[0] - controls_read[1])


def test_the_gaps_interval_joins_images_and_seeds():
    bias, read = made_up(0.5, width=1.959964 * 0.03)
    assert controls.reliability(bias, read).iloc[0].gap_high == pytest.approx(0.8 + 1.959964 * np.hypot(0.03, 0.03))
    read.loc[(read.network == "shape-only"), "value"] += [-0.1, 0.0, 0.1]
    row = controls.reliability(bias, read).iloc[0]
    assert row.gap_high - row.gap == pytest.approx(1.959964 * np.sqrt(2 * 0.03**2 + 0.1**2 / 3))


def test_an_instrument_that_should_fall_is_turned_round():
    bias, read = made_up(-0.5, shape_only=0.1, texture_only=0.9)
    row = controls.reliability(bias, read.assign(instrument="patch_shuffle-2")).iloc[0]
    assert (row.verdict, row.expected) == ("reliable", "lower")
    assert row.gap > 0


def test_a_collapsed_control_is_shown_and_not_judged_reliable():
    bias, read = made_up(0.0, shape_only=0.125, texture_only=0.125)
    row = controls.reliability(bias, read).iloc[0]
    assert row.shape_only == row.texture_only == 0.125
    assert row.verdict != "reliable"


def test_one_seed_without_a_band_and_two_networks_without_a_correlation():
    bias, read = made_up(0.5, seeds=1)
    assert controls.reliability(bias, read).iloc[0].gap_low > 0
    alone = controls.bias_curve(bias[bias.network.isin(["normal"])])
    assert alone.ci_low.isna().all()
    few = bias.network.isin(controls.CONTROLS)
    row = controls.reliability(bias[few], read).iloc[0]
    assert np.isnan(row.rho)
    assert row.verdict == "uncertain"


def test_bias_curve_is_of_the_networks_trained_on_both_cues():
    bias, _ = made_up(0.5)
    bias["eps"] = bias.network.map(lambda name: float(name[8:]) if name.startswith("pgd") else 0.0)
    curve = controls.bias_curve(bias)
    assert curve.eps.tolist() == [0, 0.1, 0.2, 0.3]
    assert curve.seeds.tolist() == [3] * 4
    assert curve.shape_bias.tolist() == pytest.approx([0.2, 0.42, 0.52, 0.62])
    assert (curve.ci_low[1:] < curve.shape_bias[1:]).all()


def test_summary_names_every_instrument_once():
    bias, read = made_up(0.5)
    said = controls.summary(controls.reliability(bias, read))
    assert said == "As signs of shape bias, reliable: saturated to 1024; unreliable: none; uncertain: none."


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
    agree = synthetic.shapetex(40, seed=1)
    read = controls.readings(small_grid, agree, saliency_images=8, store=Store(tmp_path))
    assert len(read) == len(small_grid) * len(controls.INSTRUMENTS)
    assert set(read.instrument) == {i.name for i in controls.INSTRUMENTS}
    n = small_grid[2]
    swept = evaluate.sweep({"m": n.model}, agree.images, {"patch_shuffle": [2]}).iloc[0]
    mine = read[(read.network == "normal") & (read.instrument == "patch_shuffle-2")].iloc[0]
    assert mine.value == swept.acc_on_correct or np.isnan(swept.acc_on_correct)
    regions = controls.regions(n.model, agree.images, agree.mask)
    assert sum(regions.values()) == pytest.approx(np.ones(40))
    edge = read[(read.network == "normal") & (read.instrument == "edge")].iloc[0]
    assert edge.value == pytest.approx(regions["edge"][:8].mean())


def test_regions_of_a_conflict_are_of_the_class_that_was_decided(small_grid):
    conflict = synthetic.shapetex(12, cue="conflict", seed=1)
    n = small_grid[2]
    uniform, row = (row for _, row in controls.region_table([n], conflict, n=8).iterrows())
    assert uniform.outside == pytest.approx(1 - uniform.edge - uniform.inside)
    assert uniform.inside < conflict.mask[:8].mean() < uniform.inside + uniform.edge
    x = conflict.images.x[:8] / 255
    with torch.no_grad():
        y = n.model(x).argmax(1)
    shares = saliency.region_shares(saliency.grad(n.model, x, y), conflict.mask[:8])
    assert [row.edge, row.inside, row.outside] == pytest.approx([float(shares[k].mean()) for k in ("edge", "inside", "outside")], rel=1e-4)


SHIPPED = controls.shipped("checkpoints", "controls")


def test_what_ships_is_the_whole_grid_in_16_bits_within_4_megabytes():
    names = [n.label for n in controls.grid()]
    assert len(names) == len(controls.SEEDS) * (3 + len(controls.EPS))
    assert sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()) == sorted(names)
    assert sum(p.stat().st_size for p in SHIPPED.rglob("*") if p.is_file()) <= 4e6
    state, _ = checkpoints.read(SHIPPED / names[0])
    assert {t.dtype for t in state.values()} == {torch.float16, torch.int64}


def test_a_shipped_card_states_the_accuracy_of_the_stored_weights():
    model, card = study.load_checkpoint(SHIPPED / "normal-s0")
    images = data.load("shapetex", "test")
    assert card["data"]["test_digest"] == images.digest  # the images are still drawn as they were
    assert evaluate.accuracy(model, images)["top1"] == pytest.approx(card["metrics"]["clean"], abs=2 / len(images))


def test_shipped_verdicts_follow_from_their_numbers_and_the_controls_are_what_they_are_called():
    record = json.loads((SHIPPED / "verdicts.json").read_text())
    bias = pd.DataFrame(record["biases"])
    assert len(bias) == record["networks"]
    assert (bias[bias.network == "shape-only"].shape_bias > 0.98).all()
    assert (bias[bias.network == "texture-only"].shape_bias < 0.02).all()
    assert record["instruments"].keys() == {i.name for i in controls.INSTRUMENTS}
    for row in record["instruments"].values():
        good = row["gap_low"] > 0 and row["rho_low"] > 0
        bad = row["gap_high"] < 0 or row["rho_high"] < 0
        assert row["verdict"] == ("reliable" if good else "unreliable" if bad else "uncertain")
        assert bool(row["why"]) != good
    assert findings.verdicts() == record["instruments"]

"""Instruments held against the truth: on networks that are made to follow one cue, and on numbers that are made up."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from atviz import controls, evaluate, saliency, synthetic


class Follows(nn.Module):
    """Answers with the first label of an image (shape) for a share of the images, with the second (texture) for the rest."""

    def __init__(self, drawn: synthetic.ShapeTex, share: float) -> None:
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
def test_cue_conflict_finds_the_share_that_was_built_in(conflict, share):
    found = evaluate.cue_conflict(Follows(conflict, share), conflict.images, shape=conflict.shape, texture=conflict.texture)
    assert found["shape"] == pytest.approx(share)
    assert found["texture"] == pytest.approx(1 - share)
    assert found["neither"] == pytest.approx(0)
    assert found["shape_bias"] == pytest.approx(share)
    assert found["ci_low"] <= share <= found["ci_high"]
    assert found["n"] == 200


def test_cue_conflict_counts_neither_and_leaves_out_agreement(conflict):
    wrong = evaluate.cue_conflict(
        Follows(conflict, 1.0), conflict.images, shape=conflict.texture.roll(1), texture=conflict.texture.roll(1).add(1) % 8
    )
    assert wrong["neither"] > 0.5
    half = conflict.texture.clone()
    half[:100] = conflict.shape[:100]
    assert evaluate.cue_conflict(Follows(conflict, 1.0), conflict.images, shape=conflict.shape, texture=half)["n"] == 100


def test_cue_conflict_refuses_what_says_nothing(conflict):
    model = Follows(conflict, 1.0)
    with pytest.raises(ValueError, match="agree on every image"):
        evaluate.cue_conflict(model, conflict.images, shape=conflict.shape, texture=conflict.shape)
    with pytest.raises(ValueError, match="one of each"):
        evaluate.cue_conflict(model, conflict.images, shape=conflict.shape[:5], texture=conflict.texture)


def made_up(slope, *, shape_only=0.9, texture_only=0.1):
    """Readings of one instrument that follows the true bias with a slope, and of its two controls."""
    biases = {("shape-only", 0): 1.0, ("texture-only", 0): 0.0} | {("normal", s): 0.2 + s / 50 for s in range(3)}
    biases |= {(f"pgd-{i}", s): 0.3 + i / 10 + s / 50 for i in range(4) for s in range(3)}
    bias = pd.DataFrame([{"network": n, "seed": s, "eps": 0.0, "shape_bias": b} for (n, s), b in biases.items()])
    value = {key: slope * b for key, b in biases.items()} | {("shape-only", 0): shape_only, ("texture-only", 0): texture_only}
    read = pd.DataFrame(
        [
            {"network": n, "seed": s, "instrument": "saturate", "value": v, "ci_low": v - 0.01, "ci_high": v + 0.01}
            for (n, s), v in value.items()
        ]
    )
    return bias, read


@pytest.mark.parametrize(
    ("slope", "controls_read", "verdict", "orders"),
    [
        (0.5, (0.9, 0.1), "reliable", "rightly"),
        (-0.5, (0.9, 0.1), "unreliable", "rightly"),
        (0.5, (0.1, 0.9), "unreliable", "wrongly"),
        (0.5, (0.5, 0.5), "uncertain", "not at all"),
        (0.0, (0.9, 0.1), "uncertain", "rightly"),
    ],
)
def test_verdict_on_an_instrument(slope, controls_read, verdict, orders):
    trust = controls.reliability(*made_up(slope, shape_only=controls_read[0], texture_only=controls_read[1]))
    row = trust.iloc[0]
    assert (row.verdict, row.orders_controls) == (verdict, orders)
    assert row.rho == pytest.approx(np.sign(slope))
    assert row.networks == 15
    assert f"{verdict} as a sign of shape bias: saturate" in controls.summary(trust)


def test_an_instrument_that_should_fall_is_turned_round():
    bias, read = made_up(-0.5, shape_only=0.1, texture_only=0.9)
    assert controls.reliability(bias, read.assign(instrument="patch_shuffle-2")).iloc[0].verdict == "reliable"


def test_two_networks_have_no_correlation():
    bias, read = made_up(0.5)
    few = bias.network.isin(["shape-only", "texture-only"]) | ((bias.network == "normal") & (bias.seed < 2))
    row = controls.reliability(bias[few], read).iloc[0]
    assert np.isnan(row.rho)
    assert row.verdict == "uncertain"


def test_bias_curve_averages_over_seeds_with_a_band():
    bias, _ = made_up(0.5)
    curve = controls.bias_curve(bias)
    assert curve.iloc[0].seeds == 15
    assert curve.iloc[0].ci_low < curve.iloc[0].shape_bias < curve.iloc[0].ci_high


def test_region_shares_follow_the_silhouette():
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 4:12] = 1
    for region, place in {"inside": (8, 8), "edge": (4, 8), "outside": (0, 0)}.items():
        maps = torch.zeros(1, 3, 16, 16)
        maps[0, 1, place[0], place[1]] = -2.0
        shares = saliency.region_shares(maps, mask)
        assert {name: float(v) for name, v in shares.items()} == {name: float(name == region) for name in ("edge", "inside", "outside")}


def test_coarse_share_of_a_wave_is_all_or_nothing():
    grid = torch.arange(32) / 32
    for cycles, share in ((2, 1.0), (4, 1.0), (5, 0.0), (9, 0.0)):
        wave = torch.sin(2 * torch.pi * cycles * grid).expand(1, 3, 32, 32)
        assert float(saliency.coarse_share(wave)) == pytest.approx(share, abs=1e-9)

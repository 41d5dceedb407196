"""Sweeps and differences as rows."""

import math

import pytest
import torch
from torch import nn

from atviz.data import Images
from atviz.evidence import differences, outcomes, sweep

FIXED = {"saturate": [0.5, 1024], "low_pass": [3], "high_pass": [4]}


def test_no_correct_image_gives_nan(images):
    wrong = Images(images.x, (images.y + 1) % 10, images.classes)

    class Oracle(nn.Module):  # always right about the first labels, never about the second
        def forward(self, x):
            return torch.eye(10)[images.y[: len(x)]]

    (row,) = sweep({"m": Oracle()}, wrong, {"saturate": [4]}, batch_size=150).itertuples()
    assert row.n_correct == row.top1 == 0
    assert math.isnan(row.acc_on_correct) and math.isnan(row.ci_low) and math.isnan(row.ci_high)


def test_identity_keeps_every_correct_image(trained, images):
    (row,) = sweep({"m": trained}, images, {"patch_shuffle": [1]}).itertuples()
    assert row.acc_on_correct == 1 and row.ci_high == pytest.approx(1) and row.top1 == row.n_correct / 150


def test_differences_of_a_sweep(trained, other, images):
    results = outcomes({"good": trained, "bad": other}, images, FIXED)
    rows = differences(results, "good", "bad")
    assert list(rows.columns) == ["distortion", "level", "model", "baseline", "difference", "ci_low", "ci_high", "n"]
    swept = sweep({"good": trained, "bad": other}, images, FIXED).set_index(["model", "distortion", "level"]).acc_on_correct
    assert len(rows) == 4 and (rows.n == 150).all()
    for row in rows.itertuples():
        expected = swept["good", row.distortion, row.level] - swept["bad", row.distortion, row.level]
        assert row.difference == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert (row.model, row.baseline) == ("good", "bad")
        assert row.ci_low <= row.difference <= row.ci_high
    with pytest.raises(ValueError, match="'best'.*good, bad"):
        differences(results, "best", "bad")

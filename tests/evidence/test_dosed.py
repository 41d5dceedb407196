"""Dose curves: accuracy against what is left, the mean over the networks of a kind."""

import numpy as np
import pytest
import torch
from torch import nn

from atviz.data import shapetex
from atviz.distortions import doses
from atviz.evidence import Store, dose_curves, find, mean_interval, sweep
from atviz.evidence.dosed import SUPPRESSED


class Colored(nn.Module):
    """Decides by the channel that is strongest, weighed by ``seed``."""

    def __init__(self, seed):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 8, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x):
        return x.mean((2, 3)) @ self.weight


@pytest.fixture(scope="module")
def images():
    return shapetex(40, seed=1).images


def test_a_row_is_the_mean_over_networks_at_the_mean_dose_over_images(images):
    nets = [Colored(seed) for seed in (0, 1)]
    rows = dose_curves({"one": nets, "other": nets[:1]}, images)
    whole = rows[rows.level.isna()]
    assert (whole[["dose", "value"]] == 1).all(axis=None) and len(whole) == 2 * 6
    name, level = "grayscale", 0.5
    (row,) = rows[(rows.distortion == name) & (rows.level == level) & (rows.model == "one")].to_dict("records")
    swept = [sweep({"m": net}, images, {name: level}).acc_on_correct[0] for net in nets]
    mean, low, high = mean_interval(np.array(swept))
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((mean, max(low, 0), min(high, 1)), nan_ok=True)
    x = images.x / 255
    assert row["dose"] == pytest.approx(float(doses(x, find(name).at(level)(x))["color"].nanmean()), abs=1e-4)
    assert row["dose"] == pytest.approx(0.5, abs=1e-3) and row["feature"] == "color"


def test_a_stronger_filter_leaves_less_and_every_distortion_is_there(images):
    rows = dose_curves({"one": [Colored(0)]}, images)
    for feature, (_, by_name) in SUPPRESSED.items():
        for name, levels in by_name.items():
            part = rows[(rows.feature == feature) & (rows.distortion == name)]
            assert part.level[1:].tolist() == list(levels)
            if name in ("bilateral", "nl_means", "grayscale", "channel_shuffle", "patch_shuffle"):
                assert (part.dose.diff()[1:] < 0.01).all()


def test_networks_are_kept_one_by_one(images, tmp_path):
    store, nets = Store(tmp_path), [Colored(0), Colored(1)]
    dose_curves({"one": nets[:1]}, images, store=store)
    again = Store(tmp_path)
    rows = dose_curves({"both": nets}, images, store=again)
    assert (again.computed, again.read) == (1, 2)  # one network; the doses and the other network are known
    assert len(rows) == 6 + sum(len(levels) for _, by_name in SUPPRESSED.values() for levels in by_name.values())

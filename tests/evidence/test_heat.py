"""Fourier heat maps: a network that errs under one frequency alone has one bright pair of points."""

import numpy as np
import pytest
import torch
from torch import nn

from atviz.data import Images
from atviz.evidence import Store, fourier_heat


class Hears(nn.Module):
    """Answers class 1 where the mode of u cycles along the width and v along the height is strong, else class 0."""

    def __init__(self, u, v):
        super().__init__()
        self.u, self.v = u, v

    def forward(self, x):
        strong = torch.fft.fft2(x).abs()[:, 0, self.v, self.u] / x[0, 0].numel()
        return torch.stack([0.02 - strong, strong - 0.02], 1)


class Bright(nn.Module):
    """Answers class 1 where the mean is above 0.55."""

    def forward(self, x):
        return torch.stack([torch.full((len(x),), 0.55), x.mean((1, 2, 3))], 1)


@pytest.fixture
def gray():
    return Images(torch.full((6, 1, 16, 16), 128, dtype=torch.uint8), torch.zeros(6, dtype=torch.int64), ["quiet", "loud"])


def test_the_frequency_that_a_network_hears_is_bright_and_no_other(gray):
    found = fourier_heat(Hears(2, 3), gray, norm=2.0, farthest=4)
    assert found.shape == (9, 9)
    expected = np.zeros((9, 9))
    expected[4 + 3, 4 + 2] = expected[4 - 3, 4 - 2] = 1  # a frequency and its negative
    assert np.array_equal(found, expected)


def test_the_middle_is_brightness_and_no_noise_is_no_error(gray):
    found = fourier_heat(Bright(), gray, norm=2.0, farthest=2)
    assert 0 < found[2, 2] < 1 and found.sum() == found[2, 2]  # some of the signs make the image brighter, the others darker
    assert not fourier_heat(Hears(2, 3), gray, norm=0, farthest=3).any()


def test_it_is_kept_and_found_again(gray, tmp_path):
    store = Store(tmp_path)
    one, other = (fourier_heat(Hears(1, 0), gray, norm=2.0, farthest=2, store=store) for _ in range(2))
    assert np.array_equal(one, other) and (store.computed, store.read) == (1, 1)


@pytest.mark.parametrize("farthest", [0, 9])
def test_a_frequency_that_the_image_cannot_hold_is_refused(gray, farthest):
    with pytest.raises(ValueError, match=f"farthest is {farthest}"):
        fourier_heat(Hears(1, 0), gray, norm=1.0, farthest=farthest)

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import reverse, saturate, shift

LEVELS = [0.25, 0.5, 1, 2, 4, 8, 16, 64, 1024]  # the paper's


@pytest.fixture(scope="session")
def images(images):
    """In double."""
    return partial(images, dtype=torch.float64)


@pytest.mark.parametrize("level", LEVELS)
def test_saturate_against_its_formula(level):
    x = np.concatenate([np.linspace(0, 1, 101), [0.5, 0.5 + 1e-9, 0.5 - 1e-9]])
    expected = np.sign(2 * x - 1) * np.abs(2 * x - 1) ** (2 / level) / 2 + 0.5
    found = saturate(torch.from_numpy(x).view(1, 1, 1, -1), level).numpy().ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_saturate_at_its_limits(dtype):
    x = torch.tensor([0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], dtype=dtype).view(1, 1, 1, 7)
    assert torch.equal(saturate(x, 0), torch.full_like(x, 0.5))
    assert saturate(x, math.inf).flatten().tolist() == [0, 0, 0, 0.5, 1, 1, 1]


@given(level=st.floats(0, 1e6), values=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_saturate_stays_in_range_in_order_and_symmetric(level, values):
    x = torch.tensor(sorted(values), dtype=torch.float64).view(1, 1, 1, -1)
    y = saturate(x, level)
    assert y.min() >= 0 and y.max() <= 1
    assert (y.diff() >= 0).all()
    torch.testing.assert_close(saturate(1 - x, level), 1 - y, atol=1e-6, rtol=0)


def test_saturate_moves_away_from_gray_as_the_level_rises(images):
    x = images(1, 1, 8, 8)
    contrast = [float((saturate(x, level) - 0.5).abs().mean()) for level in [0, *LEVELS, math.inf]]
    assert contrast == sorted(contrast) and len(set(contrast)) == len(contrast)


@given(by=st.floats(-1, 1))
def test_a_shift_moves_every_pixel_by_the_same_amount_and_back(images, by):
    x = images(2, 3, 4, 4)
    torch.testing.assert_close(shift(x, by) - x, torch.full_like(x, by), atol=1e-12, rtol=0)
    torch.testing.assert_close(shift(shift(x, by), -by), x)
    assert torch.equal(shift(x, by, clip=True), shift(x, by).clamp(0, 1))


def test_reversal_is_about_the_mean_of_each_channel(images):
    x, mean = images(2, 3, 8, 8, dtype=torch.float32), [0.4, 0.5, 0.6]
    reversed_ = reverse(x, mean=mean)
    torch.testing.assert_close(reversed_ + x, (2 * torch.tensor(mean))[:, None, None].expand_as(x))
    torch.testing.assert_close(reverse(reversed_, mean=mean), x)


def test_reversal_leaves_the_range_of_pixels_unless_it_is_clipped():
    x = torch.tensor([0.0, 0.2, 0.9]).view(1, 3, 1, 1)
    assert reverse(x, mean=[0.6, 0.2, 0.1]).flatten().tolist() == pytest.approx([1.2, 0.2, -0.7])
    assert reverse(x, mean=[0.6, 0.2, 0.1], clip=True).flatten().tolist() == pytest.approx([1.0, 0.2, 0.0])


def test_a_mean_for_other_channels_is_refused(images):
    with pytest.raises(ValueError, match="mean has 1 values for 3 channels"):
        reverse(images(1, 3, 8, 8), mean=[0.5])

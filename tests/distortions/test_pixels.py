import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import channel_shuffle, grayscale, reverse, saturate, shift

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


def test_channels_get_each_other_order_equally_often(seeded):
    x = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1).expand(1000, 3, 2, 1)
    y = channel_shuffle(x, generator=seeded())
    assert torch.equal(y[:, :, 0], y[:, :, 1])  # channels stay whole
    orders, counts = torch.unique(y[:, :, 0, 0], dim=0, return_counts=True)
    assert len(orders) == 5 and not (y == x[:, :, :1]).flatten(1).all(1).any()
    assert torch.equal(orders.sort(1).values, x[:5, :, 0, 0])
    assert ((counts - 200) ** 2 / 200).sum() < 18.5  # chi-squared of 4 degrees of freedom: exceeded once in a thousand


@given(level=st.floats(0, 1))
def test_shuffled_channels_are_mixed_in_by_their_share(images, seeded, level):
    x = images(6, 3, 4, 4)
    whole = channel_shuffle(x, generator=seeded(1))
    torch.testing.assert_close(channel_shuffle(x, level, generator=seeded(1)), (1 - level) * x + level * whole)
    torch.testing.assert_close(whole.sum(1), x.sum(1))  # the same values


def test_gray_images_have_no_channels_to_shuffle(images):
    gray = grayscale(images(3, 3, 8, 8), 1)
    assert torch.equal(channel_shuffle(gray), gray)
    for channels, said in [(1, "1 channel"), (2, "2 channels"), (4, "4 channels")]:
        with pytest.raises(ValueError, match=rf"^images have {said}; to shuffle colors, they must have 3$"):
            channel_shuffle(images(2, channels, 4, 4))


def test_a_shuffle_takes_one_random_number_of_each_image(images, seeded):
    generator, behind = seeded(3), seeded(3)
    channel_shuffle(images(7, 3, 4, 4), generator=generator)
    torch.rand(7, generator=behind)
    assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=behind))

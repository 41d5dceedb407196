import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torchvision.transforms.v2 import GaussianBlur

from atviz.distortions import gaussian_blur, median, median_filter


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@given(data=st.data())
def test_median_is_scipys_in_every_size_and_type(seeded, dtype, data):
    kernel = data.draw(st.sampled_from([1, 3, 5, 7, 9, 11]))
    size = [data.draw(st.integers(kernel // 2 + 1, 20)) for _ in "hw"]
    values = data.draw(st.sampled_from([2, 5, 1000]))  # few values: many ties
    x = torch.randint(values, (2, 3, *size), generator=seeded(data.draw(st.integers(0, 99)))).to(dtype) / values - 0.25
    expected = x.double().numpy()
    for times in range(3):
        found = median_filter(x, times, kernel_size=kernel)
        assert found.dtype == dtype and np.array_equal(found.double().numpy(), expected)
        expected = ndimage.median_filter(expected, size=(1, 1, kernel, kernel), mode="mirror")


def test_median_of_many_images_is_that_of_each(images):
    x = images(60)
    assert x.numel() > 4 * median.CHUNK  # more pixels than are sorted at once
    whole = median_filter(x)
    assert torch.equal(whole, torch.cat([median_filter(one) for one in x.split(1)]))
    assert whole.is_contiguous() and median_filter(x[:0]).shape == (0, 3, 28, 28)


def test_a_pixel_that_is_no_number_spoils_only_the_squares_that_hold_it(images):
    x = images(1, 1, 12, 12)
    x[0, 0, 5, 6] = math.nan
    square = torch.zeros(12, 12, dtype=torch.bool)
    square[3:8, 4:9] = True
    assert torch.equal(median_filter(x).isnan()[0, 0], square)


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 20)])
@pytest.mark.parametrize("sigma", [0.25, 2, 5.0])
def test_blur_is_torchvisions(images, size, sigma):
    x = images(4, *size)
    found = gaussian_blur(x, sigma)
    assert torch.equal(found, GaussianBlur(7, [float(sigma)] * 2)(x)) and not torch.equal(found, x)
    assert 0 <= found.min() and found.max() <= 1


@pytest.mark.parametrize("sigma", [0.25, 1.0, 5.0])
def test_blur_is_scipys_with_the_same_kernel(images, sigma):
    x = images(2, 3, 20, 15, dtype=torch.float64)
    weights = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2)
    weights /= weights.sum()
    expected = ndimage.correlate1d(ndimage.correlate1d(x.numpy(), weights, axis=2, mode="mirror"), weights, axis=3, mode="mirror")
    np.testing.assert_allclose(gaussian_blur(x, sigma).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("filtered", [gaussian_blur, median_filter])
def test_level_zero_leaves_every_bit(images, filtered):
    x = images(2, 3, 8, 8)
    assert torch.equal(filtered(x, 0), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gaussian_blur(x, 1, kernel_size=4), "kernel_size is 4"),
        (lambda x: gaussian_blur(x[..., :3], 1), "kernel_size is 7"),
        (lambda x: median_filter(x, kernel_size=0), "kernel_size is 0"),
    ],
)
def test_kernels_that_do_not_fit_are_refused(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(images(1, 3, 8, 8))

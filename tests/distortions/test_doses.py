import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from atviz.distortions import bilateral, doses, gaussian_blur, grayscale, high_pass, low_pass, patch_shuffle, saturate

NAMES = ["local_variance", "high_frequency", "gradient", "color"]


def listed(found):
    """The doses of one image."""
    return {name: float(dose[0]) for name, dose in found.items()}


def reference(image, distorted):
    """The doses of one image (3, H, W), by NumPy and SciPy."""
    pair = [values.double().numpy() for values in (image, distorted)]
    luma_a, luma_b = (np.tensordot([0.299, 0.587, 0.114], values, 1) for values in pair)

    def variance(luma):
        return np.mean([luma[i : i + 5, j : j + 5].var() for i in range(luma.shape[0] - 4) for j in range(luma.shape[1] - 4)])

    def energy(luma):
        v, u = np.meshgrid(*(scipy.fft.fftfreq(side) for side in luma.shape), indexing="ij")
        return (np.abs(scipy.fft.fft2(luma)) ** 2)[np.hypot(v, u) > 0.25].sum()

    def gradient(luma):
        return np.hypot(ndimage.sobel(luma, 0), ndimage.sobel(luma, 1))[1:-1, 1:-1].ravel()

    colors = [values - values.mean(0) for values in pair]

    return {
        "local_variance": variance(luma_b) / variance(luma_a),
        "high_frequency": energy(luma_b) / energy(luma_a),
        "gradient": np.corrcoef(gradient(luma_a), gradient(luma_b))[0, 1],
        "color": (colors[0] * colors[1]).sum() / (colors[0] ** 2).sum(),
    }


@pytest.mark.parametrize("size", [(5, 5), (8, 12), (28, 28), (15, 9)])
def test_doses_are_numpys_and_scipys(images, size):
    x = images(2, 3, *size)
    for distorted in (gaussian_blur(x, 1, kernel_size=5), saturate(x, 8), patch_shuffle(x, 1).flip(-1)):
        found = doses(x, distorted)
        assert list(found) == NAMES and all(dose.shape == (2,) for dose in found.values())
        for i in range(2):
            expected = reference(x[i], distorted[i])
            assert {name: float(dose[i]) for name, dose in found.items()} == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_an_image_has_all_of_itself(images, dtype):
    x = images(3, 3, 8, 12, dtype=dtype)
    found = doses(x, x.clone())
    for dose in found.values():
        assert dose.dtype == torch.promote_types(dtype, torch.float32)
        torch.testing.assert_close(dose, torch.ones_like(dose))


def test_a_blank_image_has_nothing_left(images):
    x = images(2, 3, 8, 8)
    for blank in (torch.full_like(x, 0.3), saturate(x, 0)):
        assert listed(doses(x, blank)) == dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize("value", [0, 0.3, 1])
def test_what_an_image_has_not_cannot_be_removed(images, value):
    x = images(2, 3, 8, 8)
    assert all(math.isnan(dose) for dose in listed(doses(torch.full_like(x, value), x)).values())
    gray = listed(doses(grayscale(x, 1), x)), listed(doses(x[:, :1], x[:, :1] / 2))
    assert all(math.isnan(found["color"]) and not math.isnan(found["gradient"]) for found in gray)
    assert math.isnan(listed(doses(low_pass(x, 2), x))["high_frequency"])


@given(slope=st.floats(0.05, 1), offset=st.floats(0, 0.5))
def test_contrast_counts_where_energy_counts(images, slope, offset):
    x = images(2, 3, 8, 8, dtype=torch.float64)
    expected = {"local_variance": slope**2, "high_frequency": slope**2, "gradient": 1, "color": slope}
    assert listed(doses(x, slope * x + offset)) == pytest.approx(expected)


@given(share=st.floats(0, 1))
def test_grayscale_removes_color_only(images, share):
    x = images(2, 3, 8, 8, dtype=torch.float64)
    found = listed(doses(x, grayscale(x, share)))
    assert found == pytest.approx({"local_variance": 1, "high_frequency": 1, "gradient": 1, "color": 1 - share})


def test_a_filter_removes_its_frequencies(images):
    x = images(2, 3, 32, 32)
    assert listed(doses(x, low_pass(x, 8)))["high_frequency"] == pytest.approx(0, abs=1e-9)
    assert listed(doses(x, high_pass(x, 8)))["high_frequency"] == pytest.approx(1)
    assert 0 < listed(doses(x, low_pass(x, 12)))["high_frequency"] < 1


def test_other_channels_are_another_color(images):
    x = images(3, 3, 8, 8)
    turned = doses(x, x.roll(1, 1))["color"]  # the colors' mean over the three rotations is gray
    torch.testing.assert_close(turned, torch.full((3,), -0.5))
    torch.testing.assert_close(doses(x, (x + x.roll(1, 1)) / 2)["color"], torch.full((3,), 0.25))
    assert doses(x, patch_shuffle(x, 4))["gradient"].max() < 0.7


def test_a_bilateral_filter_removes_texture_like_a_blur_but_not_the_edges(images):
    x = 0.1 * images(1, 1, 32, 32)
    x[..., 8:24, 8:24] += 0.6
    smooth, blurred = bilateral(x, 0.15), gaussian_blur(x, 1)
    inside = np.s_[..., 12:20, 12:20]
    texture = [listed(doses(x[inside], distorted[inside]))["local_variance"] for distorted in (smooth, blurred)]
    edges = [listed(doses(x, distorted))["gradient"] for distorted in (smooth, blurred)]
    assert texture[0] < texture[1] < 0.2
    assert edges[0] > 0.99 > 0.95 > edges[1]


def test_images_are_measured_one_by_one(images):
    x, distorted = images(6, 3, 8, 12), images(6, 3, 8, 12, seed=1)
    whole = doses(x, distorted)
    parts = [doses(x[i : i + 1], distorted[i : i + 1]) for i in range(6)]
    for name in NAMES:
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name])


def test_images_that_do_not_fit_are_refused(images):
    x = images(2, 3, 8, 8)
    for a, b, message in [
        (x, x[:1], r"x is \(2, 3, 8, 8\), but distorted is \(1, 3, 8, 8\)"),
        (x[..., :4], x[..., :4], "images are 8x4 pixels; a local variance needs 5x5"),
        (x[:, :2], x[:, :2], "images have 2 channels; a luma needs 3"),
        (x, (255 * x).byte(), "N, C, H, W"),
    ]:
        with pytest.raises(ValueError, match=message):
            doses(a, b)

import math
from functools import partial

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import high_pass, low_pass, random_modes
from atviz.distortions.fourier import low_modes

SIZES = [(8, 8), (9, 9), (8, 9), (15, 6), (1, 7), (28, 28), (5, 32)]
sized = pytest.mark.parametrize(("h", "w"), SIZES)


@pytest.fixture(scope="session")
def images(images):
    """In double."""
    return partial(images, dtype=torch.float64)


def masked(x, kept):
    """The complex images of SciPy with the modes of a mask kept."""
    return scipy.fft.ifft2(scipy.fft.fft2(x.numpy()) * kept)


# --- low-pass and high-pass filters


@sized
@pytest.mark.parametrize("radius", [0, 1, 1.5, 2, 2.5, 3, 5, 14, 100, math.inf])
def test_low_pass_against_a_mask_on_the_shifted_spectrum(images, h, w, radius):
    x = images(2, 3, h, w)
    v, u = np.mgrid[:h, :w]
    kept = masked(x, scipy.fft.ifftshift((v - h // 2) ** 2 + (u - w // 2) ** 2 <= radius**2))
    assert np.abs(kept.imag).max() < 1e-12
    np.testing.assert_allclose(low_pass(x, radius).numpy(), kept.real, atol=1e-12)
    np.testing.assert_allclose(high_pass(x, radius).numpy(), x.numpy() - kept.real, atol=1e-12)


@given(size=st.tuples(st.integers(1, 12), st.integers(1, 12)), radius=st.floats(0, 20), seed=st.integers(0, 99))
def test_low_and_high_add_up_and_filter_once(images, size, radius, seed):
    x = images(2, 2, *size, seed)
    low, high = low_pass(x, radius), high_pass(x, radius)
    torch.testing.assert_close(low + high, x)
    torch.testing.assert_close(low_pass(low, radius), low)
    torch.testing.assert_close(high_pass(low, radius), torch.zeros_like(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)]
)
def test_low_and_high_add_up_in_every_type(images, dtype, rounding):
    x = images(2, 3, 28, 28, dtype=dtype)
    assert (low_pass(x, 5) + high_pass(x, 5) - x).abs().max() < rounding


def test_low_pass_of_radius_zero_is_the_mean_of_each_channel(images):
    x = images(3, 2, 9, 6)
    torch.testing.assert_close(low_pass(x, 0), x.mean((-2, -1), keepdim=True).expand_as(x))


@pytest.mark.parametrize(("cycles", "angle"), [(3, 0), (4, 90), (5, 53.13)])
def test_a_wave_passes_at_its_own_frequency(cycles, angle):
    v, u = round(cycles * math.sin(math.radians(angle))), round(cycles * math.cos(math.radians(angle)))
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    wave = torch.cos(2 * torch.pi * (v * row + u * column) / 32)[None, None]
    # 3-4-5: an exact distance on the boundary is kept
    torch.testing.assert_close(low_pass(wave, cycles), wave, atol=1e-5, rtol=0)
    torch.testing.assert_close(low_pass(wave, cycles - 0.01), torch.zeros_like(wave), atol=1e-5, rtol=0)


@sized
@pytest.mark.parametrize("radius", [0, 2, 5])
def test_high_pass_can_keep_the_mean(images, h, w, radius):
    x = images(2, 3, h, w)
    mean, high = x.mean((-2, -1), keepdim=True), high_pass(x, radius, keep_mean=True)
    torch.testing.assert_close(high.mean((-2, -1), keepdim=True), mean)
    torch.testing.assert_close(low_pass(x, radius) + high, x + mean)


def test_filters_are_not_clamped():
    step = (torch.arange(32) >= 16).double().expand(1, 1, 32, 32)
    assert low_pass(step, 5).max() > 1.01  # Gibbs
    assert high_pass(step, 5).min() < -0.1


# --- the mask in the authors' code


@pytest.mark.parametrize(("h", "w", "radius"), [(28, 28, 18), (9, 14, 7), (5, 5, 2), (32, 32, 0), (6, 6, 100)])
def test_the_codes_mask_against_loops(images, h, w, radius):
    x = images(2, 3, h, w)
    kept = np.zeros((h, w), bool)
    for i in range(h):
        for j in range(w):
            kept[i, j] = math.sqrt((i - (h - 1) // 2) ** 2 + (j - (w - 1) // 2) ** 2) >= radius
    low, high = low_pass(x, radius, preset="code"), high_pass(x, radius, preset="code")
    np.testing.assert_allclose(low.numpy(), masked(x, kept).real, atol=1e-12)
    torch.testing.assert_close(low + high, x)


def test_the_codes_mask_keeps_what_the_spec_counts():
    kept = low_modes(torch.zeros(1, 3, 224, 224), 144, "code")
    assert float(kept.double().mean()) == pytest.approx(0.017, abs=0.0005)
    assert kept[0, 0] and not kept[111, 111]  # zero frequency, and the highest


@pytest.mark.parametrize(("h", "w", "radius"), [(28, 28, 18), (9, 14, 7), (5, 5, 2)])
def test_the_codes_high_pass_can_keep_the_mean(images, h, w, radius):
    x = images(2, 3, h, w)
    mean, options = x.mean((-2, -1), keepdim=True), {"preset": "code"}
    assert high_pass(x, radius, **options).mean((-2, -1)).abs().max() < 1e-12
    torch.testing.assert_close(low_pass(x, radius, **options) + high_pass(x, radius, keep_mean=True, **options), x + mean)


def test_where_the_codes_low_pass_removes_the_mean_high_pass_has_it_already(images):
    x = images(2, 3, 6, 6)
    torch.testing.assert_close(high_pass(x, 100, preset="code", keep_mean=True), x)


@pytest.mark.parametrize("function", [low_pass, high_pass])
def test_unknown_preset_is_refused(images, function):
    with pytest.raises(ValueError, match="unknown preset 'codes'; known are paper, code"):
        function(images(1, 1, 4, 4), 2, preset="codes")


@sized
def test_modes_without_symmetry_are_drawn_one_by_one(images, seeded, h, w):
    x = images(40, 2, h, w)
    y = random_modes(x, 0.3, symmetric=False, generator=seeded(1))
    drawn = torch.rand(40, h * w, generator=seeded(1)).view(40, 1, h, w).numpy()
    np.testing.assert_allclose(y.numpy(), masked(x, drawn >= 0.3).real, atol=1e-12)
    if h * w > 4:  # else each mode is its own conjugate
        spectrum = np.abs(scipy.fft.fft2(y.numpy())) / np.abs(scipy.fft.fft2(x.numpy()))
        assert (np.abs(spectrum - 0.5) < 1e-6).any()


# --- random modes


def kept_modes(x, y):
    """For each image and mode, whether ``y`` has it; fails unless each mode is whole or gone."""
    ratio = np.abs(scipy.fft.fft2(y.numpy())) / np.abs(scipy.fft.fft2(x.numpy()))
    assert np.all((ratio < 1e-6) | (np.abs(ratio - 1) < 1e-6))
    kept = ratio > 0.5
    assert (kept == kept[:, :1]).all()  # the channels of an image share its mask
    return kept[:, 0]


@sized
def test_modes_are_removed_whole_and_with_their_conjugates(images, seeded, h, w):
    x = images(4, 3, h, w)
    y = random_modes(x, 0.5, generator=seeded(1))
    kept = kept_modes(x, y)
    conjugate = kept[:, -np.arange(h) % h][:, :, -np.arange(w) % w]
    assert (kept == conjugate).all()
    assert 0 < kept.mean() < 1
    # the mask leaves a real image, and that image is the result
    left = masked(x, kept[:, None])
    np.testing.assert_allclose(y.numpy(), left.real, atol=1e-12)
    assert np.abs(left.imag).max() < 1e-12


@sized
def test_no_mode_is_removed_at_p_zero_and_all_at_one(images, h, w):
    x = images(3, 2, h, w)
    torch.testing.assert_close(random_modes(x, 0), x)
    assert torch.equal(random_modes(x, 1), torch.zeros_like(x))


@sized
@pytest.mark.parametrize("symmetric", [True, False])
def test_random_modes_can_keep_the_mean_and_draw_the_others_as_before(images, seeded, h, w, symmetric):
    x = images(40, 2, h, w)
    free, kept = (random_modes(x, 0.5, keep_mean=keep, symmetric=symmetric, generator=seeded(1)) for keep in (False, True))
    mean = x.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(kept.mean((-2, -1), keepdim=True), mean)
    assert not torch.allclose(free, kept)
    torch.testing.assert_close(kept - mean, free - free.mean((-2, -1), keepdim=True))
    torch.testing.assert_close(random_modes(x, 1, keep_mean=True, symmetric=symmetric), mean.expand_as(x))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_removed_modes_is_p(images, seeded, p):
    x = images(200, 1, 9, 9)
    kept = kept_modes(x, random_modes(x, p, generator=seeded()))
    # 41 independent draws an image: a mode and its conjugate are one
    assert abs((1 - kept.mean()) - p) < 4 * math.sqrt(p * (1 - p) / (200 * 41)) * math.sqrt(2)
    # the same for each mode, zero frequency included
    assert np.abs((1 - kept.mean(0)) - p).max() < 4.5 * math.sqrt(p * (1 - p) / 200)

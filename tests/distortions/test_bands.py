import math
from functools import partial

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import fourier_basis, low_pass, noise_band


@pytest.fixture(scope="session")
def images(images):
    """In double."""
    return partial(images, dtype=torch.float64)


def spectrum(images):
    """Amplitudes, with zero frequency in the middle, and how far each entry is from it."""
    h, w = images.shape[-2:]
    v, u = np.mgrid[:h, :w]
    return np.abs(scipy.fft.fftshift(scipy.fft.fft2(images.numpy()), axes=(-2, -1))), np.hypot(v - h // 2, u - w // 2)


# --- noise of a band


@given(
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    center=st.floats(1.5, 8),
    octaves=st.floats(0.8, 3),
    sd=st.floats(0.001, 2),
    seed=st.integers(0, 99),
)
def test_noise_lies_in_its_band_and_has_its_deviation(images, seeded, size, center, octaves, sd, seed):
    x = images(3, 3, *size, seed)
    noise = noise_band(x, center, sd=sd, octaves=octaves, generator=seeded(seed)) - x
    torch.testing.assert_close(noise, noise[:, :1].expand_as(noise))  # gray
    torch.testing.assert_close(noise.std((2, 3), correction=0), torch.full((3, 3), sd, dtype=torch.float64))
    assert noise.mean((2, 3)).abs().max() < 1e-12
    amplitude, radius = spectrum(noise[:, 0])
    inside = (radius >= center * 2 ** (-octaves / 2)) & (radius < center * 2 ** (octaves / 2))
    assert amplitude[:, ~inside].max() < 1e-9 * amplitude.max() and amplitude[:, inside].min() > 0


def test_bands_an_octave_apart_share_no_mode_and_leave_none_out(images, seeded):
    x = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    found = [spectrum(noise_band(x, center, sd=1, generator=seeded()))[0] > 1e-9 for center in (1, 2, 4, 8, 16, 32)]
    _, radius = spectrum(x)
    assert np.array_equal(sum(band.astype(int) for band in found)[0, 0], radius > 0)
    # the ends, 2 · √2 and 4 · √2, are distances of modes: the lower one belongs to the band
    assert found[2][0, 0, 18, 18] and not found[2][0, 0, 20, 20] and found[3][0, 0, 20, 20]


def test_noise_is_gaussian_and_white_within_its_band(seeded):
    noise = noise_band(torch.zeros(400, 1, 16, 16, dtype=torch.float64), 4, sd=1, octaves=4, generator=seeded())
    assert abs(noise.mean()) < 1e-6 and abs((noise**4).mean() - 3) < 0.1
    amplitude, radius = spectrum(noise[:, 0])
    power = (amplitude**2).mean(0)
    inside = (radius >= 1) & (radius < 16)
    assert np.abs(power[inside] / power[inside].mean() - 1).max() < 0.35  # 400 draws: five standard errors
    assert abs(np.corrcoef(noise[::2].flatten(), noise[1::2].flatten())[0, 1]) < 0.02


def test_noise_takes_a_random_number_of_each_pixel(images, seeded):
    x, generator, behind = images(10, 3, 6, 9), seeded(3), seeded(3)
    parts = [noise_band(part, 2, sd=0.1, generator=generator) for part in x.split(3)]
    torch.testing.assert_close(torch.cat(parts), noise_band(x, 2, sd=0.1, generator=seeded(3)))
    torch.rand(10, 6 * 9, generator=behind)
    assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=behind))


def test_a_random_number_of_zero_gives_finite_noise(monkeypatch):
    monkeypatch.setattr("atviz.distortions.bands.uniform", lambda n, numbers, generator: torch.arange(numbers).expand(n, -1) / numbers)
    noise = noise_band(torch.zeros(2, 1, 8, 8), 2, sd=0.1)
    assert noise.isfinite().all() and noise.std(correction=0) == pytest.approx(0.1)


def test_low_noise_passes_a_low_pass_and_high_noise_does_not(images, seeded):
    x = images(2, 1, 32, 32)
    for center, passed in ((2, True), (12, False)):
        noise = noise_band(x, center, sd=0.1, generator=seeded()) - x
        torch.testing.assert_close(low_pass(noise, 6), noise * passed)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sd": -0.1}, "^sd is -0.1"),
        ({"sd": math.nan}, "^sd is nan"),
        ({"sd": 0.1, "octaves": 0}, "^octaves is 0"),
        ({"sd": 0.1, "octaves": math.inf}, "^octaves is inf"),
        ({"sd": 0.1, "octaves": 0.01}, "^center is 2.5; .* images of 8x8 pixels must have modes within 0.005 octaves of it"),
    ],
)
def test_noise_without_a_meaning_is_refused(images, given, message):
    with pytest.raises(ValueError, match=message):
        noise_band(images(1, 1, 8, 8), 2.5, **given)


def test_noise_of_no_deviation_changes_nothing(images):
    x = images(2, 3, 8, 8)
    assert torch.equal(noise_band(x, 2, sd=0), x)


# --- one frequency


@given(data=st.data(), size=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_a_basis_image_has_its_norm_and_two_modes(images, seeded, data, size):
    h, w = size
    u, v = (data.draw(st.integers(-(side // 2), side // 2)) for side in (w, h))
    x = images(2, 3, h, w)
    change = (fourier_basis(x, u, v, norm=0.5, generator=seeded()) - x).numpy()
    np.testing.assert_allclose(np.linalg.norm(change, axis=(2, 3)), 0.5)
    modes = np.abs(scipy.fft.fft2(change, norm="ortho")) > 1e-6
    assert {(int(i), int(j)) for _, _, i, j in np.argwhere(modes)} == {(v % h, u % w), (-v % h, -u % w)}


def test_basis_images_of_all_frequencies_are_orthonormal(seeded):
    frequencies = [(u, v) for u in range(-2, 2) for v in range(-1, 2)]
    basis = torch.stack([fourier_basis(torch.zeros(1, 1, 3, 4), u, v, norm=1, generator=seeded()) for u, v in frequencies]).flatten(1)
    torch.testing.assert_close((basis @ basis.T).abs(), torch.eye(12), atol=1e-6, rtol=0)


def test_signs_of_channels_are_fair_and_independent(seeded):
    x = torch.zeros(8000, 3, 4, 4)
    change = fourier_basis(x, 1, 1, norm=1, generator=seeded())
    plain = change[0, 0].abs()
    signs = (change / change[:1, :1]).nanmean((2, 3)).round()
    assert torch.equal(change.abs(), plain.expand_as(change)) and set(signs.flatten().tolist()) == {1, -1}
    outcomes, counts = torch.unique(signs, dim=0, return_counts=True)
    assert len(outcomes) == 8
    assert ((counts - 1000) ** 2 / 1000).sum() < 24.4  # chi-squared of 7 degrees of freedom: exceeded once in a thousand


def test_a_basis_image_takes_one_random_number_whatever_the_channels(images, seeded):
    for channels in (1, 3):
        generator, behind = seeded(3), seeded(3)
        fourier_basis(images(7, channels, 4, 4), 1, 0, norm=1, generator=generator)
        torch.rand(7, generator=behind)
        assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=behind))


@pytest.mark.parametrize(
    ("u", "v", "norm", "message"),
    [
        (0, 5, 1, r"^v is 5; it must be a whole number from -4 to 4"),
        (0, 0.5, 1, r"^v is 0.5"),
        (7, 0, 1, r"^u is 7; it must be a whole number from -6 to 6"),
        (0, 0, -1, r"^norm is -1"),
        (0, 0, math.inf, r"^norm is inf"),
    ],
)
def test_frequencies_that_do_not_fit_are_refused(images, u, v, norm, message):
    with pytest.raises(ValueError, match=message):
        fourier_basis(images(1, 1, 8, 12), u, v, norm=norm)

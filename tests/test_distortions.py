import itertools
import math
from functools import partial

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz import distortions, medians
from atviz.distortions import high_pass, low_pass, patch_shuffle, random_modes, saturate

SIZES = [(8, 8), (9, 9), (8, 9), (15, 6), (1, 7), (28, 28), (5, 32)]
LEVELS = [0.25, 0.5, 1, 2, 4, 8, 16, 64, 1024]  # the paper's
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
# a step of each type at 1, times a few
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
EVERY = {
    "saturate": partial(saturate, level=8), "patch_shuffle": partial(patch_shuffle, k=2), "low_pass": partial(low_pass, radius=3),
    "high_pass": partial(high_pass, radius=3), "random_modes": partial(random_modes, p=0.3),
}  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n, c, h, w, seed=0, dtype=torch.float64):
    return torch.rand(n, c, h, w, generator=seeded(seed), dtype=torch.float64).to(dtype)


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


# --- every distortion


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", TYPES)
def test_shape_and_type_are_kept(name, dtype):
    x = images(3, 2, 8, 12, dtype=dtype)
    before = x.clone()
    torch.manual_seed(0)
    y = EVERY[name](x)
    assert y.shape == x.shape and y.dtype == dtype
    assert torch.equal(x, before) and not torch.equal(x, y)
    torch.manual_seed(0)
    exact = EVERY[name](x.double())
    assert (y.double() - exact).abs().max() < ROUNDING[dtype]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "x", [torch.rand(3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.rand(8, 8)], ids=["one image", "uint8", "plane"]
)
def test_what_is_no_batch_of_images_is_refused(name, x):
    with pytest.raises(ValueError, match=r"N, C, H, W"):
        EVERY[name](x)


@pytest.mark.parametrize("name", ["patch_shuffle", "random_modes"])
def test_randomness_comes_from_the_generator(name):
    x = images(4, 3, 8, 8)
    run = lambda seed: EVERY[name](x, generator=seeded(seed))
    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    before = torch.get_rng_state()
    run(1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["patch_shuffle", "random_modes"])
def test_images_are_drawn_for_one_by_one(name):
    x = images(1, 3, 16, 16).expand(20, 3, 16, 16)
    y = distortions.DISTORTIONS[name][0](x, {"patch_shuffle": 4, "random_modes": 0.5}[name], generator=seeded())
    assert not any(torch.allclose(a, b) for a, b in itertools.combinations(y, 2))


USUAL = {"patch_shuffle": 4, "random_modes": 0.4, "random_modes_code": 0.4}


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
@pytest.mark.parametrize("size", [(4, 4), (28, 28), (32, 16)])
def test_named_gives_the_same_images_in_any_batch_size(name, size):
    x, level = images(12, 1, *size, dtype=torch.float32), USUAL.get(name, 3)
    whole = distortions.named(name, level, seed=5)(x)
    for batch in (1, 5, 7):
        distort = distortions.named(name, level, seed=5)
        torch.testing.assert_close(torch.cat([distort(part) for part in x.split(batch)]), whole, atol=1e-6, rtol=0)
    is_random = distortions.DISTORTIONS[name][2]
    assert is_random != torch.equal(distortions.named(name, level, seed=6)(x), whole)


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_named_is_the_function_at_its_level(name):
    function, keyword, is_random, _ = distortions.DISTORTIONS[name]
    x, level = images(3, 2, 8, 8), USUAL.get(name, 3)
    options = {"generator": seeded(9)} if is_random else {}
    assert torch.equal(distortions.named(name, level, seed=9)(x), function(x, **{keyword: level}, **options))


@pytest.mark.parametrize(
    ("name", "hint"), [("saturation", "saturate"), ("patch-shuffle", "patch_shuffle"), ("lowpass", "low_pass"), ("?", "known are")]
)
def test_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(ValueError, match="unknown distortion") as error:
        distortions.named(name, 1)
    assert repr(name) in str(error.value) and hint in str(error.value)


# --- saturation


@pytest.mark.parametrize("level", LEVELS)
def test_saturate_against_its_formula(level):
    x = np.concatenate([np.linspace(0, 1, 101), [0.5, 0.5 + 1e-9, 0.5 - 1e-9]])
    expected = np.sign(2 * x - 1) * np.abs(2 * x - 1) ** (2 / level) / 2 + 0.5
    found = saturate(torch.from_numpy(x).view(1, 1, 1, -1), level).numpy().ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", TYPES)
def test_saturate_at_its_special_levels(dtype):
    x = torch.tensor([0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], dtype=dtype).view(1, 1, 1, 7)
    assert torch.equal(saturate(x, 0), torch.full_like(x, 0.5))
    assert saturate(x, math.inf).flatten().tolist() == [0, 0, 0, 0.5, 1, 1, 1]
    assert (saturate(x, 2) - x).abs().max() < ROUNDING[dtype]


@given(level=st.floats(0, 1e6), values=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_saturate_stays_in_range_in_order_and_symmetric(level, values):
    x = torch.tensor(sorted(values), dtype=torch.float64).view(1, 1, 1, -1)
    y = saturate(x, level)
    assert y.min() >= 0 and y.max() <= 1
    assert (y.diff() >= 0).all()
    torch.testing.assert_close(saturate(1 - x, level), 1 - y, atol=1e-6, rtol=0)


def test_saturate_moves_away_from_gray_as_the_level_rises():
    x = images(1, 1, 8, 8)
    contrast = [float((saturate(x, level) - 0.5).abs().mean()) for level in [0, *LEVELS, math.inf]]
    assert contrast == sorted(contrast) and len(set(contrast)) == len(contrast)


@pytest.mark.parametrize("level", [-1, -1e-9, math.nan, -math.inf])
def test_saturation_level_below_zero_is_refused(level):
    with pytest.raises(ValueError, match="saturation level is"):
        saturate(images(1, 1, 4, 4), level)


# --- patches


def patches(image, k):
    """The k × k patches of one (C, H, W) image, as bytes."""
    h, w = image.shape[1:]
    return [
        image[:, i : i + h // k, j : j + w // k].contiguous().numpy().tobytes() for i in range(0, h, h // k) for j in range(0, w, w // k)
    ]


@given(k=st.integers(1, 5), height=st.integers(1, 4), width=st.integers(1, 4), channels=st.integers(1, 3), seed=st.integers(0, 999))
def test_patches_are_permuted_and_intact(k, height, width, channels, seed):
    x = images(3, channels, k * height, k * width, seed)
    y = patch_shuffle(x, k, generator=seeded(seed))
    for before, after in zip(x, y, strict=True):
        assert sorted(patches(before, k)) == sorted(patches(after, k))


def test_k_of_one_is_the_identity():
    x = images(5, 3, 7, 11)
    assert torch.equal(patch_shuffle(x, 1, generator=seeded()), x)


def test_every_permutation_is_equally_likely():
    n = 24 * 200
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(n, 1, 2, 2) / 4
    codes = (patch_shuffle(x, 2, generator=seeded()).flatten(1) * 4) @ torch.tensor([64.0, 16.0, 4.0, 1.0])
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 49.7  # chi-squared, 23 degrees of freedom: exceeded once in a thousand


@pytest.mark.parametrize(
    ("size", "k", "right"),
    [
        ((28, 28), 3, [1, 2, 4, 7, 14, 28]),
        ((32, 32), 5, [1, 2, 4, 8, 16, 32]),
        ((12, 18), 4, [1, 2, 3, 6]),
        ((7, 5), 7, [1]),
        ((8, 8), 16, [1, 2, 4, 8]),
    ],
)
def test_k_that_does_not_divide_is_refused_with_those_that_do(size, k, right):
    x = images(2, 1, *size)
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels cannot be cut into {k}x{k}") as error:
        patch_shuffle(x, k)
    assert str(error.value).endswith("k can be " + ", ".join(map(str, right)))
    for works in right:
        patch_shuffle(x, works)
    assert distortions.patch_counts(*size) == [works for works in right if 2 <= works <= 8]


@pytest.mark.parametrize("k", [0, -2, 2.5, math.nan, math.inf])
def test_k_that_counts_nothing_is_refused(k):
    with pytest.raises(ValueError, match="cannot be cut"):
        patch_shuffle(images(1, 1, 8, 8), k)


def test_whole_number_as_float_is_a_count():
    x = images(2, 1, 8, 8)
    assert torch.equal(patch_shuffle(x, 4.0, generator=seeded()), patch_shuffle(x, 4, generator=seeded()))


# --- Fourier filters


def centered_mask(h, w, radius):
    """1 for modes at most ``radius`` from the center of the shifted spectrum."""
    v, u = np.mgrid[:h, :w]
    return (v - h // 2) ** 2 + (u - w // 2) ** 2 <= radius**2


@pytest.mark.parametrize(("h", "w"), SIZES)
@pytest.mark.parametrize("radius", [0, 1, 1.5, 2, 2.5, 3, 5, 14, 100, math.inf])
def test_low_pass_against_a_mask_on_the_shifted_spectrum(h, w, radius):
    x = images(2, 3, h, w)
    spectrum = scipy.fft.fftshift(scipy.fft.fft2(x.numpy()), axes=(-2, -1))
    kept = scipy.fft.ifft2(scipy.fft.ifftshift(spectrum * centered_mask(h, w, radius), axes=(-2, -1)))
    assert np.abs(kept.imag).max() < 1e-12
    np.testing.assert_allclose(low_pass(x, radius).numpy(), kept.real, atol=1e-12)
    np.testing.assert_allclose(high_pass(x, radius).numpy(), x.numpy() - kept.real, atol=1e-12)


@given(size=sizes, radius=st.floats(0, 20), seed=st.integers(0, 99))
def test_low_and_high_add_up_and_filter_once(size, radius, seed):
    x = images(2, 2, *size, seed)
    low, high = low_pass(x, radius), high_pass(x, radius)
    torch.testing.assert_close(low + high, x)
    torch.testing.assert_close(low_pass(low, radius), low)
    torch.testing.assert_close(high_pass(low, radius), torch.zeros_like(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("distort", [partial(low_pass, radius=5), partial(high_pass, radius=5), partial(random_modes, p=0.5)])
def test_fourier_filters_clip_on_request_alone(distort):
    x = torch.zeros(2, 3, 16, 16)
    x[..., 4:12, 4:12] = 1  # an edge rings
    draw = {"generator": torch.Generator().manual_seed(0)} if distort.func is random_modes else {}
    free = distort(x, **draw)
    draw = {name: generator.manual_seed(0) for name, generator in draw.items()}
    assert free.min() < 0
    assert torch.equal(distort(x, clip=True, **draw), free.clamp(0, 1))


@pytest.mark.parametrize("dtype", TYPES)
def test_low_and_high_add_up_in_every_type(dtype):
    x = images(2, 3, 28, 28, dtype=dtype)
    assert (low_pass(x, 5) + high_pass(x, 5) - x).abs().max() < ROUNDING[dtype]


def test_low_pass_of_radius_zero_is_the_mean_of_each_channel():
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


def test_filters_are_not_clamped():
    step = (torch.arange(32) >= 16).double().expand(1, 1, 32, 32)
    assert low_pass(step, 5).max() > 1.01  # Gibbs
    assert high_pass(step, 5).min() < -0.1


@pytest.mark.parametrize("radius", [-1, -1e-9, math.nan])
@pytest.mark.parametrize("function", [low_pass, high_pass])
def test_radius_below_zero_is_refused(function, radius):
    with pytest.raises(ValueError, match="radius is"):
        function(images(1, 1, 4, 4), radius)


# --- what the authors' code does


@pytest.mark.parametrize(("h", "w", "radius"), [(28, 28, 18), (9, 14, 7), (5, 5, 2), (32, 32, 0), (6, 6, 100)])
def test_the_codes_mask_against_loops(h, w, radius):
    x = images(2, 3, h, w)
    kept = np.zeros((h, w), bool)
    for i in range(h):
        for j in range(w):
            kept[i, j] = math.sqrt((i - (h - 1) // 2) ** 2 + (j - (w - 1) // 2) ** 2) >= radius
    expected = scipy.fft.ifft2(scipy.fft.fft2(x.numpy()) * kept).real
    low, high = low_pass(x, radius, preset="code"), high_pass(x, radius, preset="code")
    np.testing.assert_allclose(low.numpy(), expected, atol=1e-12)
    torch.testing.assert_close(low + high, x)
    assert torch.equal(distortions.named("low_pass_code", radius)(x), low)
    assert torch.equal(distortions.named("high_pass_code", radius)(x), high)


def test_the_codes_mask_keeps_what_the_spec_counts():
    kept = distortions._low_modes(torch.zeros(1, 3, 224, 224), 144, "code")
    assert float(kept.double().mean()) == pytest.approx(0.017, abs=0.0005)
    assert kept[0, 0] and not kept[111, 111]  # zero frequency, and the highest


def test_unknown_preset_is_refused():
    for function in (low_pass, high_pass):
        with pytest.raises(ValueError, match="unknown preset 'codes'; known are paper, code"):
            function(images(1, 1, 4, 4), 2, preset="codes")


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_modes_without_symmetry_fall_one_by_one(h, w):
    x = images(40, 2, h, w)
    y = random_modes(x, 0.3, symmetric=False, generator=seeded(1))
    assert torch.equal(y, distortions.named("random_modes_code", 0.3, seed=1)(x))
    drawn = torch.rand(40, h * w, generator=seeded(1)).view(40, 1, h, w).numpy()
    np.testing.assert_allclose(y.numpy(), scipy.fft.ifft2(scipy.fft.fft2(x.numpy()) * (drawn >= 0.3)).real, atol=1e-12)
    if h * w > 4:  # else each mode is its own conjugate
        spectrum = np.abs(scipy.fft.fft2(y.numpy())) / np.abs(scipy.fft.fft2(x.numpy()))
        assert (np.abs(spectrum - 0.5) < 1e-6).any()


# --- random modes


def kept_modes(x, y):
    """For each image and mode, whether it is there after; fails unless it is there whole or gone."""
    before, after = np.abs(scipy.fft.fft2(x.numpy())), np.abs(scipy.fft.fft2(y.numpy()))
    ratio = after / before
    assert np.all((ratio < 1e-6) | (np.abs(ratio - 1) < 1e-6))
    kept = ratio > 0.5
    assert (kept == kept[:, :1]).all()  # the channels of an image share its mask
    return kept[:, 0]


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_modes_fall_whole_and_with_their_conjugates(h, w):
    x = images(4, 3, h, w)
    kept = kept_modes(x, random_modes(x, 0.5, generator=seeded(1)))
    conjugate = kept[:, -np.arange(h) % h][:, :, -np.arange(w) % w]
    assert (kept == conjugate).all()
    assert 0 < kept.mean() < 1
    # what is left of the complex spectrum is a real image: it is exactly what the mask alone would leave
    np.testing.assert_allclose(
        random_modes(x, 0.5, generator=seeded(1)).numpy(), scipy.fft.ifft2(scipy.fft.fft2(x.numpy()) * kept[:, None]).real, atol=1e-12
    )
    assert np.abs(scipy.fft.ifft2(scipy.fft.fft2(x.numpy()) * kept[:, None]).imag).max() < 1e-12


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_no_mode_falls_at_p_zero_and_all_at_one(h, w):
    x = images(3, 2, h, w)
    torch.testing.assert_close(random_modes(x, 0), x)
    assert torch.equal(random_modes(x, 1), torch.zeros_like(x))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_modes_that_fall_is_p(p):
    x = images(200, 1, 9, 9)
    kept = kept_modes(x, random_modes(x, p, generator=seeded()))
    # 41 independent draws an image: a mode and its conjugate are one
    assert abs((1 - kept.mean()) - p) < 4 * math.sqrt(p * (1 - p) / (200 * 41)) * math.sqrt(2)
    # the same for each mode, zero frequency included
    assert np.abs((1 - kept.mean(0)) - p).max() < 4.5 * math.sqrt(p * (1 - p) / 200)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, -1e-9])
def test_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="p is"):
        random_modes(images(1, 1, 4, 4), p)


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_median_is_scipys_in_every_size_and_type(dtype, data):
    from scipy import ndimage

    kernel = data.draw(st.sampled_from([1, 3, 5, 7, 9, 11]))
    size = [data.draw(st.integers(kernel // 2 + 1, 20)) for _ in "hw"]
    values = data.draw(st.sampled_from([2, 5, 1000]))  # few values: many ties
    x = torch.randint(values, (2, 3, *size), generator=seeded(data.draw(st.integers(0, 99)))).to(dtype) / values - 0.25
    expected = x.double().numpy()
    for times in range(3):
        found = distortions.median_filter(x, times, kernel_size=kernel)
        assert found.dtype == dtype and np.array_equal(found.double().numpy(), expected)
        expected = ndimage.median_filter(expected, size=(1, 1, kernel, kernel), mode="mirror")


def test_median_of_many_images_is_that_of_each():
    x = images(60, 3, 28, 28, dtype=torch.float32)  # more pixels than are sorted at a time
    assert x.numel() > 4 * medians.CHUNK
    whole = distortions.median_filter(x)
    assert torch.equal(whole, torch.cat([distortions.median_filter(one) for one in x.split(1)]))
    assert whole.is_contiguous() and distortions.median_filter(x[:0]).shape == (0, 3, 28, 28)


def test_a_pixel_that_is_no_number_spoils_the_squares_that_hold_it_alone():
    x = images(1, 1, 12, 12)
    x[0, 0, 5, 6] = math.nan
    square = torch.zeros(12, 12, dtype=torch.bool)
    square[3:8, 4:9] = True
    assert torch.equal(distortions.median_filter(x).isnan()[0, 0], square)


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 20)])
@pytest.mark.parametrize("sigma", [0.25, 2, 5.0])
def test_blur_is_torchvisions(size, sigma):
    from torchvision.transforms.v2 import GaussianBlur

    x = images(4, *size, dtype=torch.float32)
    found = distortions.gaussian_blur(x, sigma)
    assert torch.equal(found, GaussianBlur(7, [float(sigma)] * 2)(x)) and not torch.equal(found, x)
    assert 0 <= found.min() and found.max() <= 1


@pytest.mark.parametrize("sigma", [0.25, 1.0, 5.0])
def test_blur_is_scipys_with_the_same_kernel(sigma):
    from scipy import ndimage

    x = torch.rand(2, 3, 20, 15, dtype=torch.float64)
    weights = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2)
    weights /= weights.sum()
    expected = ndimage.correlate1d(ndimage.correlate1d(x.numpy(), weights, axis=2, mode="mirror"), weights, axis=3, mode="mirror")
    np.testing.assert_allclose(distortions.gaussian_blur(x, sigma).numpy(), expected, atol=1e-6)


def test_no_blur_no_median_and_a_double_reversal_are_the_identity():
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(distortions.gaussian_blur(x, 0), x)
    assert torch.equal(distortions.median_filter(x, 0), x)
    mean = [0.4, 0.5, 0.6]
    reversed_ = distortions.reverse(x, mean=mean)
    torch.testing.assert_close(reversed_ + x, (2 * torch.tensor(mean))[:, None, None].expand_as(x))
    torch.testing.assert_close(distortions.reverse(reversed_, mean=mean), x)


def test_reversal_leaves_the_range_of_pixels_unless_it_is_clipped():
    x = torch.tensor([0.0, 0.2, 0.9]).view(1, 3, 1, 1)
    free = distortions.reverse(x, mean=[0.6, 0.2, 0.1])
    assert free.flatten().tolist() == pytest.approx([1.2, 0.2, -0.7])
    assert distortions.reverse(x, mean=[0.6, 0.2, 0.1], clip=True).flatten().tolist() == pytest.approx([1.0, 0.2, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: distortions.gaussian_blur(x, -1), "sigma is -1"),
        (lambda x: distortions.gaussian_blur(x, float("nan")), "sigma is nan"),
        (lambda x: distortions.gaussian_blur(x, 1, kernel_size=4), "kernel_size is 4"),
        (lambda x: distortions.gaussian_blur(x[..., :3], 1), "kernel_size is 7"),
        (lambda x: distortions.median_filter(x, -1), "times is -1"),
        (lambda x: distortions.median_filter(x, 1.5), "times is 1.5"),
        (lambda x: distortions.median_filter(x, kernel_size=0), "kernel_size is 0"),
        (lambda x: distortions.reverse(x, mean=[0.5]), "1 values for 3 channels"),
    ],
)
def test_filters_refuse_what_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 8, 8))

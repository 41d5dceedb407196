import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.restoration import denoise_bilateral

from atviz.distortions import bilateral, gaussian_blur, nl_means


@pytest.fixture(scope="session")
def images(images):
    """In double."""
    return partial(images, dtype=torch.float64)


both = pytest.mark.parametrize("smoothed", [bilateral, nl_means])


# --- what both do


@both
@given(value=st.floats(0, 1), level=st.floats(0, 10))
def test_a_flat_image_stays(smoothed, value, level):
    x = torch.full((1, 3, 6, 6), value, dtype=torch.float64)
    torch.testing.assert_close(smoothed(x, level), x)


@both
@given(offset=st.floats(-1, 1), slope=st.floats(0.1, 3))
def test_pixels_and_level_may_have_another_unit(images, smoothed, offset, slope):
    x = images(2, 3, 8, 8)
    torch.testing.assert_close(smoothed(offset + slope * x, slope * 0.3), offset + slope * smoothed(x, 0.3))


@both
def test_mirrored_images_give_mirrored_images(images, smoothed):
    x = images(2, 3, 9, 7)
    y = smoothed(x, 0.3)
    for turned in (lambda images: images.flip(-1), lambda images: images.flip(-2), lambda images: images.mT):
        torch.testing.assert_close(smoothed(turned(x), 0.3), turned(y))


@both
def test_the_level_says_how_much_goes(images, smoothed):
    x = images(3, 3, 16, 16)
    left = [float(smoothed(x, level).std()) for level in (0, 0.05, 0.1, 0.2, 0.4, 0.8, math.inf)]
    assert left == sorted(left, reverse=True) and left[-1] < 0.5 * left[0]
    for level in (0, 1e-50, 1e-320):
        torch.testing.assert_close(smoothed(x, level), x)
        torch.testing.assert_close(smoothed(x.float(), level), x.float())


@both
@pytest.mark.parametrize("contrast", [0.5, 0.9])
def test_texture_goes_and_the_edge_stays(smoothed, seeded, contrast):
    edge = torch.zeros(1, 1, 24, 24, dtype=torch.float64)
    edge[..., 12:] = contrast
    texture = 0.05 * torch.rand(edge.shape, generator=seeded(), dtype=torch.float64)
    y = smoothed(edge + texture, 0.1)
    for side in (np.s_[..., :12], np.s_[..., 12:]):
        assert y[side].std() < 0.5 * texture[side].std()
    blurred = gaussian_blur(edge, 2)
    assert (y - edge - texture.mean()).abs().max() < 0.03 < (blurred - edge).abs().max()


# --- the bilateral filter


@pytest.mark.parametrize(
    ("size", "level", "sigma", "kernel"), [((1, 9, 7), 0.1, 2.0, 7), ((3, 6, 8), 0.3, 1.0, 3), ((2, 7, 7), 0.8, 5.0, 9)]
)
def test_bilateral_is_a_plain_loop(images, size, level, sigma, kernel):
    x = images(1, *size)
    padded = np.pad(x[0].numpy(), ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2), mode="reflect")
    away = np.arange(kernel) - kernel // 2
    near = np.exp(-(away[:, None] ** 2 + away**2) / (2 * sigma**2))
    expected = np.empty(size)
    for i, j in np.ndindex(*size[1:]):
        window = padded[:, i : i + kernel, j : j + kernel]
        differences = np.linalg.norm(window - x[0, :, i, j].numpy()[:, None, None], axis=0)
        weights = near * np.exp(-(differences**2) / (2 * level**2))
        expected[:, i, j] = (window * weights).sum((1, 2)) / weights.sum()
    np.testing.assert_allclose(bilateral(x, level, sigma=sigma, kernel_size=kernel)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("level", "kernel"), [(0.05, 7), (0.3, 3), (0.8, 9)])
def test_bilateral_is_scikit_images_where_all_places_weigh_the_same(images, channels, level, kernel):
    """In 0.26, its table of the weights of places is a column too wide, and it looks a distance of colors up at 1 / channels of it."""
    image = images(1, channels, 14, 11)[0].numpy().transpose(1, 2, 0)
    table = {"sigma_color": level / channels, "sigma_spatial": 1e6, "win_size": kernel, "bins": 10**6, "mode": "reflect"}
    expected = denoise_bilateral(image.squeeze(), channel_axis=-1 if channels == 3 else None, **table).reshape(image.shape)
    found = bilateral(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], level, sigma=1e6, kernel_size=kernel)
    np.testing.assert_allclose(found[0].numpy().transpose(1, 2, 0), expected, atol=1e-4)


@pytest.mark.parametrize(("sigma", "kernel"), [(2.0, 7), (1.0, 3), (5.0, 9)])
def test_bilateral_of_any_color_is_a_gaussian_blur(images, sigma, kernel):
    x = images(2, 3, 10, 12)
    found = bilateral(x, math.inf, sigma=sigma, kernel_size=kernel)
    torch.testing.assert_close(found, gaussian_blur(x, sigma, kernel_size=kernel), atol=1e-6, rtol=0)


def test_bilateral_sees_the_color_as_a_whole():
    x = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    x[:, 0, :, 4:] = 1  # an edge in red
    x[:, 1, :, 4:] = 0.1  # a weak one in green
    alone, together = bilateral(x[:, 1:2], 0.2), bilateral(x, 0.2)[:, 1:2]
    assert (alone - x[:, 1:2]).abs().max() > 0.01 > 1e-6 > (together - x[:, 1:2]).abs().max()  # kept, as the edge of the color


# --- non-local means


def looped(image, level, patch, search):
    """Of a (C, H, W) image, pixel by pixel."""
    _, h, w = image.shape
    padded = np.pad(image, ((0, 0), (patch // 2,) * 2, (patch // 2,) * 2), mode="reflect")
    square = lambda i, j: padded[:, i : i + patch, j : j + patch]
    total, weights = np.zeros_like(image), np.zeros((h, w))
    for i, j in np.ndindex(h, w):
        for k in range(max(0, i - search // 2), min(h, i + search // 2 + 1)):
            for m in range(max(0, j - search // 2), min(w, j + search // 2 + 1)):
                weight = math.exp(-np.mean((square(i, j) - square(k, m)) ** 2) / level**2)
                total[:, i, j] += weight * image[:, k, m]
                weights[i, j] += weight
    return total / weights


@pytest.mark.parametrize(("size", "level", "patch", "search"), [((1, 9, 7), 0.3, 3, 5), ((3, 6, 8), 0.2, 5, 21), ((2, 5, 5), 0.5, 1, 3)])
def test_nl_means_is_a_plain_loop(images, size, level, patch, search):
    x = images(2, *size)
    found = nl_means(x, level, patch_size=patch, search_size=search)
    expected = np.stack([looped(image.numpy(), level, patch, search) for image in x])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_nl_means_of_any_patch_is_a_mean_of_the_searched_square(images):
    x = images(1, 1, 9, 9)
    y = nl_means(x, math.inf, search_size=3)
    assert float(y[0, 0, 4, 4]) == pytest.approx(float(x[0, 0, 3:6, 3:6].mean()))
    assert float(y[0, 0, 0, 0]) == pytest.approx(float(x[0, 0, :2, :2].mean()))
    torch.testing.assert_close(nl_means(x, math.inf), x.mean().expand_as(x))


def test_nl_means_averages_over_what_repeats(seeded):
    """Columns that repeat are averaged over, though their neighbors differ; a bilateral filter of the same level leaves them."""
    noise = 0.02 * torch.randn(1, 1, 24, 24, generator=seeded(), dtype=torch.float64)
    stripes = (torch.arange(24) % 4 < 2).double().expand(1, 1, 24, 24)
    left = {name: float((smoothed(stripes + noise, 0.05) - stripes).std()) for name, smoothed in (("nl", nl_means), ("b", bilateral))}
    assert left["nl"] < 0.5 * left["b"] < 0.5 * float(noise.std())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: bilateral(x, 0.1, sigma=0), "^sigma is 0; it must be above 0"),
        (lambda x: bilateral(x, 0.1, sigma=math.nan), "^sigma is nan"),
        (lambda x: bilateral(x, 0.1, kernel_size=4), "^kernel_size is 4; it must be odd"),
        (lambda x: bilateral(x[..., :3], 0.1), "^kernel_size is 7; it must be less than twice the image's shorter side, 3"),
        (lambda x: nl_means(x, 0.1, patch_size=2), "^patch_size is 2; it must be odd"),
        (lambda x: nl_means(x[..., :2], 0.1), "^patch_size is 5; it must be less than twice the image's shorter side, 2"),
        (lambda x: nl_means(x, 0.1, search_size=-1), "^search_size is -1; it must be odd"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(images(1, 3, 8, 8))

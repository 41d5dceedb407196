import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import brightness_alone, contrast_alone, moments, moved, reverse, saturate, shift, within_ball

TYPES = [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)]
FUNCTIONS = {
    "brightness_alone": brightness_alone,
    "contrast_alone": contrast_alone,
    "within_ball": lambda x, distorted: within_ball(x, distorted, 0.1),
    "moved": lambda x, distorted: moved(x, distorted, 0.1),
}
every = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
images_only = pytest.mark.parametrize("function", [FUNCTIONS[name] for name in FUNCTIONS if name != "moved"])


@images_only
@pytest.mark.parametrize(("dtype", "rounding"), TYPES)
def test_shape_and_type_are_kept_and_the_input_too(images, function, dtype, rounding):
    x, distorted = images(4, 3, 8, 12, dtype=dtype), images(4, 3, 8, 12, seed=1, dtype=dtype)
    before = x.clone(), distorted.clone()
    found = function(x, distorted)
    assert found.shape == x.shape and found.dtype == dtype
    assert torch.equal(x, before[0]) and torch.equal(distorted, before[1])
    torch.testing.assert_close(found.double(), function(x.double(), distorted.double()), atol=rounding, rtol=0)
    torch.testing.assert_close(function(x, x), x, atol=rounding, rtol=0)


@every
def test_images_are_measured_one_by_one(images, function):
    x, distorted = images(6, 3, 8, 12), images(6, 3, 8, 12, seed=1)
    torch.testing.assert_close(torch.cat([function(x[i : i + 1], distorted[i : i + 1]) for i in range(6)]), function(x, distorted))


@every
def test_images_that_do_not_fit_are_refused(images, function):
    with pytest.raises(ValueError, match=r"x is \(2, 3, 8, 8\), but distorted is \(1, 3, 8, 8\)"):
        function(images(2, 3, 8, 8), images(1, 3, 8, 8))
    for x, distorted in [(images(2)[0], images(2)[0]), (images(2), (255 * images(2)).byte())]:
        with pytest.raises(ValueError, match=r"N, C, H, W"):
            function(x, distorted)


@given(by=st.floats(-1, 1))
def test_a_shift_is_brightness_alone(images, by):
    x = images(3, 3, 8, 8, dtype=torch.float64)
    for function in (brightness_alone, contrast_alone):
        torch.testing.assert_close(function(x, shift(x, by)), shift(x, by), atol=2e-3, rtol=0)  # what hardly changes, stays


@given(slope=st.floats(0, 3), offset=st.floats(-1, 1))
def test_an_affine_change_is_brightness_and_contrast_alone(images, slope, offset):
    x = images(3, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(contrast_alone(x, slope * x + offset), slope * x + offset, atol=2e-3, rtol=0)  # what hardly changes, stays


def test_each_channel_has_its_own_brightness_and_contrast(images):
    x, distorted = images(4, dtype=torch.float64), saturate(images(4, seed=1, dtype=torch.float64), 8)
    bright, contrasted = brightness_alone(x, distorted), contrast_alone(x, distorted)
    near = {"atol": 6e-2, "rtol": 0}  # a few pixels are hardly changed, and stay; a few are cut to the range
    torch.testing.assert_close(moments(bright), (moments(distorted)[0], moments(x)[1]), **near)
    torch.testing.assert_close(moments(contrasted), moments(distorted), **near)
    assert not torch.allclose(bright, contrasted, atol=1e-2)


@pytest.mark.parametrize("dtype", [dtype for dtype, _ in TYPES])
def test_a_channel_without_contrast_gets_the_mean(images, dtype):
    x, distorted = images(2, dtype=dtype), images(2, seed=1, dtype=dtype)
    x[:, 1] = 0.3
    found = contrast_alone(x, distorted)[:, 1].float()
    changed = (distorted[:, 1].float() - x[:, 1].float()).abs() > 0.5 / 255
    for image, other, where in zip(found, distorted[:, 1].float(), changed, strict=True):
        torch.testing.assert_close(image[where], other[where].mean().expand(int(where.sum())), atol=4e-3, rtol=0)
    assert contrast_alone(x, distorted)[:, 0].std() > 0.1


@pytest.mark.parametrize("function", [brightness_alone, contrast_alone])
def test_ground_that_the_distortion_leaves_alone_stays_as_it_is(images, function):
    x = 0.6 * images(3)
    x[..., :4] = 0  # black ground, which saturating leaves black
    found = function(x, saturate(x, 8))
    assert (found[..., :4] == 0).all() and not torch.allclose(found[..., 4:], x[..., 4:], atol=1e-2)
    torch.testing.assert_close(moments(found[..., 4:])[0], moments(saturate(x, 8)[..., 4:])[0], atol=0.04, rtol=0)  # a few are cut


def test_a_reversal_is_no_contrast(images):
    x = images(2)
    torch.testing.assert_close(contrast_alone(x, reverse(x, mean=[0.5] * 3)), brightness_alone(x, reverse(x, mean=[0.5] * 3)))


def test_values_leave_the_range_only_where_the_distortion_does(images):
    x = images(2)
    assert brightness_alone(x, x + 0.5).max() > 1 and contrast_alone(x, 3 * x - 1).min() < 0
    assert within_ball(x, x - 0.5, 0.4).min() < 0
    for function in (brightness_alone, contrast_alone):
        found = function(x, saturate(x, 1024))  # as far from the mean as black and white, which would take a gray value beyond them
        assert (found.amin((1, 2, 3)) >= 0).all() and (found.amax((1, 2, 3)) <= 1).all()


@pytest.mark.parametrize("dtype", [dtype for dtype, _ in TYPES])
def test_a_ball_that_holds_the_distortion_changes_nothing(images, dtype):
    x, distorted = images(3, dtype=dtype), images(3, seed=1, dtype=dtype)
    for eps in (1, math.inf):
        assert torch.equal(within_ball(x, distorted, eps), distorted)
    assert torch.equal(within_ball(x, distorted, 0), x)


@given(eps=st.floats(0, 1))
def test_a_distortion_is_cut_to_the_ball(images, eps):
    x, distorted = images(3, dtype=torch.float64), images(3, seed=1, dtype=torch.float64)
    expected = x + (distorted - x).clamp(-eps, eps)
    torch.testing.assert_close(within_ball(x, distorted, eps), expected, atol=1e-12, rtol=0)
    assert moved(x, within_ball(x, distorted, eps), eps).max() == 0


def test_moved_counts_values(images):
    x, distorted = images(3, 3, 4, 4), images(3, 3, 4, 4)
    distorted[0, 1, :2] += 0.2
    distorted[1] -= 0.2
    assert moved(x, distorted, 0.1).tolist() == pytest.approx([8 / 48, 1, 0])
    assert moved(x, distorted, 0.3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("eps", [0, 0.03, 0.1, 8 / 255])
def test_a_shift_of_exactly_eps_is_inside(images, eps):
    x = images(3)
    assert moved(x, shift(x, eps), eps).max() == moved(x, shift(x, -eps), eps).max() == 0
    assert moved(x, shift(x, eps + 1e-4), eps).min() == 1


@pytest.mark.parametrize("eps", [-0.1, -1e-9, math.nan])
@pytest.mark.parametrize("function", [within_ball, moved])
def test_a_ball_without_a_meaning_is_refused(images, function, eps):
    with pytest.raises(ValueError, match=f"^eps is {eps}; it must be at least 0"):
        function(images(1), images(1), eps)

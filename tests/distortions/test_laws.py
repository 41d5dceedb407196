"""What holds for every distortion. A new distortion is one row of `ROWS`."""

import inspect
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import nn

from atviz import distortions as d

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
# a step of each type at 1, times a few
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@dataclass
class Row:
    function: Callable
    level: float  # changes images of 8 × 12 pixels
    identity: float | None = None  # changes nothing
    refused: dict[str, list[float]] = field(default_factory=dict)  # start of the message -> levels
    atol: float = 1e-6  # between batches of different sizes, in fp32
    square: bool = False  # takes square images only
    colored: bool = False  # takes three channels only
    few: bool = False  # has so few outcomes that two images may get the same

    @property
    def options(self):
        return inspect.signature(self.function).parameters

    def fitting(self, channels, height, width):
        """The shape of images that it takes, near the given one."""
        return 3 if self.colored else channels, height, height if self.square else width

    def __call__(self, x, level=None, *, seed=0, **options):
        draw = {"generator": torch.Generator().manual_seed(seed)} if "generator" in self.options else {}
        return self.function(x, self.level if level is None else level, **draw, **options)


def stylizer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 8, 3), nn.ReLU())
        network = d.AdaIN(encoder, d.mirrored(encoder))
        return d.Stylizer(network, torch.rand(20, 3, 8, 8))


RADII = {"radius is": [-1, -1e-9, math.nan]}
SHARES = {"p is": [-0.1, 1.1, math.nan, -1e-9]}
ROWS = {
    "saturate": Row(d.saturate, 8, 2, {"saturation level is": [-1, -1e-9, math.nan, -math.inf]}),
    "shift": Row(d.shift, -0.3, 0, {"by is": [-1.1, 1.1, math.nan, math.inf]}),
    "patch_shuffle": Row(d.patch_shuffle, 4, 1, {"images of 8x12 pixels cannot be cut": [0, -2, 2.5, 3, math.nan, math.inf]}),
    "patch_rotate": Row(
        d.patch_rotate, 2, 8, {"images of 8x8 pixels cannot be cut": [0, -2, 2.5, 3, math.nan, math.inf]}, square=True, few=True
    ),
    "low_pass": Row(d.low_pass, 3, math.inf, RADII),
    "high_pass": Row(d.high_pass, 3, None, RADII),
    "low_pass_code": Row(partial(d.low_pass, preset="code"), 3, 0, RADII),
    "high_pass_code": Row(partial(d.high_pass, preset="code"), 3, math.inf, RADII),
    "high_pass_with_mean": Row(partial(d.high_pass, keep_mean=True), 3, 0, RADII),
    "random_modes": Row(d.random_modes, 0.5, 0, SHARES),
    "random_modes_code": Row(partial(d.random_modes, symmetric=False), 0.5, 0, SHARES),
    "random_modes_with_mean": Row(partial(d.random_modes, keep_mean=True), 0.5, 0, SHARES),
    "noise_band": Row(partial(d.noise_band, sd=0.2), 3, None, {"center is": [0, -3, 0.1, 40, math.nan, math.inf]}),
    "fourier_basis": Row(partial(d.fourier_basis, v=1, norm=2.0), 2, None, {"u is": [9, -7, 2.5, math.nan, math.inf]}, few=True),
    "gaussian_blur": Row(d.gaussian_blur, 2, 0, {"sigma is": [-1, math.nan, math.inf]}),
    "median_filter": Row(d.median_filter, 1, 0, {"times is": [-1, 1.5, math.nan, math.inf]}),
    "bilateral": Row(d.bilateral, 0.3, 0, {"level is": [-1, -1e-9, math.nan]}),
    "nl_means": Row(d.nl_means, 0.3, 0, {"level is": [-1, -1e-9, math.nan]}),
    "grayscale": Row(d.grayscale, 0.6, 0, {"share is": [-0.1, 1.1, math.nan]}),
    "channel_shuffle": Row(d.channel_shuffle, 0.6, 0, {"level is": [-0.1, 1.1, math.nan]}, colored=True, few=True),
    "reverse": Row(lambda x, mean, *, clip=False: d.reverse(x, mean=[mean] * x.shape[1], clip=clip), 0.4),
    "stylize": Row(stylizer(), 1, None, {"alpha is": [-0.1, 1.1, math.nan]}, atol=1e-5),
}
RANDOM = [name for name, row in ROWS.items() if "generator" in row.options]
CLIPPING = [name for name, row in ROWS.items() if "clip" in row.options]
every = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


def rows(names):
    return pytest.mark.parametrize("row", [ROWS[name] for name in names], ids=names)


def test_every_distortion_has_a_row():
    functions = {name: getattr(d, name) for name in d.__all__ if inspect.isfunction(getattr(d, name))}
    takes = {name: [*inspect.signature(f).parameters] for name, f in functions.items()}
    # a function of x alone has no level, and one of x and the distorted image is tested in test_parts.py
    assert {name for name, (first, *more) in takes.items() if first == "x" and more and more[0] != "distorted"} <= ROWS.keys()


@every
def test_the_level_is_the_second_argument_and_the_rest_is_named(row):
    _, level, *others = row.options.values()
    assert level.kind is level.POSITIONAL_OR_KEYWORD
    assert all(option.kind is option.KEYWORD_ONLY for option in others)


@every
@pytest.mark.parametrize("dtype", TYPES)
def test_shape_and_type_are_kept_and_the_input_too(row, images, dtype):
    x = images(3, *row.fitting(3, 8, 12), dtype=dtype)
    before = x.clone()
    y = row(x)
    assert y.shape == x.shape and y.dtype == dtype
    assert torch.equal(x, before) and not torch.equal(x, y)
    assert (y.double() - row(x.double())).abs().max() < ROUNDING[dtype]


@rows([name for name, row in ROWS.items() if row.identity is not None])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_identity_level_gives_a_copy(row, images, dtype):
    x = images(3, *row.fitting(3, 8, 12), dtype=dtype)
    y = row(x, row.identity)
    assert (y - x).abs().max() < ROUNDING[dtype]
    assert y.data_ptr() != x.data_ptr()


@rows([name for name in ROWS if name not in CLIPPING])
def test_pixels_stay_in_their_range(row, images):
    x = images(9, 3, 16, 16)
    y = row(x.lerp(x.round(), 0.5))
    assert 0 <= y.min() and y.max() <= 1


@rows(CLIPPING)
def test_pixels_are_clipped_on_request_only(row):
    x = torch.zeros(2, 3, 16, 16)
    x[..., 4:12, 4:12] = 1  # an edge rings
    free = row(x)
    assert free.min() < 0
    assert torch.equal(row(x, clip=True), free.clamp(0, 1))


@every
@pytest.mark.parametrize(
    "x", [torch.rand(3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.rand(8, 8)], ids=["one image", "uint8", "plane"]
)
def test_what_is_no_batch_of_images_is_refused(row, x):
    with pytest.raises(ValueError, match=r"N, C, H, W"):
        row(x)


@pytest.mark.parametrize(
    ("row", "level", "message"),
    [
        pytest.param(row, level, message, id=f"{name}-{level}")
        for name, row in ROWS.items()
        for message, levels in row.refused.items()
        for level in levels
    ],
)
def test_levels_without_a_meaning_are_refused(row, images, level, message):
    with pytest.raises(ValueError, match=f"^{message}.*{level}"):
        row(images(1, *row.fitting(3, 8, 12)), level)


@every
@pytest.mark.parametrize("size", [(4, 4), (28, 28), (32, 16)])
def test_batches_of_any_size_give_the_same_images(row, images, seeded, size):
    x = images(12, *row.fitting(1, *size))
    whole = row(x, seed=5)
    for batch in (1, 5, 7):
        draw = {"generator": seeded(5)} if "generator" in row.options else {}
        parts = torch.cat([row.function(part, row.level, **draw) for part in x.split(batch)])
        torch.testing.assert_close(parts, whole, atol=row.atol, rtol=0)


@every
def test_the_other_images_change_nothing(row, images):
    shape = row.fitting(3, 8, 12)
    x, others = images(6, *shape), images(6, *shape, seed=1)
    others[2] = x[2]
    torch.testing.assert_close(row(others)[2], row(x)[2], atol=row.atol, rtol=0)


@rows([name for name in ROWS if name not in RANDOM])
def test_the_order_changes_nothing(row, images, seeded):
    x, order = images(9, 3, 8, 12), torch.randperm(9, generator=seeded(1))
    torch.testing.assert_close(row(x[order]), row(x)[order], atol=row.atol, rtol=0)


@rows(RANDOM)
def test_randomness_comes_from_the_generator(row, images):
    x = images(4, 3, 8, 8)
    before = torch.get_rng_state()
    assert torch.equal(row(x, seed=1), row(x, seed=1)) and not torch.equal(row(x, seed=1), row(x, seed=2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)  # the global generator, where none is given
    assert torch.equal(row.function(x, row.level), row(x, seed=1))


@rows(RANDOM)
def test_each_image_has_its_own_draw(row, images):
    y = row(images(1, 3, 16, 16).expand(20, 3, 16, 16))
    same = [torch.allclose(a, b) for a, b in itertools.combinations(y, 2)]
    assert not (all(same) if row.few else any(same))

"""Worlds: what is drawn is what the numbers say, and no cue tells of another."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scipy.stats import chi2_contingency

from atviz import data
from atviz.data import SHAPES, WORLDS, World, shapetex

FOUR = World(color="random", ground="random")
every = pytest.mark.parametrize("world", [*WORLDS.values(), FOUR], ids=[*WORLDS, "four cues"])


def independent(a, b):
    counts = np.zeros((8, 8))
    np.add.at(counts, (a.numpy(), b.numpy()), 1)
    return chi2_contingency(counts).pvalue > 0.001


@every
@pytest.mark.parametrize("cue", ["shape", "texture"])
def test_the_uninformative_cues_cannot_be_predicted_from_the_others(world, cue):
    drawn = shapetex(20_000, cue=cue, seed=3, size=8, world=world)
    cues = [drawn.shape, drawn.texture] + [further for further in (drawn.color, drawn.ground) if further[0] >= 0]
    assert all(independent(a, b) for a, b in itertools.combinations(cues, 2))


@every
def test_mean_color_carries_no_class(world):
    # a linear classifier on channel means, fitted by least squares to 4,000 images, is at chance on 2,000 others
    train, test = (shapetex(n, seed=s, world=world) for n, s in ((4000, 0), (2000, 1)))
    means = [torch.cat([s.images.x.double().mean((2, 3)) / 255, torch.ones(len(s.shape), 1)], 1) for s in (train, test)]
    weights = torch.linalg.lstsq(means[0], torch.nn.functional.one_hot(train.shape, 8).double()).solution
    accuracy = ((means[1] @ weights).argmax(1) == test.shape).double().mean()
    assert abs(accuracy - 1 / 8) < 3 * (1 / 8 * 7 / 8 / 2000) ** 0.5


@pytest.mark.parametrize("how", ["informative", "conflict", "random", "none"])
@pytest.mark.parametrize("cue", ["both", "shape", "conflict"])
def test_a_further_cue_does_what_it_is_told(how, cue):
    drawn = shapetex(2000, cue=cue, size=8, world=World(color=how, ground=how))
    for further in (drawn.color, drawn.ground):
        if how == "none":
            assert (further == -1).all()
        if how == "informative":
            assert torch.equal(further, drawn.images.y)
        if how == "conflict":
            assert not ((further == drawn.shape) | (further == drawn.texture)).any()
            assert sorted(further.unique().tolist()) == list(range(8))
    if how == "random":
        assert independent(drawn.color, drawn.ground) and independent(drawn.color, drawn.images.y)


@pytest.mark.parametrize("name", [name for name in WORLDS if name != "inside"])
def test_amplitudes_are_what_the_world_says(name):
    world = WORLDS[name]
    drawn = shapetex(60, size=48, seed=2, world=world)
    steps, texture = [], []
    for x, mask, pattern in zip(drawn.images.x.double() / 255, drawn.mask, drawn.pattern, strict=True):
        mean = [[x[:, (mask == inside) & (pattern == light)].mean(1) for light in (False, True)] for inside in (0, 1)]
        steps.append(float(((mean[1][0] + mean[1][1]) / 2 - (mean[0][0] + mean[0][1]) / 2).norm()))
        texture += [float((side[1] - side[0]).mean()) for side in mean]
    steps, texture = (np.array(v)[~np.isnan(v)] for v in (steps, texture))  # a few small silhouettes lie within one half of a texture
    assert len(steps) > 40 and np.abs(texture / 2 - world.contrast).max() < 0.003
    assert np.median(steps) == pytest.approx(world.step, abs=0.003) and steps.min() > 0.9 * world.step
    assert world.amplitudes == (pytest.approx(world.step / 12**0.5), world.contrast)


@pytest.mark.parametrize("extent", ["inside", "outside", "everywhere"])
def test_the_texture_lies_where_it_should(extent):
    drawn = shapetex(40, size=48, world=World(contrast=0.1, step=0.5, extent=extent))
    for x, mask in zip(drawn.images.x, drawn.mask, strict=True):
        values = {"inside": len(x[:, mask == 1].unique(dim=1).T), "outside": len(x[:, mask == 0].unique(dim=1).T)}
        for part, many in values.items():
            assert (many == 2) == (extent in (part, "everywhere")) or (many == 1 and part == "inside" and mask.eq(1).sum() < 60)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_there_are_as_many_silhouettes_as_there_are_cells(rows):
    drawn = shapetex(200, size=160, world=World(rows=rows))
    for k in range(len(SHAPES)):
        counts = [label(mask.numpy() > 0.5, np.ones((3, 3)))[1] for mask in drawn.mask[drawn.shape == k]]
        assert set(counts) == {rows**2}
    assert drawn.mask.mean() == pytest.approx(float(shapetex(200, size=160).mask.mean()), rel=0.12)  # they cover as much


@pytest.mark.parametrize("coarseness", [0.5, 2.0, 6.0])
def test_both_values_of_a_texture_are_equally_frequent_and_its_scale_follows_the_coarseness(coarseness):
    def frequency(pattern):
        field = pattern.double() - 0.5
        power, k = torch.fft.fft2(field).abs().square(), torch.fft.fftfreq(64, 1 / 64)
        return float((power * (k[:, None] ** 2 + k**2).sqrt()).sum() / power.sum())

    usual, other = (shapetex(160, size=64, world=World(coarseness=c)) for c in (1.0, coarseness))
    assert (other.pattern.float().mean((1, 2)) - 0.5).abs().max() < 0.02
    ratio = frequency(usual.pattern) / frequency(other.pattern)
    assert (ratio - 1) * (coarseness - 1) > 0 and abs(np.log(ratio)) > 0.5 * abs(np.log(coarseness))
    assert torch.equal(usual.mask, other.mask) and torch.equal(usual.texture, other.texture)


def test_the_step_has_the_hue_of_its_class():
    drawn = shapetex(400, size=24, world=World(color="random", step=0.5, contrast=0.0))
    x = drawn.images.x.double()
    weight = drawn.mask.double()[:, None]
    inside, outside = ((x * w).sum((2, 3)) / w.sum((2, 3)) for w in (weight * (weight == 1), (weight == 0).double()))
    step = inside - outside
    assert step.mean(1).abs().max() < 4  # no brighter and no darker
    hue = torch.atan2((step[:, 1] - step[:, 2]) / 2**0.5, (step[:, 0] - step[:, 1] / 2 - step[:, 2] / 2) / 1.5**0.5)
    off = (hue - drawn.color * torch.pi / 4 + torch.pi) % (2 * torch.pi) - torch.pi
    assert off.abs().max() < torch.pi / 12 + 0.05


def test_the_ground_is_shaded_in_the_direction_of_its_class():
    drawn = shapetex(200, size=48, world=World(ground="random", shade=0.1, contrast=0.0))
    place = torch.linspace(-1, 1, 48, dtype=torch.double)
    for x, mask, ground in zip(drawn.images.x.double().mean(1), drawn.mask, drawn.ground, strict=True):
        out = mask == 0
        columns = torch.stack(
            [torch.ones(int(out.sum()), dtype=torch.double), place.expand(48, 48)[out], place[:, None].expand(48, 48)[out]], 1
        )
        _, across, down = torch.linalg.lstsq(columns, x[out]).solution.tolist()
        off = (np.arctan2(down, across) - float(ground) * np.pi / 4 + np.pi) % (2 * np.pi) - np.pi
        assert abs(off) < np.pi / 12 + 0.02
        assert abs(across) + abs(down) == pytest.approx(0.1 * 255, abs=1.5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("cue", ["shape", "texture"])
def test_the_other_cue_is_random_in_a_share_of_the_images(cue, share):
    drawn = data.load(f"shapetex-{cue}:alike-coarse-shape/{share}")
    world = shapetex(4000, cue=cue, world=WORLDS["alike-coarse-shape"], share=share)
    assert torch.equal(drawn.x, world.images.x) and drawn.name == f"shapetex-{cue}:alike-coarse-shape/{share}"
    agree = (world.shape == world.texture).float().mean()
    assert agree == pytest.approx(1 - share * 7 / 8, abs=0.02)
    assert torch.equal(drawn.y, getattr(world, cue))


def test_worlds_of_one_seed_have_the_same_labels():
    first, *others = (shapetex(100, cue="conflict", seed=4, size=8, world=world) for world in WORLDS.values())
    assert all(torch.equal(first.shape, w.shape) and torch.equal(first.texture, w.texture) for w in others)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"step": 0}, "step is 0; it must be above 0 and at most 1"),
        ({"contrast": 0.6}, r"contrast is 0.6; it must be within \[0, 0.5\]"),
        ({"shade": float("nan")}, "shade is nan"),
        ({"coarseness": 9}, r"coarseness is 9; it must be within \[0.25, 8\]"),
        ({"rows": 0}, "rows is 0; it must be a whole number from 1 to 8"),
        ({"rows": 1.5}, "rows is 1.5"),
        ({"extent": "all"}, "extent is 'all'; it must be one of inside, outside, everywhere"),
        ({"color": "both"}, "color is 'both'; it must be one of none, random, informative, conflict"),
        ({"ground": ""}, "ground is ''"),
    ],
)
def test_a_world_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        World(**given)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shapetex:alike", "unknown world 'alike'; did you mean 'alike-"),
        ("shapetex-shape:inside/2", "has the share '2'; it must be a number from 0 to 1"),
        ("shapetex-shape:inside/", "has the share ''"),
        ("shapetex-shape:inside/nan", "has the share 'nan'"),
    ],
)
def test_a_name_of_no_world_is_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.load(name)

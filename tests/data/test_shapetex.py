"""Images whose cues are known: the laws that make them a control."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from atviz import data
from atviz.data import SHAPES, TEXTURES, shapetex


@pytest.mark.parametrize("cue", ["shape", "texture"])
def test_the_uninformative_cue_cannot_be_predicted_from_the_other(cue):
    drawn = shapetex(20_000, cue=cue, seed=3, size=8)
    counts = np.zeros((8, 8))
    np.add.at(counts, (drawn.shape.numpy(), drawn.texture.numpy()), 1)
    assert chi2_contingency(counts).pvalue > 0.001


def test_labels_are_the_informative_cues():
    for cue in ("both", "shape", "conflict"):
        drawn = shapetex(400, cue=cue)
        assert torch.equal(drawn.images.y, drawn.shape)
        assert drawn.images.classes == list(SHAPES)
    drawn = shapetex(400, cue="texture")
    assert torch.equal(drawn.images.y, drawn.texture)
    assert drawn.images.classes == TEXTURES
    assert torch.equal(shapetex(400, cue="both").shape, shapetex(400, cue="both").texture)
    assert not (shapetex(400, cue="conflict").shape == shapetex(400, cue="conflict").texture).any()


@pytest.mark.parametrize("cue", ["both", "shape", "texture", "conflict"])
def test_every_class_is_equally_frequent(cue):
    assert torch.bincount(shapetex(800, cue=cue, size=8).images.y).tolist() == [100] * 8


def test_mean_color_carries_no_class():
    # a linear classifier on channel means, fitted by least squares to 4,000 images, is at chance on 2,000 others
    train, test = (shapetex(n, seed=s) for n, s in ((4000, 0), (2000, 1)))
    means = [torch.cat([s.images.x.double().mean((2, 3)) / 255, torch.ones(len(s.shape), 1)], 1) for s in (train, test)]
    weights = torch.linalg.lstsq(means[0], torch.nn.functional.one_hot(train.shape, 8).double()).solution
    accuracy = ((means[1] @ weights).argmax(1) == test.shape).double().mean()
    assert abs(accuracy - 1 / 8) < 3 * (1 / 8 * 7 / 8 / 2000) ** 0.5


@pytest.mark.parametrize("size", [16, 32, 65])
def test_silhouettes_never_leave_the_frame(size):
    # the same silhouettes on a frame that is one pixel wider all round would cover as much: none is cut off
    drawn = shapetex(1600, size=size, seed=5)
    border = torch.ones(size, size, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    for k in range(8):
        covered = drawn.mask[drawn.shape == k].flatten(1).sum(1)
        touching = (drawn.mask[drawn.shape == k][:, border] > 0.5).any(1)
        # if silhouettes were cut off at the border, those that touch it would be smaller
        if touching.sum() > 20:
            assert covered[touching].mean() > 0.9 * covered[~touching].mean()
        assert not (drawn.mask[drawn.shape == k][:, border] > 0.999).float().mean() > 0.02


def test_outside_the_silhouette_there_is_one_color_and_inside_there_are_two():
    drawn = shapetex(40, size=48, contrast=0.1)
    for x, mask, pattern in zip(drawn.images.x, drawn.mask, drawn.pattern, strict=True):
        assert len(x[:, mask == 0].unique(dim=1).T) == 1
        inside = x[:, mask == 1].float()
        light, dark = (inside[:, (pattern == side)[mask == 1]] for side in (True, False))
        for part in (light, dark):
            if part.shape[1]:
                assert len(part.unique(dim=1).T) == 1
        if light.shape[1] and dark.shape[1]:
            assert (light[:, 0] - dark[:, 0]).tolist() == pytest.approx([2 * 0.1 * 255] * 3, abs=1.01)


def test_textures_have_equal_mean_over_the_whole_image():
    drawn = shapetex(1600, cue="texture")
    for k in range(8):
        assert drawn.pattern[drawn.texture == k].float().mean() == pytest.approx(0.5, abs=0.03)


def test_the_same_seed_gives_the_same_images_on_any_machine():
    drawn = shapetex(64, cue="conflict", seed=11)
    digest = hashlib.sha256(drawn.images.x.numpy().tobytes()).hexdigest()
    assert digest == "757e6f430fc3da78ec5331c51369a36b25b8a1a6094a6c199180bcafddf67b9e"
    assert not torch.equal(shapetex(64, seed=12).images.x, shapetex(64, seed=11).images.x)


@pytest.mark.parametrize("length", [0.1, 0.17, 0.3])
def test_a_step_is_the_distance_between_the_colors_of_silhouette_and_ground(length):
    drawn, usual = shapetex(200, cue="conflict", seed=5, step=length), shapetex(200, cue="conflict", seed=5)
    for name in ("shape", "texture", "mask", "pattern"):
        assert torch.equal(getattr(drawn, name), getattr(usual, name))
    assert torch.equal(drawn.images.y, usual.images.y) and not torch.equal(drawn.images.x, usual.images.x)
    steps = []
    for x, mask, pattern in zip(drawn.images.x.double() / 255, drawn.mask, drawn.pattern, strict=True):
        light, dark = (x[:, (mask == 1) & (pattern == side)].mean(1) for side in (True, False))
        steps.append(float(((light + dark) / 2 - x[:, mask == 0].mean(1)).norm()))
    steps = np.array(steps)
    assert np.median(steps) == pytest.approx(length, abs=0.002)
    assert np.abs(steps - length).max() < 0.02  # bytes are rounded, and colors are cut to the range


@pytest.mark.parametrize("step", [0, -0.3, 1.01, float("nan")])
def test_a_step_that_cannot_be_is_refused(step):
    with pytest.raises(ValueError, match=f"step is {step}; it must be above 0 and at most 1"):
        shapetex(8, step=step)


@pytest.mark.parametrize("arguments", [{"cue": "color"}, {"n": 0}, {"size": 4}, {"contrast": 0.7}, {"contrast": -0.1}])
def test_what_cannot_be_drawn_is_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        shapetex(**{"n": 8} | arguments)


@pytest.mark.parametrize("n", [1, 3, 12])
def test_a_few_images_need_not_show_every_texture(n):
    for seed in range(5):
        assert len(shapetex(n, cue="conflict", seed=seed, size=8).images) == n


def test_load_gives_disjoint_splits_by_name():
    train, test = (data.load("shapetex-conflict", split, limit=50) for split in ("train", "test"))
    assert len(train) == len(test) == 50
    assert not any(torch.equal(a, b) for a in train.x for b in test.x)
    assert torch.equal(train.x, shapetex(50, cue="conflict", seed=0).images.x)
    assert len(data.load("shapetex", "test")) == 2000

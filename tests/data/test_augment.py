"""Every augmentation against what it is said to draw."""

import numpy as np
import pytest
import torch
import torchvision
from scipy.stats import ks_2samp

from atviz.data import augment


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_pixels(n, c=3, h=16, w=16):
    return torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=seeded())


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_augmentation_draws_for_each_image(name):
    one = random_pixels(1)
    out = augment.AUGMENTATIONS[name](one.expand(64, -1, -1, -1), seeded())
    assert out.shape == (64, 3, 16, 16) and out.dtype == torch.uint8
    different = len(torch.unique(out.flatten(1), dim=0))
    assert different == 2 if name == "flip" else different > 20
    again, other = (augment.AUGMENTATIONS[name](one.expand(64, -1, -1, -1), seeded(seed)) for seed in (0, 1))
    assert torch.equal(out, again) and not torch.equal(out, other)


def test_flip_mirrors_half_of_the_images():
    x = random_pixels(1000, 1, 2, 3)
    out = augment.flip(x, seeded())
    mirrored = (out == x.flip(-1)).flatten(1).all(1)
    kept = (out == x).flatten(1).all(1)
    assert (mirrored | kept).all() and 420 < mirrored.sum() < 580


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (16, 24), (9, 17), (7, 7)])
def test_crop_flip_is_a_window_of_the_padded_image(size):
    x = random_pixels(200, 2, *size) | 1  # no zero but the padding's
    h, w = size
    pad = max(size) // 8
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    seen = set()
    for image, out in zip(padded, augment.crop_flip(x, seeded()).numpy(), strict=True):
        windows = {(i, j, m) for i in range(2 * pad + 1) for j in range(2 * pad + 1) for m in (1, -1)}
        found = [(i, j, m) for i, j, m in windows if np.array_equal(image[:, i : i + h, j : j + w][:, :, ::m], out)]
        assert len(found) == 1
        seen.update(found)
    # every row, column and direction is drawn
    assert [{part[axis] for part in seen} for axis in range(3)] == [set(range(2 * pad + 1))] * 2 + [{1, -1}]


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
@pytest.mark.parametrize("at", [slice(None), slice(1, None, 3), slice(6, None, 7), slice(7, None, 8)])
def test_a_part_of_a_batch_is_augmented_as_in_the_whole(name, at):
    x, change = random_pixels(7), augment.AUGMENTATIONS[name]
    draw = seeded()
    whole = change(x, draw)
    other = seeded()
    assert torch.equal(change(x[at], other, part=augment.Part(7, at)), whole[at])
    assert torch.equal(draw.get_state(), other.get_state())


# --- random resized crops


@pytest.mark.parametrize(("height", "width"), [(224, 224), (375, 500), (40, 30)])
def test_boxes_are_drawn_as_torchvision_draws_them(height, width):
    boxes = augment.crop_boxes(torch.rand(20_000, augment.DRAWS, generator=seeded()), height, width).numpy()
    top, left, h, w, mirrored = boxes
    assert (boxes == boxes.round()).all() and (h >= 1).all() and (w >= 1).all()
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= height).all() and (left + w <= width).all()
    oracle = torchvision.transforms.RandomResizedCrop.get_params
    image = torch.empty(1, height, width)
    theirs = np.array([oracle(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(20_000)]).T
    for ours, reference in [(top, theirs[0]), (left, theirs[1]), (h, theirs[2]), (w, theirs[3]), (h * w, theirs[2] * theirs[3])]:
        assert ks_2samp(ours, reference).statistic < 0.02  # 0.0195 is passed once in a thousand
    assert abs(mirrored.mean() - 0.5) < 0.02 and set(mirrored) == {0, 1}


@pytest.mark.parametrize(("height", "width", "box"), [(10, 100, [0, 43, 10, 13]), (100, 10, [43, 0, 13, 10]), (50, 50, [0, 0, 50, 50])])
def test_where_no_box_fits_the_largest_in_the_middle_is_taken(height, width, box):
    draws = torch.full((1, augment.DRAWS), 0.999)  # as large as can be
    draws[:, augment.TRIES : 2 * augment.TRIES] = 0.0 if height < width else 1.0
    found = augment.crop_boxes(draws, height, width)[:4, 0].tolist()
    assert found[2:] == box[2:] and all(abs(a - b) <= 2 for a, b in zip(found, box, strict=True))


@pytest.mark.parametrize("side", [8, 24, 40])
def test_a_crop_of_the_whole_image_is_a_bilinear_resize(side, monkeypatch):
    x = random_pixels(5, 3, 24, 24)
    whole = torch.tensor([[0.0, 0, 24, 24, 0]] * 3 + [[0.0, 0, 24, 24, 1]] * 2).T
    monkeypatch.setattr(augment, "crop_boxes", lambda draws, h, w: whole)
    out = augment.resized_crop_flip(x, seeded(), side)
    expected = torch.nn.functional.interpolate(x.float(), (side, side), mode="bilinear", align_corners=False).round()
    expected[3:] = expected[3:].flip(-1)
    assert out.shape == (5, 3, side, side) and (out.float() - expected).abs().max() <= 1  # a rounding
    assert side != 24 or torch.equal(out.float(), expected)


def test_a_crop_shows_its_box(monkeypatch):
    x = random_pixels(2, 3, 20, 30)
    boxes = torch.tensor([[3.0, 5, 8, 12, 0], [10.0, 0, 10, 30, 1]]).T
    monkeypatch.setattr(augment, "crop_boxes", lambda draws, h, w: boxes)
    out = augment.resized_crop_flip(x, seeded(), 16).float()
    for image, (top, left, h, w, mirrored), found in zip(x.float(), boxes.T.int().tolist(), out, strict=True):
        box = image[None, :, top : top + h, left : left + w]
        expected = torch.nn.functional.interpolate(box, (16, 16), mode="bilinear", align_corners=False)[0]
        found = found.flip(-1) if mirrored else found
        assert (found - expected)[:, 2:-2, 2:-2].abs().max() <= 1  # at the rim its neighbors outside the box count, too


def test_resized_crops_follow_their_generator_and_keep_the_side():
    x = random_pixels(1).expand(64, -1, -1, -1)
    first, again = (augment.resized_crop_flip(x, seeded(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == x.shape


def test_an_augmentation_is_found_by_name():
    assert augment.find_augmentation("flip") is augment.flip
    assert augment.find_augmentation(None) is None and augment.find_augmentation(len) is len
    with pytest.raises(ValueError, match="unknown augmentation 'flop'; known are flip"):
        augment.find_augmentation("flop")

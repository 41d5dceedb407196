"""Replaced grounds: against images that are drawn with the other ground, and networks that see the object or the ground alone."""

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from atviz.data import Images
from atviz.evidence import Store, replaced_grounds
from atviz.evidence.frequencies import partners
from atviz.evidence.grounds import exchanged, flat_silhouettes

SIDE = 16


def disc(center, radius=4):
    """The coverage of a disc with a soft outline, (SIDE, SIDE)."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (radius + 0.5 - torch.hypot(row - float(center[0]), column - float(center[1]))).clamp(0, 1)


@pytest.fixture(scope="module")
def world():
    """80 discs on shaded grounds: (images, mask, ground), of which the label is in the disc's red, and in the ground's mean green."""
    draw = torch.Generator().manual_seed(0)
    n = 80
    y = torch.arange(n) % 4
    mask = torch.stack([disc(4.5 + 7 * torch.rand(2, generator=draw)) for _ in range(n)])
    slope = 0.2 * torch.rand(n, 2, generator=draw) - 0.1
    axis = torch.linspace(-1, 1, SIDE)
    shade = slope[:, :1, None] * axis[:, None] + slope[:, 1:, None] * axis
    ground = torch.stack([torch.full_like(shade, 0.5) + shade, 0.2 + 0.2 * y[:, None, None] + shade, 0.3 + shade], 1)
    color = torch.stack([0.2 + 0.2 * y, torch.full((n,), 0.5), torch.rand(n, generator=draw)], 1)[:, :, None, None]
    x = ground * (1 - mask[:, None]) + color * mask[:, None]
    return Images((x * 255).round().byte(), y, list("abcd")), mask, ground, color


class ByObject(nn.Module):
    """Reads the class in the red of the pixels that the disc covers; it knows the masks of the images that it is shown, from the first on."""

    def __init__(self, masks):
        super().__init__()
        self.masks = masks

    def forward(self, x):
        red = torch.stack([image[0][m == 1].mean() for image, m in zip(x, self.masks[: len(x)], strict=True)])
        return -(red[:, None] - (0.2 + 0.2 * torch.arange(4))).abs()


class ByGround(nn.Module):
    """Reads the class in the green of the image's border."""

    def forward(self, x):
        green = torch.cat([x[:, 1, 0], x[:, 1, -1], x[:, 1, :, 0], x[:, 1, :, -1]], 1).mean(1)
        return -(green[:, None] - (0.2 + 0.2 * torch.arange(4))).abs()


def test_a_replaced_ground_is_the_ground_that_was_drawn(world):
    images, mask, ground, color = world
    chosen = partners(images.y, 1)
    found = exchanged(images, mask, chosen)
    expected = ground[chosen] * (1 - mask[:, None]) + color * mask[:, None]
    assert (found.x.float() / 255 - expected).abs().max() < 1.6 / 255  # two roundings, and a plane through rounded values
    assert torch.equal(found.y, images.y)


def test_a_network_that_sees_the_object_keeps_its_accuracy_and_one_that_sees_the_ground_loses_it(world):
    images, mask, *_ = world
    one = images[:20], mask[:20]  # one batch
    kept = replaced_grounds(ByObject(one[1]), *one)
    assert (kept["n"], kept["top1"], kept["n_correct"], kept["acc_on_correct"]) == (20, 1, 20, 1)
    lost = replaced_grounds(ByGround(), images, mask)
    assert (lost["n_correct"], lost["acc_on_correct"]) == (80, 0)
    interval = binomtest(0, 80).proportion_ci(method="wilson")
    assert (lost["ci_low"], lost["ci_high"]) == pytest.approx((interval.low, interval.high))


def test_accuracy_is_that_of_the_exchanged_images_among_those_that_were_right(world, linear, tmp_path):
    images, mask, *_ = world
    model, store = linear(3, SIDE, 4), Store(tmp_path)
    found = replaced_grounds(model, images, mask, seed=2, store=store)
    mixed = exchanged(images, mask, partners(images.y, 2))
    with torch.no_grad():
        clean, hit = ((model(some.x.float() / 255).argmax(1) == some.y).numpy() for some in (images, mixed))
    assert found["acc_on_correct"] == pytest.approx((clean & hit).sum() / clean.sum()) and 0 < clean.sum() < 80
    assert (found["top1"], found["n_correct"]) == (pytest.approx(hit.mean()), clean.sum())
    again = replaced_grounds(model, images, mask, seed=2, store=store)
    assert again == found and (store.computed, store.read) == (2, 2)


def test_the_other_silhouette_leaves_no_trace_on_a_flat_ground():
    mask = torch.stack([disc((5, 5)), disc((10, 9))])
    ground, color = torch.tensor([0.2, 0.7]).view(2, 1, 1, 1), torch.tensor([0.9, 0.1]).view(2, 1, 1, 1)
    x = ground * (1 - mask[:, None]) + color * mask[:, None]
    images = Images((x * 255).round().byte(), torch.tensor([0, 1]), ["a", "b"])
    found = exchanged(images, mask, torch.tensor([1, 0])).x.float() / 255
    for image, covered, flat in zip(found, mask, ground.flip(0), strict=True):
        assert (image[0][covered == 0] - flat).abs().max() < 0.6 / 255


def test_flat_silhouettes_are_what_differs_from_the_border(fashion):
    some = fashion[:50]
    assert torch.equal(flat_silhouettes(some), (some.x[:, 0] > 0).float())
    colored = Images((some.x.repeat(1, 3, 1, 1) // 2 + 17), some.y, some.classes)
    assert torch.equal(flat_silhouettes(colored), (some.x[:, 0] > 1).float())


def test_what_has_no_ground_to_replace_is_refused(fashion, world, unused):
    images, mask, *_ = world
    with pytest.raises(ValueError, match="the grounds of fashion.* are all alike; there is nothing to replace"):
        replaced_grounds(unused, fashion[:20], flat_silhouettes(fashion[:20]))
    with pytest.raises(ValueError, match=r"the mask is \(79, 16, 16\); for these images it must be \(80, 16, 16\)"):
        replaced_grounds(unused, images, mask[1:])
    full = mask.clone()
    full[3] = 0.5
    with pytest.raises(ValueError, match="no pixel whose mask is 0"):
        replaced_grounds(unused, images, full)
    with pytest.raises(ValueError, match="all 80 images are of class 0"):
        replaced_grounds(unused, Images(images.x, images.y * 0, images.classes), mask)


def test_batches_change_nothing(world, monkeypatch):
    images, mask, *_ = world
    chosen = partners(images.y, 0)
    whole = exchanged(images, mask, chosen).x
    monkeypatch.setattr("atviz.evidence.grounds.BATCH", 7)
    assert (exchanged(images, mask, chosen).x.int() - whole.int()).abs().max() <= 1

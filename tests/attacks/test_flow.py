import itertools

import pytest
import torch
from torch.nn import functional as F

from atviz.attacks import warp
from atviz.attacks.flow import total_variation

SHAPES = [(1, 1, 1), (1, 28, 28), (3, 5, 9), (3, 224, 97), (2, 1, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_flow_leaves_every_bit(shape, dtype, seeded):
    x = torch.rand(3, *shape, generator=seeded(), dtype=dtype)
    assert torch.equal(warp(x, torch.zeros(3, 2, *shape[1:], dtype=dtype)), x)


@pytest.mark.parametrize(("down", "right"), [(0, 1), (2, 0), (-3, 1), (1, -4), (40, -40)])
def test_whole_flow_shifts_the_image_and_repeats_its_border(down, right, images):
    x = images(2, 3, 11)[..., :9]
    flow = torch.tensor([down, right]).float()[None, :, None, None].expand(2, 2, 11, 9)
    rows, columns = (torch.arange(11) + down).clamp(0, 10), (torch.arange(9) + right).clamp(0, 8)
    assert torch.equal(warp(x, flow), x[:, :, rows][..., columns])


@pytest.mark.parametrize(("h", "w"), [(7, 7), (6, 11)])
def test_warp_is_grid_sample(h, w):
    x, flow = torch.rand(4, 3, h, w, dtype=torch.float64), 3 * torch.randn(4, 2, h, w, dtype=torch.float64)
    flow.requires_grad_()
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    grid = torch.stack([2 * (column + flow[:, 1]) / (w - 1) - 1, 2 * (row + flow[:, 0]) / (h - 1) - 1], -1)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    ours = warp(x, flow)
    torch.testing.assert_close(ours, expected)
    weight = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad((weight * image).sum(), flow)[0] for image in (ours, expected)))


def test_total_variation_counts_each_pair_of_neighbors_once(seeded):
    flow = torch.randn(2, 2, 4, 5, generator=seeded(), dtype=torch.float64)
    for image, found in zip(flow, total_variation(flow), strict=True):
        pairs = [(i, j, k, m) for i, j in itertools.product(range(4), range(5)) for k, m in [(i + 1, j), (i, j + 1)] if k < 4 and m < 5]
        by_hand = sum(float((image[:, i, j] - image[:, k, m]).norm()) for i, j, k, m in pairs)
        assert float(found) == pytest.approx(by_hand, rel=1e-3)
    constant = torch.ones(1, 2, 4, 5, requires_grad=True)
    variation = total_variation(constant)
    (gradient,) = torch.autograd.grad(variation.sum(), constant)
    assert variation.item() == 0 and torch.equal(gradient, torch.zeros_like(gradient))

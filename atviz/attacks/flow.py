"""Flows: how far every pixel of an image is moved."""

from __future__ import annotations

import torch
from torch import Tensor


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample ``x`` (N, C, H, W) bilinearly at each pixel's place plus ``flow`` (N, 2, H, W): rows down, columns right, in pixels.

    A place outside the image counts as the nearest place on its border. A flow of whole numbers is exact: zero leaves every bit as it
    is. `torch.nn.functional.grid_sample`, whose places are in [−1, 1], rounds there.
    """
    n, c, h, w = x.shape
    row = (flow[:, :1] + torch.arange(h, device=x.device)[:, None]).clamp(0, h - 1)
    column = (flow[:, 1:] + torch.arange(w, device=x.device)).clamp(0, w - 1)
    top, left = row.detach().floor(), column.detach().floor()
    down, right = row - top, column - left
    pixels = x.flatten(2)

    def at(below: int, beside: int) -> Tensor:
        index = (top + below).clamp(max=h - 1).long() * w + (left + beside).clamp(max=w - 1).long()
        return pixels.gather(2, index.flatten(2).expand(n, c, h * w)).view(n, c, h, w)

    upper = at(0, 0) * (1 - right) + at(0, 1) * right
    lower = at(1, 0) * (1 - right) + at(1, 1) * right
    return upper * (1 - down) + lower * down


def total_variation(flow: Tensor) -> Tensor:
    """TV of each image's flow, as in `atviz.attacks.spatial`: (N, 2, H, W) → (N,)."""
    distances = [((flow.diff(dim=dim).square().sum(1) + 1e-7).sqrt() - 1e-7**0.5).flatten(1).sum(1) for dim in (2, 3)]
    return distances[0] + distances[1]

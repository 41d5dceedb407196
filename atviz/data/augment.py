"""Augmentation: uint8 images changed at random on their device; every image gets its own random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Augmentation = Callable[..., Tensor]  # (x, generator) -> x; those of `AUGMENTATIONS` also take a `Part`
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # ranges of random resized crops: share of the image, width to height
TRIES = 10  # boxes that are drawn before the central one is taken
DRAWS = 2 * TRIES + 3  # uniform numbers per random resized crop


class Part(NamedTuple):
    """Which images of a batch of ``n`` are at hand. Numbers are drawn for all ``n``: an image's own do not depend on who augments it."""

    n: int
    at: slice = slice(None)


def flip(x: Tensor, generator: torch.Generator | None = None, *, part: Part | None = None) -> Tensor:
    """Mirror each image left to right with probability one half."""
    part = part or Part(len(x))
    mirrored = torch.rand(part.n, generator=generator)[part.at].to(x.device) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


def crop_flip(x: Tensor, generator: torch.Generator | None = None, *, part: Part | None = None) -> Tensor:
    """Zero-pad by an eighth of the side (4 pixels at 32), crop each image back at a random place, then `flip`."""
    part = part or Part(len(x))
    h, w = x.shape[2:]
    pad = max(h, w) // 8
    padded = torch.nn.functional.pad(x, [pad] * 4)
    top, left = torch.randint(0, 2 * pad + 1, (2, part.n), generator=generator)[:, part.at].to(x.device)
    return flip(_windows(padded, top, left, h, w), generator, part=part)


def random_crop(x: Tensor, side: int, generator: torch.Generator | None = None, *, part: Part | None = None) -> Tensor:
    """Cut a square of ``side`` from each square image, at a random place."""
    part = part or Part(len(x))
    top, left = torch.randint(0, x.shape[-1] - side + 1, (2, part.n), generator=generator)[:, part.at].to(x.device)
    return _windows(x, top, left, side, side)


def _windows(x: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    image = torch.arange(x.shape[0], device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[:, None, None]
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def resized_crop_flip(x: Tensor, generator: torch.Generator | None = None, side: int | None = None, *, part: Part | None = None) -> Tensor:
    """Cut one of `crop_boxes` from each image, bring it to a square of ``side`` (default: the image's own size), mirror half of them.

    (N, C, H, W) uint8 → (N, C, side, side) uint8. The sampling is bilinear; where a box is larger than ``side`` it does not average.
    """
    part = part or Part(len(x))
    n, _, h, w = x.shape
    draws = torch.rand(part.n, DRAWS, generator=generator)[part.at]
    top, left, height, width, mirrored = crop_boxes(draws, h, w).to(x.device)
    out_h, out_w = (side, side) if side else (h, w)
    if not n:  # which affine_grid refuses
        return x.new_empty(0, x.shape[1], out_h, out_w)
    flip = torch.where(mirrored > 0, -1.0, 1.0)
    zero = torch.zeros_like(top)
    # in affine_grid's units the image runs from −1 to 1
    rows = [flip * width / w, zero, (2 * left + width) / w - 1, zero, height / h, (2 * top + height) / h - 1]
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, out_h, out_w], align_corners=False)
    sampled = torch.nn.functional.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    return sampled.round().clamp(0, 255).byte()


def crop_boxes(draws: Tensor, height: int, width: int) -> Tensor:
    """Boxes of random resized crops, made from uniform numbers (N, `DRAWS`), as torchvision's RandomResizedCrop draws them.

    The area is uniform in 8 to 100 % of the image, the aspect log-uniform in 3/4 to 4/3, the place uniform. The first of `TRIES` boxes
    that lies within the image is taken; if none does, the largest central box of the nearest aspect.

    Returns:
        (5, N): top, left, height and width in whole pixels, and 1 where the crop is mirrored.
    """
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * draws[:, :TRIES])
    aspect = torch.exp(math.log(ASPECT[0]) + math.log(ASPECT[1] / ASPECT[0]) * draws[:, TRIES : 2 * TRIES])
    nearest = min(max(width / height, ASPECT[0]), ASPECT[1])
    w = torch.cat([(area * aspect).sqrt().round(), draws.new_full((len(draws), 1), round(min(width, height * nearest)))], 1)
    h = torch.cat([(area / aspect).sqrt().round(), draws.new_full((len(draws), 1), round(min(height, width / nearest)))], 1)
    first = ((w >= 1) & (w <= width) & (h >= 1) & (h <= height)).int().argmax(1, keepdim=True)
    w, h = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0]
    place = draws[:, 2 * TRIES :]
    top, left = (place[:, 0] * (height - h + 1)).floor(), (place[:, 1] * (width - w + 1)).floor()
    middle = first[:, 0] == TRIES  # no box fitted: the central one
    top, left = torch.where(middle, ((height - h) / 2).floor(), top), torch.where(middle, ((width - w) / 2).floor(), left)
    return torch.stack([top, left, h, w, (place[:, 2] < 0.5).to(w)])


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "crop-flip": crop_flip, "resized-crop-flip": resized_crop_flip}


def find_augmentation(augment: str | Augmentation | None) -> Augmentation | None:
    """The function of a name in `AUGMENTATIONS`; a function or None is returned as it is. ValueError for an unknown name."""
    if not isinstance(augment, str):
        return augment
    if augment not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {augment!r}; known are {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[augment]

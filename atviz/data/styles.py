"""Styles: procedural textures, which need no files, and folders of images. Both are (n, 3, size, size) in [0, 1]."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from .folders import SUFFIXES, decode_all

STYLE_KINDS = ("stripes", "checks", "dots", "noise", "cells")
CELLS, LATTICE = 24, 16


def load_styles(source: str | Path, *, n: int = 40, size: int, seed: int = 0) -> Tensor:
    """Styles as (n, 3, size, size) in [0, 1]: ``procedural`` draws ``n`` textures by ``seed``; a folder gives all images in and below it.

    The images of a folder come in the order of their paths, each cut to a centered square; ``n`` and ``seed`` have no effect on them.

    Raises:
        FileNotFoundError: a folder that is not there.
        ValueError: a folder without images, image files that cannot be read (they are named), an n or size below 1.
    """
    if str(source) == "procedural":
        return procedural(n, size=size, seed=seed)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; styles are 'procedural' or a folder of images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"the style folder {folder} holds no images; they must end in {', '.join(sorted(SUFFIXES))}")
    return torch.from_numpy(decode_all(paths, size).pixels).float() / 255


def procedural(n: int, *, size: int, seed: int = 0) -> Tensor:
    """``n`` textures of two colors each, (n, 3, size, size): stripes, checks, dots, noise and Voronoi cells in turn.

    Angle, scale, colors and phase are drawn from ``seed``. The scale is a sixth to two fifths of the side and at least 3 pixels: finer
    textures drown the outline of a small image. Texture i is the same for every n and on every machine, in steps of 1/255. One color is
    dark and one light, so that the texture also shows in gray.

    >>> procedural(7, size=16).shape
    torch.Size([7, 3, 16, 16])

    Raises:
        ValueError: an n or size below 1.
    """
    if n < 1 or size < 1:
        raise ValueError(f"n is {n} and size {size}; they must be at least 1")
    # one row of numbers per image, so that more images do not change the first ones; uniform numbers are the same on every machine
    drawn = torch.rand(n, 11 + 3 * CELLS + LATTICE**2, generator=torch.Generator().manual_seed(seed))
    own, cells, lattice = drawn.split([11, 3 * CELLS, LATTICE**2], 1)
    low, high = max(3.0, size / 6), max(3.0, size / 2.5)
    period = (low * (high / low) ** own[:, 0])[:, None, None]
    angle = (math.pi * own[:, 1])[:, None, None]
    y, x = torch.meshgrid(torch.arange(size) - size / 2, torch.arange(size) - size / 2, indexing="ij")
    u = (x * angle.cos() + y * angle.sin()) / period + own[:, 2, None, None]
    v = (y * angle.cos() - x * angle.sin()) / period + own[:, 3, None, None]
    field = torch.empty(n, size, size)
    for kind, name in enumerate(STYLE_KINDS):
        part = slice(kind, None, len(STYLE_KINDS))
        field[part] = _field(name, u[part], v[part], period[part], cells[part], lattice[part])
    dark, light = 0.55 * own[:, 4:7], 0.45 + 0.55 * own[:, 7:10]
    swapped = own[:, 10:11] < 0.5
    first, second = torch.where(swapped, light, dark), torch.where(swapped, dark, light)
    image = torch.lerp(first[:, :, None, None], second[:, :, None, None], field[:, None])
    return (image * 255).round() / 255  # rounding removes last digits that differ between machines


def _field(kind: str, u: Tensor, v: Tensor, period: Tensor, cells: Tensor, lattice: Tensor) -> Tensor:
    """How much of the second color there is, (n, size, size) in [0, 1]; edges are about a pixel wide."""
    if kind == "stripes":
        return (0.5 + period / (2 * math.pi) * (2 * math.pi * u).sin()).clamp(0, 1)
    if kind == "checks":
        return (0.5 + period / math.pi * (math.pi * u).sin() * (math.pi * v).sin()).clamp(0, 1)
    if kind == "dots":
        return (0.5 + period * (0.32 - torch.hypot(u - u.round(), v - v.round()))).clamp(0, 1)
    if kind == "noise":
        # the lattice gives the values at whole u and v; cubic in between, mirrored beyond the border
        at = torch.stack([u, v], -1) * (2 / (LATTICE - 1))
        smooth = F.grid_sample(lattice.view(-1, 1, LATTICE, LATTICE), at, "bicubic", "reflection", align_corners=True)[:, 0]
        return (0.5 + 1.4 * (smooth - 0.5)).clamp(0, 1)
    # cells: points scattered over 5 × 5 periods, which repeat
    points = cells.view(-1, CELLS, 3)
    du, dv = (t[:, None] / 5 - points[:, :, i, None, None] for i, t in enumerate((u, v)))
    nearest = torch.hypot(du - du.round(), dv - dv.round()).argmin(1)
    return points[:, :, 2].gather(1, nearest.flatten(1)).view_as(u)

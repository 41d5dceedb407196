"""Smoothing that removes texture and keeps edges. Half-precision images are filtered in fp32.

Each pixel becomes a weighted mean of the pixels around it; those that differ much from it weigh little. The level says what is much.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models import check_images


def bilateral(x: Tensor, level: float, *, sigma: float = 2.0, kernel_size: int = 7) -> Tensor:
    """The bilateral filter: a Gaussian blur in which pixels weigh less the more their color differs; a level of 0 is the identity.

    A pixel at p weighs exp(−|p − q|² / 2σ² − |x(p) − x(q)|² / 2·level²) for the pixel at q, with the Euclidean distance of colors. The
    level is in the units of pixels, σ and ``kernel_size`` in pixels. Borders are mirrored without repeating the edge pixel: at level ∞
    this is `gaussian_blur`.

    Raises:
        ValueError: a level that is negative or NaN, a sigma that is not positive, or a kernel that is even or too large for the image.

    >>> import torch
    >>> x = torch.tensor([0.0, 0.1, 0.0, 0.9, 1.0, 0.9]).expand(1, 1, 4, 6)
    >>> bilateral(x, 0.1)[0, 0, 0]
    tensor([0.0326, 0.0559, 0.0313, 0.9313, 0.9559, 0.9326])

    Source: Tomasi & Manduchi 1998. Burgert et al. 2025 suppress texture with OpenCV's, at 224 pixels: levels of 50/255 to 200/255 in
    disks of 4 to 14 pixels, σ = 75; there the distance of two colors is the sum over the channels.
    """
    check_images(x)
    _check_level(level)
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it must be above 0 pixels")
    _check_size("kernel_size", kernel_size, x)
    if level == 0:
        return x.clone()
    exact, level = _exact(x), max(level, 1e-30)  # fp32 has no much smaller number
    h, w = x.shape[-2:]
    radius = kernel_size // 2
    padded = F.pad(exact, [radius] * 4, mode="reflect")
    total, weights = torch.zeros_like(exact), torch.zeros_like(exact[:, :1])
    for i, j in product(range(kernel_size), repeat=2):
        other = padded[..., i : i + h, j : j + w]
        away = math.hypot(i - radius, j - radius) / sigma
        weight = torch.exp(-(away**2 + ((other - exact) / level).square().sum(1, keepdim=True)) / 2)
        total, weights = total + weight * other, weights + weight
    return (total / weights).to(x.dtype)


def nl_means(x: Tensor, level: float, *, patch_size: int = 5, search_size: int = 21) -> Tensor:
    """Non-local means: a mean in which pixels weigh less the more the squares around them differ; a level of 0 is the identity.

    Of the pixels in the square of ``search_size`` pixels around a pixel, as far as it lies in the image, each weighs exp(−d² / level²);
    d² is the mean squared difference, over channels and pixels, between the squares of ``patch_size`` pixels around the two. The level
    is in the units of pixels. For these squares, borders are mirrored without repeating the edge pixel.

    Raises:
        ValueError: a level that is negative or NaN, a size that is even, or a patch that is too large for the image.

    Source: Buades, Coll & Morel 2005; here all pixels of a square count the same, as in OpenCV, whose strength h is 255 · level. Burgert
    et al. 2025 suppress texture with OpenCV's, at 224 pixels: h of 5 to 25, patches of 15 pixels, a search among 21 × 21.
    """
    check_images(x)
    _check_level(level)
    _check_size("patch_size", patch_size, x)
    _check_size("search_size", search_size)
    if level == 0:
        return x.clone()
    exact, level = _exact(x), max(level, 1e-30)
    h, w = x.shape[-2:]
    padded = F.pad(exact, [patch_size // 2] * 4, mode="reflect")
    total, weights = exact.clone(), torch.ones_like(exact[:, :1])  # each pixel weighs 1 for itself
    down, right = (min(search_size // 2, side - 1) for side in (h, w))
    for dy, dx in product(range(down + 1), range(-right, right + 1)):
        if (dy, dx) <= (0, 0):
            continue  # two pixels weigh the same for each other: each pair is met once
        first = slice(0, h - dy), slice(max(0, -dx), w - max(0, dx))
        second = slice(dy, h), slice(max(0, dx), w - max(0, -dx))
        here, there = (padded[..., s.start : s.stop + patch_size - 1, t.start : t.stop + patch_size - 1] for s, t in (first, second))
        differences = ((here - there) / level).square().mean(1, keepdim=True)
        weight = torch.exp(-differences.unfold(2, patch_size, 1).mean(-1).unfold(3, patch_size, 1).mean(-1))  # faster than avg_pool2d
        for one, other in ((first, second), (second, first)):
            total[..., *one] += weight * exact[..., *other]
            weights[..., *one] += weight
    return (total / weights).to(x.dtype)


def _exact(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _check_level(level: float) -> None:
    if not level >= 0:
        raise ValueError(f"level is {level}; it must be at least 0, in the units of pixels (0 leaves the image as it is)")


def _check_size(name: str, size: int, x: Tensor | None = None) -> None:
    if size < 1 or size % 2 != 1:
        raise ValueError(f"{name} is {size}; it must be odd")
    if x is not None and size // 2 >= min(x.shape[-2:]):
        raise ValueError(f"{name} is {size}; it must be less than twice the image's shorter side, {min(x.shape[-2:])}")

"""How much a distortion leaves of what a network could use: distortions can be compared at the same dose."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models import check_images
from .pixels import grayscale

WINDOW = 5  # pixels a side, of the local variance
HIGH = 0.25  # cycles per pixel: half of what pixels can hold
NONE = 1e-12  # of a variance, an energy per pixel or a distance: less than this is rounding


def doses(x: Tensor, distorted: Tensor) -> dict[str, Tensor]:
    """What a distortion leaves of each kind of feature, image by image, (N,) each: 1 is all of it, 0 nothing.

    ``local_variance``: mean variance in all squares of 5 × 5 pixels, distorted / original. ``high_frequency``: energy of the Fourier
    modes above a quarter of a cycle per pixel, distorted / original. ``gradient``: Pearson correlation of the magnitudes of the two Sobel
    gradients; 0 where the distorted image has the same everywhere. ``color``: how far the pixels' colors, as differences from the nearest
    gray, keep their direction and size: Σ ⟨distorted, original⟩ / Σ ⟨original, original⟩; below 0 for opposite colors. The first three are
    of the luma (`grayscale`). A distortion that adds something can give more than 1. NaN where the original has none, such as the color
    of gray images.

    Raises:
        ValueError: shapes that differ, images below 5 × 5 pixels, or of neither one nor three channels.

    >>> import torch
    >>> x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> {name: round(float(dose), 3) for name, dose in doses(x, 0.5 * x).items()}
    {'local_variance': 0.25, 'high_frequency': 0.25, 'gradient': 1.0, 'color': 0.5}

    Source: Burgert et al. 2025 choose their filters by the local variance, the high-frequency energy and the correlation of the gradients.
    Their code takes windows of 11 × 11 pixels at 224 pixels, the share of the energy outside 11 cycles per image, and the mean of
    the correlations of the two derivatives. The 5 × 5 pixels, the energy itself above half of the highest frequency, which fit images of
    any size, the Sobel magnitudes and the dose of color are ours.
    """
    for images in (x, distorted):
        check_images(images)
    if x.shape != distorted.shape:
        raise ValueError(f"x is {tuple(x.shape)}, but distorted is {tuple(distorted.shape)}; their shapes must be equal")
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(f"images are {x.shape[-2]}x{x.shape[-1]} pixels; a local variance needs {WINDOW}x{WINDOW}")
    exact = torch.promote_types(torch.promote_types(x.dtype, distorted.dtype), torch.float32)
    a, b = x.to(exact), distorted.to(exact)
    luma_a, luma_b = (grayscale(images, 1)[:, 0] for images in (a, b))
    return {
        "local_variance": _left(_local_variance(luma_a), _local_variance(luma_b)),
        "high_frequency": _left(_high_energy(luma_a), _high_energy(luma_b)),
        "gradient": _correlation(_gradient(luma_a), _gradient(luma_b)),
        "color": _left(_same_color(a, a), _same_color(a, b)),
    }


def _left(original: Tensor, distorted: Tensor) -> Tensor:
    return torch.where(original > NONE, distorted / original, torch.nan)


def _local_variance(luma: Tensor) -> Tensor:
    """(N, H, W) → (N,)."""
    return luma.unfold(1, WINDOW, 1).unfold(2, WINDOW, 1).var((-2, -1), correction=0).mean((1, 2))


def _high_energy(luma: Tensor) -> Tensor:
    """Per pixel: (N, H, W) → (N,)."""
    v, u = (torch.fft.fftfreq(side, device=luma.device) for side in luma.shape[-2:])
    spectrum = torch.fft.fft2(luma - luma[:, :1, :1])  # a constant image has nothing, not even rounding
    return (spectrum.abs().square() * (torch.hypot(v[:, None], u) > HIGH)).sum((1, 2)) / math.prod(luma.shape[1:]) ** 2


def _gradient(luma: Tensor) -> Tensor:
    """The Sobel magnitude where its square lies in the image: (N, H, W) → (N, (H − 2)·(W − 2))."""
    kernel = luma.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 8
    return F.conv2d(luma[:, None], torch.stack([kernel, kernel.T])[:, None]).norm(dim=1).flatten(1)


def _correlation(original: Tensor, distorted: Tensor) -> Tensor:
    a, b = (values - values.mean(1, keepdim=True) for values in (original, distorted))
    spread_a, spread_b = a.square().mean(1), b.square().mean(1)
    found = (a * b).mean(1) / (spread_a * spread_b).sqrt()
    return torch.where(spread_a > NONE, torch.where(spread_b > NONE, found, 0), torch.nan)


def _same_color(a: Tensor, b: Tensor) -> Tensor:
    """Mean over pixels of ⟨color of a, color of b⟩: (N, 1 or 3, H, W) → (N,). Differences of channels are exactly 0 for gray."""
    return ((a - a.roll(1, 1)) * (b - b.roll(1, 1))).sum(1).mean((1, 2)) / a.shape[1]

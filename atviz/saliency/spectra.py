"""The spatial scale of maps and images: where in the Fourier spectrum their energy lies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def octaves(side: int) -> list[float]:
    """Upper radii of frequency bands an octave wide for images of a side: 2, 4, 8 … cycles per image, the last one unbounded."""
    edges = [2.0]
    while 4 * edges[-1] < side:
        edges.append(2 * edges[-1])
    return [*edges, float("inf")]


def band_names(radii: Sequence[float]) -> list[str]:
    """The bands of `band_shares` in words: ``≤ 2``, ``2–4``, ``> 8``."""
    upper = [f"{low:g}–{high:g}" if high < float("inf") else f"> {low:g}" for low, high in pairwise(radii)]
    return [f"≤ {radii[0]:g}", *upper]


def band_shares(maps: Tensor, radii: Sequence[float]) -> Tensor:
    """Shares, (N, len(radii)), of each map's energy in frequency bands.

    A band holds the Fourier modes farther from zero frequency than one radius and at most at the next, in cycles per image. The first
    band begins at zero frequency.
    """
    power, distance = _spectrum(maps.double())
    upto = torch.stack([(power * (distance <= radius)).sum((1, 2)) for radius in radii], 1)
    bands = torch.diff(upto, dim=1, prepend=torch.zeros_like(upto[:, :1]))
    return bands / power.sum((1, 2)).clamp(min=1e-300)[:, None]


def coarse_share(maps: Tensor, radius: float = 4) -> Tensor:
    """Share, (N,), of each map's energy in the Fourier modes at most ``radius`` cycles per image from zero frequency."""
    return band_shares(maps, [radius])[:, 0]


def spectral_centroid(images: Tensor) -> Tensor:
    """The energy-weighted mean radial frequency of each image (N, C, H, W), in cycles per image: (N,) float64.

    Σ r·|F|² / Σ |F|² over the modes (v, u) of the two-dimensional DFT F of each channel less its mean, and over the channels, with
    r = √(v² + u²), v and u in cycles per image height and width. 0 for an image of constant channels.

    Raises:
        ValueError: anything but (N, C, H, W).
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), not {tuple(images.shape)}")
    power, radius = _spectrum(images.double() - images.double().mean((2, 3), keepdim=True))
    power[:, 0, 0] = 0
    total = power.sum((1, 2))
    flat = total <= 1e-20 * images[0].numel() ** 2  # rounding alone
    return torch.where(flat, 0, (power * radius).sum((1, 2)) / total.clamp(min=1e-300))


def white_noise_centroid(height: int, width: int) -> float:
    """`spectral_centroid` of an image whose energy is spread evenly over all frequencies, as white noise's is expected to be."""
    impulse = torch.zeros(1, 1, height, width)
    impulse[..., 0, 0] = 1
    return float(spectral_centroid(impulse))


def _spectrum(values: Tensor) -> tuple[Tensor, Tensor]:
    """Power (N, H, W), summed over the channels, and each mode's distance (H, W) from zero frequency in cycles per image."""
    power = torch.fft.fft2(values).abs().square().sum(1)
    v, u = (torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=values.device) for n in values.shape[-2:])
    return power, torch.hypot(v[:, None], u[None, :])

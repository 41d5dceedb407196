"""Noise of a band of spatial frequencies, or of one frequency. The result can leave [0, 1]; ``clip`` clips it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models import check_images
from .draws import uniform


def noise_band(
    x: Tensor, center: float, *, sd: float, octaves: float = 1.0, clip: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Add Gaussian noise from the band of ``octaves`` octaves around ``center`` cycles per image, the same in all channels.

    The band holds the Fourier modes whose distance from zero frequency is at least center · 2^(−octaves/2) and less than
    center · 2^(octaves/2): bands whose centers are ``octaves`` octaves apart share no mode. The noise of each image has the mean 0 and,
    over its pixels, exactly the standard deviation ``sd``, in the units of pixels. An image takes H·W random numbers.

    Raises:
        ValueError: a center that is not positive or has no mode in its band, octaves outside (0, 20], or an sd that is negative.

    >>> import torch
    >>> noise = noise_band(torch.zeros(2, 1, 16, 16), 4, sd=0.1, generator=torch.Generator().manual_seed(0))
    >>> noise.std((1, 2, 3), correction=0)
    tensor([0.1000, 0.1000])

    Source: critical-band masking, Subramanian et al. 2023. Their bands are the levels of a Laplacian pyramid, which overlap, with centers of
    1.75 · 2^i cycles per image; their noise also has one standard deviation in all bands. Their images are gray, of a fifth of the contrast.
    """
    check_images(x)
    if not 0 < octaves <= 20:
        raise ValueError(f"octaves is {octaves}; it must be above 0, and at most 20")
    if not 0 <= sd < math.inf:
        raise ValueError(f"sd is {sd}; it must be at least 0, in the units of pixels")
    n, _, h, w = x.shape
    # squares in float64: rounding must not move a mode whose distance is exactly an end of the band
    v, u = torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64)
    squared = torch.minimum(v, h - v)[:, None] ** 2 + torch.minimum(u, w - u) ** 2
    band = (squared >= center**2 / 2**octaves) & (squared < center**2 * 2**octaves)
    if not center > 0 or not band.any():
        raise ValueError(
            f"center is {center}; it must be above 0, and images of {h}x{w} pixels must have modes within {octaves / 2:g} octaves of it"
        )
    exact = x if x.dtype == torch.float64 else x.float()
    normal = torch.special.ndtri(uniform(n, h * w, generator).clamp(min=2**-25))  # at 0 it is −∞
    noise = torch.fft.ifft2(torch.fft.fft2(normal.view(n, 1, h, w).to(exact)) * band.to(x.device)).real
    noise = noise * (sd / noise.square().mean((2, 3), keepdim=True).sqrt())
    return _added(exact, noise, clip).to(x.dtype)


def fourier_basis(x: Tensor, u: int, v: int, *, norm: float, clip: bool = False, generator: torch.Generator | None = None) -> Tensor:
    """Add ``norm`` times the real Fourier basis image of u cycles along the width and v along the height, or subtract it.

    The basis image (cos θ + sin θ) / √(HW), with θ = 2π(u·column/W + v·row/H), has an L2 norm of 1 for every (u, v), and only the Fourier
    modes (u, v) and (−u, −v). Each channel of each image gets a random sign, so that the L2 norm of the change is ``norm`` in each
    channel. An image takes one random number, whose first bits are the signs.

    Raises:
        ValueError: a u or v that is not whole or beyond half of the side, or a norm that is negative.

    >>> import torch
    >>> fourier_basis(torch.zeros(1, 1, 2, 4), 1, 0, norm=2, generator=torch.Generator().manual_seed(0)).abs()
    tensor([[[[0.7071, 0.7071, 0.7071, 0.7071],
              [0.7071, 0.7071, 0.7071, 0.7071]]]])

    Source: Yin et al. 2019, section 2: Fourier heat maps are the error under this noise, for every (u, v).
    """
    check_images(x)
    n, c, h, w = x.shape
    for name, cycles, side in (("u", u, w), ("v", v, h)):
        if cycles % 1 or not abs(cycles) <= side / 2:
            raise ValueError(f"{name} is {cycles}; it must be a whole number from {-(side // 2)} to {side // 2} cycles per image")
    if not 0 <= norm < math.inf:
        raise ValueError(f"norm is {norm}; it must be at least 0, in the units of pixels")
    rows, columns = torch.arange(h, dtype=torch.float64) / h, torch.arange(w, dtype=torch.float64) / w
    angle = 2 * math.pi * (v * rows[:, None] + u * columns)
    basis = (angle.cos() + angle.sin()) * (norm / math.sqrt(h * w))
    drawn = uniform(n, 1, generator)
    bits = (drawn * 2 ** torch.arange(1, c + 1, device=drawn.device)).floor() % 2
    exact = x if x.dtype == torch.float64 else x.float()
    return _added(exact, (1 - 2 * bits)[:, :, None, None].to(exact) * basis.to(exact), clip).to(x.dtype)


def _added(x: Tensor, noise: Tensor, clip: bool) -> Tensor:
    return (x + noise).clamp(0, 1) if clip else x + noise

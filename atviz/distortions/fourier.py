"""Distortions that remove Fourier modes of each image. Half-precision images are filtered in fp32."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models import check_images
from .draws import uniform

PRESETS = ("paper", "code")


def low_pass(x: Tensor, radius: float, *, preset: str = "paper", clip: bool = False) -> Tensor:
    """Keep the Fourier modes at most ``radius`` cycles per image from zero frequency, and remove the others.

    ``low_pass(x, r) + high_pass(x, r) = x``. The result can leave [0, 1]; ``clip`` clips it.

    The preset ``code`` is the mask in the authors' code: a disk of ``radius`` around entry ((H−1)//2, (W−1)//2) is removed from a
    spectrum that is not centered, so that zero frequency is in a corner. The modes in the corners stay: 1.7 % of all at 224×224 pixels
    and radius 144. The mask is not symmetric about zero frequency, and the real part of the image is taken.

    Raises:
        ValueError: a radius that is negative or NaN, or an unknown preset.

    >>> import torch
    >>> x = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 2, 2)
    >>> low_pass(x, 0)  # zero frequency is the mean
    tensor([[[[0.4375, 0.4375],
              [0.4375, 0.4375]]]])

    Source: Zhang & Zhu 2019, section 3.2. The paper gives no radius; compare several.
    """
    return _filter(x, low_modes(x, radius, preset), clip)


def high_pass(x: Tensor, radius: float, *, keep_mean: bool = False, preset: str = "paper", clip: bool = False) -> Tensor:
    """Keep the Fourier modes that `low_pass` removes, and remove those that it keeps.

    With ``keep_mean``, zero frequency stays: the mean of each channel of each image. A network that knows black backgrounds fails on gray
    ones, so that a filter that removes the mean also measures brightness. Where `low_pass` keeps the mean too,
    ``low_pass(x, r) + high_pass(x, r, keep_mean=True) = x + mean(x)``; with the preset ``paper`` it always does.

    >>> import torch
    >>> x = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 2, 2)
    >>> high_pass(x, 0)
    tensor([[[[-0.4375, -0.1875],
              [ 0.0625,  0.5625]]]])
    >>> high_pass(x, 0, keep_mean=True)
    tensor([[[[0.0000, 0.2500],
              [0.5000, 1.0000]]]])
    """
    return _filter(x, ~low_modes(x, radius, preset), clip, keep_mean=keep_mean)


def random_modes(
    x: Tensor,
    p: float,
    *,
    keep_mean: bool = False,
    symmetric: bool = True,
    clip: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Remove every Fourier mode with probability ``p``, drawn for each image and shared by its channels.

    A mode and its conjugate are removed together, so that the image stays real. Without ``symmetric``, as in the authors' code, each is
    drawn by itself, and the real part is taken: where one of the two is removed, the mode keeps half of its amplitude. The result can
    leave [0, 1]; ``clip`` clips it. With ``keep_mean``, zero frequency always stays, for the reason in `high_pass`; the other modes are
    drawn as without it.

    Raises:
        ValueError: a p outside [0, 1].

    Source: Zhang & Zhu 2019, section 3.2.
    """
    check_images(x)
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}; a probability must be in [0, 1]")
    n, _, h, w = x.shape
    mode = torch.arange(h * w).view(h, w)
    conjugate = mode.roll((-1, -1), (0, 1)).flip(0, 1)  # the mode at (−u, −v)
    drawn = uniform(n, h * w, generator)[:, torch.minimum(mode, conjugate) if symmetric else mode]
    return _filter(x, (drawn >= p)[:, None].to(x.device), clip, keep_mean=keep_mean)


def low_modes(x: Tensor, radius: float, preset: str) -> Tensor:
    """Which modes `low_pass` keeps: (H, W) bool, on the device of ``x``."""
    check_images(x)
    if not radius >= 0:
        raise ValueError(f"radius is {radius}; it must be at least 0 cycles per image")
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known are {', '.join(PRESETS)}")
    h, w = x.shape[-2:]
    # float64: rounding must not remove a mode whose distance is exactly the radius
    v, u = torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64)
    if preset == "code":
        low = torch.hypot(v[:, None] - (h - 1) // 2, u - (w - 1) // 2) >= radius
    else:
        low = torch.hypot(torch.minimum(v, h - v)[:, None], torch.minimum(u, w - u)) <= radius
    return low.to(x.device)


def _filter(x: Tensor, keep: Tensor, clip: bool, *, keep_mean: bool = False) -> Tensor:
    keep[..., 0, 0] |= keep_mean  # no preset centers the spectrum
    exact = x if x.dtype == torch.float64 else x.float()
    filtered = torch.fft.ifft2(torch.fft.fft2(exact) * keep).real.to(x.dtype)
    return filtered.clamp(0, 1) if clip else filtered

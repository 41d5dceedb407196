"""What a distortion does besides its purpose, alone: another explanation for an accuracy can be measured with it.

``x`` are the original images and ``distorted`` the distorted ones, both (N, C, H, W). A part must not bring in what the distortion does
not do. Pixels that the distortion changes by no more than `UNTOUCHED` therefore stay as they are, such as black ground that is left black, and values
are cut to the range that the two images have. Mean and standard deviation are those of each channel of each image, over the changed pixels, before
that cut. Each function raises a ValueError for shapes that differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..models import check_images

UNTOUCHED = 0.5 / 255  # a change that rounding to bytes would remove


def brightness_alone(x: Tensor, distorted: Tensor) -> Tensor:
    """x + (mean(distorted) − mean(x)) where the distortion changes x: the original with no more than the distortion's change of brightness.

    >>> import torch
    >>> x = torch.tensor([0.0, 0.5, 0.7]).view(1, 1, 1, 3)
    >>> brightness_alone(x, torch.tensor([0.0, 0.75, 0.75]).view(1, 1, 1, 3)).flatten()
    tensor([0.0000, 0.6500, 0.7500])
    """
    a, b = _pair(x, distorted)
    touched = _touched(a, b)
    return _cut(a + touched * (_mean(b, touched) - _mean(a, touched)), a, b).to(x.dtype)


def contrast_alone(x: Tensor, distorted: Tensor) -> Tensor:
    """(x − mean(x)) · std(distorted)/std(x) + mean(distorted) where the distortion changes x: its change of brightness and contrast.

    Changed pixels of one value, up to rounding, become mean(distorted). The contrast is never negative: colors that the distortion
    reverses are not reversed here.

    >>> import torch
    >>> x = torch.tensor([0.0, 0.5]).view(1, 1, 1, 2)
    >>> contrast_alone(x, torch.tensor([1.0, 0.75]).view(1, 1, 1, 2)).flatten()
    tensor([0.7500, 1.0000])
    """
    a, b = _pair(x, distorted)
    touched = _touched(a, b)
    centered, other = a - _mean(a, touched), b - _mean(b, touched)
    own, wanted = (_mean(values.square(), touched).sqrt() for values in (centered, other))
    found = centered * torch.where(own > 1e-5, wanted / own.clamp(min=1e-30), 0) + _mean(b, touched)
    return _cut(torch.where(touched, found, a), a, b).to(x.dtype)


def within_ball(x: Tensor, distorted: Tensor, eps: float) -> Tensor:
    """x + clip(distorted − x, −eps, eps): the distortion, cut to the L∞ ball of a training; ``eps`` in the units of pixels.

    Raises:
        ValueError: an eps that is negative or NaN.
    """
    _pair(x, distorted)
    _check_eps(eps)
    return distorted.clamp(x - eps, x + eps)  # the same, but without rounding inside the ball


def moved(x: Tensor, distorted: Tensor, eps: float) -> Tensor:
    """Share of each image's values (channels × pixels) that differ from the original by more than ``eps``: (N,), in [0, 1].

    A difference of eps + 1e-6 is not more: rounding must not count.

    Raises:
        ValueError: an eps that is negative or NaN.
    """
    a, b = _pair(x, distorted)
    _check_eps(eps)
    return ((b - a).abs() > eps + 1e-6).flatten(1).float().mean(1)


def _pair(x: Tensor, distorted: Tensor) -> tuple[Tensor, Tensor]:
    """Both, at least in fp32."""
    for images in (x, distorted):
        check_images(images)
    if x.shape != distorted.shape:
        raise ValueError(f"x is {tuple(x.shape)}, but distorted is {tuple(distorted.shape)}; their shapes must be equal")
    exact = torch.promote_types(torch.promote_types(x.dtype, distorted.dtype), torch.float32)
    return x.to(exact), distorted.to(exact)


def _touched(a: Tensor, b: Tensor) -> Tensor:
    """Which values the distortion changes, (N, C, H, W) bool."""
    return (b - a).abs() > UNTOUCHED


def _cut(values: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The values within the range of each two images."""
    both = torch.cat([a, b], 1).flatten(1)
    low, high = (bound[:, None, None, None] for bound in both.aminmax(dim=1))
    return torch.minimum(torch.maximum(values, low), high)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean over those pixels of each channel, (N, C, 1, 1); 0 where there are none."""
    return (values * where).sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True).clamp(min=1)


def _check_eps(eps: float) -> None:
    if not eps >= 0:
        raise ValueError(f"eps is {eps}; it must be at least 0, in the units of pixels")

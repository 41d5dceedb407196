"""Distortions that change each pixel by itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from ..models import check_images
from .draws import uniform


def saturate(x: Tensor, level: float) -> Tensor:
    """sign(2x−1)·|2x−1|^(2/level)/2 + 1/2: a level of 2 is the identity, a lower one makes the image grayer, a higher one more binary.

    This is not color saturation. Level 0 gives the constant 1/2, and level ∞ gives 0 or 1 (and 1/2 where x is 1/2).

    Raises:
        ValueError: a level that is negative or NaN.

    >>> import torch
    >>> x = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).view(1, 1, 1, 5)
    >>> saturate(x, 8).flatten()
    tensor([0.0000, 0.0271, 0.5000, 0.9729, 1.0000])

    Source: Zhang & Zhu 2019, section 3.2.
    """
    check_images(x)
    if not level >= 0:
        raise ValueError(f"saturation level is {level}; it must be at least 0 (2 leaves the image as it is)")
    if level == 0:
        return torch.full_like(x, 0.5)
    signed = 2 * x - 1
    return signed.sign() * signed.abs() ** (2 / level) / 2 + 0.5


def shift(x: Tensor, by: float, *, clip: bool = False) -> Tensor:
    """x + by: all pixels brighter, or darker, by the same amount; 0 is the identity. With ``clip``, clipped to [0, 1].

    Raises:
        ValueError: a ``by`` outside [−1, 1].
    """
    check_images(x)
    if not -1 <= by <= 1:
        raise ValueError(f"by is {by}; it must be in [-1, 1] (0 leaves the image as it is)")
    shifted = x + by
    return shifted.clamp(0, 1) if clip else shifted


def grayscale(x: Tensor, share: float) -> Tensor:
    """(1 − share)·x + share·luma: a share of 0 is the identity, and a share of 1 leaves no color.

    The luma is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Images of one channel stay as they are.

    Raises:
        ValueError: a share outside [0, 1], or images of neither one nor three channels.
    """
    check_images(x)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it must be in [0, 1]")
    if x.shape[1] == 1:
        return x.clone()
    if x.shape[1] != 3:
        raise ValueError(f"images have {x.shape[1]} channels; a luma needs 3")
    luma = (torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype, device=x.device)[:, None, None] * x).sum(1, keepdim=True)
    return (1 - share) * x + share * luma


def channel_shuffle(x: Tensor, level: float = 1, *, generator: torch.Generator | None = None) -> Tensor:
    """(1 − level)·x + level·shuffled: each image's channels in another order, drawn for each image; a level of 0 is the identity.

    The five orders that are not the original one are equally likely. An image takes one random number. Gray images do not change.

    Raises:
        ValueError: a level outside [0, 1], or images that have not three channels.

    >>> import torch
    >>> x = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    >>> channel_shuffle(x, generator=torch.Generator().manual_seed(0)).flatten()
    tensor([0.2000, 0.3000, 0.1000])

    Source: Burgert et al. 2025, whose draw can also be the original order.
    """
    check_images(x)
    if not 0 <= level <= 1:
        raise ValueError(f"level is {level}; it must be in [0, 1] (0 leaves the image as it is)")
    if x.shape[1] != 3:
        raise ValueError(f"images have {x.shape[1]} channel{'s' * (x.shape[1] != 1)}; to shuffle colors, they must have 3")
    drawn = uniform(len(x), 1, generator)
    orders = torch.tensor([*permutations(range(3))][1:], device=drawn.device)[(drawn[:, 0] * 5).long()].to(x.device)
    return (1 - level) * x + level * x[torch.arange(len(x), device=x.device)[:, None], orders]


def reverse(x: Tensor, *, mean: Sequence[float], clip: bool = False) -> Tensor:
    """2·mean − x, channel by channel: colors reversed about ``mean``, in [0, 1] units; with ``clip``, clipped to [0, 1].

    Raises:
        ValueError: a mean that has not one value for each channel.

    Source: Itazuri et al. 2019, section 4.
    """
    check_images(x)
    if len(mean) != x.shape[1]:
        raise ValueError(f"mean has {len(mean)} values for {x.shape[1]} channels")
    turned = 2 * torch.tensor(mean, dtype=x.dtype, device=x.device)[:, None, None] - x
    return turned.clamp(0, 1) if clip else turned

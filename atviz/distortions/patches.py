"""Shuffling and turning of patches: they destroy shapes that are larger than a patch."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from ..models import check_images
from .draws import uniform


def patch_counts(height: int, width: int, most: int = 8) -> list[int]:
    """The k from 2 to ``most`` for which `patch_shuffle` can cut an image of this size into k × k patches."""
    return [k for k in range(2, most + 1) if height % k == 0 and width % k == 0]


def patch_shuffle(x: Tensor, k: int, *, generator: torch.Generator | None = None, allow_identity: bool = False) -> Tensor:
    """Cut each image into k × k patches and permute them, each image by a permutation of its own; a k of 1 is the identity.

    For k > 1, at least one patch moves in every image: for k = 2, one image in 24 would otherwise stay as it is. With
    ``allow_identity`` it stays. The other permutations are equally likely; only for k > 2, the images that would stay, fewer than 3 in a
    million, get one of 23 permutations. An image takes k² random numbers, and one more without ``allow_identity``.

    Raises:
        ValueError: a k that does not divide both sides.

    >>> import torch
    >>> x = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 1, 2, 2)
    >>> patch_shuffle(x, 2, generator=torch.Generator().manual_seed(0))
    tensor([[[[0.3000, 0.4000],
              [0.1000, 0.2000]]]])

    Source: Zhang & Zhu 2019, section 3.2.
    """
    check_images(x)
    n, k = len(x), _count(x, k)
    drawn = uniform(n, k * k + (not allow_identity), generator)
    order = drawn[:, : k * k].argsort(1)
    if k > 1 and not allow_identity:
        # every image draws the number, needed or not, so that batches of any size give the same images
        other = torch.tensor([*permutations(range(4))][1:], device=order.device)[(drawn[:, -1] * 23).long()]
        still = (order == torch.arange(k * k, device=order.device)).all(1)
        order[still, :4] = other[still]
    order = order.to(x.device)
    return _joined(_cut(x, k)[torch.arange(n, device=x.device)[:, None], order], k)


def patch_rotate(x: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Cut each image into k × k square patches and turn each in its place, by 0, 90, 180 or 270 degrees with the same probability.

    All of an image stays as it is with probability 4^(−k²), and always where a patch is one pixel. An image takes k² random numbers.

    Raises:
        ValueError: images that are not square, or a k that does not divide their side.

    >>> import torch
    >>> x = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 1, 2, 2)
    >>> patch_rotate(x, 1, generator=torch.Generator().manual_seed(0))
    tensor([[[[0.2000, 0.4000],
              [0.1000, 0.3000]]]])

    Source: Burgert et al. 2025.
    """
    check_images(x)
    if x.shape[-2] != x.shape[-1]:
        raise ValueError(f"images are {x.shape[-2]}x{x.shape[-1]} pixels; they must be square, so that a turned patch fits its place")
    n, k = len(x), _count(x, k)
    turns = (uniform(n, k * k, generator) * 4).long().to(x.device)
    turned = torch.stack([_cut(x, k).rot90(turn, (-2, -1)) for turn in range(4)])
    image, patch = torch.arange(n, device=x.device), torch.arange(k * k, device=x.device)
    return _joined(turned[turns, image[:, None], patch], k)


def _count(x: Tensor, k: float) -> int:
    """k as a whole number; ValueError, which names those that fit, for one that does not divide both sides."""
    h, w = x.shape[-2:]
    if not k >= 1 or k % 1 or h % k or w % k:
        right = [1, *patch_counts(h, w, min(h, w))]
        raise ValueError(f"images of {h}x{w} pixels cannot be cut into {k:g}x{k:g} patches; k can be {', '.join(map(str, right))}")
    return int(k)


def _cut(x: Tensor, k: int) -> Tensor:
    """(N, C, H, W) → (N, k², C, H/k, W/k)."""
    n, c, h, w = x.shape
    return x.reshape(n, c, k, h // k, k, w // k).permute(0, 2, 4, 1, 3, 5).reshape(n, k * k, c, h // k, w // k)


def _joined(patches: Tensor, k: int) -> Tensor:
    """The inverse of `_cut`."""
    n, _, c, h, w = patches.shape
    return patches.reshape(n, k, k, c, h, w).permute(0, 3, 1, 4, 2, 5).reshape(n, c, k * h, k * w)

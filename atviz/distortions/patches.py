"""Patch shuffling: it destroys shapes that are larger than a patch."""

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
    n, c, h, w = x.shape
    if not k >= 1 or k % 1 or h % k or w % k:
        right = [1, *patch_counts(h, w, min(h, w))]
        raise ValueError(f"images of {h}x{w} pixels cannot be cut into {k:g}x{k:g} patches; k can be {', '.join(map(str, right))}")
    k = int(k)
    drawn = uniform(n, k * k + (not allow_identity), generator)
    order = drawn[:, : k * k].argsort(1)
    if k > 1 and not allow_identity:
        # every image draws the number, needed or not, so that batches of any size give the same images
        other = torch.tensor([*permutations(range(4))][1:], device=order.device)[(drawn[:, -1] * 23).long()]
        still = (order == torch.arange(k * k, device=order.device)).all(1)
        order[still, :4] = other[still]
    order = order.to(x.device)
    patches = x.reshape(n, c, k, h // k, k, w // k).permute(0, 2, 4, 1, 3, 5).reshape(n, k * k, c, h // k, w // k)
    patches = patches[torch.arange(n, device=x.device)[:, None], order]
    return patches.reshape(n, k, k, c, h // k, w // k).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)

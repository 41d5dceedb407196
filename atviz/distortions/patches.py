"""Patch shuffling: it destroys shapes that are larger than a patch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models import check_images
from .draws import uniform


def patch_counts(height: int, width: int, most: int = 8) -> list[int]:
    """The k from 2 to ``most`` for which `patch_shuffle` can cut an image of this size into k × k patches."""
    return [k for k in range(2, most + 1) if height % k == 0 and width % k == 0]


def patch_shuffle(x: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Cut each image into k × k patches and permute them, each image by a permutation of its own.

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
    order = uniform(n, k * k, generator).argsort(1).to(x.device)
    patches = x.reshape(n, c, k, h // k, k, w // k).permute(0, 2, 4, 1, 3, 5).reshape(n, k * k, c, h // k, w // k)
    patches = patches[torch.arange(n, device=x.device)[:, None], order]
    return patches.reshape(n, k, k, c, h // k, w // k).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)

"""Numbers of saliency maps, one for each image."""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F


def magnitude(maps: Tensor) -> Tensor:
    """Σ_channels |map|: (N, C, H, W) → (N, H, W)."""
    return maps.abs().sum(1)


def gini(maps: Tensor) -> Tensor:
    """Sparsity of each map's magnitude, (N,): 0 where all pixels count alike, toward 1 where one pixel counts alone.

    Source: Hurley & Rickard 2009.

    >>> even, one = torch.ones(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [0.0, 5.0]]]])
    >>> gini(torch.cat([even, one])).tolist()
    [0.0, 0.75]
    """
    values = magnitude(maps).flatten(1).double().sort(1).values
    count = values.shape[1]
    rank = torch.arange(1, count + 1, device=values.device, dtype=torch.float64)
    total = values.sum(1)
    gini = ((2 * rank - count - 1) * values).sum(1) / (count * total.clamp(min=1e-300))
    return torch.where(total > 0, gini, 0)


def edge_agreement(maps: Tensor, x: Tensor, *, blank: bool = True) -> Tensor:
    """Spearman's rank correlation, (N,), of each map's magnitude with the edges of its image.

    The edges are the Sobel gradient's magnitude of the channel mean, borders replicated. A constant map or image gives 0.

    Without ``blank``, pixels without any edge are left out. On images with a blank ground most of the correlation comes from it: a map
    that is weak there agrees with the edges, wherever it is strong in the object.
    """
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=x.device)
    gray = F.pad(x.float().mean(1, keepdim=True), [1] * 4, mode="replicate")
    edges = F.conv2d(gray, torch.stack([kernel, kernel.T])[:, None]).norm(dim=1).flatten(1)
    values = magnitude(maps).flatten(1)
    if blank:
        return rank_correlation(values, edges)
    kept = edges > 1e-6  # rounding leaves a trace of 1e-7 on constant pixels
    return torch.cat(
        [
            rank_correlation(v[k][None], e[k][None]) if k.any() else v.new_zeros(1).double()
            for v, e, k in zip(values, edges, kept, strict=True)
        ]
    )


def region_shares(maps: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Shares of each map's energy, Σ_channels map², on the ``edge`` of a silhouette, ``inside`` and ``outside`` it: (N,) each, of sum 1.

    ``mask``, (N, H, W), is the silhouette's coverage; its edge is where the nine pixels around a pixel are neither all in nor all out.
    A map of zeros has shares of zero.
    """
    covered = (mask.to(maps.device) > 0.5).double()[:, None]
    grown, shrunk = F.max_pool2d(covered, 3, 1, 1), -F.max_pool2d(-covered, 3, 1, 1)
    regions = {"edge": grown - shrunk, "inside": shrunk, "outside": 1 - grown}
    energy = maps.double().square().sum(1, keepdim=True)
    total = energy.sum((1, 2, 3)).clamp(min=1e-300)
    return {name: (energy * region).sum((1, 2, 3)) / total for name, region in regions.items()}


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of each row of two (N, P) tensors, ties ranked by their mean; 0 where a row is constant."""
    ra, rb = (torch.from_numpy(rankdata(t.double().cpu().numpy(), axis=1)).to(t.device) for t in (a, b))
    ra, rb = ra - ra.mean(1, keepdim=True), rb - rb.mean(1, keepdim=True)
    norm = ra.norm(dim=1) * rb.norm(dim=1)
    return torch.where(norm > 0, (ra * rb).sum(1) / norm.clamp(min=1e-300), 0)

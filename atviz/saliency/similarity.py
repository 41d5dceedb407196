"""How alike two sets of saliency maps are."""

from __future__ import annotations

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from .display import display
from .maps import magnitude, rank_correlation

WINDOW = 11  # pixels a side of the Gaussian window of SSIM


def similarity(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """How alike two sets of maps (N, C, H, W) are, image by image, (N,) each, 1 for the same map.

    ``rank``: `rank_correlation` of their magnitudes. ``ssim``: scikit-image's mean structural similarity of their magnitudes as
    displayed (`display`), under a Gaussian window of σ = 1.5 and 11 × 11 pixels, where it lies wholly inside (Wang et al. 2004).

    Raises:
        ValueError: maps of different shapes, or smaller than the window.

    >>> maps = torch.arange(144.0).view(1, 1, 12, 12)
    >>> {name: round(float(value), 6) for name, value in similarity(maps, 2 * maps).items()}
    {'rank': 1.0, 'ssim': 1.0}
    """
    if a.shape != b.shape or min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"maps of {tuple(a.shape)} and {tuple(b.shape)}; they must have one shape, at least {WINDOW} pixels a side")
    rank = rank_correlation(magnitude(a).flatten(1), magnitude(b).flatten(1))
    pairs = zip(*(display(maps).double().cpu().numpy() for maps in (a, b)), strict=True)
    # Wang et al.'s settings
    ssim = [structural_similarity(*pair, data_range=1, gaussian_weights=True, use_sample_covariance=False) for pair in pairs]
    return {"rank": rank, "ssim": torch.tensor(ssim, dtype=torch.float64, device=a.device)}

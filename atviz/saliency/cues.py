"""How well maps point along the silhouette, and along the texture, of drawn images in which both are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cue_alignment(maps: Tensor, x: Tensor, mask: Tensor, pattern: Tensor) -> dict[str, Tensor]:
    """How well each signed map points along what each cue adds to its image (`cue_parts`), (N,) each in [−1, 1].

    ``shape`` and ``texture`` are the cosines between the map and the two parts, over all pixels and channels; ``cue`` = shape − texture. The
    gradient of a score points along a part where more contrast of that cue would raise the score. 0 for a map or a part of zeros.

    Args:
        maps, x: (N, C, H, W).
        mask: (N, H, W), the silhouettes' coverage.
        pattern: (N, H, W) bool, the texture as if it filled the image.
    """
    shape, texture = (F.cosine_similarity(maps.double().flatten(1), part.flatten(1), eps=1e-30) for part in cue_parts(x, mask, pattern))
    return {"shape": shape, "texture": texture, "cue": shape - texture}


def cue_parts(x: Tensor, mask: Tensor, pattern: Tensor) -> tuple[Tensor, Tensor]:
    """What the silhouette and what the texture add to each image, (N, C, H, W) float64 each, without their means.

    With the coverage m and the texture t = ±1, each channel is fitted by a + b·m + c·m·t + d·(1 − m)·t (least squares). The silhouette
    adds b·m, the texture c·m·t + d·(1 − m)·t: it may lie inside the silhouette, outside, or everywhere.
    """
    covered, sign = mask.to(x.device).double(), 2 * pattern.to(x.device).double() - 1
    cues = torch.stack([torch.ones_like(covered), covered, covered * sign, (1 - covered) * sign], 1).flatten(2)  # (N, 4, P)
    normal = cues @ cues.transpose(1, 2)
    amounts = x.double().flatten(2) @ cues.transpose(1, 2) @ torch.linalg.pinv(normal, hermitian=True)  # (N, C, 4)
    centered = cues - cues.mean(2, keepdim=True)
    return (amounts[:, :, 1:2] @ centered[:, 1:2]).view_as(x), (amounts[:, :, 2:] @ centered[:, 2:]).view_as(x)

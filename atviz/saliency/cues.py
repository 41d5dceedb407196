"""How well maps follow the outline, and the texture, of drawn images whose silhouettes and textures are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .maps import magnitude


def cue_shares(maps: Tensor, mask: Tensor, pattern: Tensor) -> dict[str, Tensor]:
    """How well each map's magnitude follows the edges of the two cues, (N,) each in [−1, 1].

    ``shape`` is Pearson's correlation of the magnitude with the Sobel gradient of the silhouette's coverage, ``texture`` that with the
    Sobel gradient of the texture, and ``cue`` = shape − texture. Only the silhouette and the pixels beside it count: a map that is merely
    stronger in the object than on the ground follows neither. 0 where a map or a cue is constant there. Of textures whose periods are few
    pixels, nearly every pixel is an edge, and ``texture`` is small for any map.

    Args:
        maps: (N, C, H, W).
        mask: (N, H, W), the silhouettes' coverage.
        pattern: (N, H, W) bool, the texture as if it filled the image.
    """
    mask, pattern = mask.to(maps), pattern.to(maps)
    there = (F.max_pool2d(mask[:, None], 3, 1, 1) > 0).flatten(1)
    values = magnitude(maps).flatten(1)
    shape, texture = (_correlation(values, _edges(cue).flatten(1), there) for cue in (mask, pattern))
    return {"shape": shape, "texture": texture, "cue": shape - texture}


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


def _edges(images: Tensor) -> Tensor:
    """The Sobel gradient's magnitude of images (N, H, W), borders replicated."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(images)
    return F.conv2d(F.pad(images[:, None], [1] * 4, mode="replicate"), torch.stack([kernel, kernel.T])[:, None]).norm(dim=1)


def _correlation(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Pearson's correlation of each row of two (N, P) tensors over the values ``where`` says, 0 where a row is constant, up to rounding."""
    share = where.double() / where.double().sum(1, keepdim=True).clamp(min=1)
    a, b = ((v.double() - (share * v.double()).sum(1, keepdim=True)) * share.sqrt() for v in (a, b))
    norm = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(norm > 1e-12, (a * b).sum(1) / norm.clamp(min=1e-300), 0)

"""Saliency maps as pictures in [0, 1]: gray magnitudes, and signed maps in color."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .maps import magnitude

Key = TypeVar("Key")

# scale of the maps -> what a figure says of it
SCALES = {"map": "each map clipped at its own 99th percentile", "shared": "all maps on one scale, clipped at the 99th percentile of all"}
SIGNED_SCALES = {
    "map": "mid-gray is 0; each map clipped at ±3 of its own standard deviations",
    "shared": "mid-gray is 0; all maps on one scale, clipped at ±3 standard deviations of all",
}


def check_scale(scale: str) -> str:
    """The scale; ValueError unless it is one of `SCALES`."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; it must be map or shared")
    return scale


def display(maps: Tensor) -> Tensor:
    """Magnitudes as they are shown, (N, H, W) in [0, 1]: each clipped at its own 99th percentile (Zhang & Zhu's code)."""
    values = magnitude(maps)
    top = values.flatten(1).float().quantile(0.99, dim=1).to(values)[:, None, None]
    return torch.where(top > 0, values / top.clamp(min=1e-30), 0).clamp(max=1)


def as_shown(maps: Mapping[Key, Tensor], scale: str) -> dict[Key, Tensor]:
    """Maps (N, C, H, W) as gray pictures (N, 1, H, W) in [0, 1]: Σ_channels |map| over the 99th percentile.

    The percentile is of each map (``scale`` ``map``) or of all maps together (``shared``), so that magnitudes can be compared.
    """
    if check_scale(scale) == "map":
        return {key: display(m)[:, None] for key, m in maps.items()}
    values = {key: magnitude(m)[:, None] for key, m in maps.items()}
    top = np.percentile(torch.cat(list(values.values())).cpu().numpy(), 99)
    return {key: (m / max(float(top), 1e-30)).clamp(max=1) for key, m in values.items()}


def signed(maps: Tensor) -> Tensor:
    """Signed maps (N, C, H, W) as pictures: clipped at ±3 standard deviations of each map, 0 as mid-gray (Itazuri et al. 2019)."""
    deviation = maps.flatten(1).std(1)[:, None, None, None].clamp(min=1e-30)
    return ((maps / (3 * deviation)).clamp(-1, 1) + 1) / 2


def signed_as_shown(maps: Mapping[Key, Tensor], scale: str) -> dict[Key, Tensor]:
    """Several sets of maps as `signed` shows them; with ``scale`` ``shared`` the deviation is that of all values of all sets."""
    if check_scale(scale) == "map":
        return {key: signed(m) for key, m in maps.items()}
    values = torch.cat(list(maps.values()))
    together = signed(values.flatten()[None, None, None]).view_as(values)
    return dict(zip(maps, together.split([len(m) for m in maps.values()]), strict=True))

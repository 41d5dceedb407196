"""Worlds: ways of drawing images with known cues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

EXTENTS = ("inside", "outside", "everywhere")  # of the texture, by the silhouette
FURTHER = ("none", "random", "informative", "conflict")  # what a third or fourth cue does


@dataclass(frozen=True)
class World:
    """How the cues are drawn. Two worlds of one seed have the same labels.

    Amplitudes are in units of pixels, whose range is [0, 1].

    Args:
        step: the length of the step in RGB from the ground's color to the silhouette's.
        contrast: how far the texture differs from the color under it, either way, in each channel.
        coarseness: the textures' wavelengths and correlation lengths are multiplied by it.
        rows: there are rows × rows silhouettes of one kind, each in a cell of its own and so many times smaller.
        extent: where the texture lies: ``inside`` the silhouette, whose extent then also draws the silhouette, ``outside`` or
            ``everywhere``.
        color: a third cue, the hue of the step: ``none``: colors are drawn freely. ``random``: one of eight hues, which tells nothing.
            ``informative``: it tells the class. ``conflict``: it tells a class that is neither the shape's nor the texture's.
        ground: a fourth cue, the direction in which the ground is shaded, in the same four ways.
        shade: how far the shading reaches, either way, in each channel; without a ``ground``, there is none.

    Raises:
        ValueError: a number or a word that cannot be.
    """

    step: float = 0.9
    contrast: float = 0.05
    coarseness: float = 1.0
    rows: int = 1
    extent: str = "inside"
    color: str = "none"
    ground: str = "none"
    shade: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1:
            raise ValueError(f"step is {self.step}; it must be above 0 and at most 1")
        for name, value, most in (("contrast", self.contrast, 0.5), ("shade", self.shade, 0.25)):
            if not 0 <= value <= most:
                raise ValueError(f"{name} is {value}; it must be within [0, {most}]")
        if not 0.25 <= self.coarseness <= 8:
            raise ValueError(f"coarseness is {self.coarseness}; it must be within [0.25, 8]")
        if self.rows not in range(1, 9):
            raise ValueError(f"rows is {self.rows}; it must be a whole number from 1 to 8")
        for name, word, known in (("extent", self.extent, EXTENTS), ("color", self.color, FURTHER), ("ground", self.ground, FURTHER)):
            if word not in known:
                raise ValueError(f"{name} is {word!r}; it must be one of {', '.join(known)}")

    @property
    def amplitudes(self) -> tuple[float, float]:
        """Half the difference that the silhouette, and the texture, make in each channel: the L∞ distance at which it can be erased."""
        return self.step / (2 * np.sqrt(3)), self.contrast


# Two cues: which is larger by its amplitude, and which is coarser. Only in the first does the texture's extent draw the silhouette, too.
_COARSE_TEXTURE: dict[str, Any] = {"rows": 3, "coarseness": 5.0, "extent": "everywhere"}
WORLDS: dict[str, World] = {
    "inside": World(step=0.8, contrast=0.08),
    "bold-coarse-shape": World(step=0.8, contrast=0.08, extent="everywhere"),
    "bold-fine-shape": World(step=0.8, contrast=0.08, **_COARSE_TEXTURE),
    "alike-coarse-shape": World(step=0.5, contrast=0.14, extent="everywhere"),
    "alike-fine-shape": World(step=0.5, contrast=0.14, **_COARSE_TEXTURE),
    "faint-coarse-shape": World(step=0.45, contrast=0.2, extent="everywhere"),
    "faint-fine-shape": World(step=0.45, contrast=0.2, **_COARSE_TEXTURE),
}

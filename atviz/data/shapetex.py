"""Images with known cues: a silhouette of one kind, filled with a texture of one kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .drawing import SHAPES, TEXTURES, draw
from .images import Images
from .world import World

CUES = ("both", "shape", "texture", "conflict")
CHUNK = 500  # images drawn at a time, to bound the memory


@dataclass(frozen=True)
class ShapeTex:
    """Drawn images and what is known of them.

    ``images`` have the labels of the informative cue. ``shape`` and ``texture`` are both labels, (N,) int64; so are ``color`` and ``ground``,
    −1 where there is no such cue. ``mask`` is (N, H, W) float32, how much of each pixel the silhouette covers. ``pattern`` is (N, H, W)
    bool, the texture as if it filled the whole image.
    """

    images: Images
    shape: Tensor
    texture: Tensor
    mask: Tensor
    pattern: Tensor
    color: Tensor
    ground: Tensor


def shapetex(
    n: int, *, cue: str = "both", seed: int = 0, size: int = 32, contrast: float = 0.05, step: float = 0.9, world: World | None = None,
    share: float = 1.0,
) -> ShapeTex:  # fmt: skip
    """Draw ``n`` color images of ``size`` pixels, each a silhouette of one of `SHAPES` with one of `TEXTURES`.

    Place, size, rotation (up to 15° either way), colors and the phase of the texture are random. Neither brightness nor color tells a
    class: every texture has two values, ± ``contrast`` around the color under it, equally often, and the silhouette is as often
    brighter than the ground as darker. The same seed gives the same images on any machine.

    By default the silhouette is the larger cue: the step in RGB from the ground's color to the silhouette's is 0.9 long, while the
    texture differs by ± ``contrast`` in each channel, so that its two values are 2 · √3 · ``contrast`` = 0.17 apart. There the
    silhouette's color is cut to [``contrast``, 1 − ``contrast``]: of 0.9, a distance of 0.73 is left on average; of 0.5 and less, nearly
    all. In every `World` with a color, a ground, or a texture that is not inside alone, the ground's color is drawn so that nothing is cut
    but steps of a channel above 1 − 2 · ``contrast``.

    >>> drawn = shapetex(16, cue="conflict", seed=1)
    >>> drawn.images.x.shape, bool((drawn.shape == drawn.texture).any())
    (torch.Size([16, 3, 32, 32]), False)

    Args:
        cue: ``both``: shape and texture have the same label. ``shape``: the texture is random. ``texture``: the shape is random.
            ``conflict``: the two labels differ, and the images have the label of their shape.
        step: the length of the step in RGB, where a channel is in [0, 1]. It changes colors only: masks, patterns and labels are the
            same for every step.
        world: how the cues are drawn; in place of ``contrast`` and ``step``.
        share: of the images in which the uninformative cue of ``shape`` or ``texture`` is random; in the others it agrees.

    Raises:
        ValueError: an unknown cue, fewer than one image, a size below 8, a share outside [0, 1], or what `World` refuses.
    """
    if cue not in CUES:
        raise ValueError(f"cue is {cue!r}; it must be one of {', '.join(CUES)}")
    if n < 1 or size < 8 or not 0 <= share <= 1:
        raise ValueError(f"n is {n}, size {size} and share {share}; they must be at least 1, at least 8 and within [0, 1]")
    world = world or World(step=step, contrast=contrast)
    rng, more = np.random.default_rng(seed), np.random.default_rng([seed, 1])  # the second is of what not every world has
    label = rng.permutation(np.arange(n) % len(SHAPES))
    other = rng.integers(len(SHAPES), size=n)
    clash = (label + rng.integers(1, len(SHAPES), size=n)) % len(SHAPES)
    other = np.where(more.random(n) < share, other, label)
    shape = other if cue == "texture" else label
    texture = {"both": label, "shape": other, "texture": label, "conflict": clash}[cue]
    color, ground = (_further(how, label, shape, texture, more) for how in (world.color, world.ground))
    labels = np.stack([shape, texture, color, ground])
    parts = [draw(labels[:, i : i + CHUNK], rng, more, size, world) for i in range(0, n, CHUNK)]
    x, mask, pattern = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
    names = TEXTURES if cue == "texture" else list(SHAPES)
    images = Images(x, torch.from_numpy(texture if cue == "texture" else shape), list(names), f"shapetex-{cue}")
    return ShapeTex(
        images, torch.from_numpy(shape), torch.from_numpy(texture), mask, pattern, torch.from_numpy(color), torch.from_numpy(ground)
    )


def _further(how: str, label: np.ndarray, shape: np.ndarray, texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The labels of a third or fourth cue; −1 where there is none."""
    found = rng.integers(len(SHAPES), size=len(label))
    if how == "conflict":
        low, high = np.minimum(shape, texture), np.maximum(shape, texture)
        found = rng.integers(len(SHAPES) - 1 - (low != high))
        found = found + (found >= low)
        found = found + ((found >= high) & (low != high))
    return {"none": np.full(len(label), -1), "informative": label}.get(how, found)

"""Images with known cues: a silhouette of one kind, filled with a texture of one kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .images import Images

CUES = ("both", "shape", "texture", "conflict")
CHUNK = 500  # images drawn at a time, to bound the memory

Field = np.ndarray  # (N, H, W) float64


def _star(u: Field, v: Field) -> Field:
    inner, tip = 0.42, np.pi / 5
    radius = np.hypot(u, v)
    angle = np.abs((np.arctan2(v, u) + tip) % (2 * tip) - tip)  # folded onto half a point of the star
    normal = np.array([inner * np.sin(tip), 1 - inner * np.cos(tip)])
    normal /= np.linalg.norm(normal)
    return radius * (np.cos(angle) * normal[0] + np.sin(angle) * normal[1]) - normal[0]


# Signed distance to the outline, negative inside, in coordinates in which the silhouette fits the unit disc.
SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "disc": lambda u, v: np.hypot(u, v) - 0.85,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) - np.sqrt(0.5),
    "triangle": lambda u, v: np.maximum(-v, np.abs(u) * np.sqrt(0.75) + v / 2) - 0.5,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.75) - 0.25,
    "cross": lambda u, v: np.minimum(np.maximum(np.abs(u) - 0.95, np.abs(v) - 0.3), np.maximum(np.abs(v) - 0.95, np.abs(u) - 0.3)),
    "star": _star,
    "diamond": lambda u, v: (np.abs(u) * 0.5 + np.abs(v) - 0.5) / np.hypot(0.5, 1),
    "bar": lambda u, v: np.maximum(np.abs(u) - 0.95, np.abs(v) - 0.3),
}

# Stripes and checks: direction (degrees) and wavelength (share of the side). Noise: correlation length (share of the side).
STRIPES = {"stripes 0°": (0, 0.1), "stripes 45°": (45, 0.1), "stripes 90°": (90, 0.1), "stripes 135°": (135, 0.1)}
CHECKS = {"fine checks": 1 / 8, "checks": 1 / 5}
NOISE = {"fine noise": 1 / 64, "coarse noise": 1 / 24}
TEXTURES = [*STRIPES, *CHECKS, *NOISE]


@dataclass(frozen=True)
class ShapeTex:
    """Drawn images and what is known of them.

    ``images`` have the labels of the informative cue. ``shape`` and ``texture`` are both labels, (N,) int64. ``mask`` is (N, H, W)
    float32, how much of each pixel the silhouette covers. ``pattern`` is (N, H, W) bool, the texture as if it filled the whole image.
    """

    images: Images
    shape: Tensor
    texture: Tensor
    mask: Tensor
    pattern: Tensor


def shapetex(n: int, *, cue: str = "both", seed: int = 0, size: int = 32, contrast: float = 0.05, step: float = 0.9) -> ShapeTex:
    """Draw ``n`` color images of ``size`` pixels, each a silhouette of one of `SHAPES` with one of `TEXTURES`.

    Place, size, rotation (up to 15° either way), colors and the phase of the texture are random. Neither brightness nor color tells a
    class: every texture has two values, ± ``contrast`` around the silhouette's color, equally often, and the silhouette is as often
    brighter than the ground as darker. The same seed gives the same images on any machine.

    By default the silhouette is the larger cue: the step in RGB from the ground's color to the silhouette's is 0.9 long, while the
    texture differs by ± ``contrast`` in each channel, so that its two values are 2 · √3 · ``contrast`` = 0.17 apart. The silhouette's
    color is cut to [``contrast``, 1 − ``contrast``]: of 0.9, a distance of 0.73 is left on average; of 0.5 and less, nearly all.

    >>> drawn = shapetex(16, cue="conflict", seed=1)
    >>> drawn.images.x.shape, bool((drawn.shape == drawn.texture).any())
    (torch.Size([16, 3, 32, 32]), False)

    Args:
        cue: ``both``: shape and texture have the same label. ``shape``: the texture is random. ``texture``: the shape is random.
            ``conflict``: the two labels differ, and the images have the label of their shape.
        step: the length of the step in RGB, where a channel is in [0, 1]. It changes colors only: masks, patterns and labels are the
            same for every step.

    Raises:
        ValueError: an unknown cue, fewer than one image, a size below 8, a contrast outside [0, 0.5] or a step outside (0, 1].
    """
    if cue not in CUES:
        raise ValueError(f"cue is {cue!r}; it must be one of {', '.join(CUES)}")
    if n < 1 or size < 8 or not 0 <= contrast <= 0.5:
        raise ValueError(f"n is {n}, size {size} and contrast {contrast}; they must be at least 1, at least 8 and within [0, 0.5]")
    if not 0 < step <= 1:
        raise ValueError(f"step is {step}; it must be above 0 and at most 1")
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % len(SHAPES))
    other = rng.integers(len(SHAPES), size=n)
    clash = (label + rng.integers(1, len(SHAPES), size=n)) % len(SHAPES)
    shape = other if cue == "texture" else label
    texture = {"both": label, "shape": other, "texture": label, "conflict": clash}[cue]
    parts = [_draw(shape[i : i + CHUNK], texture[i : i + CHUNK], rng, size, contrast, step) for i in range(0, n, CHUNK)]
    x, mask, pattern = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
    names = TEXTURES if cue == "texture" else list(SHAPES)
    y = torch.from_numpy(texture if cue == "texture" else shape)
    return ShapeTex(Images(x, y, list(names), f"shapetex-{cue}"), torch.from_numpy(shape), torch.from_numpy(texture), mask, pattern)


def _draw(
    shape: np.ndarray, texture: np.ndarray, rng: np.random.Generator, size: int, contrast: float, length: float
) -> tuple[np.ndarray, ...]:
    """Pixels (N, 3, size, size) uint8, coverage (N, size, size) float32 and pattern (N, size, size) bool.

    The computation is in float64, so that rounding to bytes gives the same on every machine.
    """
    n = len(shape)
    radius, angle = rng.uniform(0.36, 0.48, n), rng.uniform(-np.pi / 12, np.pi / 12, n)
    margin = radius + 0.5 / size  # the silhouette, with its blurred outline, stays within the frame
    center = margin + rng.random((2, n)) * (1 - 2 * margin)
    background = rng.uniform(0.0, 1.0, (n, 3))
    # a step of fixed length in a random direction leads from the ground's color to the silhouette's; reversed where it leaves the range
    step = rng.standard_normal((n, 3))
    step *= length / np.linalg.norm(step, axis=1, keepdims=True)
    color = background + step
    low, high = contrast, 1 - contrast
    color = np.where((color < low) | (color > high), background - step, color).clip(low, high)

    grid = (np.arange(size) + 0.5) / size
    x, y = grid[None, None, :] - center[0][:, None, None], grid[None, :, None] - center[1][:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    scale = radius[:, None, None]
    u, v = (cos * x + sin * y) / scale, (cos * y - sin * x) / scale
    mask = np.empty((n, size, size))
    for k, distance in enumerate(SHAPES.values()):
        members = shape == k
        # the outline is blurred over one pixel
        mask[members] = (0.5 - distance(u[members], v[members]) * scale[members] * size).clip(0, 1)
    value = _texture(texture, rng, size)
    filled = color[:, :, None, None] + contrast * value[:, None]
    pixels = background[:, :, None, None] * (1 - mask[:, None]) + filled * mask[:, None]
    return np.floor(pixels * 255 + 0.5).astype(np.uint8), mask.astype(np.float32), value > 0


def _texture(texture: np.ndarray, rng: np.random.Generator, size: int) -> Field:
    """(N, size, size) of −1 and 1; both are equally frequent in every texture."""
    n = len(texture)
    phase, white = rng.random((2, n, 1, 1)), rng.standard_normal((n, size, size))
    grid = (np.arange(size) + 0.5) / size
    x, y = grid[None, None, :], grid[None, :, None]
    value = np.empty((n, size, size))
    for k, name in enumerate(TEXTURES):
        members = texture == k
        if not members.any():
            continue  # an empty array cannot be transformed
        shift = phase[:, members]
        if name in STRIPES:
            degrees, length = STRIPES[name]
            along = x * np.sin(np.radians(degrees)) + y * np.cos(np.radians(degrees))
            value[members] = np.where((along / length + shift[0]) % 1 < 0.5, 1, -1)
        elif name in CHECKS:
            cells = [(axis / CHECKS[name] + s) % 1 < 0.5 for axis, s in zip((x, y), shift, strict=True)]
            value[members] = np.where(cells[0] ^ cells[1], 1, -1)
        else:
            frequency = np.fft.fftfreq(size, 1 / size)
            blur = np.exp(-2 * (np.pi * NOISE[name]) ** 2 * (frequency[:, None] ** 2 + frequency**2))
            smooth = np.fft.ifft2(np.fft.fft2(white[members]) * blur).real
            value[members] = np.where(smooth > np.median(smooth, axis=(1, 2), keepdims=True), 1, -1)
    return value

"""The pixels of a world: silhouettes, textures, colors and grounds of given kinds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .world import World

EIGHTH = np.pi / 4  # between two classes of hues, and of directions of the shading
JITTER = np.pi / 12  # of angles, either way

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


def draw(labels: np.ndarray, rng: np.random.Generator, more: np.random.Generator, size: int, world: World) -> tuple[np.ndarray, ...]:
    """Pixels (N, 3, size, size) uint8, coverage (N, size, size) float32 and pattern (N, size, size) bool.

    The computation is in float64, so that rounding to bytes gives the same on every machine.
    """
    shape, texture, hue, direction = labels
    n = len(shape)
    radius, angle = rng.uniform(0.36, 0.48, n), rng.uniform(-JITTER, JITTER, n)
    margin = radius + 0.5 / size  # the silhouette, with its blurred outline, stays within the frame
    center = margin + rng.random((2, n)) * (1 - 2 * margin)
    background = rng.uniform(0.0, 1.0, (n, 3))
    # a step of fixed length in a random direction leads from the ground's color to the silhouette's
    step = rng.standard_normal((n, 3))
    if world.color != "none":
        step = _hues(hue * EIGHTH + more.uniform(-JITTER, JITTER, n))
    step *= world.step / np.linalg.norm(step, axis=1, keepdims=True)
    background, color = _colors(background, step, world)

    mask = _silhouettes(shape, center, radius, angle, size) if world.rows == 1 else _many(shape, more, size, world.rows)
    value = _texture(texture, rng, size, world.coarseness)
    ground, filled = background[:, :, None, None], color[:, :, None, None]
    if world.extent != "outside":
        filled = filled + world.contrast * value[:, None]
    if world.extent != "inside":
        ground = ground + world.contrast * value[:, None]
    if world.ground != "none":
        ground = ground + world.shade * _ramp(direction * EIGHTH + more.uniform(-JITTER, JITTER, n), size)[:, None]
    pixels = ground * (1 - mask[:, None]) + filled * mask[:, None]
    return np.floor(pixels * 255 + 0.5).astype(np.uint8), mask.astype(np.float32), value > 0


def _colors(background: np.ndarray, step: np.ndarray, world: World) -> tuple[np.ndarray, np.ndarray]:
    """The ground's and the silhouette's color, (N, 3) each, from uniform random numbers and steps."""
    if (world.extent, world.color, world.ground) == ("inside", "none", "none"):
        # reversed where it leaves the range, and cut
        color, low, high = background + step, world.contrast, 1 - world.contrast
        return background, np.where((color < low) | (color > high), background - step, color).clip(low, high)
    textured = {"inside": (0, 1), "outside": (1, 0), "everywhere": (1, 1)}[world.extent]
    under, over = (world.contrast * part for part in textured)
    under += world.shade * (world.ground != "none")
    step = step.clip(under + over - 1, 1 - under - over)
    lowest, highest = np.maximum(under, over - step), np.minimum(1 - under, 1 - over - step)
    background = lowest + (highest - lowest) * background
    return background, background + step


def _hues(angle: np.ndarray) -> np.ndarray:
    """Directions in RGB in which the mean of the channels does not change, (N,) → (N, 3)."""
    one, other = np.array([1, -0.5, -0.5]) / np.sqrt(1.5), np.array([0, 1, -1]) / np.sqrt(2)
    return np.cos(angle)[:, None] * one + np.sin(angle)[:, None] * other


def _ramp(angle: np.ndarray, size: int) -> Field:
    """A plane from −1 to 1 that rises in each direction."""
    place = (2 * np.arange(size) + 1) / size - 1
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return (cos * place[None, None, :] + sin * place[None, :, None]) / (np.abs(cos) + np.abs(sin))


def _many(shape: np.ndarray, rng: np.random.Generator, size: int, rows: int) -> Field:
    """rows × rows silhouettes, each of its own place, size and rotation in its cell."""
    mask = np.zeros((len(shape), size, size))
    for cell in range(rows**2):
        radius, angle = rng.uniform(0.36, 0.48, len(shape)) / rows, rng.uniform(-JITTER, JITTER, len(shape))
        margin = radius + 0.5 / size
        corner = np.array([cell % rows, cell // rows])[:, None] / rows
        center = corner + margin + rng.random((2, len(shape))) * (1 / rows - 2 * margin).clip(0)
        mask = np.maximum(mask, _silhouettes(shape, center, radius, angle, size))
    return mask


def _silhouettes(shape: np.ndarray, center: np.ndarray, radius: np.ndarray, angle: np.ndarray, size: int) -> Field:
    """How much of each pixel a silhouette covers."""
    grid = (np.arange(size) + 0.5) / size
    x, y = grid[None, None, :] - center[0][:, None, None], grid[None, :, None] - center[1][:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    scale = radius[:, None, None]
    u, v = (cos * x + sin * y) / scale, (cos * y - sin * x) / scale
    mask = np.empty((len(shape), size, size))
    for k, distance in enumerate(SHAPES.values()):
        members = shape == k
        # the outline is blurred over one pixel
        mask[members] = (0.5 - distance(u[members], v[members]) * scale[members] * size).clip(0, 1)
    return mask


def _texture(texture: np.ndarray, rng: np.random.Generator, size: int, coarseness: float) -> Field:
    """(N, size, size) of −1 and 1; both are equally frequent in every texture, and, where it is not 1 × as coarse, in every image."""
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
        if name in NOISE:
            frequency = np.fft.fftfreq(size, 1 / size)
            blur = np.exp(-2 * (np.pi * NOISE[name] * coarseness) ** 2 * (frequency[:, None] ** 2 + frequency**2))
            wave = np.fft.ifft2(np.fft.fft2(white[members]) * blur).real
        elif name in STRIPES:
            degrees, length = STRIPES[name]
            along = x * np.sin(np.radians(degrees)) + y * np.cos(np.radians(degrees))
            wave = _wave(along / (length * coarseness) + shift[0], coarseness)
        else:
            across, down = (_wave(axis / (CHECKS[name] * coarseness) + s, coarseness) for axis, s in zip((x, y), shift, strict=True))
            wave = -across * down
        middle = np.median(wave, axis=(1, 2), keepdims=True) if name in NOISE or coarseness != 1 else 0
        value[members] = np.where(wave > middle, 1, -1)
    return value


def _wave(periods: Field, coarseness: float) -> Field:
    """1 in the first half of each period and −1 in the second; a sine where few periods fit, of which the median halves the image."""
    return np.where(periods % 1 < 0.5, 1.0, -1.0) if coarseness == 1 else np.sin(2 * np.pi * periods)

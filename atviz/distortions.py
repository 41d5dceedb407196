"""Distortions x → x on (N, C, H, W) images, on any device and any floating type; the random ones draw for each image.

A random distortion takes a ``torch.Generator``; one on the CPU gives the same images whatever device they are on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial

import torch
from torch import Tensor

from .medians import median
from .models import check_images
from .recipes import check_preset


def saturate(x: Tensor, level: float) -> Tensor:
    """sign(2x−1)·|2x−1|^(2/level)/2 + 1/2: 2 is the identity, below it the image grays, toward ∞ it turns binary.

    Not color saturation. Level 0 is the constant 1/2 and ∞ the pure binarization. Every image keeps its shape and type.

    Raises:
        ValueError: a level that is negative or NaN.

    Source: Zhang & Zhu 2019, section 3.2.
    """
    check_images(x)
    if not level >= 0:
        raise ValueError(f"saturation level is {level}; it must be at least 0 (2 leaves the image as it is)")
    if level == 0:
        return torch.full_like(x, 0.5)
    signed = 2 * x - 1
    return signed.sign() * signed.abs() ** (2 / level) / 2 + 0.5


def patch_counts(height: int, width: int, most: int = 8) -> list[int]:
    """The k from 2 to ``most`` for which `patch_shuffle` can cut an image of this size into k × k patches."""
    return [k for k in range(2, most + 1) if height % k == 0 and width % k == 0]


def patch_shuffle(x: Tensor, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Cut each image into k × k patches and permute them, each image by a permutation of its own.

    Raises:
        ValueError: a k that does not divide both sides.

    Source: Zhang & Zhu 2019, section 3.2.
    """
    check_images(x)
    n, c, h, w = x.shape
    if not k >= 1 or k % 1 or h % k or w % k:
        right = [d for d in range(1, min(h, w) + 1) if h % d == 0 and w % d == 0]
        raise ValueError(f"images of {h}x{w} pixels cannot be cut into {k}x{k} patches; k can be {', '.join(map(str, right))}")
    k = int(k)
    order = _rand(n, k * k, generator=generator).argsort(1).to(x.device)
    patches = x.reshape(n, c, k, h // k, k, w // k).permute(0, 2, 4, 1, 3, 5).reshape(n, k * k, c, h // k, w // k)
    patches = patches[torch.arange(n, device=x.device)[:, None], order]
    return patches.reshape(n, k, k, c, h // k, w // k).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)


def low_pass(x: Tensor, radius: float, *, preset: str = "paper", clip: bool = False) -> Tensor:
    """Keep the Fourier modes at most ``radius`` cycles per image from zero frequency, drop the rest.

    ``low_pass(x, r) + high_pass(x, r) = x``. Clipped to [0, 1] only on request. Half-precision images are filtered in fp32.

    The preset ``code`` is the authors' mask, a disk around entry ((H−1)//2, (W−1)//2) of a spectrum that is not centered: kept are the modes
    at least ``radius`` entries from there, which lie in its corners; 144 at 224×224 pixels keeps 1.7 % of them. They are not symmetric
    about zero frequency, and the real part of the image is taken.

    Raises:
        ValueError: a radius that is negative or NaN, or an unknown preset.

    Source: Zhang & Zhu 2019, section 3.2, which gives no radius; sweep it.
    """
    return _filter(x, _low_modes(x, radius, preset), clip)


def high_pass(x: Tensor, radius: float, *, preset: str = "paper", clip: bool = False) -> Tensor:
    """Keep the Fourier modes that `low_pass` drops, and drop the rest."""
    return _filter(x, ~_low_modes(x, radius, preset), clip)


def random_modes(x: Tensor, p: float, *, symmetric: bool = True, clip: bool = False, generator: torch.Generator | None = None) -> Tensor:
    """Drop every Fourier mode with probability ``p``, drawn anew for each image and shared by its channels.

    A mode and its conjugate fall together, so that the image stays real; without ``symmetric``, as in the authors' code, each falls by
    itself, and the real part is taken: a mode then loses half of its amplitude when one of the two falls. Clipped to
    [0, 1] only on request.

    Raises:
        ValueError: a p outside [0, 1].

    Source: Zhang & Zhu 2019, section 3.2.
    """
    check_images(x)
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}; a probability must be in [0, 1]")
    n, _, h, w = x.shape
    mode = torch.arange(h * w).view(h, w)
    conjugate = mode.roll((-1, -1), (0, 1)).flip(0, 1)  # the mode at (−u, −v)
    drawn = _rand(n, h * w, generator=generator)[:, torch.minimum(mode, conjugate) if symmetric else mode]
    return _filter(x, (drawn >= p)[:, None].to(x.device), clip)


def gaussian_blur(x: Tensor, sigma: float, *, kernel_size: int = 7) -> Tensor:
    """Blur with a Gaussian of ``sigma`` pixels, cut off at ``kernel_size``; 0 is the identity. Borders are mirrored without their edge pixel.

    A kernel of 7 pixels caps the effective width: beyond a sigma of about 2 it is nearly a box.

    Raises:
        ValueError: a negative sigma or NaN, or a kernel that is even or too large for the image.

    Source: Itazuri et al. 2019, section 4.
    """
    check_images(x)
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"sigma is {sigma}; it must be at least 0 pixels")
    _check_kernel(x, kernel_size)
    if sigma == 0:
        return x.clone()
    from torchvision.transforms.v2.functional import gaussian_blur as blur

    return blur(x, [kernel_size, kernel_size], [float(sigma), float(sigma)])


def median_filter(x: Tensor, times: int = 1, *, kernel_size: int = 5) -> Tensor:
    """Replace each pixel, channel by channel, by the median of the square around it, ``times`` over; 0 is the identity.

    Borders are mirrored without their edge pixel (SciPy's ``mirror``).

    Raises:
        ValueError: a number of times that is negative or not whole, or a kernel that is even or too large for the image.

    Source: Itazuri et al. 2019, section 4.
    """
    check_images(x)
    if not times >= 0 or times % 1:
        raise ValueError(f"times is {times}; it must be a whole number of at least 0")
    _check_kernel(x, kernel_size)
    x = x.clone()
    for _ in range(int(times)):
        x = median(x, kernel_size)
    return x


def reverse(x: Tensor, *, mean: Sequence[float], clip: bool = False) -> Tensor:
    """2·mean − x, channel by channel: colors reversed about ``mean``, in [0, 1] units; with ``clip``, clipped to [0, 1].

    Raises:
        ValueError: a mean that has not one value for each channel.

    Source: Itazuri et al. 2019, section 4.
    """
    check_images(x)
    if len(mean) != x.shape[1]:
        raise ValueError(f"mean has {len(mean)} values for {x.shape[1]} channels")
    turned = 2 * torch.tensor(mean, dtype=x.dtype, device=x.device)[:, None, None] - x
    return turned.clamp(0, 1) if clip else turned


def _check_kernel(x: Tensor, kernel_size: int) -> None:
    if kernel_size < 1 or kernel_size % 2 != 1 or kernel_size // 2 >= min(x.shape[-2:]):
        raise ValueError(f"kernel_size is {kernel_size}; it must be odd, and less than twice the image's shorter side, {min(x.shape[-2:])}")


def _filter(x: Tensor, keep: Tensor, clip: bool) -> Tensor:
    exact = x if x.dtype == torch.float64 else x.float()
    filtered = torch.fft.ifft2(torch.fft.fft2(exact) * keep).real.to(x.dtype)
    return filtered.clamp(0, 1) if clip else filtered


def _low_modes(x: Tensor, radius: float, preset: str) -> Tensor:
    check_images(x)
    if not radius >= 0:
        raise ValueError(f"radius is {radius}; it must be at least 0 cycles per image")
    check_preset(preset)
    h, w = x.shape[-2:]
    # float64: an exact distance on the boundary must not fall to rounding
    v, u = torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64)
    if preset == "code":
        low = torch.hypot(v[:, None] - (h - 1) // 2, u - (w - 1) // 2) >= radius
    else:
        low = torch.hypot(torch.minimum(v, h - v)[:, None], torch.minimum(u, w - u)) <= radius
    return low.to(x.device)


def _rand(*shape: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device if generator else None)


# What a sweep can name: function, its level's keyword, whether it draws at random, and what the level is called on an axis.
DISTORTIONS: dict[str, tuple[Callable[..., Tensor], str, bool, str]] = {
    "saturate": (saturate, "level", False, "saturation level (2 = original)"),
    "patch_shuffle": (patch_shuffle, "k", True, "k (image cut into k × k patches)"),
    "low_pass": (low_pass, "radius", False, "radius kept (cycles per image)"),
    "high_pass": (high_pass, "radius", False, "radius removed (cycles per image)"),
    "low_pass_code": (partial(low_pass, preset="code"), "radius", False, "radius of the authors' mask (entries of the spectrum)"),
    "high_pass_code": (partial(high_pass, preset="code"), "radius", False, "radius of the authors' mask (entries of the spectrum)"),
    "gaussian_blur": (gaussian_blur, "sigma", False, "σ of the blur (pixels; a kernel of 7 caps it near 2)"),
    "median_filter": (median_filter, "times", False, "median filter applied (times, kernel 5)"),
    "random_modes": (random_modes, "p", True, "probability that a mode is removed"),
    "random_modes_code": (partial(random_modes, symmetric=False), "p", True, "probability that a mode is removed"),
}


def named(name: str, level: float, *, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """One of `DISTORTIONS` at a level, as a function of images alone.

    What is random is drawn from ``seed``, image after image: batches of any size, in the same order, give the same images.
    """
    if name not in DISTORTIONS:
        near = get_close_matches(name, DISTORTIONS, 1, 0.4)
        raise ValueError(
            f"unknown distortion {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(DISTORTIONS)}")
        )
    function, keyword, is_random, _ = DISTORTIONS[name]
    if is_random:
        return partial(function, generator=torch.Generator().manual_seed(seed), **{keyword: level})
    return partial(function, **{keyword: level})

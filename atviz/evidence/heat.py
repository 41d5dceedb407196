"""Fourier heat maps: how much a network errs under noise of one spatial frequency, for every frequency."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..data import AnyImages, as_images
from ..distortions import fourier_basis
from ..models import check_fits, device_of, fingerprint, predict
from .records import Store, cell
from .wanted import AnyModel, as_module

BATCH = 100  # images


def fourier_heat(
    model: AnyModel, images: AnyImages, *, norm: float, farthest: int = 8, seed: int = 0, store: Store | None = None
) -> np.ndarray:
    """The error of a network under noise of each spatial frequency up to ``farthest`` cycles per image: (2 · farthest + 1,) * 2.

    Row v and column u hold the frequency of v − farthest cycles along the height and u − farthest along the width; the middle is a change of
    brightness. A value is the share of images, in [0, 1], that are classified wrongly when `distortions.fourier_basis` of that frequency is added,
    with the same random signs in every cell. A frequency and its negative are the same noise: the map is symmetric.

    Args:
        norm: L2 norm of the noise in each channel, in the units of pixels: norm / √(HW) is its standard deviation.

    Raises:
        ValueError: a farthest below 1 or beyond half of the image's side, a negative norm, or a network that does not fit the images.

    Source: Yin et al. 2019, Figure 4. They show every frequency of the image; the farthest is ours.
    """
    net, held = as_module(model), as_images(images)
    check_fits(net, held)
    if not 1 <= farthest <= min(held.shape[-2:]) // 2:
        raise ValueError(f"farthest is {farthest}; it must be within [1, {min(held.shape[-2:]) // 2}] cycles per image")
    labels, side = held.y.cpu(), range(-farthest, farthest + 1)
    half = [(v, u) for v in side for u in side if (v, u) >= (0, 0)]  # the other half are their negatives

    def error(v: int, u: int) -> float:
        generator = torch.Generator().manual_seed(seed)

        def noisy() -> Iterator[tuple[Tensor, Tensor]]:
            for x, y in held.batches(BATCH, device=device_of(net)):
                yield fourier_basis(x, u, v, norm=norm, clip=True, generator=generator), y

        return float((predict(net, noisy())[:, 0].cpu() != labels).float().mean())

    key = {
        "measure": "fourier heat", "norm": norm, "farthest": farthest, "seed": seed, "model": fingerprint(net), "images": held.digest,
    }  # fmt: skip
    found = np.empty((len(side), len(side)))
    for (v, u), value in zip(half, cell(store, key, lambda: [error(*each) for each in half]), strict=True):
        found[farthest + v, farthest + u] = found[farthest - v, farthest - u] = value
    return found

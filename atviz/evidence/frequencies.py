"""Frequency conflict: what decides when the low frequencies of an image are of one class and its high frequencies of another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import AnyImages, Images, as_images
from ..distortions import high_pass, low_pass
from .conflict import cue_conflict
from .records import Store
from .wanted import AnyModel

BATCH = 100  # images
UNTOUCHED = 0.5 / 255  # beyond the range by less is rounded away


def frequency_conflict(model: AnyModel, images: AnyImages, *, radius: float, seed: int = 0, store: Store | None = None) -> dict[str, float]:
    """What decides when the frequencies up to ``radius`` cycles per image are of one class, and those above of another.

    The images are those of `joined`. Which of their two classes decides is counted as by `cue_conflict`, with the class of the low
    frequencies for the shape's, and that of the high ones for the texture's.

    Returns:
        ``low``, ``high`` and ``neither``: shares of the images decided so; ``low_rank`` and ``high_rank``: the mean reciprocal rank of the
        two classes; ``low_bias`` = low / (low + high), with ``ci_low`` and ``ci_high`` (95 %, Wilson); ``n``; and ``clipped``, the share of
        the pixels' values that were clipped. The mean color goes with the low frequencies.

    Raises:
        ValueError: a radius that is negative or NaN, images of a single class, or what `cue_conflict` refuses.
    """
    held = as_images(images)
    mixed, other, clipped = joined(held, radius, seed=seed)
    found = cue_conflict(model, mixed, shape=held.y.cpu(), texture=other, store=store)
    names = {"shape": "low", "texture": "high", "shape_rank": "low_rank", "texture_rank": "high_rank", "shape_bias": "low_bias"}
    return {names.get(name, name): value for name, value in found.items()} | {"clipped": clipped}


def joined(images: Images, radius: float, *, seed: int = 0) -> tuple[Images, Tensor, float]:
    """Each image's frequencies up to ``radius``, with those above it of an image of another class; that class of each, (N,); what is clipped.

    ``low_pass(x, radius) + high_pass(other, radius)``, rounded to bytes like any image, and so clipped to [0, 1]: a network has never
    seen other values, and its answer to them says little of frequencies. Clipping puts a trace of the high frequencies among the low ones.
    On images with a black ground it takes part of them away, a quarter on Fashion-MNIST; the share of clipped values, in [0, 1], says
    how far that goes.
    """
    chosen, parts, clipped = partners(images.y, seed), [], 0
    for (x, _), (other, _) in zip(images.batches(BATCH), images[chosen].batches(BATCH), strict=True):
        exact = low_pass(x, radius) + high_pass(other, radius)
        parts.append(as_bytes(exact))
        clipped += int(((exact - exact.clamp(0, 1)).abs() > UNTOUCHED).sum())
    x = torch.cat(parts)
    name = f"{images.name}, frequencies up to {radius:g} and others above"
    return Images(x, images.y, images.classes, name), images.y[chosen].cpu(), clipped / x.numel()


def partners(y: Tensor, seed: int) -> Tensor:
    """For each label an image of another class, drawn evenly among all of them: their indices, (N,).

    Raises:
        ValueError: labels of a single class.

    >>> partners(torch.tensor([0, 0, 1]), seed=0)[:2]
    tensor([2, 2])
    """
    labels = y.cpu().numpy()
    count = np.bincount(labels)
    own, others = count[labels], len(labels) - count[labels]
    if not others.all():
        raise ValueError(f"all {len(labels)} images are of class {labels[0]}; there must be some of another class")
    place = np.random.default_rng(seed).integers(others)  # in the order of the classes, without the own one
    place += own * (place >= (np.cumsum(count) - count)[labels])
    return torch.from_numpy(np.argsort(labels, kind="stable")[place])


def as_bytes(x: Tensor) -> Tensor:
    """Pixels, clipped to [0, 1], as uint8."""
    return (x.clamp(0, 1) * 255).round().byte()

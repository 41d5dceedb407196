"""Cue conflict: what decides when the shape of an image is of one class and its texture of another (Geirhos et al. 2019)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..data import CATEGORIES, AnyImages, as_images
from ..models import Known, check_fits, known_of
from .intervals import wilson
from .outcomes import likeliest
from .records import Store
from .wanted import AnyModel, as_module


def cue_conflict(model: AnyModel, images: AnyImages, *, shape: Tensor, texture: Tensor, store: Store | None = None) -> dict[str, float]:
    """What decides when shape and texture disagree (Geirhos et al. 2019).

    Args:
        images: of which each shows the shape of one class and the texture of another.
        shape, texture: (N,) the two classes of each image, as the model numbers its classes. Images on which they are the same say
            nothing, and are left out.

    Returns:
        ``shape``, ``texture`` and ``neither``: shares of the images decided so; ``shape_bias`` = shape / (shape + texture), with
        ``ci_low`` and ``ci_high`` (95 %, Wilson); ``n``.

    Raises:
        ValueError: labels that are not one per image, that are no classes, or that agree everywhere; images that do not fit the network,
            of classes in another order, for instance.
    """
    by_shape, by_texture = (hits.sum() for hits in decisions(model, images, shape=shape, texture=texture, store=store))
    n = int((shape != texture).sum())
    low, high = wilson(int(by_shape), int(by_shape + by_texture))
    return {
        "shape": float(by_shape / n), "texture": float(by_texture / n), "neither": float(1 - (by_shape + by_texture) / n),
        "shape_bias": float(by_shape / (by_shape + by_texture)) if by_shape + by_texture else float("nan"),
        "ci_low": low, "ci_high": high, "n": n,
    }  # fmt: skip


def decisions(
    model: AnyModel, images: AnyImages, *, shape: Tensor, texture: Tensor, store: Store | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the images whose shape and texture differ are decided by shape, and which by texture: two (n,) bool. See `cue_conflict`."""
    model, images = as_module(model), as_images(images)
    if not len(images) == len(shape) == len(texture):
        raise ValueError(
            f"{len(images)} images have {len(shape)} shape and {len(texture)} texture labels; there must be one of each for each image"
        )
    classes = len(images.classes)
    for name, labels in (("shape", shape), ("texture", texture)):
        for label in labels[(labels < 0) | (labels >= classes)][:1].tolist():
            raise ValueError(f"a {name} label is {label}; with {classes} classes it must be between 0 and {classes - 1}")
    s, t = shape.cpu().numpy(), texture.cpu().numpy()
    differ = s != t
    if not differ.any():
        raise ValueError("shape and texture agree on every image: nothing can be told apart")
    check_fits(model, images)
    found = likeliest({"": model}, images, store)[""][differ, 0]
    return found == s[differ], found == t[differ]


class Categories(nn.Module):
    """A network of ImageNet's 1,000 classes as a network of the 16 categories: (N, 16), the mean probability of each category's classes.

    Its likeliest category is Geirhos et al.'s decision, and it can be used like any classifier:
    ``cue_conflict(Categories(network), images, shape=shape, texture=texture)``.

    Source: Geirhos et al. 2019 and its `probabilities_to_decision.py`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        inner = known_of(network)
        self.known = Known(list(CATEGORIES), inner.shape if inner else None)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of ``x``, (N, 3, H, W) in [0, 1]; ValueError for a network of any other number of classes."""
        logits = self.network(x)
        if logits.shape[1] != 1000:
            raise ValueError(f"the network has {logits.shape[1]} classes; the categories are made of ImageNet's 1,000")
        probability = logits.float().softmax(1)
        return torch.stack([probability[:, members].mean(1) for members in CATEGORIES.values()], 1)

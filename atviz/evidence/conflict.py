"""Cue conflict: what decides when the shape of an image is of one class and its texture of another (Geirhos et al. 2019)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ..data import CATEGORIES, AnyImages, as_images
from ..models import Known, check_fits, device_of, evaluating, fingerprint, folded, halved, known_of, logits_of
from .intervals import wilson
from .records import Store, cell
from .wanted import AnyModel, as_module

BATCH = 100  # images


def cue_conflict(model: AnyModel, images: AnyImages, *, shape: Tensor, texture: Tensor, store: Store | None = None) -> dict[str, float]:
    """What decides when shape and texture disagree (Geirhos et al. 2019).

    Args:
        images: of which each shows the shape of one class and the texture of another.
        shape, texture: (N,) the two classes of each image, as the model numbers its classes. Images on which they are the same say
            nothing, and are left out.

    Returns:
        ``shape``, ``texture`` and ``neither``: shares of the images decided so; ``shape_rank`` and ``texture_rank``: the mean reciprocal
        rank of the two classes among all of the network's (1: always the likeliest); ``shape_bias`` = shape / (shape + texture), with
        ``ci_low`` and ``ci_high`` (95 %, Wilson); ``n``. The bias is a ratio: a network that sees hardly any cue can have any. The shares
        and ranks say how much is seen of each (Kim et al. 2026).

    Raises:
        ValueError: labels that are not one per image, that are no classes, or that agree everywhere; images that do not fit the network,
            of classes in another order, for instance.
    """
    found = ranks(model, images, shape=shape, texture=texture, store=store)
    by_shape, by_texture = (found == 1).sum(0)
    n = len(found)
    low, high = wilson(int(by_shape), int(by_shape + by_texture))
    shape_rank, texture_rank = (1 / found).mean(0)
    return {
        "shape": float(by_shape / n), "texture": float(by_texture / n), "neither": float(1 - (by_shape + by_texture) / n),
        "shape_rank": float(shape_rank), "texture_rank": float(texture_rank),
        "shape_bias": float(by_shape / (by_shape + by_texture)) if by_shape + by_texture else float("nan"),
        "ci_low": low, "ci_high": high, "n": n,
    }  # fmt: skip


def decisions(
    model: AnyModel, images: AnyImages, *, shape: Tensor, texture: Tensor, store: Store | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the images whose shape and texture differ are decided by shape, and which by texture: two (n,) bool. See `cue_conflict`."""
    by_shape, by_texture = (ranks(model, images, shape=shape, texture=texture, store=store) == 1).T
    return by_shape, by_texture


def ranks(
    model: AnyModel, images: AnyImages, *, shape: Tensor, texture: Tensor, groups: Sequence[Sequence[int]] | None = None,
    store: Store | None = None,
) -> np.ndarray:  # fmt: skip
    """The rank of the shape's and of the texture's class among all classes, 1 for the likeliest: (n, 2), of the images whose two differ.

    With ``groups``, the labels number groups of the network's classes, and the rank is that of a group's likeliest class. Otherwise as
    `cue_conflict`.
    """
    model, images = as_module(model), as_images(images)
    if not len(images) == len(shape) == len(texture):
        raise ValueError(
            f"{len(images)} images have {len(shape)} shape and {len(texture)} texture labels; there must be one of each for each image"
        )
    classes = len(groups) if groups else len(images.classes)
    for name, labels in (("shape", shape), ("texture", texture)):
        for label in labels[(labels < 0) | (labels >= classes)][:1].tolist():
            raise ValueError(f"a {name} label is {label}; with {classes} classes it must be between 0 and {classes - 1}")
    asked = torch.stack([shape, texture], 1).cpu()
    differ = asked[:, 0] != asked[:, 1]
    if not differ.any():
        raise ValueError("shape and texture agree on every image: nothing can be told apart")
    if not groups:
        check_fits(model, images)

    def run() -> list[list[int]]:
        device, found = device_of(model), []
        with evaluating(model):
            network = None
            for x, _ in images[differ].batches(BATCH, device=device):
                network = network or folded(model, x)
                with torch.no_grad(), torch.autocast(device.type, enabled=False):
                    logits = halved(partial(logits_of, network), x)
                found.append(logits.argsort(dim=1, descending=True, stable=True).argsort(dim=1).cpu() + 1)
        rank = torch.cat(found)
        if groups:
            rank = torch.stack([rank[:, list(members)].amin(1) for members in groups], 1)
        return rank.gather(1, asked[differ]).tolist()

    digest = hashlib.sha256(asked.numpy().tobytes()).hexdigest()[:16]
    key = {"measure": "ranks", "model": fingerprint(model), "images": images.digest, "labels": digest, "groups": [*map(list, groups or [])]}
    return np.array(cell(store, key, run))


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

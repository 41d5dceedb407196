"""Cue conflict on photographs: Geirhos et al.'s stimuli, for networks that know ImageNet's 1,000 classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data import CATEGORIES, fetch_stimuli, load_stimuli
from ..models import Network, Reference, imagenet_names, load
from ..models.inference import answered
from .conflict import Categories, ranks
from .intervals import mean_interval, wilson
from .records import Store

SIDE = 224  # of the images, in pixels, for a network that names no size
DECISIONS = ("shape", "texture", "neither")


def of_imagenet(references: Sequence[str]) -> list[Network]:
    """The networks among ``references`` that know ImageNet's 1,000 classes; recipes are left out. Raises as `models.load`.

    A network that names no classes, and answers with 1,000 values, is taken for one of them.
    """
    found = []
    for reference in map(Reference.of, references):
        if reference.is_recipe:
            continue
        network = load(reference)
        named, shape = list(network.classes), network.shape or (3, SIDE, SIDE)
        if named == imagenet_names() or (not named and answered(network.module, torch.full((1, *shape), 0.5)) == 1000):
            found.append(network)
    return found


def photographs(networks: Sequence[Network], folder: str = "", *, store: Store | None = None) -> tuple[pd.DataFrame, str]:
    """What decides when shape and texture of a photograph disagree: twelve rows for each network, which must know ImageNet's classes.

    ``folder`` holds the stimuli (`data.load_stimuli`); "": the published ones, which are downloaded where they are missing. The second value
    says why there are no rows: no networks, or a download that failed; else it is "".

    Columns: ``model``, ``measure`` (``shape``, ``texture``, ``neither``: shares of the images; ``shape bias``: shape / (shape + texture);
    ``shape rank``, ``texture rank``: mean reciprocal rank of the category), ``among`` (``16 categories``, or ``1,000 classes``: the
    likeliest of all classes decides, and a category's rank is that of its likeliest class), ``value``, ``ci_low``, ``ci_high`` (95 %,
    Wilson; of ranks, Student's t), ``n`` (images behind the share), ``side`` (of the images as the network sees them, in pixels).

    Raises:
        FileNotFoundError, ValueError: as `load_stimuli`.

    Source: Geirhos et al. 2019.
    """
    nothing = pd.DataFrame(columns=["model", "measure", "among", "value", "ci_low", "ci_high", "n", "side"])
    if not networks:
        return nothing, "None of the networks knows ImageNet's classes, which the categories of these images are made of."
    try:
        place = folder or fetch_stimuli()
    except OSError as error:
        return nothing, f"{str(error)[0].upper()}{str(error)[1:]}."
    rows: list[dict[str, Any]] = []
    loaded: dict[int, Any] = {}
    for network in networks:
        side = network.shape[2] if network.shape else SIDE
        if side not in loaded:
            loaded[side] = load_stimuli(place, size=side)
        images, shape, texture = loaded[side]
        cues: dict[str, Any] = {"shape": shape, "texture": texture, "store": store}
        of = {
            "16 categories": ranks(Categories(network.module).eval(), images, **cues),
            "1,000 classes": ranks(network.module, images, groups=list(CATEGORIES.values()), **cues),
        }
        for among, found in of.items():
            for measure, value, low, high, n in _measures(found):
                rows.append(
                    {
                        "model": network.name,
                        "measure": measure,
                        "among": among,
                        "value": value,
                        "ci_low": low,
                        "ci_high": high,
                        "n": n,
                        "side": side,
                    }
                )
    return pd.DataFrame(rows), ""


def _measures(found: np.ndarray) -> Iterator[tuple[str, float, float, float, int]]:
    """Measure, value, interval and number of images, of the ranks (n, 2) of shape and texture."""
    n, (by_shape, by_texture) = len(found), (int(count) for count in (found == 1).sum(0))
    for name, count in zip(DECISIONS, (by_shape, by_texture, n - by_shape - by_texture), strict=True):
        yield name, count / n, *wilson(count, n), n
    decided = by_shape + by_texture
    yield "shape bias", by_shape / decided if decided else float("nan"), *wilson(by_shape, decided), decided
    for name, column in zip(("shape rank", "texture rank"), found.T, strict=True):
        yield name, *mean_interval(1 / column), n

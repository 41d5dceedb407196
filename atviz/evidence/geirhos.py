"""Cue conflict on photographs: Geirhos et al.'s stimuli, for networks that know ImageNet's 1,000 classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch

from ..data import fetch_stimuli, load_stimuli
from ..models import Network, Reference, imagenet_names, load
from ..models.inference import answered
from .conflict import Categories, cue_conflict
from .intervals import wilson
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
    """What decides when shape and texture of a photograph disagree: four rows for each network, which must know ImageNet's classes.

    ``folder`` holds the stimuli (`data.load_stimuli`); "": the published ones, which are downloaded where they are missing. The second value
    says why there are no rows: no networks, or a download that failed; else it is "".

    Columns: ``model``, ``measure`` (``shape``, ``texture``, ``neither``: shares of the images; ``shape bias``: shape / (shape + texture)),
    ``value``, ``ci_low``, ``ci_high`` (95 %, Wilson), ``n`` (images behind the share), ``side`` (of the images as the network sees them,
    in pixels).

    Raises:
        FileNotFoundError, ValueError: as `load_stimuli`.

    Source: Geirhos et al. 2019.
    """
    nothing = pd.DataFrame(columns=["model", "measure", "value", "ci_low", "ci_high", "n", "side"])
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
        found = cue_conflict(Categories(network.module).eval(), images, shape=shape, texture=texture, store=store)
        n = int(found["n"])
        decided = round(n * (found["shape"] + found["texture"]))
        shares = [(name, found[name], n, wilson(round(n * found[name]), n)) for name in DECISIONS]
        for name, value, of, (low, high) in [*shares, ("shape bias", found["shape_bias"], decided, (found["ci_low"], found["ci_high"]))]:
            rows.append({"model": network.name, "measure": name, "value": value, "ci_low": low, "ci_high": high, "n": of, "side": side})
    return pd.DataFrame(rows), ""

"""Numbers of saliency maps, image by image: what the maps of a network are like, and how alike the maps of two networks are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import saliency
from ..data import Images
from ..models import device_of, fingerprint
from .instruments import MAPS, named
from .intervals import mean_interval
from .material import Distortion
from .records import Store, cell, described


def map_numbers(maps: Tensor, **given: Tensor) -> dict[str, Tensor]:
    """The reading of each instrument of maps, (N,) each. ``given`` holds the ``x`` and the ``mask`` that some of them need.

    An instrument whose need is not given is left out.
    """
    rows = {name: row for name, row in named(MAPS).items() if row.needs <= given.keys()}
    return {name: row.function(maps, **{need: given[need] for need in row.needs}) for name, row in rows.items()}


def saliency_scores(model: nn.Module, images: Images, *, batch_size: int = 100, store: Store | None = None) -> dict[str, np.ndarray]:
    """Numbers of each image's Grad map for its true class: instrument → (n,).

    ``bands`` (`saliency.band_shares` in `saliency.octaves`) is (n, number of bands).
    """

    def run() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for x, y in images.batches(batch_size, device=device_of(model)):
            maps = saliency.grad(model, x, y)
            numbers = map_numbers(maps, x=x) | {"bands": saliency.band_shares(maps, saliency.octaves(min(x.shape[-2:])))}
            for name, values in numbers.items():
                found.setdefault(name, []).extend(values.tolist())
        return found

    names = [name for name, row in named(MAPS).items() if "mask" not in row.needs]
    key = {"measure": "saliency", "method": "grad", "scores": names, "model": fingerprint(model), "images": images.digest}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def stability(
    model: nn.Module, images: Images, distort: Distortion, *, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`saliency.similarity` of each image's Grad map to that of the same image distorted: ``rank`` and ``ssim``, (n,) each.

    Both maps are of the true class. The distorted image is clipped to [0, 1]. Kept where `records.described` knows ``distort``.
    """

    def run() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"rank": [], "ssim": []}
        for x, y in images.batches(batch_size, device=device_of(model)):
            alike = saliency.similarity(saliency.grad(model, x, y), saliency.grad(model, distort(x).clamp(0, 1), y))
            for name, values in alike.items():
                found[name] += values.tolist()
        return found

    known = described(distort)
    key = {"measure": "stability", "method": "grad", "model": fingerprint(model), "images": images.digest, "distort": known}
    return {name: np.array(values) for name, values in cell(store if known else None, key, run).items()}


def similarities(
    models: Mapping[str, nn.Module], images: Images, *, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """Model × model matrices, in the order of ``models``: ``rank`` and ``ssim``, `saliency.similarity` of their Grad maps of the
    true class, averaged over images. 1 on the diagonal, symmetric; a distance is 1 minus it.

    Zhang & Zhu (2019) speak of an average distance between saliency maps and define none; this is one.
    """

    def run() -> dict[str, list[list[float]]]:
        matrices = {name: np.eye(len(models)) for name in ("rank", "ssim")}
        maps = [
            torch.cat([saliency.grad(model, x, y).cpu() for x, y in images.batches(batch_size, device=device_of(model))])
            for model in models.values()
        ]
        for i, j in combinations(range(len(maps)), 2):
            for name, values in saliency.similarity(maps[i], maps[j]).items():
                matrices[name][i, j] = matrices[name][j, i] = float(values.mean())
        return {name: matrix.tolist() for name, matrix in matrices.items()}

    key = {"measure": "similarities", "method": "grad", "models": [fingerprint(m) for m in models.values()], "images": images.digest}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def means(values: Mapping[str, np.ndarray], names: Sequence[str], label: str) -> pd.DataFrame:
    """Means over images with their 95 % intervals: model → (n, len(names)) to one row per model and name.

    Columns: ``model``, ``label``'s own, ``value``, ``ci_low``, ``ci_high``, ``n``.
    """
    return pd.DataFrame(
        [
            {"model": model, label: name, **dict(zip(("value", "ci_low", "ci_high"), mean_interval(column), strict=True)), "n": len(column)}
            for model, table in values.items()
            for name, column in zip(names, table.T, strict=True)
        ]
    )

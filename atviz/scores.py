"""Numbers beside the pictures: what saliency maps are like, image by image, and how alike the maps of two networks are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import saliency
from .data import Images
from .models import fingerprint, randomized
from .records import Store, cell, described

Distortion = Callable[[Tensor], Tensor]


def saliency_scores(model: nn.Module, images: Images, *, batch_size: int = 100, store: Store | None = None) -> dict[str, np.ndarray]:
    """Numbers of each image's Grad map for its true class.

    ``sparsity`` (`saliency.gini`), ``edges`` (`saliency.edge_agreement`) and ``coarse`` (`saliency.coarse_share`) are (n,), and
    ``bands`` (`saliency.band_shares` in `saliency.octaves`) is (n, number of bands).
    """

    def run() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {"sparsity": [], "edges": [], "coarse": [], "bands": []}
        for x, y in images.batches(batch_size, device=next(model.parameters()).device):
            maps = saliency.grad(model, x, y)
            found["sparsity"] += saliency.gini(maps).tolist()
            found["edges"] += saliency.edge_agreement(maps, x).tolist()
            found["coarse"] += saliency.coarse_share(maps).tolist()
            found["bands"] += saliency.band_shares(maps, saliency.octaves(min(x.shape[-2:]))).tolist()
        return found

    key = {"measure": "saliency", "method": "grad", "scores": 4, "model": fingerprint(model), "images": images.digest}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def stability(
    model: nn.Module, images: Images, distort: Distortion, *, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`saliency.similarity` of each image's Grad map to that of the same image distorted: ``rank`` and ``ssim``, (n,) each.

    Both maps are of the true class. The distorted image is clipped to [0, 1]. Kept where `records.described` knows ``distort``.
    """

    def run() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"rank": [], "ssim": []}
        for x, y in images.batches(batch_size, device=next(model.parameters()).device):
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
            torch.cat([saliency.grad(model, x, y).cpu() for x, y in images.batches(batch_size, device=next(model.parameters()).device)])
            for model in models.values()
        ]
        for i, j in combinations(range(len(maps)), 2):
            for name, values in saliency.similarity(maps[i], maps[j]).items():
                matrices[name][i, j] = matrices[name][j, i] = float(values.mean())
        return {name: matrix.tolist() for name, matrix in matrices.items()}

    key = {"measure": "similarities", "method": "grad", "models": [fingerprint(m) for m in models.values()], "images": images.digest}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


LIKENESS = ("rank", "signed", "ssim")  # what `likeness` measures, in its order


def likeness(a: Tensor, b: Tensor) -> np.ndarray:
    """How alike two sets of maps (N, C, H, W) are, (N, 3) in the order of `LIKENESS`, 1 for the same map.

    ``rank`` and ``ssim`` are `saliency.similarity`. ``signed`` is the rank correlation of the maps' own values, in all channels: where
    ``rank`` counts it as agreement that both maps are weak at a pixel, as both are where the image is blank, here the signs must agree.
    """
    found = saliency.similarity(a, b) | {"signed": saliency.rank_correlation(a.flatten(1), b.flatten(1))}
    return torch.stack([found[name] for name in LIKENESS], 1).cpu().numpy()


def pairs(
    models: Mapping[str, nn.Module], images: Images, method: str, *, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`likeness` of the maps of every two models for the true class: ``"a and b"`` -> (n, 3).

    ``method`` is one of `saliency.METHODS`.
    """
    _check_method(method)
    named = list(combinations(models, 2))

    def run() -> list[Any]:
        found: list[list[Any]] = [[] for _ in named]
        for x, y in images.batches(batch_size, device=next(next(iter(models.values())).parameters()).device):
            maps = {name: saliency.METHODS[method](model, x, y) for name, model in models.items()}
            for values, (a, b) in zip(found, named, strict=True):
                values += likeness(maps[a], maps[b]).tolist()
        return found

    key = {"measure": "pairs", **_settings(method), "models": [fingerprint(m) for m in models.values()], "images": images.digest}
    return {f"{a} and {b}": np.array(values) for (a, b), values in zip(named, cell(store, key, run), strict=True)}


def cascade(
    model: nn.Module, images: Images, method: str, *, seed: int = 0, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`likeness` of a model's maps for the true class to those of its copies in `models.randomized`: layer -> (n, 3).

    The first is ``"none"``, the model itself, then come the layers, the last one first. ``method`` is one of `saliency.METHODS`;
    ``seed`` draws the layers.
    """
    _check_method(method)

    def run() -> dict[str, list[Any]]:
        batches = list(images.batches(batch_size, device=next(model.parameters()).device))
        intact = _maps(model, batches, method)
        changed = ((name, _maps(copy, batches, method)) for name, copy in randomized(model, seed=seed))
        return {name: likeness(intact, maps).tolist() for name, maps in chain([("none", intact)], changed)}

    key = {"measure": "cascade", **_settings(method), "model": fingerprint(model), "images": images.digest, "seed": seed}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def dependence(
    model: nn.Module, images: Images, method: str, *, draws: int = 20, seed: int = 0, batch_size: int = 100, store: Store | None = None
) -> np.ndarray:
    """`likeness` of a model's maps for the true class to those of copies with all their layers drawn anew, mean over images: (draws, 3).

    How alike the maps are depends on the weights that are drawn, so that many images and one draw say little.

    Raises:
        ValueError: an unknown method, or fewer than two draws.
    """
    _check_method(method)
    if draws < 2:
        raise ValueError(f"draws is {draws}; it must be at least 2 for an interval")

    def run() -> list[Any]:
        batches = list(images.batches(batch_size, device=next(model.parameters()).device))
        intact, found = _maps(model, batches, method), []
        for draw in range(draws):
            *_, (_, untrained) = randomized(model, seed=seed + draw)
            found.append(likeness(intact, _maps(untrained, batches, method)).mean(0).tolist())
        return found

    key = {"measure": "dependence", **_settings(method), "model": fingerprint(model), "images": images.digest, "seed": seed, "draws": draws}
    return np.array(cell(store, key, run))


def _maps(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], method: str) -> Tensor:
    return torch.cat([saliency.METHODS[method](model, x, y) for x, y in batches])


def _check_method(method: str) -> None:
    if method not in saliency.METHODS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(saliency.METHODS)}")


def _settings(method: str) -> dict[str, Any]:
    return {"method": method, "settings": getattr(saliency.METHODS[method], "keywords", {})}

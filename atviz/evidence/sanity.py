"""Sanity checks of sensitivity maps: how alike the maps of trained, untrained and partly randomized networks are (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import saliency
from ..data import AnyImages, as_images
from ..models import check_fits, device_of, fingerprint, randomized
from .records import Store, cell
from .wanted import AnyModel, as_module, as_modules

Method = Callable[[nn.Module, Tensor, Tensor], Tensor]
LIKENESS = ("rank", "signed", "ssim")  # what `likeness` measures, in its order


def likeness(a: Tensor, b: Tensor) -> np.ndarray:
    """How alike two sets of maps (N, C, H, W) are, (N, 3) in the order of `LIKENESS`, 1 for the same map.

    ``rank`` and ``ssim`` are `saliency.similarity`. ``signed`` is the rank correlation of the maps' own values, in all channels: where
    ``rank`` counts it as agreement that both maps are weak at a pixel, as they are where the image is blank, here the signs must agree.
    """
    found = saliency.similarity(a, b) | {"signed": saliency.rank_correlation(a.flatten(1), b.flatten(1))}
    return torch.stack([found[name] for name in LIKENESS], 1).cpu().numpy()


def pairs(
    models: Mapping[str, AnyModel], images: AnyImages, method: str, *, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`likeness` of the maps of every two models for the true class: ``"a and b"`` -> (n, 3).

    ``method`` is one that `asked` knows.

    Raises:
        ValueError: an unknown method, or a network that does not fit the images.
    """
    ask, named = asked(method), list(combinations(models, 2))
    nets, held = as_modules(models), as_images(images)
    for net in nets.values():
        check_fits(net, held)

    def run() -> list[Any]:
        found: list[list[Any]] = [[] for _ in named]
        for x, y in held.batches(batch_size, device=device_of(next(iter(nets.values())))):
            maps = {name: ask(net, x, y) for name, net in nets.items()}
            for values, (a, b) in zip(found, named, strict=True):
                values += likeness(maps[a], maps[b]).tolist()
        return found

    key = {"measure": "pairs", **_settings(method), "models": [fingerprint(net) for net in nets.values()], "images": held.digest}
    return {f"{a} and {b}": np.array(values) for (a, b), values in zip(named, cell(store, key, run), strict=True)}


def cascade(
    model: AnyModel, images: AnyImages, method: str, *, seed: int = 0, batch_size: int = 100, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`likeness` of a model's maps for the true class to those of its copies in `models.randomized`: layer -> (n, 3).

    The first is ``"none"``, the model itself. Then come the layers, from the last to the first. ``method`` is one that `asked` knows;
    the layers are drawn by ``seed``.

    Raises:
        ValueError: an unknown method, or a network that does not fit the images.
    """
    ask, net, held = asked(method), as_module(model), as_images(images)
    check_fits(net, held)

    def run() -> dict[str, list[Any]]:
        batches = list(held.batches(batch_size, device=device_of(net)))
        intact = _maps(net, batches, ask)
        changed = ((name, _maps(copy, batches, ask)) for name, copy in randomized(net, seed=seed))
        return {name: likeness(intact, maps).tolist() for name, maps in chain([("none", intact)], changed)}

    key = {"measure": "cascade", **_settings(method), "model": fingerprint(net), "images": held.digest, "seed": seed}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def dependence(
    model: AnyModel, images: AnyImages, method: str, *, draws: int = 20, seed: int = 0, batch_size: int = 100, store: Store | None = None
) -> np.ndarray:
    """`likeness` of a model's maps for the true class to those of copies with all their layers drawn anew, mean over images: (draws, 3).

    How alike the maps are depends on the weights that are drawn. Many images with one draw say little.

    Raises:
        ValueError: an unknown method, fewer than two draws, or a network that does not fit the images.
    """
    if draws < 2:
        raise ValueError(f"draws is {draws}; it must be at least 2 for an interval")
    ask, net, held = asked(method), as_module(model), as_images(images)
    check_fits(net, held)

    def run() -> list[Any]:
        batches = list(held.batches(batch_size, device=device_of(net)))
        intact, found = _maps(net, batches, ask), []
        for draw in range(draws):
            *_, (_, untrained) = randomized(net, seed=seed + draw)
            found.append(likeness(intact, _maps(untrained, batches, ask)).mean(0).tolist())
        return found

    key = {"measure": "dependence", **_settings(method), "model": fingerprint(net), "images": held.digest, "seed": seed, "draws": draws}
    return np.array(cell(store, key, run))


def _maps(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], ask: Method) -> Tensor:
    return torch.cat([ask(model, x, y) for x, y in batches])


def asked(method: str) -> Method:
    """A method of `saliency.METHODS`, or any other that `saliency.attribute` knows, as a function (model, x, y) -> maps.

    Raises:
        ValueError: an unknown method.
    """
    if method in saliency.METHODS:
        return saliency.METHODS[method]
    saliency.find(method)  # refuses an unknown name
    return partial(saliency.attribute, method)


def _settings(method: str) -> dict[str, Any]:
    return {"method": method, "settings": getattr(saliency.METHODS.get(method), "keywords", {})}

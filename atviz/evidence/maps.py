"""Numbers of saliency maps, image by image: what the maps of a network are like, and how alike the maps of two networks are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import saliency
from ..data import AnyImages, Images, as_images
from ..models import check_fits, device_of, fingerprint
from .instruments import MAPS, named
from .intervals import mean_interval
from .material import Distortion
from .records import Store, cell, described
from .sanity import Method, asked
from .wanted import AnyModel, AnyModels, as_module, as_modules

COPIES = 50  # noisy copies of SmoothGrad
BATCH = 100  # images
MOST, SETS = 2**21, 32  # numbers in a set of maps that is kept, and such sets: at most 256 MiB
_KEPT: dict[tuple[str, str, str, int], Tensor] = {}
# methods whose maps have a value for each pixel; those that explain patches have maps as coarse as the patches
PIXELWISE = (
    "SmoothGrad", "Grad", "Vanilla", "Guided Backprop", "Integrated", "Deconvolution", "InputXGradient", "IntegratedGradients", "DeepLift",
    "GradientShap", "LRP", "GuidedGradCam",
)  # fmt: skip


def method_of(name: str, copies: int = COPIES) -> Method:
    """A saliency method as a function (model, x, y) -> maps: ``SmoothGrad`` as Zhang & Zhu (2019) define it, or any that `asked` knows.

    Their SmoothGrad is of log p_y with σ = 0.1 of each image's range, and ``copies`` noisy copies. Itazuri et al.'s is of the logit,
    with σ = 0.2: ``saliency.METHODS["SmoothGrad"]``.
    """
    return partial(saliency.smooth_grad, n=copies) if name == "SmoothGrad" else asked(name)


def map_numbers(maps: Tensor, **given: Tensor) -> dict[str, Tensor]:
    """The reading of each instrument of maps, (N,) each, by its name without the method: number → (N,).

    ``given`` holds the ``x`` and the ``mask`` that some of them need. An instrument whose need is not given is left out.
    """
    rows = {row.number: row for row in named(MAPS).values() if row.needs <= given.keys()}
    return {number: row.function(maps, **{need: given[need] for need in row.needs}) for number, row in rows.items()}


def saliency_scores(
    model: AnyModel, images: AnyImages, *, method: str = "SmoothGrad", copies: int = COPIES, store: Store | None = None
) -> dict[str, np.ndarray]:
    """Numbers of each image's map for its true class: number → (n,).

    ``edges_object`` is `saliency.edge_agreement` without the blank ground. ``bands`` (`saliency.band_shares` in `saliency.octaves`) is
    (n, number of bands). ``method`` is as in `method_of`.
    """
    net, held = as_module(model), as_images(images)
    check_fits(net, held)

    def run() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for (x, _), maps in zip(held.batches(BATCH, device=device_of(net)), maps_of(net, held, method, copies), strict=True):
            numbers = map_numbers(maps, x=x) | {
                "edges_object": saliency.edge_agreement(maps, x, blank=False),
                "bands": saliency.band_shares(maps, saliency.octaves(min(x.shape[-2:]))),
            }
            for name, values in numbers.items():
                found.setdefault(name, []).extend(values.tolist())
        return found

    numbers = sorted({row.number for row in named(MAPS).values() if "mask" not in row.needs})
    key = {"measure": "saliency", **_described(method, copies), "numbers": numbers, "model": fingerprint(net), "images": held.digest}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def maps_of(model: nn.Module, images: Images, method: str, copies: int) -> Iterator[Tensor]:
    """The maps of each image's true class, `BATCH` by `BATCH`. Those of the last `SETS` small sets are kept: several numbers are made of them."""
    key = fingerprint(model), images.digest, method, copies
    if key in _KEPT:
        yield from _KEPT[key].split(BATCH)
        return
    ask, parts = method_of(method, copies), []
    small = len(images) * math.prod(images.shape) <= MOST
    for x, y in images.batches(BATCH, device=device_of(model)):
        maps = ask(model, x, y)
        if small:
            parts.append(maps)
        yield maps
    if small:
        _KEPT[key] = torch.cat(parts)
        while len(_KEPT) > SETS:
            del _KEPT[next(iter(_KEPT))]


def _described(method: str, copies: int) -> dict[str, Any]:
    """What a record's key says of a method."""
    return {"method": method, "copies": copies if method == "SmoothGrad" else None}


def stability(
    model: AnyModel, images: AnyImages, distort: Distortion, *, method: str = "Grad", copies: int = COPIES, store: Store | None = None
) -> dict[str, np.ndarray]:
    """`saliency.similarity` of each image's map to that of the same image distorted: ``rank`` and ``ssim``, (n,) each.

    Both maps are of the true class. The distorted image is clipped to [0, 1]. Kept where `records.described` knows ``distort``.
    By Grad unless another method is named: SmoothGrad's noise is drawn for each image, so that the two maps would differ by it, too.
    """
    net, held = as_module(model), as_images(images)
    check_fits(net, held)
    ask = method_of(method, copies)

    def run() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"rank": [], "ssim": []}
        for x, y in held.batches(BATCH, device=device_of(net)):
            alike = saliency.similarity(ask(net, x, y), ask(net, distort(x).clamp(0, 1), y))
            for name, values in alike.items():
                found[name] += values.tolist()
        return found

    known = described(distort)
    key = {"measure": "stability", **_described(method, copies), "model": fingerprint(net), "images": held.digest, "distort": known}
    return {name: np.array(values) for name, values in cell(store if known else None, key, run).items()}


def similarities(
    models: AnyModels, images: AnyImages, *, method: str = "SmoothGrad", copies: int = COPIES, store: Store | None = None
) -> dict[str, np.ndarray]:
    """How alike the maps of every two models are, image by image: ``rank`` and ``ssim``, (n, models, models) each, in the order of ``models``.

    `saliency.similarity` of their maps of the true class: 1 on the diagonal, symmetric; a distance is 1 minus it. Zhang & Zhu (2019)
    speak of an average distance between saliency maps and define none; the mean over images is one.
    """
    nets, held = as_modules(models), as_images(images)
    for net in nets.values():
        check_fits(net, held)

    def run() -> dict[str, list[Any]]:
        found = {name: np.broadcast_to(np.eye(len(nets)), (len(held), len(nets), len(nets))).copy() for name in ("rank", "ssim")}
        maps = [torch.cat([part.cpu() for part in maps_of(net, held, method, copies)]) for net in nets.values()]
        for i, j in combinations(range(len(maps)), 2):
            for name, values in saliency.similarity(maps[i], maps[j]).items():
                found[name][:, i, j] = found[name][:, j, i] = values.numpy()
        return {name: values.round(6).tolist() for name, values in found.items()}

    marks = [fingerprint(m) for m in nets.values()]
    key = {"measure": "similarities", **_described(method, copies), "models": marks, "images": held.digest}
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

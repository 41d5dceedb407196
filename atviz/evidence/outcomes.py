"""Outcomes: which images each network classifies correctly, as they are and under each distortion, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..data import AnyImages, Images, Streamed, as_images, progress, shorten
from ..models import check_fits, classifies_in_bf16, device_of, fingerprint, predict
from . import instruments
from .material import Distortion, completed, keyed
from .records import Store, described
from .wanted import AnyDistortions, AnyModels, as_levels, as_modules, usable
from .wanted import Distortions as Distortions

KEPT = 5  # likeliest classes of each image that the records hold
BATCH = 500  # images
# images of so many pixels on a CPU: 100 of Fashion-MNIST's are almost twice as fast as 500, and 8 of 224 pixels a fifth faster than 100, whose
# activations leave the cache
CPU_PIXELS, FEWEST, MOST = 400_000, 8, 100
CPU = torch.device("cpu")
Material = Mapping[str, Any]


@dataclass(frozen=True)
class Outcomes:
    """Which images each model classifies correctly, as they are and under each distortion: all arrays are (n,) bool.

    An image counts as correct where its label is among the ``topk`` likeliest classes.
    """

    clean: dict[str, np.ndarray]
    distorted: dict[tuple[str, str, float], np.ndarray]  # (model, distortion, level)
    topk: int = 1


def outcomes(
    models: AnyModels,
    images: AnyImages,
    distortions: AnyDistortions,
    *,
    topk: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    store: Store | None = None,
    material: Material | None = None,
) -> Outcomes:
    """Classify every image, clean and under every distortion, with every model; all models see the same distorted images.

    `data.Streamed` images are decoded once for all networks, distortions and levels that the store does not know. The store gets their
    outcomes at the end of that pass: if it is interrupted, it begins again. Of images in memory it keeps every finished level. Besides
    a batch, 20 bytes are held for each image, network and level of a pass.

    Args:
        models: networks by name, or one network: a module is called "model".
        images: `Images`, or what `data.as_images` takes: a torch Dataset or a DataLoader, which is read anew at each call.
        distortions: for instance ``{"saturate": [4, 1024], "patch_shuffle": 2}``, ``"saturate"`` for its own levels, or, for your own
            functions, ``{"negative": {1: lambda x: 1 - x}}``. The store keeps outcomes of your own function only where `described`
            knows all that the function depends on.
        topk: how many of the likeliest classes may be the label, at most 5.
        material: the ``stylizer`` and the ``mean`` of the distortions that need them; see `completed` for the defaults.

    Raises:
        TypeError: something else than networks, images or distortions.
        ValueError: an unknown distortion, a level that it refuses, a topk out of range, no images, or a network that does not fit them.
    """
    models, asked = as_modules(models), as_levels(distortions)
    images = as_images(images)
    if not len(images):
        raise ValueError(f"{images.name} holds no images to measure on")
    if not 1 <= topk <= min(KEPT, len(images.classes)):
        raise ValueError(f"topk is {topk}; it must be between 1 and {min(KEPT, len(images.classes))}")
    x = next(images[:1].batches(1))[0]  # a slice: streamed images would start their workers
    wanted = [
        _Asked(name, level, levels[level] if isinstance(levels, Mapping) else None)
        for name, given in asked.items()
        for levels in [usable(name, images) if given is None else given]
        for level in levels
    ]
    for name, level, own in wanted:  # refuse everything before measuring anything
        (own or instruments.find(name).at(level, material=completed(instruments.find(name), images, material)))(x)
    y = images.y.cpu().numpy()[:, None]
    first, *others = (
        {m: (found[:, :topk] == y).any(1) for m, found in answers.items()}
        for answers in _answers(models, images, store, [_Asked(), *wanted], seed=seed, batch_size=batch_size, material=material)
    )
    distorted = {(m, name, float(level)): hit for (name, level, _), hits in zip(wanted, others, strict=True) for m, hit in hits.items()}
    return Outcomes(first, distorted, topk)


def likeliest(
    models: AnyModels, images: AnyImages, store: Store | None = None, name: str = "clean", level: float = 0, *, seed: int = 0,
    own: Distortion | None = None, batch_size: int | None = None, material: Material | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The `KEPT` likeliest classes of each image by each model, likeliest first: (n, KEPT), or as many as there are.

    Under a distortion, or under a function of one's ``own``. Each image is distorted once for all models that the store does not know,
    batch after batch in the images' order. Networks and images are given as to `outcomes`. ValueError for a network that does not fit
    the images.
    """
    (answers,) = _answers(
        as_modules(models), as_images(images), store, [_Asked(name, level, own)], seed=seed, batch_size=batch_size, material=material
    )
    return answers


class _Asked(NamedTuple):
    """One level of a distortion, or the images as they are."""

    name: str = "clean"
    level: float = 0
    own: Distortion | None = None


@dataclass
class _Cell:
    """What is asked of all models at one level: what the store knows, and what has to be measured, by model."""

    distort: Distortion
    store: Store | None
    keys: dict[str, dict[str, Any]]
    known: dict[str, np.ndarray] = field(default_factory=dict)
    missing: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        for m, key in self.keys.items():
            with suppress(KeyError):
                if self.store:
                    self.known[m] = np.array(self.store.find(key), dtype=np.int32)
        self.missing = {m: np.empty(0, dtype=np.int32) for m in self.keys if m not in self.known}

    def finished(self) -> dict[str, np.ndarray]:
        """`likeliest`; what was measured is kept."""
        for m, predicted in self.missing.items():
            self.known[m] = predicted
            if self.store:
                self.store.keep(self.keys[m], predicted.tolist())
        return {m: self.known[m].astype(np.int64) for m in self.keys}


def _answers(
    models: Mapping[str, nn.Module], images: Images, store: Store | None, asked: Sequence[_Asked], *, seed: int, batch_size: int | None,
    material: Material | None,
) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """`likeliest` of everything that is asked, in its order: in one pass over streamed images, in a pass for each over images in memory."""
    prints = {m: fingerprint(model) for m, model in models.items()}
    work = len(models) * len(asked)
    levels = sum(name != "clean" for name, *_ in asked)
    said = f"{len(models)} network{'s' * (len(models) != 1)}" + f", {levels} level{'s' * (levels != 1)}" * bool(levels)
    with progress(len(images) * work, said, batches=work * ceil(len(images) / (batch_size or _batch(images, "cpu")))) as bar:
        for together in [asked] if isinstance(images, Streamed) else [[one] for one in asked]:
            cells = []
            for name, level, own in together:
                distort, known = _distortion(images, name, level, seed, own, material)
                keys = {m: _classified(print_, images, known, device_of(models[m])) for m, print_ in prints.items()}
                cells.append(_Cell(distort, store if known is not None else None, keys))
                shorten(bar, len(images) * len(cells[-1].known))
            _measure(models, images, [cell for cell in cells if cell.missing], batch_size, bar.update)
            while cells:  # a cell's answers are let go when they have been used
                yield cells.pop(0).finished()


def _measure(
    models: Mapping[str, nn.Module], images: Images, cells: Sequence[_Cell], batch_size: int | None, advance: Callable[[int], object]
) -> None:
    """Classify all images, batch after batch, for each model that misses something; ``advance`` gets how many images it has classified."""
    missing = list(dict.fromkeys(m for cell in cells for m in cell.missing))
    for m in missing:
        check_fits(models[m], images)  # what the store knows has been checked
    if not missing:
        return
    device = device_of(models[missing[0]])
    done = 0
    for x, y in images.batches(batch_size or _batch(images, device.type), device=device):
        for cell in cells:
            shown = cell.distort(x.clone() if len(cells) > 1 else x)  # a function of one's own may change what it gets
            for m in cell.missing:
                found = predict(models[m], [(shown.to(device_of(models[m])), y)], topk=KEPT, bf16=classifies_in_bf16(device))
                if not done:  # one array: small ones between the batches would keep the batches' memory from being used again
                    cell.missing[m] = np.empty((len(images), found.shape[1]), dtype=np.int32)
                cell.missing[m][done : done + len(y)] = found.numpy()
                advance(len(y))
        done += len(y)


def _distortion(
    images: Images, name: str, level: float, seed: int, own: Distortion | None, material: Material | None
) -> tuple[Distortion, dict[str, Any] | None]:
    """A distortion, and what a record's key says of it; None where that is not known."""
    if name == "clean":
        return (lambda x: x), {"distortion": name}
    if own is not None:
        known = described(own)
        return own, None if known is None else {"distortion": name, "level": float(level), "own": known}
    instrument = instruments.find(name)
    if level == instrument.original:  # the images as they are: measured once for all distortions
        return (lambda x: x), {"distortion": "clean"}
    made = completed(instrument, images, material)
    said = {"distortion": name, "level": float(level), "seed": seed if instrument.draws else None, "material": keyed(instrument, made)}
    return instrument.at(level, seed=seed, material=made), said


def _classified(model: str, images: Images, known: dict[str, Any] | None, device: torch.device) -> dict[str, Any]:
    rounded = {"bf16": True} if classifies_in_bf16(device) else {}
    return {"measure": "likeliest", "model": model, "images": images.digest, **rounded, **(known or {})}


def _batch(images: Images, device: str) -> int:
    """How many images are classified at a time."""
    h, w = images.shape[1:]
    return max(FEWEST, min(MOST, CPU_PIXELS // (h * w))) if device == "cpu" else BATCH


def attacked_key(model: str, images: Images, attack: Any, bf16: bool) -> dict[str, Any]:
    """The key of the records of `robust_accuracy`."""
    return {"measure": "attacked", "model": model, "images": images.digest, "bf16": bf16, "attack": attack}


def recorded(
    model: str, images: AnyImages, store: Store, name: str = "clean", level: float = 0, *, seed: int = 0, own: Distortion | None = None,
    material: Material | None = None, attack: Callable[..., Tensor] | None = None, bf16: bool = False, device: torch.device = CPU,
) -> np.ndarray | None:  # fmt: skip
    """Which images the model of a `models.fingerprint` classifies correctly, (n,) bool, if the store knows; nothing is computed.

    Under a distortion as in `likeliest`, or under an attack as in `robust_accuracy`; None where that was not measured.
    """
    images = as_images(images)
    if attack:
        key = attacked_key(model, images, described(attack), bf16)
    else:
        key = _classified(model, images, _distortion(images, name, level, seed, own, material)[1], device)
    try:
        found = np.array(store.find(key))
    except KeyError:
        return None
    return (found if attack else found[:, 0]) == images.y.cpu().numpy()

"""Measurement: accuracy, robust accuracy, and accuracy under distortions, with intervals, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .attacks import warn_if_masked
from .data import Images
from .distortions import DISTORTIONS, named
from .intervals import paired_difference, wilson
from .models import bf16_is_faster, evaluating, fast_autocast, fingerprint, predict
from .records import Store, cell, described

KEPT = 5  # likeliest classes of each image that the records hold
Distortion = Callable[[Tensor], Tensor]
# distortion -> levels of one of `distortions.DISTORTIONS`, or level -> a function of one's own
Distortions = Mapping[str, Sequence[float] | Mapping[float, Distortion]]


def accuracy(model: nn.Module, images: Images, *, topk: Sequence[int] = (1,), batch_size: int = 500) -> dict[str, float]:
    """Share of images whose label is among the model's ``topk`` likeliest classes.

    Returns ``top1`` (and the like), each with ``top1_low`` and ``top1_high``, its 95 % Wilson interval, and ``n``.
    """
    if not len(images):
        raise ValueError(f"{images.name} holds no images to measure on")
    if not topk or not all(1 <= k <= len(images.classes) for k in topk):
        raise ValueError(f"topk is {tuple(topk)}; each must be between 1 and the {len(images.classes)} classes")
    hits = predict(model, images.batches(batch_size, device=_device(model)), topk=max(topk)) == images.y.cpu()[:, None]
    row: dict[str, float] = {"n": len(images)}
    for k in topk:
        count = int(hits[:, :k].any(1).sum())
        row[f"top{k}"] = count / len(images)
        row[f"top{k}_low"], row[f"top{k}_high"] = wilson(count, len(images))
    return row


def robust_accuracy(
    model: nn.Module,
    images: Images,
    *,
    attack: Callable[..., Tensor],
    batch_size: int = 250,
    bf16: bool | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Accuracy under an attack ``(model, x, y) -> x_adv``, such as ``partial(attacks.pgd, eps=8/255, step_size=2/255, steps=40)``.

    The attack runs in bfloat16 where the hardware is faster for it (``bf16`` overrides); its success is judged in fp32. Warns when
    something hides the gradient.

    Returns ``clean`` and ``robust`` accuracy, ``defense_success`` (the share of correctly classified images that stay so),
    each with ``_low`` and ``_high``; ``n``, ``n_correct``; and ``survived``, (n,) bool, for paired comparison.
    """
    if not len(images):
        raise ValueError(f"{images.name} holds no images to measure on")
    device = _device(model)
    bf16 = bf16_is_faster(device) if bf16 is None else bf16

    def run() -> list[int]:
        x, y = next(images.batches(min(batch_size, 64), device=device))
        warn_if_masked(model, x, y)
        attacked = ((_attack(attack, model, x, y, bf16), y) for x, y in images.batches(batch_size, device=device))
        return predict(model, attacked)[:, 0].tolist()

    known = described(attack)
    y = images.y.cpu().numpy()
    survived = np.array(cell(store if known else None, _attacked(fingerprint(model), images, known, bf16), run)) == y
    correct = likeliest({"": model}, images, store)[""][:, 0] == y
    n, n_correct, both = len(y), int(correct.sum()), int((correct & survived).sum())
    row: dict[str, Any] = {"n": n, "n_correct": n_correct, "survived": survived}
    for name, count, of in [("clean", n_correct, n), ("robust", int(survived.sum()), n), ("defense_success", both, n_correct)]:
        row[name] = count / of if of else float("nan")
        row[f"{name}_low"], row[f"{name}_high"] = wilson(count, of)
    return row


def _attack(attack: Callable[..., Tensor], model: nn.Module, x: Tensor, y: Tensor, bf16: bool) -> Tensor:
    with fast_autocast(x.device) if bf16 else torch.autocast(x.device.type, enabled=False):
        return attack(model, x, y)


@dataclass(frozen=True)
class Outcomes:
    """Which images each model classifies rightly, as they are and under each distortion: all arrays are (n,) bool.

    Rightly is with the label among the ``topk`` likeliest classes.
    """

    clean: dict[str, np.ndarray]
    distorted: dict[tuple[str, str, float], np.ndarray]  # (model, distortion, level)
    topk: int = 1


def outcomes(
    models: Mapping[str, nn.Module],
    images: Images,
    distortions: Distortions,
    *,
    topk: int = 1,
    seed: int = 0,
    batch_size: int = 500,
    store: Store | None = None,
) -> Outcomes:
    """Classify every image, clean and under every distortion, with every model; all models see the same distorted images.

    Args:
        distortions: for instance ``{"saturate": [4, 1024], "patch_shuffle": [2, 4]}``, or, for functions of one's own,
            ``{"negative": {1: lambda x: 1 - x}}``. The latter are kept in the store only where `records.described` knows
            all that the function depends on.
        topk: how many of the likeliest classes may be the label, at most 5.

    Raises:
        ValueError: an unknown distortion, a level it refuses, a topk that cannot be, or no images.
    """
    if not len(images):
        raise ValueError(f"{images.name} holds no images to measure on")
    if not 1 <= topk <= min(KEPT, len(images.classes)):
        raise ValueError(f"topk is {topk}; it must be between 1 and {min(KEPT, len(images.classes))}")
    x = next(images.batches(1))[0]
    for name, levels in distortions.items():  # refuse everything before measuring anything
        for level in levels:
            (levels[level] if isinstance(levels, Mapping) else named(name, level))(x)
    y = images.y.cpu().numpy()[:, None]
    clean = {m: (found[:, :topk] == y).any(1) for m, found in likeliest(models, images, store, batch_size=batch_size).items()}
    distorted = {}
    for name, levels in distortions.items():
        for level in levels:
            own = levels[level] if isinstance(levels, Mapping) else None
            for m, found in likeliest(models, images, store, name, level, seed, own, batch_size).items():
                distorted[m, name, float(level)] = (found[:, :topk] == y).any(1)
    return Outcomes(clean, distorted, topk)


def likeliest(
    models: Mapping[str, nn.Module], images: Images, store: Store | None, name: str = "clean", level: float = 0, seed: int = 0,
    own: Distortion | None = None, batch_size: int = 500,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The `KEPT` likeliest classes of each image by each model, likeliest first: (n, KEPT), or as many as there are.

    Under a distortion, or under a function of one's ``own``. An image is distorted once for all models that the store does not know,
    and the images one batch after the other, in their order.
    """
    known = described(own) if own else None
    kept = store if own is None or known is not None else None
    keys = {m: _classified(fingerprint(model), images, name, level, seed, known) for m, model in models.items()}
    found: dict[str, list[list[int]]] = {}
    missing: dict[str, list[list[int]]] = {}
    for m, key in keys.items():
        try:
            found[m] = kept.find(key) if kept else missing.setdefault(m, [])
        except KeyError:
            found[m] = missing.setdefault(m, [])
    if missing:
        distort = own or (named(name, level, seed=seed) if name != "clean" else lambda x: x)
        for x, y in images.batches(batch_size, device=_device(models[next(iter(missing))])):
            shown = distort(x)
            for m, predicted in missing.items():
                predicted += predict(models[m], [(shown.to(_device(models[m])), y)], topk=KEPT).tolist()
    for m, predicted in missing.items():
        if kept:
            kept.keep(keys[m], predicted)
    return {m: np.array(predicted) for m, predicted in found.items()}


def _classified(model: str, images: Images, name: str, level: float, seed: int, own: Any) -> dict[str, Any]:
    is_random = name in DISTORTIONS and DISTORTIONS[name][2]
    return {"measure": "likeliest", "distortion": name, "level": float(level), "seed": seed if is_random else None,
            "model": model, "images": images.digest, "own": own}  # fmt: skip


def _attacked(model: str, images: Images, attack: Any, bf16: bool) -> dict[str, Any]:
    return {"measure": "attacked", "model": model, "images": images.digest, "bf16": bf16, "attack": attack}


def recorded(
    model: str,
    images: Images,
    store: Store,
    name: str = "clean",
    level: float = 0,
    *,
    seed: int = 0,
    own: Distortion | None = None,
    attack: Callable[..., Tensor] | None = None,
    bf16: bool = False,
) -> np.ndarray | None:
    """Which images the model of a `models.fingerprint` classifies rightly, (n,) bool, if the store knows; nothing is computed.

    Under a distortion as in `likeliest`, or under an attack as in `robust_accuracy`; None where that was not measured.
    """
    seen = _classified(model, images, name, level, seed, described(own) if own else None)
    key = _attacked(model, images, described(attack), bf16) if attack else seen
    try:
        found = np.array(store.find(key))
    except KeyError:
        return None
    return (found if attack else found[:, 0]) == images.y.cpu().numpy()


def table(results: Outcomes) -> pd.DataFrame:
    """One row a model × distortion × level.

    Columns: ``model``, ``distortion``, ``level``, ``n`` (images), ``top1`` (accuracy over all of them; ``top5`` of outcomes with topk
    5), ``n_correct`` (images the model classifies rightly undistorted), ``acc_on_correct`` (the share of those that it still does when
    distorted, pooled over the whole set; Zhang & Zhu 2019, section 4.1), ``ci_low`` and ``ci_high`` (its 95 % Wilson interval).
    """
    rows = []
    for (model, distortion, level), right in results.distorted.items():
        correct = results.clean[model]
        both, n_correct = int((correct & right).sum()), int(correct.sum())
        low, high = wilson(both, n_correct)
        rows.append(
            {
                "model": model, "distortion": distortion, "level": level, "n": len(right), f"top{results.topk}": float(right.mean()),
                "n_correct": n_correct, "acc_on_correct": both / n_correct if n_correct else float("nan"), "ci_low": low, "ci_high": high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def sweep(
    models: Mapping[str, nn.Module],
    images: Images,
    distortions: Distortions,
    *,
    seed: int = 0,
    batch_size: int = 500,
    store: Store | None = None,
) -> pd.DataFrame:
    """`table` of `outcomes`: accuracy of each model under each distortion at each level."""
    return table(outcomes(models, images, distortions, seed=seed, batch_size=batch_size, store=store))


def differences(results: Outcomes, model: str, baseline: str) -> pd.DataFrame:
    """Accuracy on correct of ``model`` minus that of ``baseline`` on the same images: a row a distortion × level.

    Columns: ``distortion``, ``level``, ``model``, ``baseline``, ``difference``, ``ci_low``, ``ci_high`` (95 %, paired), ``n``.
    """
    for name in (model, baseline):
        if name not in results.clean:
            raise ValueError(f"no outcomes for model {name!r}; there are some for {', '.join(results.clean)}")
    rows = []
    for distortion, level in dict.fromkeys((d, v) for _, d, v in results.distorted):
        a, b = results.distorted[model, distortion, level], results.distorted[baseline, distortion, level]
        value, low, high = paired_difference(a, b, given_a=results.clean[model], given_b=results.clean[baseline])
        rows.append(
            {
                "distortion": distortion,
                "level": level,
                "model": model,
                "baseline": baseline,
                "difference": value,
                "ci_low": low,
                "ci_high": high,
                "n": len(a),
            }
        )
    return pd.DataFrame(rows)


@torch.no_grad()
def true_probability(model: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    """Probability that a model gives to the label of each image: (N, C, H, W) and (N,) → (N,)."""
    with evaluating(model):
        return model(x).float().softmax(1).gather(1, y[:, None])[:, 0].cpu().numpy()


def _device(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in model.parameters()), torch.device("cpu"))


def cue_conflict(model: nn.Module, images: Images, *, shape: Tensor, texture: Tensor, store: Store | None = None) -> dict[str, float]:
    """What decides when shape and texture disagree (Geirhos et al. 2019).

    Args:
        images: of which each shows the shape of one class and the texture of another.
        shape, texture: (N,) the two classes of each image, as the model numbers its classes. Images on which they are the same say
            nothing, and are left out.

    Returns:
        ``shape``, ``texture`` and ``neither``: shares of the images decided so; ``shape_bias`` = shape / (shape + texture), with
        ``ci_low`` and ``ci_high`` (95 %, Wilson); ``n``.
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
    model: nn.Module, images: Images, *, shape: Tensor, texture: Tensor, store: Store | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the images whose shape and texture differ are decided by shape, and which by texture: two (n,) bool. See `cue_conflict`."""
    if not len(images) == len(shape) == len(texture):
        raise ValueError(
            f"{len(images)} images have {len(shape)} shape and {len(texture)} texture labels; there must be one of each for each image"
        )
    s, t = shape.cpu().numpy(), texture.cpu().numpy()
    differ = s != t
    if not differ.any():
        raise ValueError("shape and texture agree on every image: nothing can be told apart")
    found = likeliest({"": model}, images, store)[""][differ, 0]
    return found == s[differ], found == t[differ]

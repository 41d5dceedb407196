"""Accuracy on clean and on attacked images, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks import warn_if_masked
from ..data import AnyImages, as_images, progress
from ..models import bf16_is_faster, check_fits, device_of, evaluating, fast_autocast, fingerprint, predict
from .intervals import wilson
from .outcomes import FEWEST, attacked_key, likeliest
from .records import Store, cell, described
from .wanted import AnyModel, as_module

ATTACKED = 250  # images that are attacked at a time
CPU_PIXELS = ATTACKED * 32**2  # of them on a CPU: the gradient of a ResNet-50 at 64 images of 224 pixels takes more than 5 GB


def accuracy(model: AnyModel, images: AnyImages, *, topk: int | Sequence[int] = 1, batch_size: int = 500) -> dict[str, float]:
    """Share of images whose label is among the model's ``topk`` likeliest classes.

    ``images`` are `Images`, or what `data.as_images` takes: a torch Dataset or a DataLoader, which is read anew at each call.

    Returns ``top1`` (and the like), each with ``top1_low`` and ``top1_high``, its 95 % Wilson interval, and ``n``.

    Raises:
        TypeError: something else than a network or images.
        ValueError: no images, a ``topk`` beyond the classes, or a network that does not fit the images.

    A network that answers with the class of the brighter pixel:

    >>> from atviz.data import Images
    >>> images = Images(torch.tensor([[[[9, 1]]], [[[2, 3]]]], dtype=torch.uint8), torch.tensor([0, 0]), ["left", "right"])
    >>> found = accuracy(nn.Flatten(), images)
    >>> found["top1"], round(found["top1_low"], 2), round(found["top1_high"], 2)
    (0.5, 0.09, 0.91)
    """
    model, images = as_module(model), as_images(images)
    topk = (topk,) if isinstance(topk, int) else topk
    if not len(images):
        raise ValueError(f"{images.name} holds no images to measure on")
    if not topk or not all(1 <= k <= len(images.classes) for k in topk):
        raise ValueError(f"topk is {tuple(topk)}; each must be between 1 and the {len(images.classes)} classes")
    check_fits(model, images)
    hits = predict(model, images.batches(batch_size, device=device_of(model)), topk=max(topk)) == images.y.cpu()[:, None]
    row: dict[str, float] = {"n": len(images)}
    for k in topk:
        count = int(hits[:, :k].any(1).sum())
        row[f"top{k}"] = count / len(images)
        row[f"top{k}_low"], row[f"top{k}_high"] = wilson(count, len(images))
    return row


def robust_accuracy(
    model: AnyModel,
    images: AnyImages,
    *,
    attack: Callable[..., Tensor],
    batch_size: int | None = None,
    bf16: bool | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Accuracy under an attack ``(model, x, y) -> x_adv``, such as ``partial(attacks.pgd, eps=8/255, step_size=2/255, steps=40)``.

    The attack runs in bfloat16 where the hardware is faster for it (``bf16`` overrides); its success is judged in fp32. Warns when
    something hides the gradient. ``images`` are given as to `accuracy`. ``batch_size`` images are attacked at a time: by default 250, and on a
    CPU fewer where they are larger than 32 pixels, 8 of 224.

    An image that is misclassified without an attack does not count as robust. An attack that can stop early, as `attacks.pgd`, stops for
    each image as soon as the model misclassifies it.

    Returns ``clean`` and ``robust`` accuracy, ``defense_success`` (the share of correctly classified images that stay so),
    each with ``_low`` and ``_high``; ``n``, ``n_correct``; and ``survived``, (n,) bool, for paired comparison.

    Raises:
        TypeError: something else than a network, images or an attack.
        ValueError: no images, or a network that does not fit them.
    """
    if not callable(attack):
        raise TypeError(
            f"attack is of type {type(attack).__name__}; it must be a function (model, x, y) -> x_adv, such as one of atviz.attacks"
        )
    net, held = as_module(model), as_images(images)
    if not len(held):
        raise ValueError(f"{held.name} holds no images to measure on")
    check_fits(net, held)
    device = device_of(net)
    bf16 = bf16_is_faster(device) if bf16 is None else bf16
    most = ATTACKED if device.type != "cpu" else min(ATTACKED, max(FEWEST, CPU_PIXELS // math.prod(held.shape[1:])))
    batch = batch_size or most

    def run() -> list[int]:
        x, y = next(held.batches(min(batch, 64), device=device))
        warn_if_masked(net, x, y)
        passes = 1 + getattr(attack, "keywords", {}).get("steps", 1)
        with progress(len(held), "attacked images", batches=passes * math.ceil(len(held) / batch)) as bar:

            def attacked() -> Iterator[tuple[Tensor, Tensor]]:
                for x, y in held.batches(batch, device=device):
                    yield _attack(stopping, net, x, y, bf16), y
                    bar.update(len(y))

            return predict(net, attacked())[:, 0].tolist()

    known = described(attack)
    stopping = (
        partial(attack, **{"early_stop": True, **getattr(attack, "keywords", {})})
        if "early_stop" in signature(attack).parameters
        else attack
    )
    y = held.y.cpu().numpy()
    # notebooks that run side by side ask for the same attack
    survived = np.array(cell(store if known else None, attacked_key(fingerprint(net), held, known, bf16), run, alone=True)) == y
    correct = likeliest({"": net}, held, store)[""][:, 0] == y
    survived &= correct
    n, n_correct, robust = len(y), int(correct.sum()), int(survived.sum())
    row: dict[str, Any] = {"n": n, "n_correct": n_correct, "survived": survived}
    for name, count, of in [("clean", n_correct, n), ("robust", robust, n), ("defense_success", robust, n_correct)]:
        row[name] = count / of if of else float("nan")
        row[f"{name}_low"], row[f"{name}_high"] = wilson(count, of)
    return row


def _attack(attack: Callable[..., Tensor], model: nn.Module, x: Tensor, y: Tensor, bf16: bool) -> Tensor:
    with fast_autocast(x.device, bf16):
        return attack(model, x, y)


@torch.no_grad()
def true_probability(model: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    """Probability that a model gives to the label of each image: (N, C, H, W) and (N,) → (N,)."""
    with evaluating(model):
        return model(x).float().softmax(1).gather(1, y[:, None])[:, 0].cpu().numpy()

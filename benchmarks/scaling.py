"""How cost grows: with steps, images, networks, levels, the side of the image, copies and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from atviz import attacks, evidence, saliency

from .maps import network
from .measure import best_of
from .subjects import Subject


def line(name: str, values: list[int], call: Callable[[int], Callable[[], Any]], turns: int) -> list[dict[str, Any]]:
    """The least time of each value, and how it grows: the exponent b of time = a · value^b over the last half of the values.

    The values take turns, because a shared machine is faster at one moment than at another.
    """
    calls = [call(value) for value in values]
    took = np.min([[best_of(run, 1) for run in calls] for _ in range(turns + 1)][1:], axis=0)  # the first turn is not counted
    half = slice(len(values) // 2 - 1, None)
    exponent = float(np.polyfit(np.log(values[half]), np.log(took[half]), 1)[0])
    return [
        {"grows with": name, "value": value, "seconds": seconds, "per unit (ms)": 1000 * seconds / value, "exponent": exponent}
        for value, seconds in zip(values, took, strict=True)
    ]


def growth(subject: Subject, turns: int = 3) -> pd.DataFrame:
    normal, robust = subject.networks.values()
    x, y = next(subject.test[:100].batches(100))
    eps = subject.eps
    rows = line(
        "steps of PGD, 100 images", [5, 10, 20, 40], lambda n: lambda: attacks.pgd(robust, x, y, eps=eps, step_size=eps / 4, steps=n), turns
    )
    rows += line(
        "images of a sweep, 2 networks, 2 levels", [250, 500, 1000, 2000], lambda n: lambda: sweep([normal, robust], subject, n, 2), turns
    )
    rows += line("networks of a sweep, 500 images, 2 levels", [1, 2, 4, 8], lambda n: lambda: sweep([normal] * n, subject, 500, 2), turns)
    rows += line(
        "levels of a sweep, 500 images, 2 networks", [1, 2, 4, 8], lambda n: lambda: sweep([normal, robust], subject, 500, n), turns
    )
    rows += line(
        "copies of SmoothGrad, 10 images", [25, 50, 100, 200], lambda n: lambda: saliency.smooth_grad(robust, x[:10], y[:10], n=n), turns
    )

    def at_side(side: int) -> Callable[[], Any]:
        net, image = network("resnet18-w16", 64), torch.rand(10, 3, side, side)
        labels = torch.zeros(10, dtype=torch.int64)
        return lambda: saliency.grad(net, image, labels)

    rows += line("side of the image (2 is linear in its pixels), gradients of 10 images", [32, 64, 128, 256], at_side, turns)
    return pd.DataFrame(rows).round(4)


def sweep(nets: list[torch.nn.Module], subject: Subject, count: int, levels: int) -> pd.DataFrame:
    distortions = {"saturate": [float(2 ** (k + 2)) for k in range(levels)]}
    return evidence.sweep({str(k): net for k, net in enumerate(nets)}, subject.test[:count], distortions)

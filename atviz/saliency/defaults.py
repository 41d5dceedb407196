"""The arguments with which captum's methods are called on images; the table is in `attribute`'s documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .gradients import pass_size

Arguments = dict[str, Any]


def _patches(grid: int, **more: int) -> Callable[[Tensor, Tensor], Arguments]:
    def arguments(image: Tensor, base: Tensor) -> Arguments:
        h, w = image.shape[-2:]
        row, column = (torch.arange(n, device=image.device) * min(grid, n) // n for n in (h, w))
        mask = (row[:, None] * min(grid, w) + column).repeat(1, image.shape[1], 1, 1)
        return {"baselines": base, "feature_mask": mask, "perturbations_per_eval": pass_size(image), **more}

    return arguments


def _windows(image: Tensor, base: Tensor) -> Arguments:
    channels, *sides = image.shape[1:]
    window = [max(1, round(side / 8)) for side in sides]
    strides = [max(1, side // 2) for side in window]
    return {
        "baselines": base,
        "sliding_window_shapes": (channels, *window),
        "strides": (channels, *strides),
        "perturbations_per_eval": pass_size(image),
    }


def _around(base: Tensor) -> Tensor:
    return (base + 0.1 * torch.randn(10, *base.shape[1:]).to(base)).clamp(0, 1)


def _noise(image: Tensor, base: Tensor) -> Arguments:
    return {"nt_samples": 10, "nt_samples_batch_size": pass_size(image), "stdevs": 0.1 * float(image.max() - image.min())}


# captum's name -> its arguments for one image (1, C, H, W) and the baseline (1, C, H, W)
DEFAULTS: dict[str, Callable[[Tensor, Tensor], Arguments]] = {
    "Saliency": lambda image, base: {"abs": False},
    "InputXGradient": lambda image, base: {},
    "IntegratedGradients": lambda image, base: {"baselines": base, "internal_batch_size": pass_size(image)},
    "DeepLift": lambda image, base: {"baselines": base},
    "DeepLiftShap": lambda image, base: {"baselines": _around(base)},
    "GradientShap": lambda image, base: {"baselines": _around(base), "n_samples": 50},
    "LRP": lambda image, base: {},
    "Occlusion": _windows,
    "FeatureAblation": _patches(8),
    "FeaturePermutation": _patches(8),
    "ShapleyValueSampling": _patches(4, n_samples=10),
    "ShapleyValues": _patches(2),
    "KernelShap": _patches(4, n_samples=100),
    "Lime": _patches(4, n_samples=100),
    "NoiseTunnel": _noise,
}

"""Activation maximization: images that a network's deeper filters respond to most (Itazuri et al. 2019)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models import Normalize, evaluating
from .filters import called, hooked, image_shape

LR, WEIGHT_DECAY, START = 0.1, 1e-6, 0.01  # of Adam, and half the range that the first image is drawn from


def maximize(
    model: nn.Module,
    layer: str | nn.Module,
    filter: int | Sequence[int],
    *,
    steps: int = 30,
    seed: int = 0,
    shape: Sequence[int] | None = None,
) -> Tensor:
    """An image that maximizes the sum of one filter's output, by Adam (lr 0.1, weight decay 1e-6), as Itazuri et al. (2019) make it.

    The paper ascends in the space of normalized images, from U(−0.01, 0.01). So does this: z is what leaves the model's `Normalize`
    layer, and the image is mean + std · z. Only the last image is clamped to [0, 1], and it is shown as it is returned. A model
    without such a layer is ascended with mean 1/2 and std 1/4. A convolution that is called several times counts with all its calls.

    Args:
        model: images → anything; evaluated in eval mode and left as it was.
        layer: a convolution of the model, or its dotted name.
        filter: the index of a filter; or several, whose images are ascended together, each as if it were alone.
        seed: of the first image, which is drawn from it and the filter's index.
        shape: (C, H, W) of the image, by default as `convolutions`.

    Returns:
        (C, H, W) in [0, 1], on the model's device; for several filters (len(filter), C, H, W).

    Raises:
        ValueError: a layer that is no convolution of the model or is not called, a filter that it does not have, negative steps, or
            a shape that the network does not take.

    A filter with one positive weight is maximized by white, one with a negative weight by black:

    >>> convolution = nn.Conv2d(1, 2, 1, bias=False)
    >>> _ = convolution.weight.data.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    >>> maximize(convolution, convolution, [0, 1], shape=(1, 1, 2)).tolist()
    [[[[1.0, 1.0]]], [[[0.0, 0.0]]]]
    """
    shape = image_shape(model, shape)
    name, convolution = _find(model, layer)
    wanted = [int(index) for index in filter] if isinstance(filter, Iterable) else [int(filter)]
    wrong = [index for index in wanted if not 0 <= index < convolution.out_channels]
    if wrong or not wanted:
        raise ValueError(f"filter is {wrong[0] if wrong else wanted}; {name} has filters 0 to {convolution.out_channels - 1}")
    if steps < 0:
        raise ValueError(f"steps is {steps}; it must be at least 0")
    if convolution not in [module for _, module in called(model, nn.Conv2d, shape)]:
        raise ValueError(f"{name} is not called when the network sees an image")
    normalize = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    mean, std = (0.5, 0.25) if normalize is None else (normalize.mean, normalize.std)
    z = torch.stack([_start(shape, seed, index) for index in wanted]).to(convolution.weight).requires_grad_()
    adam = torch.optim.Adam([z], lr=LR, weight_decay=WEIGHT_DECAY, maximize=True)
    sums: list[Tensor] = []
    rows = torch.arange(len(wanted), device=z.device)

    def add(module: nn.Module, args: Any, output: Tensor) -> None:
        sums.append(output[rows, wanted].sum())  # at once: a ReLU in place may overwrite the output

    with evaluating(model), hooked([convolution], add), torch.enable_grad():
        for _ in range(steps):
            sums.clear()
            model(mean + std * z)
            (z.grad,) = torch.autograd.grad(torch.stack(sums).sum(), z)
            adam.step()
    images = (mean + std * z.detach()).clamp(0, 1)
    return images if isinstance(filter, Iterable) else images[0]


def _start(shape: Sequence[int], seed: int, index: int) -> Tensor:
    draw = np.random.default_rng(zlib.crc32(repr((seed, index)).encode()))
    return torch.from_numpy(draw.uniform(-START, START, tuple(shape)))


def _find(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Conv2d]:
    names = {module: name for name, module in model.named_modules()}
    try:
        module = model.get_submodule(layer) if isinstance(layer, str) else layer
        name = names[module]
    except (AttributeError, KeyError):
        module, name = None, str(layer)
    if not isinstance(module, nn.Conv2d):
        known = ", ".join(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
        raise ValueError(f"layer is {name or 'the whole network'!r}; it must be a convolution of the network: {known or 'it has none'}")
    return name, module

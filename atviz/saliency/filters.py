"""The convolutions of a network, and the filters of the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..models import Normalize, evaluating


def convolutions(model: nn.Module, *, shape: Sequence[int] | None = None) -> list[str]:
    """Dotted names of the `nn.Conv2d` modules that a forward pass calls, in the order of their first calls.

    Args:
        shape: (C, H, W) of the images that the network takes; default `image_shape`.

    Raises:
        ValueError: a network without convolutions, or one that does not take images of this shape.
    """
    return [name for name, _ in called(model, nn.Conv2d, shape)]


def first_layer(model: nn.Module, *, shape: Sequence[int] | None = None) -> Tensor:
    """The filters of the first convolution as they are: (K, C, h, w), a copy on the CPU. Arguments and errors as `convolutions`."""
    return _first(model, shape)[0]


def effective_first_layer(model: nn.Module, *, shape: Sequence[int] | None = None) -> Tensor:
    """`first_layer` with each filter times |gain| / √(running variance + ε) of the batch normalization that is called next.

    These are the filters that the network computes with in eval mode: weights that are scaled alone scale the running variance with
    them, and nothing else changes. Where no batch normalization of as many channels comes next, they are the filters as they are.
    """
    filters, following = _first(model, shape)
    if not isinstance(following, nn.BatchNorm2d) or following.num_features != len(filters) or following.running_var is None:
        return filters
    gain = 1 / (following.running_var + following.eps).sqrt()
    if following.affine:
        gain = gain * following.weight.detach().abs()
    return filters * gain.cpu()[:, None, None, None]


def image_shape(model: nn.Module, shape: Sequence[int] | None = None) -> tuple[int, ...]:
    """The given shape (C, H, W), or a guess at what the network takes.

    The guess is the channels of its normalizing layer or first convolution, and a side of 32 pixels, 224 where that convolution strides.

    Raises:
        ValueError: a shape that is not (C, H, W), or a network without convolutions.
    """
    if shape is not None:
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape is {tuple(shape)}; it must be (channels, height, width)")
        return tuple(int(n) for n in shape)
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ValueError(f"{type(model).__name__} has no convolution")
    layer = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    side = 32 if max(first.stride) == 1 else 224
    return (first.in_channels if layer is None else layer.mean.numel(), side, side)


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """The hook is called after every forward pass of these modules, until the block ends."""
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


def called(model: nn.Module, kinds: Any, shape: Sequence[int] | None) -> list[tuple[str, nn.Module]]:
    """Names and modules of these kinds in the order in which a forward pass first calls them."""
    shape = image_shape(model, shape)
    names = {module: name for name, module in model.named_modules() if isinstance(module, kinds)}
    found: dict[nn.Module, None] = {}
    parameter = next(model.parameters())
    with evaluating(model), torch.no_grad(), hooked(names, lambda module, args, output: found.setdefault(module)):
        try:
            model(torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype))
        except RuntimeError as error:
            raise ValueError(f"the network does not take an image of shape {shape} (channels, height, width); give its shape") from error
    return [(names[module], module) for module in found]


def _first(model: nn.Module, shape: Sequence[int] | None) -> tuple[Tensor, nn.Module | None]:
    """The first convolution's filters, and the convolution or batch normalization that is called next."""
    modules = [module for _, module in called(model, nn.Conv2d | nn.BatchNorm2d, shape)]
    for module, following in zip(modules, [*modules[1:], None], strict=True):
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().cpu().clone(), following
    raise ValueError(f"{type(model).__name__} calls no convolution")

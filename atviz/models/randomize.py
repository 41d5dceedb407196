"""Copies of a network whose layers are drawn anew, one after the other (Adebayo et al. 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from .architectures import spread

BLOCK = re.compile(r".*Block|Bottleneck|InvertedResidual|MBConv|_DenseLayer")  # names of classes whose layers are drawn together


def randomized(model: nn.Module, *, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a model whose layers are drawn anew from the last one down, in each copy one layer more: (name of that layer, copy).

    Cascading randomization (Adebayo et al. 2018). A layer is a module with parameters together with the batch norms that follow it;
    a residual block, or a transformer's, counts as one. It is initialized as in `build`, batch norms to statistics of 0 and 1, so that the
    last copy is an untrained network. Parameters of a module that cannot initialize them, such as a transformer's class token, are drawn
    from a normal distribution of the mean and standard deviation that they have. "Last" is the order in which modules are registered,
    which must be that of the forward pass. The model and the global random numbers are left as they are; the copies are in the model's
    mode and on its device.

    Raises:
        ValueError: a model without layers.
    """
    device = next((parameter.device for parameter in model.parameters()), None)
    layers = _layers(changed := deepcopy(model).cpu())
    state = torch.Generator().manual_seed(seed).get_state()
    for name, modules in reversed(layers.items()):
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            for module in modules:
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
                    spread(module)
                else:
                    _redraw(module)
            state = torch.get_rng_state()
        yield name, deepcopy(changed).to(device)


@torch.no_grad()
def _redraw(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        width = parameter.std(correction=0) if parameter.numel() > 1 else parameter.abs().sum()
        parameter.copy_(parameter.mean() + width * torch.randn_like(parameter))


def _layers(model: nn.Module) -> dict[str, list[Any]]:
    """The modules to initialize in each layer, first layer first."""
    layers: dict[str, list[Any]] = {}
    block = ""
    for name, module in model.named_modules():
        if BLOCK.fullmatch(type(module).__name__) and not (block and name.startswith(f"{block}.")):
            block = name
        if not hasattr(module, "reset_parameters") and next(module.parameters(recurse=False), None) is None:
            continue
        if block and name.startswith(f"{block}."):
            layer = block
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and layers:
            layer = next(reversed(layers))
        else:
            layer = name
        layers.setdefault(layer, []).append(module)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layers to draw anew")
    return {name.removeprefix("network."): modules for name, modules in layers.items()}

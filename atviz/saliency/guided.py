"""Gradients in which ReLUs follow a rule of their own on the way back: Guided Backprop and the deconvolutional network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..models import evaluating
from .gradients import check_score, in_passes


def guided_backprop(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the logit of ``y`` in which every ReLU lets only positive gradients of active units pass (Springenberg et al. 2015).

    Correct for in-place ReLUs and for one ReLU module that is used several times. Not captum's: its hooks on modules miss a
    functional ReLU, and the map is then wrong without a word. The model is left as it was.

    Raises:
        ValueError: pixels outside [0, 1]; a model without ReLU modules, or one that calls a functional ReLU.
    """
    return _with_rule(_GuidedReLU, "guided backpropagation", model, x, y)


def deconvolution(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the logit of ``y`` in which every ReLU lets only positive gradients pass, of active and inactive units alike
    (Zeiler & Fergus 2014). As `guided_backprop` otherwise."""
    return _with_rule(_DeconvolutionReLU, "a deconvolution", model, x, y)


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        out = x.clamp(min=0)
        context.save_for_backward(out)
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (out,) = context.saved_tensors
        return gradient.clamp(min=0) * (out > 0)


class _DeconvolutionReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(min=0)


class _NoFunctionalReLU(TorchFunctionMode):
    FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self.FUNCTIONS:
            raise ValueError(f"{self.what} would miss the call of {function.__name__}; make it an nn.ReLU module")
        return function(*args, **(kwargs or {}))


def _with_rule(rule: type[torch.autograd.Function], what: str, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    check_score(x, y, "logit")
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    if not relus:
        raise ValueError(f"{what} needs nn.ReLU modules, and {type(model).__name__} has none")
    own = [vars(module).get("forward") for module in relus]  # libraries that wrap a module's forward put theirs here
    try:
        for module in relus:
            module.forward = rule.apply  # type: ignore[method-assign]
        # not folded, as in `grad`: each call changes the ReLUs, so the network would be traced anew, which can take longer than the map
        with _NoFunctionalReLU(what), evaluating(model):
            return in_passes(model, x, y, "logit")
    finally:
        for module, forward in zip(relus, own, strict=True):
            if forward is None:
                del module.forward  # the class's own is found again
            else:
                module.forward = forward  # type: ignore[method-assign]

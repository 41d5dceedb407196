"""Copies of networks that captum's rules for modules are right on.

Captum's DeepLIFT and LRP put hooks on modules. What a network computes outside a module they do not see, and a module that is used
twice, or directly follows another one with hooks, they read wrongly. The copies here compute the same logits, module by module.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from ..models import Normalize, Standardize, evaluating

RELU: set[Any] = {F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}
ADD: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}
# calls that only move values around, or read a shape
MOVES = {"cat", "clone", "contiguous", "dropout", "flatten", "getattr", "getitem", "permute", "reshape", "size", "squeeze", "transpose",
         "unsqueeze", "view"}  # fmt: skip


def for_deep_lift(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy on which captum's DeepLIFT is right wherever its rules are: see `_Alone` and `_WindowMax`.

    A network that torch.fx cannot trace is copied as it is: whoever uses the copy must check that its attributions are complete.
    """
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    copy: nn.Module
    try:
        copy = _unshared(model, x)
    except ValueError:
        copy = deepcopy(model).eval()
    for name, module in list(copy.named_modules()):
        if name and type(module) is nn.MaxPool2d and not module.ceil_mode:
            copy.set_submodule(name, _WindowMax(module))
        elif name and type(module) in SUPPORTED_NON_LINEAR:
            copy.set_submodule(name, _Alone(module))
    return copy


def for_lrp(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy on which captum's LRP is right: additions are modules, and the normalizing layer passes relevance on as it is.

    Raises:
        ValueError: a network that torch.fx cannot trace, or that computes something outside a module which LRP has no rule for.
    """
    from captum.attr._utils.custom_modules import Addition_Module
    from captum.attr._utils.lrp_rules import IdentityRule

    copy = _unshared(model, x)
    for node in list(copy.graph.nodes):
        if node.op in ("call_function", "call_method"):
            if node.target in ADD and len(node.all_input_nodes) == 2 and not node.kwargs:
                _replace(copy, node, Addition_Module())
            elif (name := str(getattr(node.target, "__name__", node.target))) not in MOVES:
                raise ValueError(
                    f"LRP has no rule for the call of {name} in {type(model).__name__}; make it a module that LRP has a rule for"
                )
    for node in list(copy.graph.nodes):
        if node.op == "call_module":
            # a rule changes all that comes back to the module's input, also what other users of the same tensor send
            with copy.graph.inserting_before(node):
                for given in node.all_input_nodes:
                    node.replace_input_with(given, copy.graph.call_function(torch.clone, (given,)))
    copy.recompile()
    for module in copy.modules():
        if isinstance(module, Normalize | Standardize) and not hasattr(module, "rule"):
            module.rule = IdentityRule()
    return copy


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        if isinstance(module, nn.Flatten | nn.Identity | nn.Dropout):
            return False  # they only move values around
        return isinstance(module, Normalize | Standardize) or super().is_leaf_module(module, name)


def _unshared(model: nn.Module, x: Tensor) -> fx.GraphModule:
    """A copy in which every call is of a module of its own, none works in place, and functional ReLUs are modules."""
    root = deepcopy(model).eval()
    try:
        copy = fx.GraphModule(root, _Tracer().trace(root))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        raise ValueError(f"torch.fx cannot trace {type(model).__name__}: {error}") from error
    seen: set[Any] = set()
    for node in list(copy.graph.nodes):
        if node.op == "call_module" and node.target in seen:
            _replace(copy, node, deepcopy(copy.get_submodule(node.target)))
        elif node.op in ("call_function", "call_method") and node.target in RELU:
            _replace(copy, node, nn.ReLU())
        seen.add(node.target)
    for module in copy.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    copy.recompile()
    with torch.no_grad(), evaluating(model):
        if not torch.allclose(copy(x[:1]), model(x[:1]), rtol=1e-3, atol=1e-4):
            raise ValueError(f"torch.fx traces {type(model).__name__} to a network with other logits")
    return copy.eval()


def _replace(copy: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """The call of a module in place of a node, with the nodes that it takes."""
    name = f"call_{node.name}"
    copy.add_submodule(name, module)
    with copy.graph.inserting_before(node):
        node.replace_all_uses_with(copy.graph.call_module(name, tuple(node.all_input_nodes)))
    copy.graph.erase_node(node)


class _Alone(nn.Module):
    """A module whose input and output are no other module's: captum's hooks on one tensor run in the wrong order, or replace what
    other users of the tensor send back."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.clone()).clone()


class _WindowMax(nn.Module):
    """Max-pooling of windows that do not overlap, after each window has got its own values: captum's rule loses all but one of the
    windows that share a maximum."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        pair: Callable[[Any], tuple[int, int]] = lambda n: n if isinstance(n, tuple) else (n, n)
        self.kernel, self.stride, self.padding, self.dilation = map(pair, (pool.kernel_size, pool.stride, pool.padding, pool.dilation))
        self.pool = nn.MaxPool1d(self.kernel[0] * self.kernel[1])

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        (down, across), below = self.padding, float(x.detach().min()) - 1  # padding that is never the maximum
        x = F.pad(x, (across, across, down, down), value=below)
        h, w = (
            (side - d * (k - 1) - 1) // s + 1 for side, k, s, d in zip(x.shape[2:], self.kernel, self.stride, self.dilation, strict=True)
        )
        windows = F.unfold(x, self.kernel, self.dilation, 0, self.stride).view(n, c, -1, h * w).transpose(2, 3)
        return self.pool(windows.reshape(n, c * h * w, -1)).reshape(n, c, h, w)

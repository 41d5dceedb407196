"""Grad-CAM: which places of the last layer's map speak for a class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import Normalize, Standardize, check_batch, evaluating
from .filters import hooked
from .guided import guided_backprop


def grad_cam(model: nn.Module, x: Tensor, y: Tensor, *, layer: str | nn.Module | None = None, relu_attributions: bool = True) -> Tensor:
    """Captum's `LayerGradCam`, enlarged to the image by bilinear interpolation, the same in every channel (Selvaraju et al. 2017).

    Args:
        layer: a module of the model, or its dotted name; default the last one whose output has height and width.
        relu_attributions: only what speaks for the class, as published.

    Raises:
        ValueError: pixels outside [0, 1], or a model without such a layer.
    """
    from captum.attr import LayerGradCam  # half a second

    check_batch(x, y)
    module = _last(model, x) if layer is None else model.get_submodule(layer) if isinstance(layer, str) else layer
    leaf = x.detach().clone().requires_grad_()
    with evaluating(model), torch.enable_grad():
        maps = LayerGradCam(model, module).attribute(leaf, target=y, relu_attributions=relu_attributions)
    return F.interpolate(maps.detach(), x.shape[-2:], mode="bilinear").to(x.dtype).repeat(1, x.shape[1], 1, 1)


def guided_grad_cam(model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> Tensor:
    """`guided_backprop` times `grad_cam`: fine, and only where the class is (Selvaraju et al. 2017). Options and errors as theirs."""
    return guided_backprop(model, x, y) * grad_cam(model, x, y, **options)


def _last(model: nn.Module, x: Tensor) -> nn.Module:
    found: list[nn.Module] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            found.append(module)

    inner = [module for module in model.modules() if module is not model and not isinstance(module, Normalize | Standardize)]
    with evaluating(model), torch.no_grad(), hooked(inner, note):
        model(x[:1])
    once = [module for module in found if found.count(module) == 1]
    if not once:
        raise ValueError(f"Grad-CAM needs a layer whose output has height and width, and {type(model).__name__} has none")
    return once[-1]

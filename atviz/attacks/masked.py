"""Masked gradients: a gradient attack can fail although the model is not robust."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import evaluating


def warn_if_masked(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Warn of what makes gradient attacks fail on a model that is not robust.

    There are three signs: the output is a softmax, the gradient of more than a tenth of the images is exactly zero, or the output
    changes from call to call.

    Source: Athalye et al. 2018.
    """
    with evaluating(model), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = model(leaf)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), y, reduction="sum"), leaf)
        with torch.no_grad():
            again = model(x)
    found = []
    if bool((logits >= 0).all()) and torch.allclose(logits.sum(1), torch.ones_like(logits[:, 0]), atol=1e-3):
        found.append("its output is a probability (a softmax), not logits")
    dead = int((gradient.flatten(1).abs().amax(1) == 0).sum())
    if dead > len(x) / 10:
        found.append(f"the gradient of {dead} of {len(x)} images is exactly zero")
    if not torch.allclose(logits, again, rtol=1e-2, atol=1e-3):
        found.append("its output changes from call to call")
    if found:
        warnings.warn(f"robust accuracy of this model may be false: {'; '.join(found)}", stacklevel=3)

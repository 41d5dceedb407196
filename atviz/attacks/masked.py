"""Masked gradients: an attack can fail although the model is not robust."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import evaluating
from .losses import CLASSES

BY_SQUARE = 0.002  # share of the images that a random search may find after gradient attacks, as in AutoAttack


def warn_if_masked(model: nn.Module, x: Tensor, y: Tensor, *, targeted: bool = False, by_square: int = 0) -> None:
    """Warn of what makes attacks fail on a model that is not robust, with the reasons that `signs_of_masking` finds."""
    found = signs_of_masking(model, x, y, targeted=targeted, by_square=by_square)
    if found:
        warnings.warn(f"robust accuracy of this model may be false: {'; '.join(found)}", stacklevel=3)


def signs_of_masking(model: nn.Module, x: Tensor, y: Tensor, *, targeted: bool = False, by_square: int = 0) -> list[str]:
    """Why a model's robust accuracy may be false: a clause for each of six signs that it shows.

    The output is a softmax, or a multiple of one; the gradient of more than a tenth of the images is exactly zero; the output changes from
    call to call; the model computes gradients of its own, as one does that optimizes something in its forward pass; it has too few classes
    for the targeted DLR loss, where ``targeted``; the Square attack, which asks for no gradient, has misled the model on ``by_square`` images
    that gradient attacks left. Of these, one image may be chance, and so may 0.2 %.

    Source: Athalye et al. 2018; Croce & Hein 2020, whose code raises the same six flags.
    """
    with evaluating(model), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = model(leaf)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), y, reduction="sum"), leaf)
        with torch.no_grad():
            again = model(x)
            optimizes = _computes_gradients(model, x)
    found = []
    if times := _probability(logits.detach().float()):
        found.append("its output is a probability (a softmax)" + (f" times {times:.3g}" if times != 1 else "") + ", not logits")
    dead = int((gradient.flatten(1).abs().amax(1) == 0).sum())
    if dead > len(x) / 10:
        found.append(f"the gradient of {dead} of {len(x)} images is exactly zero")
    if not torch.allclose(logits, again, rtol=1e-2, atol=1e-3):
        found.append("its output changes from call to call")
    if optimizes:
        found.append("it computes gradients in its forward pass, so that an attack's gradient is not of what it answers")
    if targeted and (classes := logits.shape[1]) < CLASSES["targeted-dlr"]:
        found.append(f"it has {classes} classes, and the targeted DLR loss needs {CLASSES['targeted-dlr']}")
    if by_square > max(1, BY_SQUARE * len(x)):
        found.append(f"the Square attack, without gradients, misled it on {by_square} of {len(x)} images that gradient attacks left")
    return found


def _probability(logits: Tensor) -> float:
    """The number that the outputs of every image add up to, where none is negative and the number is the same for all; else 0."""
    sums = logits.sum(1)
    if not len(logits) or bool((logits < 0).any()):
        return 0.0
    if bool(((sums - 1).abs() < 1e-3).all()):
        return 1.0
    scale, moves = float(sums.mean()), float((logits - logits[:1]).abs().max())
    return scale if bool(((sums - scale).abs() < 1e-3 * scale).all()) and moves > 1e-2 * scale else 0.0


def _computes_gradients(model: nn.Module, x: Tensor) -> bool:
    """Whether a forward pass, for which no gradient is asked, runs backward itself: then it unpacks what autograd saved."""
    unpacked = []

    def unpack(saved: Tensor) -> Tensor:
        unpacked.append(True)
        return saved

    try:
        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            model(x)
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):  # torch.func.grad refuses them
            raise
        return True
    return bool(unpacked)

"""What a batch is trained on: the images that a recipe's attack makes of it, and the loss of the answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import attacks
from ..models import evaluating
from .recipes import ATTACKS, Recipe


def attack_of(recipe: Recipe) -> Callable[..., Tensor] | None:
    """The attack a recipe trains with, ``(model, x, y, random_start=…) -> x_adv``, in eval mode; None for normal and for Free training.

    N-FGSM takes its step from noise that may lie outside the ball, and projects onto [0, 1] alone (de Jorge et al. 2022, equation 5).
    ValueError for an unknown attack.
    """
    if recipe.attack not in ATTACKS:
        raise ValueError(f"recipe {recipe.name} has attack {recipe.attack!r}; it must be {', '.join(ATTACKS[:-1])} or {ATTACKS[-1]}")
    if recipe.attack in ("none", "free"):
        return None
    if recipe.attack == "spatial":
        options: dict[str, Any] = {name: getattr(recipe, name) for name in ("steps", "step_size", "tv_weight", "method")}
        return lambda model, x, y: attacks.spatial(model, x, y, **options)
    # a ball that holds the noise and the step behind it projects nothing
    eps = min(1.0, recipe.noise * recipe.eps + recipe.step_size) if recipe.noise else recipe.eps
    ascent = partial(attacks.pgd, eps=eps, step_size=recipe.step_size, steps=recipe.steps, norm=recipe.norm, step=recipe.step)
    return partial(_away, ascent) if recipe.attack == "trades" else ascent


@torch.no_grad()
def _away(ascent: Callable[..., Tensor], model: nn.Module, x: Tensor, y: Tensor, **start: Tensor) -> Tensor:
    """Images whose answers diverge most from those to ``x``. The cross-entropy to these answers is the divergence up to a constant."""
    with evaluating(model):
        answers = model(x).float().softmax(1)
    return ascent(model, x, answers, **start)


def loss_of(recipe: Recipe, logits: Tensor, y: Tensor, clean: Tensor | None = None) -> Tensor:
    """The cross-entropy of ``logits`` (N, classes) and labels; for TRADES, with ``clean``, the logits of the images without attack,

    CE(clean, y) + beta · KL(softmax(clean) ‖ softmax(logits)), the mean over the images (Zhang et al. 2019, equation 5).
    """
    logits = _exact(logits)
    if clean is None:
        return F.cross_entropy(logits, y)
    clean = _exact(clean)
    divergence = F.kl_div(logits.log_softmax(1), clean.log_softmax(1), reduction="batchmean", log_target=True)
    return F.cross_entropy(clean, y) + recipe.beta * divergence


def _exact(logits: Tensor) -> Tensor:
    """Logits of which a loss can be computed: in fp32, or fp64 if they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, taken: int) -> None:
    """Move the weights of ``average`` towards those of ``model`` after a step, the ``taken``-th from 0: θ̄ ← d·θ̄ + (1 − d)·θ.

    d is ``decay``, and less in the beginning, (1 + taken) / (10 + taken), so that the random weights are forgotten (Gowal et al. 2020).
    """
    share = 1 - min(decay, (1 + taken) / (10 + taken))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)

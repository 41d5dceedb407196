"""The probability margin attack: ascent on probabilities, not on logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..models import check_batch, evaluating, folded, halved, logits_of
from .ball import l2, project
from .checks import check_ball, check_count
from .draws import generators_of, random_start, seeds_of
from .judge import misclassified
from .losses import margin


def pma(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str = "linf", steps: int = 50, seed: int = 0) -> Tensor:
    """Two runs of projected gradient ascent on probabilities, each from a random point of the ball.

    A run's first step raises the label's own probability: where that is high, gradients are large. The first half of the steps then lowers
    the label's probability (first run), or raises the highest other one (second run); the second half raises the difference of the two. Steps shrink
    from 2·eps to 0 along a cosine, anew in each half.

    An image takes no further step as soon as ``model`` misclassifies it, in fp32. Arguments, result and errors are those of `apgd`.

    >>> model = torch.nn.Flatten()  # the two pixels of an image are the logits of two classes
    >>> x = torch.tensor([0.2, 0.7]).view(1, 1, 1, 2)
    >>> pma(model, x, torch.tensor([1]), eps=0.1)
    tensor([[[[0.3000, 0.6000]]]])

    Source: Xie et al. 2024 (Towards Million-Scale Adversarial Robustness Evaluation With Stronger Individual Attacks, arXiv 2411.15210); the two
    runs are those of Ma et al. 2020 (Imbalanced Gradients, arXiv 2006.13726). The paper has L∞ alone; for L2, steps follow the gradient
    divided by its norm.
    """
    check_ball(norm, eps)
    check_count("steps", steps, 1)
    check_batch(x, y)
    x = x.detach()
    if eps == 0 or not len(x):
        return x.clone()
    attack = partial(_pma, model, folded(model, x), eps=eps, norm=norm, steps=steps)
    with evaluating(model):
        return halved(attack, x, y, seeds_of(x, seed))


def _pma(
    model: nn.Module, network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, seeds: Tensor, *, eps: float, norm: str, steps: int
) -> Tensor:
    with torch.no_grad():
        logits = logits_of(network, x, y).float()
    found, generators = x.clamp(0, 1), generators_of(seeds)
    left = torch.nonzero(~misclassified(model, x, y, logits))[:, 0]
    half = (steps + 1) // 2
    for others in (False, True):
        center, label = x[left], y[left]
        x_adv = random_start(center, eps, norm, [generators[i] for i in left.tolist()])
        for taken in range(steps + 1):
            if not len(left):
                return found
            x_adv = x_adv.detach().requires_grad_()
            with torch.enable_grad():
                logits = logits_of(network, x_adv).float()
                objective = _objective(logits, label, others, taken, half)
            kept = ~misclassified(model, x_adv.detach(), label, logits.detach())
            found[left[~kept]] = x_adv.detach()[~kept]
            if taken < steps:
                with torch.enable_grad():
                    (gradient,) = torch.autograd.grad(objective[kept].sum(), x_adv)
                left, center, label, x_adv, gradient = (rows[kept] for rows in (left, center, label, x_adv.detach(), gradient))
                size = eps * (1 + math.cos(math.pi * (taken % half) / half))
                direction = gradient.sign() if norm == "linf" else gradient / l2(gradient).clamp(min=1e-12)
                x_adv = project(x_adv + size * direction, center, eps, norm)
        found[left[kept]], left = x_adv.detach()[kept], left[kept]
    return found


def _objective(logits: Tensor, y: Tensor, others: bool, taken: int, half: int) -> Tensor:
    """What the step after ``taken`` steps climbs, for each image."""
    probability = logits.softmax(1)
    label = probability.gather(1, y[:, None])[:, 0]
    if taken == 0:
        return label
    if taken < half:
        return margin(probability, y) + label if others else -label
    return margin(probability, y)

"""Attacks that change pixel values: FGSM, and PGD with restarts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import check_batch, check_pixels, evaluating, folded, halved, logits_of
from .ball import l2, project, random_delta
from .checks import check_ball, check_choice, check_count, check_size
from .judge import judged, misclassified

STEPS = ("sign", "gradient")


def fgsm(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    """x + eps · sign(∂CE/∂x), clipped to [0, 1]. Shapes and errors are those of `pgd`.

    >>> import torch
    >>> model = torch.nn.Flatten()  # the two pixels of an image are the logits of two classes
    >>> x = torch.tensor([0.2, 0.7]).view(1, 1, 1, 2)
    >>> fgsm(model, x, torch.tensor([1]), eps=0.1)
    tensor([[[[0.3000, 0.6000]]]])

    Source: Goodfellow et al. 2015.
    """
    return pgd(model, x, y, eps=eps, step_size=eps, steps=1)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    norm: str = "linf",
    step: str | None = None,
    random_start: bool | Tensor = False,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    seed: int | None = None,
    early_stop: bool = False,
) -> Tensor:
    """Projected gradient ascent on the cross-entropy.

    Each step moves by ``step_size`` times the gradient's sign (``step="sign"``) or times the gradient divided by its L2 norm
    (``"gradient"``), then projects onto the ball of radius ``eps`` around ``x`` and onto [0, 1].

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels; for a single run without early stop also (N, classes), a probability of each class.
        eps, step_size: in pixel units, where the range of a pixel is 1.
        step: default ``"sign"`` for L∞ and ``"gradient"`` for L2. The recipes of Zhang & Zhu take sign steps for both.
        random_start: begin at a point drawn uniformly from the ball instead of at ``x``. A tensor like ``x``, such as `ball.random_delta` draws, is
            added to ``x`` as the start.
        generator: draws the random starts.
        seed: instead of a generator. Every call draws from this seed again: every network and every batch gets the same random starts.
        restarts: number of runs. Each image keeps its own best run: misclassified before correct, then the higher loss.
        early_stop: an image that ``model`` misclassifies, in fp32, takes no further step and no further run. It costs a fraction of the time
            where only success counts, as in `atviz.evidence.robust_accuracy`. Not for training.

    Returns:
        x_adv like ``x``: ‖x_adv − x‖ ≤ eps·(1 + 1e-6), within [0, 1].

    Raises:
        ValueError: pixels outside [0, 1] by more than 1e-6, a negative eps or step size, or an unknown norm or step.

    >>> import torch
    >>> model = torch.nn.Flatten()  # the two pixels of an image are the logits of two classes
    >>> x = torch.tensor([0.2, 0.7]).view(1, 1, 1, 2)
    >>> pgd(model, x, torch.tensor([1]), eps=0.1, step_size=0.04, steps=2)
    tensor([[[[0.2800, 0.6200]]]])

    Source: Madry et al. 2018.
    """
    if seed is not None:
        if generator is not None:
            raise ValueError(f"seed is {seed}, but a generator is given, too; give one or the other")
        generator = torch.Generator().manual_seed(seed)
    step = step or ("sign" if norm == "linf" else "gradient")
    check_ball(norm, eps)
    check_choice("step", step, STEPS)
    check_size("step_size", step_size, ", in pixel units")
    check_count("steps", steps, 0)
    check_count("restarts", restarts, 1)
    if restarts > 1 and random_start is not True:
        raise ValueError(f"restarts is {restarts} without random_start=True: every run would be the same")
    check_pixels(x) if y.ndim == 2 and y.is_floating_point() else check_batch(x, y)
    x = x.detach()
    if eps == 0 or (steps == 0 and random_start is False):
        return x.clone()
    network = folded(model, x)
    climb = partial(_ascend, model, network, eps=eps, step_size=step_size, steps=steps, norm=norm, step=step, early_stop=early_stop)
    ascent = partial(halved, climb)
    with evaluating(model):
        best = ascent(x, y, _start(x, eps, norm, random_start, generator))
        if restarts == 1:
            return best
        best_fooled, best_loss = judged(model, best, y)
        for _ in range(restarts - 1):
            start, candidate = _start(x, eps, norm, True, generator), best.clone()
            left = ~best_fooled if early_stop else torch.ones_like(best_fooled)
            candidate[left] = ascent(x[left], y[left], start[left])
            fooled, loss = judged(model, candidate, y)
            better = (fooled & ~best_fooled) | ((fooled == best_fooled) & (loss > best_loss))
            best = torch.where(better[:, None, None, None], candidate, best)
            best_fooled, best_loss = best_fooled | fooled, torch.where(better, loss, best_loss)
    return best


def _start(x: Tensor, eps: float, norm: str, random_start: bool | Tensor, generator: torch.Generator | None) -> Tensor:
    if random_start is False:
        return x
    return project(x + (random_delta(x, eps, norm, generator) if random_start is True else random_start), x, eps, norm)


def _ascend(
    model: nn.Module, network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, x_adv: Tensor, *,
    eps: float, step_size: float, steps: int, norm: str, step: str, early_stop: bool,
) -> Tensor:  # fmt: skip
    """One run of `pgd` from ``x_adv``, with gradients of ``network``, which is ``model`` up to rounding."""
    found, left = x_adv.clone(), torch.arange(len(x), device=x.device)
    keep: slice | Tensor = slice(None)
    for taken in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            logits = logits_of(network, x_adv, None if taken else y).float()
            losses = F.cross_entropy(logits, y, reduction="none")
        if early_stop:
            keep = ~misclassified(model, x_adv.detach(), y, logits)
            found[left[~keep]], left = x_adv.detach()[~keep], left[keep]
            if not len(left):
                return found
        with torch.enable_grad():
            # summed, not averaged: an image's gradient must not depend on the size of its batch
            (gradient,) = torch.autograd.grad(losses[keep].sum(), x_adv)
        x, y, x_adv, gradient = (t[keep] for t in (x, y, x_adv.detach(), gradient))
        direction = gradient.sign() if step == "sign" else gradient / l2(gradient).clamp(min=1e-12)
        x_adv = project(x_adv + step_size * direction, x, eps, norm)
    found[left] = x_adv.detach()
    return found

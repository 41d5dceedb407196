"""Auto-PGD: projected gradient ascent that sets its own step sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import check_batch, evaluating, folded, halved, logits_of
from .ball import l2, project
from .checks import check_ball, check_choice, check_count
from .draws import generators_of, random_start, seeds_of
from .judge import misclassified
from .losses import CLASSES, dlr, targeted_dlr

MOMENTUM, RISES = 0.75, 0.75  # share of the new step; of steps that must raise the loss
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # of all steps: until the first check, by how much the next comes sooner, at least


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    norm: str = "linf",
    loss: str = "ce",
    steps: int = 100,
    targets: int = 9,
    seed: int = 0,
) -> Tensor:
    """Projected gradient ascent with momentum from a random point of the ball. The step begins at 2·eps, and is halved wherever the loss has
    stopped to rise; the ascent then goes on from the best point so far.

    An image takes no further step as soon as ``model`` misclassifies it, in fp32.

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels.
        eps: in pixel units, where the range of a pixel is 1.
        loss: ``ce`` is the cross-entropy, ``dlr`` the difference of logits ratio (`losses.dlr`). ``targeted-dlr`` takes a run toward each of
            the likeliest ``targets`` other classes, the likeliest first.
        steps: of each run.
        seed: of the random starts. Those of an image depend on this and on its pixels, not on the images beside it.

    Returns:
        x_adv like ``x``: ‖x_adv − x‖ ≤ eps·(1 + 1e-6), within [0, 1]. Where no run succeeds, the point of the first run with the highest loss.

    Raises:
        ValueError: as `pgd`; an unknown loss, or a network with fewer classes than the loss needs.

    >>> model = torch.nn.Flatten()  # the two pixels of an image are the logits of two classes
    >>> x = torch.tensor([0.2, 0.7]).view(1, 1, 1, 2)
    >>> apgd(model, x, torch.tensor([1]), eps=0.1)  # it cannot be misclassified: the corner of the ball is the worst
    tensor([[[[0.3000, 0.6000]]]])

    Source: Croce & Hein 2020 (Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks), algorithm 1.
    """
    check_ball(norm, eps)
    check_choice("loss", loss, CLASSES)
    check_count("steps", steps, 1)
    check_count("targets", targets, 1)
    check_batch(x, y)
    x = x.detach()
    if eps == 0 or not len(x):
        return x.clone()
    attack = partial(_apgd, model, folded(model, x), eps=eps, norm=norm, loss=loss, steps=steps, targets=targets)
    with evaluating(model):
        return halved(attack, x, y, seeds_of(x, seed))


def _apgd(
    model: nn.Module, network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, seeds: Tensor, *,
    eps: float, norm: str, loss: str, steps: int, targets: int,
) -> Tensor:  # fmt: skip
    with torch.no_grad():
        logits = logits_of(network, x, y).float()
    if (classes := logits.shape[1]) < CLASSES[loss]:
        raise ValueError(f"loss is {loss!r}, which needs {CLASSES[loss]} classes, but the network has {classes}")
    found, generators = x.clamp(0, 1), generators_of(seeds)
    left = torch.nonzero(~misclassified(model, x, y, logits))[:, 0]
    others = logits.scatter(1, y[:, None], -float("inf")).argsort(1, descending=True)
    for run in range(min(targets, classes - 1) if loss == "targeted-dlr" else 1):
        if not len(left):
            break
        start = random_start(x[left], eps, norm, [generators[i] for i in left.tolist()])
        climb = _begin(x[left], y[left], others[left, run], start, eps)
        x_adv, fooled = _ascend(model, network, climb, eps=eps, norm=norm, loss=loss, steps=steps)
        kept = torch.ones_like(fooled) if run == 0 else fooled
        found[left[kept]] = x_adv[kept]
        left = left[~fooled]
    return found


@dataclass
class _Climb:
    """What is known of each image that is still attacked: a row of every tensor."""

    number: Tensor
    x: Tensor
    y: Tensor
    target: Tensor
    x_adv: Tensor
    before: Tensor  # x_adv of the step before
    gradient: Tensor
    step_size: Tensor
    best: Tensor
    best_gradient: Tensor
    highest: Tensor  # loss, of the best
    last: Tensor  # loss of the last step
    rises: Tensor  # steps since the last check that raised the loss
    checked: Tensor  # the highest loss at the last check
    shortened: Tensor  # whether the step was halved at the last check

    def only(self, kept: Tensor) -> None:
        """Let the other images go."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[kept])


def _begin(x: Tensor, y: Tensor, target: Tensor, start: Tensor, eps: float) -> _Climb:
    n, lowest = len(x), torch.full((len(x),), -float("inf"), device=x.device)
    return _Climb(
        number=torch.arange(n, device=x.device), x=x, y=y, target=target, x_adv=start, before=start, gradient=torch.zeros_like(x),
        step_size=x.new_full((n, 1, 1, 1), 2 * eps), best=start, best_gradient=torch.zeros_like(x), highest=lowest, last=lowest,
        rises=torch.zeros(n, device=x.device), checked=lowest, shortened=torch.ones(n, dtype=torch.bool, device=x.device),
    )  # fmt: skip


def _ascend(
    model: nn.Module, network: Callable[[Tensor], Tensor], climb: _Climb, *, eps: float, norm: str, loss: str, steps: int
) -> tuple[Tensor, Tensor]:
    """One run: the point that each image has come to, and whether it is misclassified there."""
    found, fooled = climb.x_adv.clone(), torch.zeros_like(climb.shortened)
    length, since = max(int(FIRST * steps), 1), 0
    for taken in range(steps + 1):
        x_adv = climb.x_adv.detach().requires_grad_(taken < steps)
        with torch.set_grad_enabled(taken < steps):
            logits = logits_of(network, x_adv).float()
            losses = _losses(loss, logits, climb.y, climb.target)
        wrong = misclassified(model, climb.x_adv, climb.y, logits.detach())
        found[climb.number[wrong]], fooled[climb.number[wrong]] = climb.x_adv[wrong], True
        if wrong.all():
            return found, fooled
        if taken < steps:
            with torch.enable_grad():  # summed, not averaged: an image's gradient must not depend on the size of its batch
                (climb.gradient,) = torch.autograd.grad(losses[~wrong].sum(), x_adv)
        losses = losses.detach()
        if wrong.any():
            climb.only(~wrong)
            losses = losses[~wrong]
        _note(climb, losses, start=taken == 0)
        if taken == steps:
            break
        since = since + 1 if taken else 0
        if since == length:
            _check(climb, since)
            length, since = max(length - max(int(SHORTER * steps), 1), int(SHORTEST * steps), 1), 0
        _step(climb, eps, norm, MOMENTUM if taken else 1.0)
    found[climb.number] = climb.best
    return found, fooled


def _losses(loss: str, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    if loss == "targeted-dlr":
        return targeted_dlr(logits, y, target)
    return dlr(logits, y) if loss == "dlr" else F.cross_entropy(logits, y, reduction="none")


def _note(climb: _Climb, losses: Tensor, *, start: bool) -> None:
    """Keep the best point of each image, and count the steps that raised its loss."""
    if start:
        climb.checked = losses
    else:
        climb.rises = climb.rises + (losses > climb.last)
    higher = losses > climb.highest
    climb.best = torch.where(higher[:, None, None, None], climb.x_adv, climb.best)
    climb.best_gradient = torch.where(higher[:, None, None, None], climb.gradient, climb.best_gradient)
    climb.highest, climb.last = torch.where(higher, losses, climb.highest), losses


def _check(climb: _Climb, since: int) -> None:
    """Halve the steps of the images whose loss has stopped to rise, and take these back to their best point."""
    short = (climb.rises <= RISES * since) | (~climb.shortened & (climb.highest <= climb.checked))
    rows = short[:, None, None, None]
    climb.step_size = torch.where(rows, climb.step_size / 2, climb.step_size)
    climb.x_adv = torch.where(rows, climb.best, climb.x_adv)
    climb.gradient = torch.where(rows, climb.best_gradient, climb.gradient)
    climb.rises, climb.checked, climb.shortened = torch.zeros_like(climb.rises), climb.highest, short


def _step(climb: _Climb, eps: float, norm: str, share: float) -> None:
    gradient, x_adv = climb.gradient, climb.x_adv
    direction = gradient.sign() if norm == "linf" else gradient / l2(gradient).clamp(min=1e-12)
    goal = project(x_adv + climb.step_size * direction, climb.x, eps, norm)
    moved = share * (goal - x_adv) + (1 - share) * (x_adv - climb.before)
    climb.before, climb.x_adv = x_adv, project(x_adv + moved, climb.x, eps, norm)

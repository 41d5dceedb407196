"""Attacks beside torchattacks, foolbox and a plain loop: a PGD-20 batch, and PGD-40 of an evaluation, on a normal and a robust network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from atviz import attacks, evidence, models

from .measure import OURS, Case, have
from .subjects import Subject


def plain_pgd(net: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float, step_size: float, steps: int) -> torch.Tensor:
    """PGD as a tutorial writes it."""
    x_adv = x.clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        loss = F.cross_entropy(net(x_adv), y)
        grad = torch.autograd.grad(loss, x_adv)[0]
        x_adv = x_adv.detach() + step_size * grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - eps), x + eps).clamp(0, 1)
    return x_adv


def ours(net: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float, step_size: float) -> torch.Tensor:
    """PGD-20 as `evidence.robust_accuracy` and the training run it: in bfloat16 where the hardware is faster for it."""
    with models.fast_autocast(x.device):
        return attacks.pgd(net, x, y, eps=eps, step_size=step_size, steps=20)


def one_gradient(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What a step of PGD computes, for counting its operations; times 1, because the counter cannot follow a leaf into a module."""
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(net(leaf * 1), y), leaf)[0]


def peers(net: nn.Module, eps: float, step_size: float, steps: int) -> dict:
    found = {"a plain loop": lambda x, y: plain_pgd(net, x, y, eps, step_size, steps)}
    if have("torchattacks"):
        import torchattacks

        found["torchattacks"] = torchattacks.PGD(net, eps=eps, alpha=step_size, steps=steps, random_start=False)
    if have("foolbox"):
        import foolbox

        wrapped = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
        found["foolbox"] = lambda x, y: attack.run(wrapped, x, y, epsilon=eps)
    return found


def success(net: nn.Module, x_adv: torch.Tensor, y: torch.Tensor) -> int:
    with torch.no_grad():
        return int((net(x_adv).argmax(1) != y).sum())


def cases(subject: Subject, count: int, turns: int) -> Iterator[Case]:
    eps, step_size = subject.eps, subject.eps / 4
    for role, net in subject.networks.items():
        images = subject.test[:100]
        x, y = next(images.batches(100))
        calls = {OURS: partial(ours, net, x, y, eps, step_size)}
        calls |= {name: partial(attack, x, y) for name, attack in peers(net, eps, step_size, 20).items()}

        def fooled(results: dict, net: nn.Module = net, y: torch.Tensor = y, n: int = 100) -> str:
            found = {name: success(net, x_adv, y) for name, x_adv in results.items()}
            assert max(found.values()) - min(found.values()) <= max(1, n // 50), found
            return f"misclassified {', '.join(str(k) for k in found.values())} of {n}"

        yield Case(
            f"PGD-20 of a batch, {role}", subject.shape(100), 100, "images", calls, fooled, turns=turns,
            flops=lambda net=net, x=x, y=y: one_gradient(net, x, y), factor=20,
        )  # fmt: skip
    many = subject.test.sample(count) if count < len(subject.test) else subject.test
    for role, net in subject.networks.items():
        attack = partial(attacks.pgd, eps=eps, step_size=step_size, steps=40)

        def survivors(other=None, net: nn.Module = net) -> int:
            left = 0
            for x, y in many.batches(100):
                left += len(y) - success(net, other(x, y), y)
            return left

        calls = {OURS: lambda net=net, attack=attack: round(len(many) * evidence.robust_accuracy(net, many, attack=attack)["robust"])}
        calls |= {name: partial(survivors, other) for name, other in peers(net, eps, step_size, 40).items()}

        def judged(results: dict) -> str:
            values = list(results.values())
            assert max(values) - min(values) <= max(2, len(many) // 100), results
            return f"left {', '.join(map(str, values))} of {len(many)}"

        yield Case(
            f"PGD-40 evaluation, {role}", subject.shape(len(many)), len(many), "images", calls, judged, turns=min(turns, 3),
            flops=lambda net=net: one_gradient(net, *next(many.batches(100))), factor=40 * len(many) / 100,
        )  # fmt: skip

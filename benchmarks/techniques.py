"""What each technique gains alone: atviz as it is beside atviz without it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from atviz import attacks, data, evidence, models, saliency
from atviz.distortions import Stylizer, load_adain

from .measure import OURS, Case
from .subjects import Subject, subject_of


def without_folding(call: Callable[[], Any]) -> Any:
    """A call in which every network is used as it is."""
    places = ("atviz.attacks.pgd", "atviz.saliency.gradients", "atviz.models.passes")
    with ExitStack() as stack:
        for place in places:  # a room may export a function of the file's name
            stack.enter_context(mock.patch.object(sys.modules[place], "folded", lambda model, x: model))
        return call()


def near(results: dict[str, Any]) -> str:
    a, b = (torch.as_tensor(result, dtype=torch.float64) for result in results.values())
    error = float((a - b).abs().mean())
    assert error < 0.01, error
    return f"mean difference {error:.0e}"


def cases(subject: Subject, turns: int) -> Iterator[Case]:
    net = list(subject.networks.values())[1]
    x, y = next(subject.test[:100].batches(100))
    options = {"eps": subject.eps, "step_size": subject.eps / 4}
    shape = subject.shape(100)

    def pgd() -> Tensor:
        return attacks.pgd(net, x, y, **options, steps=20)

    def predicted() -> Tensor:
        return models.predict(net, [(x, y)] * 10)

    yield Case("folding and channels last: PGD-20", shape, 100, "images", {OURS: pgd, "without": lambda: without_folding(pgd)}, near, turns)
    yield Case(
        "folding and channels last: predictions", subject.shape(1000), 1000, "images",
        {OURS: predicted, "without": lambda: without_folding(predicted)}, near, turns,
    )  # fmt: skip
    network = models.folded(net, x)

    def gradient(of: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(of(leaf).log_softmax(1)[:, 0].sum(), leaf)[0]

    frozen = deepcopy(net).requires_grad_(False)
    yield Case(
        "tried: parameters without gradient", shape, 100, "images",
        {OURS: lambda: gradient(net), "without gradient": lambda: gradient(frozen)}, near, turns,
    )  # fmt: skip
    if shutil.which("g++"):
        compiled = torch.compile(network)
        yield Case(
            "tried: torch.compile of the folded network", shape, 100, "images",
            {OURS: lambda: gradient(network), "compiled": lambda: gradient(compiled)}, near, turns,
        )  # fmt: skip
    few = subject.test[:300]
    for role, network in subject.networks.items():
        attack = partial(attacks.pgd, **options, steps=40)
        yield Case(
            f"early stop: PGD-40 evaluation, {role}", subject.shape(300), 300, "images",
            {
                OURS: lambda network=network, attack=attack: evidence.robust_accuracy(network, few, attack=attack)["robust"],
                "without": lambda network=network, attack=attack: evidence.robust_accuracy(network, few, attack=partial(attack, early_stop=False))["robust"],
            },
            near, min(turns, 3),
        )  # fmt: skip
    yield Case(
        "several images in one pass: SmoothGrad, 50 copies", subject.shape(20), 20, "maps",
        {
            OURS: lambda: saliency.smooth_grad(net, x[:20], y[:20], n=50),
            "one image in a pass": lambda: torch.cat([saliency.smooth_grad(net, x[i : i + 1], y[i : i + 1], n=50, chunk=50) for i in range(20)]),
        },
        near, turns,
    )  # fmt: skip
    styled = Stylizer(load_adain("small"), data.load_styles("procedural", size=max(x.shape[1:])))
    alphas = (0.0, 0.25, 0.5, 0.75, 1.0)

    def painted(forget: bool) -> Tensor:
        found = []
        for alpha in alphas:
            if forget:
                styled._toned.clear()
            found.append(styled(x, alpha))
        styled._toned.clear()
        return torch.stack(found)

    yield Case(
        "styles' moments kept: 5 strengths of stylizing", shape, 500, "images",
        {OURS: lambda: painted(False), "without": lambda: painted(True)}, near, turns,
    )  # fmt: skip
    with get_context("spawn").Pool(2, _one_thread, (subject.dataset,)) as pool:
        yield Case(
            "two processes of one thread: PGD-20, two batches", shape, 200, "images",
            {OURS: lambda: pool.map(_attacked, [0, 1]), "one process of two threads": lambda: [float(pgd().mean()), float(pgd().mean())]},
            near, turns,
        )  # fmt: skip


_SUBJECT: list[Subject] = []


def _one_thread(dataset: str) -> None:
    torch.set_num_threads(1)
    _SUBJECT.append(subject_of(dataset))


def _attacked(_: int) -> float:
    subject = _SUBJECT[0]
    net = list(subject.networks.values())[1]
    x, y = next(subject.test[:100].batches(100))
    return float(attacks.pgd(net, x, y, eps=subject.eps, step_size=subject.eps / 4, steps=20).mean())

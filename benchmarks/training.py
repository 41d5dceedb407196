"""A slice of an epoch of FGSM, PGD-7 and PGD-20 training at three widths, beside a plain eager loop in fp32.

`training.fit` tests its network after the epoch; here on one image, because the slice is a few batches and the plain loop tests nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from atviz import data, models, training
from atviz.data import Images
from atviz.training import recipes

from .attacks import one_gradient, plain_pgd
from .measure import OURS, Case

BATCH, EPS = 128, 8 / 255
WIDTHS = {16: 3, 32: 2, 64: 1}  # base width -> batches


def drawn(width: int) -> nn.Module:
    torch.manual_seed(0)
    return models.build(f"resnet18-w{width}", num_classes=10, mean=[0.49, 0.48, 0.45], std=[0.25, 0.24, 0.26])


def plain(width: int, recipe: recipes.Recipe, images: Images) -> dict[str, torch.Tensor]:
    """One pass as the papers' code has it: contiguous fp32, the attack in eval mode, one step after the other."""
    net = drawn(width)
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=len(images) // BATCH + 1, cycle_momentum=False)
    generator = torch.Generator().manual_seed(0)
    for x, y in images.batches(BATCH, shuffle=True, augment=recipe.augment, generator=generator):
        net.eval()
        x_adv = plain_pgd(net, x, y, recipe.eps, recipe.step_size, recipe.steps)
        net.train()
        loss = F.cross_entropy(net(x_adv.detach()), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def ours(width: int, recipe: recipes.Recipe, images: Images, test: Images) -> dict[str, torch.Tensor]:
    net = drawn(width)
    training.fit(net, recipe, images, test)
    return {name: tensor.contiguous().clone() for name, tensor in net.state_dict().items()}


def cases(turns: int) -> Iterator[Case]:
    x = torch.randint(0, 256, (BATCH * max(WIDTHS.values()), 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = data.Images(x, torch.arange(len(x)) % 10, [str(k) for k in range(10)])
    for width, batches in WIDTHS.items():
        part = images[: BATCH * batches]
        for name, steps in [("FGSM", 1), ("PGD-7", 7), ("PGD-20", 20)]:
            recipe = recipes.get(
                "pgd-inf-8", steps=steps, step_size=EPS if steps == 1 else EPS / 4, epochs=1, batch_size=BATCH, augment="crop-flip"
            )

            def near(results: dict[str, dict[str, torch.Tensor]], width: int = width) -> str:
                a, b = ({k: t.double() for k, t in state.items() if t.is_floating_point()} for state in results.values())
                start = {k: t.double() for k, t in drawn(width).state_dict().items()}
                moved = sum(float((b[k] - start[k]).square().sum()) for k in b) ** 0.5
                apart = sum(float((a[k] - b[k]).square().sum()) for k in b) ** 0.5
                assert apart < 0.2 * moved, (apart, moved)
                return f"weights differ by {apart / moved:.1%} of their way"

            yield Case(
                f"{name} training, {batches} batches of {BATCH}", f"resnet18-w{width}, 3 × 32 × 32", len(part), "images",
                {OURS: lambda w=width, r=recipe, p=part: ours(w, r, p, images[:1]), "a plain fp32 loop": lambda w=width, r=recipe, p=part: plain(w, r, p)},
                near, turns=min(turns, 3) if width < 64 else 2,
                # the gradients of inputs alone take two thirds of what the step of training takes
                flops=lambda w=width, p=part: one_gradient(drawn(w).eval(), *next(p.batches(BATCH))), factor=batches * (steps + 1.5),
            )  # fmt: skip

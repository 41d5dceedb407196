"""The strong attack: four attacks one after another, as in AutoAttack. What withstands all of them counts as robust."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ..models import check_batch, evaluating, logits_of
from .apgd import apgd
from .checks import check_ball, check_count
from .judge import judged
from .losses import CLASSES
from .masked import warn_if_masked
from .pma import pma
from .square import square

PARTS = ("apgd-ce", "apgd-dlr-t", "pma", "square")  # in their order


def strong(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    norm: str = "linf",
    steps: int = 100,
    targets: int = 9,
    queries: int = 5000,
    seed: int = 0,
) -> Tensor:
    """`apgd` on the cross-entropy, `apgd` on the targeted DLR loss, `pma`, then `square`. An image leaves as soon as ``model`` misclassifies it.

    This is AutoAttack in its standard version, with `pma` in the place of FAB-T. A network of three classes is attacked with the DLR loss
    without targets; one of two classes without it. Warns of what may make the result false (`signs_of_masking`).

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels.
        eps: in pixel units, where the range of a pixel is 1.
        steps: of each run of `apgd`; `pma` takes half as many in each of its two runs.
        targets: runs of the targeted attack.
        queries: of `square`.
        seed: an image's random numbers depend on this and on its pixels, not on the images beside it.

    Returns:
        x_adv like ``x``: ‖x_adv − x‖ ≤ eps·(1 + 1e-6), within [0, 1].

    Raises:
        ValueError: as `pgd`.

    >>> model = torch.nn.Flatten()  # the four pixels of an image are the logits of four classes
    >>> x = torch.tensor([0.2, 0.3, 0.4, 0.5]).view(1, 1, 1, 4)
    >>> x_adv = strong(model, x, torch.tensor([3]), eps=0.1)
    >>> model(x_adv).argmax(1)  # 0.4 + 0.1 is above 0.5 − 0.1
    tensor([2])

    Source: Croce & Hein 2020 (Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks).
    """
    check_ball(norm, eps)
    for name, value in (("steps", steps), ("targets", targets), ("queries", queries)):
        check_count(name, value, 1)
    check_batch(x, y)
    x = x.detach()
    if eps == 0 or not len(x):
        return x.clone()
    with evaluating(model):
        with torch.no_grad():
            classes = logits_of(model, x, y).shape[1]
        loss = "targeted-dlr" if classes >= CLASSES["targeted-dlr"] else "dlr"
        parts = {
            "apgd-ce": partial(apgd, loss="ce", steps=steps, seed=seed),
            "apgd-dlr-t": partial(apgd, loss=loss, steps=steps, targets=targets, seed=seed + 1),
            "pma": partial(pma, steps=max(steps // 2, 1), seed=seed + 2),
            "square": partial(square, queries=queries, seed=seed + 3),
        }
        if classes < CLASSES["dlr"]:
            del parts["apgd-dlr-t"]
        x_adv, fooled, by_square = x.clamp(0, 1), judged(model, x, y)[0], 0
        for name, attack in parts.items():
            left = torch.nonzero(~fooled)[:, 0]
            if not len(left):
                break
            found = attack(model, x[left], y[left], eps=eps, norm=norm)
            wrong, _ = judged(model, found, y[left])
            kept = torch.ones_like(wrong) if name == "apgd-ce" else wrong  # of an image that withstands all, the first attack's is returned
            x_adv[left[kept]] = found[kept]
            fooled[left[wrong]] = True
            by_square = int(wrong.sum()) if name == "square" else 0
        warn_if_masked(model, x, y, targeted=True, by_square=by_square)
    return x_adv

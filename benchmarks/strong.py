"""The strong attack beside AutoAttack's own code: robust accuracy on networks that ship, the images on which they differ, and the time of each."""

from __future__ import annotations

import logging
import time
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from atviz import attacks, data, evidence, models
from atviz.training import eval_eps

from .measure import have

IMAGES = 250
NETWORKS = (("normal", "linf"), ("pgd-inf-0.1", "linf"), ("fgsm-0.1", "linf"), ("pgd-l2-1.5", "l2"))
EPS_L2 = 1.5


def compared(count: int = IMAGES) -> pd.DataFrame:
    """One row per network of the embedded set's zoo, attacked on its first ``count`` test images at the eps of the cards, or in L2 at 1.5."""
    if not have("pyautoattack"):
        raise SystemExit("install pyautoattack to compare with it: pip install --no-deps -r benchmarks/requirements.txt")
    images, rows = data.load("fashion", "test", limit=count), []
    for name, norm in NETWORKS:
        net, eps = models.load(name, dataset="fashion").module, eval_eps("fashion") if norm == "linf" else EPS_L2
        pgd = partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=40, norm=norm)
        plain, plain_took = timed(lambda net=net, pgd=pgd: evidence.robust_accuracy(net, images, attack=pgd)["survived"])
        ours, took = timed(
            lambda net=net, eps=eps, norm=norm: evidence.robust_accuracy(net, images, attack=partial(attacks.strong, eps=eps, norm=norm))[
                "survived"
            ]
        )
        theirs, their_took = timed(lambda net=net, eps=eps, norm=norm: autoattack(net, images, eps, norm))
        rows.append({
            "network": name, "norm": norm, "eps": eps, "images": count,
            "PGD-40 leaves": plain.sum(), "strong leaves": ours.sum(), "AutoAttack leaves": theirs.sum(),
            "only strong misleads": (theirs & ~ours).sum(), "only AutoAttack misleads": (ours & ~theirs).sum(),
            "PGD-40 (s)": plain_took, "strong (s)": took, "AutoAttack (s)": their_took,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return pd.DataFrame(rows).round(1)


def timed(call) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def autoattack(net: nn.Module, images: data.Images, eps: float, norm: str) -> np.ndarray:
    """Which images withstand AutoAttack's standard version."""
    import pyautoattack

    x, y = images.x.float() / 255, images.y
    attack = pyautoattack.AutoAttack(net.eval(), norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, seed=0)
    logging.disable(logging.CRITICAL)
    try:
        x_adv, _ = attack.run_standard_evaluation(x, y)
    finally:
        logging.disable(logging.NOTSET)
    with torch.no_grad():
        return (net(x_adv).argmax(1) == y).numpy()

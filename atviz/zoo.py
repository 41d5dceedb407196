"""The zoo: trained networks kept small for shipping, each with accuracies measured of the very weights that are kept."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import attacks, checkpoints, data, evaluate, home, models, recipes
from .records import Store
from .study import Study, load_checkpoint

TOLERANCE = 0.01  # of robust accuracy: PGD does not take the same steps on every machine


def publish(study: Study, name: str, folder: Path | None = None) -> Path:
    """Keep a network of a study in ``folder``, by default in ``checkpoints/zoo``: half precision, its card with clean and robust accuracy on
    all test images.

    The attack is PGD L∞ at the data set's eps, with the steps of the profile ``zoo`` (Zhang & Zhu 2019, Table 1).
    """
    model = study.obtain(name)
    halves = models.halve(model)
    eps = recipes.eval_eps(study.settings.dataset)
    attack = {"eps": eps, "step_size": eps / 4, "steps": recipes.profile("zoo").eval_steps}
    card = study.cards[name]
    card = card | {"metrics": card["metrics"] | _measure(model, study.test_images, attack, study.store), "attack": attack}
    if folder is None:
        dataset = study.test_images.name.split(":")[-1]
        folder = home() / "checkpoints" / "zoo" / f"{dataset}-{study.profile.arch}-{name}-s{study.settings.seed}"
    checkpoints.save(folder, halves, card)
    return folder


def verify(folder: Path, dataset: str, *, size: int | None = None) -> dict[str, tuple[float, float, bool]]:
    """Measure a checkpoint's accuracies again: measure -> found, what the card says, whether they agree.

    Clean accuracy may differ by two images, robust accuracy by a hundredth. Networks outside the zoo have no robust accuracy.

    Raises:
        ValueError: the data set is not the one that the card was written for; as `load_checkpoint`.
    """
    model, card = load_checkpoint(folder)
    images = data.load(dataset, "test", size=size, limit=card["data"]["test"])
    if images.digest != card["data"]["test_digest"]:
        raise ValueError(f"{folder} was measured on other test images than {dataset}'s; name its data set with --dataset")
    found = _measure(model, images, card.get("attack"))
    allowed = {"clean": 2 / len(images), "robust": TOLERANCE}
    claimed = card["metrics"]
    return {key: (value, claimed[key], abs(value - claimed[key]) <= allowed[key]) for key, value in found.items()}


def _measure(model: torch.nn.Module, images: data.Images, attack: dict[str, Any] | None, store: Store | None = None) -> dict[str, float]:
    if attack is None:
        return {"clean": evaluate.accuracy(model, images)["top1"]}
    row = evaluate.robust_accuracy(model, images, attack=partial(attacks.pgd, **attack), store=store)
    return {"clean": row["clean"], "robust": row["robust"]}

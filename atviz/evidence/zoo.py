"""The zoo: trained networks kept small for shipping, each with accuracies measured of the very weights that are kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from .. import attacks, data, disk, home, models
from ..models import Network, checkpoints
from ..training import Plan, Trainer, eval_eps, profile, task
from .accuracy import accuracy, robust_accuracy
from .records import Store, store_of_home

TOLERANCE = 0.01  # of robust accuracy: PGD does not take the same steps on every machine


def publish(network: Network, plan: Plan, folder: Path | None = None) -> Path:
    """Keep a plan's network in ``folder``, by default in ``checkpoints/zoo``: in half precision, with clean and robust accuracy on all test
    images in its model card.

    The attack is PGD L∞ at the data set's eps, with the steps of the profile ``zoo`` (Zhang & Zhu 2019, Table 1).
    """
    test, eps = plan.images.test, eval_eps(plan.dataset)
    halves = models.halve(network.module)
    attack = {"eps": eps, "step_size": eps / 4, "steps": profile("zoo").eval_steps}
    card = network.card
    card = card | {"metrics": card["metrics"] | _measure(network.module, test, attack, store_of_home()), "attack": attack}
    if folder is None:
        folder = home() / "checkpoints" / "zoo" / f"{test.name.split(':')[-1]}-{plan.scale.arch}-{network.name}-s{plan.seed}"
    checkpoints.save(folder, halves, card)
    return folder


def publish_backbones() -> Path:
    """Train the backbones of the quick profile where they are missing, and keep them in 16 bits in ``checkpoints/transfer``."""
    folder = home() / "checkpoints" / "transfer"
    for seed in (0, 1):
        plan = replace(task(Plan()).source, seed=seed)
        trainer = Trainer(plan)
        for name in (plan.first(adversarial=False), plan.first(adversarial=True)):
            kept = folder / trainer.folder(name).name
            if not checkpoints.exists(kept):
                publish(trainer.obtain(name), plan, kept)
    return folder


def publish_seeds() -> Path:
    """Train baseline and subject of the quick profile from two more seeds where they are missing, and keep them in 16 bits in
    ``checkpoints/seeds``: with them the findings of the quick profile are of three trainings."""
    folder = home() / "checkpoints" / "seeds"
    for seed in (1, 2):
        plan = Plan(seed=seed)
        trainer = Trainer(plan)
        for name in (plan.first(adversarial=False), plan.first(adversarial=True)):
            kept = folder / trainer.folder(name).name
            if not checkpoints.exists(kept):
                publish(trainer.obtain(name), plan, kept)
    return folder


def verify(folder: Path, dataset: str, *, size: int | None = None) -> dict[str, tuple[float, float, bool]]:
    """Measure a checkpoint's accuracies again: measure -> found, what the card says, whether they agree.

    Clean accuracy may differ by two images, robust accuracy by a hundredth. Networks outside the zoo have no robust accuracy.

    Raises:
        ValueError: the data set is not the one that the card was written for; as `models.load`.
    """
    network = models.load(folder)
    card = network.card
    images = _tested(folder, card, dataset, size)
    found = _measure(network.module, images, card.get("attack"))
    allowed = {"clean": 2 / len(images), "robust": TOLERANCE}
    claimed = card["metrics"]
    return {key: (value, claimed[key], abs(value - claimed[key]) <= allowed[key]) for key, value in found.items()}


def verify_strong(
    folder: Path, dataset: str, *, size: int | None = None, limit: int | None = None, write: bool = False
) -> tuple[float, float | None, bool]:
    """Measure a checkpoint's accuracy under `attacks.strong` again: found, what the card says (None where it says nothing), whether they agree.

    The threat model and the images are those of the card's ``attacked_by``; where it has none, L∞ at the eps of its PGD attack and all test
    images. ``limit`` takes the first few images only, which are compared with a card that was measured on as many. ``write`` puts what was found into the
    card, as ``strong`` among its metrics, and how in ``attacked_by``.

    Raises:
        ValueError: as `verify`; a card without an attack, as of a network outside the zoo.
    """
    network = models.load(folder)
    card = network.card
    if "attack" not in card:
        raise ValueError(f"the card of {folder} names no attack, and so no eps; `atviz train --zoo` makes networks whose cards do")
    known = card.get("attacked_by", {})
    images = _tested(folder, card, dataset, size)
    n = min(limit or known.get("n", len(images)), len(images))
    attack = {"norm": known.get("norm", "linf"), "eps": known.get("eps", card["attack"]["eps"]), "seed": known.get("seed", 0)}
    found = robust_accuracy(network.module, images[:n], attack=partial(attacks.strong, **attack))["robust"]
    claimed = card["metrics"].get("strong") if n == known.get("n") else None
    if write:
        card = card | {"metrics": card["metrics"] | {"strong": found}, "attacked_by": {"attacks": list(attacks.PARTS)} | attack | {"n": n}}
        disk.write_json(folder / checkpoints.CARD, card)
    return found, claimed, claimed is None or abs(found - claimed) <= TOLERANCE


def _tested(folder: Path, card: dict[str, Any], dataset: str, size: int | None) -> data.Images:
    """The images that a card was measured on; ValueError where the data set has others."""
    images = data.load(dataset, "test", size=size, limit=card["data"]["test"])
    if images.digest != card["data"]["test_digest"]:
        raise ValueError(f"{folder} was measured on other test images than {dataset}'s; name its data set with --dataset")
    return images


def _measure(model: nn.Module, images: data.Images, attack: dict[str, Any] | None, store: Store | None = None) -> dict[str, float]:
    if attack is None:
        return {"clean": accuracy(model, images)["top1"]}
    row = robust_accuracy(model, images, attack=partial(attacks.pgd, **attack), store=store)
    return {"clean": row["clean"], "robust": row["robust"]}

"""The task of notebook 10: which networks are fine-tuned on what, and how much of it a profile does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from .. import data, models, shipped
from . import recipes
from .fusion import check_join
from .plan import Plan
from .trainer import Trainer, drawn
from .transfer import RECIPE, Cells, Tuned, transfer


@dataclass(frozen=True)
class Effort:
    """How much of the fine-tuning a profile does."""

    runs: int
    limit: int | None  # training images of each run; None: all
    epochs: int
    batch_size: int
    lr: float


# quick: of the rates and batch sizes in checkpoints/README.md, those that do best on training images held out for it
EFFORTS = {
    "smoke": Effort(2, 64, 2, 32, 0.1),
    "quick": Effort(3, 300, 12, 32, 0.1),
    "full": Effort(3, None, RECIPE.epochs, RECIPE.batch_size, RECIPE.lr),
}


@dataclass(frozen=True)
class Task:
    """Networks of one plan, and what they are fine-tuned on: see `task`."""

    source: Plan  # of the networks
    target: str
    effort: Effort
    join: str
    frozen: bool

    @property
    def side(self) -> int:
        """The side of the images that the networks were trained on. The target's images are brought to it."""
        return self.source.images.train.shape[-1]

    @property
    def recipe(self) -> recipes.Recipe:
        """`RECIPE` at the effort's scale, with the target's augmentation; frozen backbones are not augmented."""
        effort, usual = self.effort, recipes.get("normal", preset="itazuri", image_size=self.side).augment
        augment = None if self.frozen else data.augmentation(self.target, usual)
        return replace(recipes.lasting(RECIPE, effort.epochs), batch_size=effort.batch_size, lr=effort.lr, augment=augment)

    @property
    def described(self) -> dict[str, Any]:
        """The task as a row of a table."""
        source, effort = self.source, self.effort
        return {
            "trained on": source.dataset, "network": source.scale.arch, "STD": source.first(adversarial=False), "ADV": source.first(adversarial=True),
            "fine-tuned on": self.target, "images per run": effort.limit or "all", "runs": effort.runs, "epochs": effort.epochs,
            "learning rate": effort.lr, "batch": effort.batch_size, "augmented": self.recipe.augment or "no",
            "joined": self.join, "backbones": "frozen" if self.frozen else "trained",
        }  # fmt: skip

    def run(self, *, store: Cells | None = None) -> Tuned:
        """`transfer` of the source's networks to the target."""
        scale, effort = self.source.scale, self.effort
        target = data.Splits(self.target, size=self.side, train_limit=scale.train_limit, test_limit=scale.test_limit)
        return transfer(
            backbones(self.source), target.train, target.test, self.recipe, runs=effort.runs, limit=effort.limit,
            seed=self.source.seed, join=self.join, frozen=self.frozen, store=store,
        )  # fmt: skip


def task(
    plan: Plan, *, target: str | None = None, runs: int | None = None, target_limit: int | None = None, tune_epochs: int | None = None,
    join: str = "features", frozen: bool = False,
) -> Task:  # fmt: skip
    """What the networks of a plan are fine-tuned on. None leaves the choice to the profile and the data set.

    The default target is ``fashion``; the networks of ``fashion`` itself are those of ``fashion-odd``, fine-tuned on ``fashion-even``.
    The profile ``zoo`` trains no network: it fine-tunes the backbones of ``fashion`` that ship, whatever its data set and test limit.

    Raises:
        ValueError: an unknown target or join, a target that shares images with the source, or a number below 1.
    """
    chosen = {"runs": runs, "target_limit": target_limit, "tune_epochs": tune_epochs}
    for name, value in chosen.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    check_join(join)
    if plan.profile == "zoo":
        plan = Plan()
    halves = ("fashion-odd", "fashion-even")
    if not target and plan.dataset.startswith("fashion"):
        source = plan.dataset if plan.dataset in halves else halves[0]
        plan, target = replace(plan, dataset=source), halves[1 - halves.index(source)]
    target = target or "fashion"
    data.check_name(target)
    both_fashion = target.startswith("fashion") and plan.dataset.startswith("fashion")
    if target == plan.dataset or (both_fashion and {target, plan.dataset} != set(halves)):
        raise ValueError(f"target is {target!r} for networks of {plan.dataset!r}, which hold the same images; name another data set")
    fields = dict(zip(("runs", "limit", "epochs"), chosen.values(), strict=True))
    return Task(plan, target, replace(EFFORTS[plan.profile], **{name: value for name, value in fields.items() if value}), join, frozen)


def backbones(plan: Plan) -> dict[str, list[nn.Module]]:
    """``STD`` and ``ADV``: the first normally and the first adversarially trained network of the plan's seed and of the next one. ``RND``:
    networks without training.

    Each is read where it ships or has been trained, else trained.
    """
    found: dict[str, list[nn.Module]] = {"STD": [], "ADV": [], "RND": []}
    for seed in (plan.seed, plan.seed + 1):
        trainer = Trainer(replace(plan, seed=seed))
        for kind, name in (("STD", plan.first(adversarial=False)), ("ADV", plan.first(adversarial=True))):
            ready = shipped("checkpoints", "transfer", trainer.folder(name).name)
            network = models.load(ready) if models.checkpoints.exists(ready) else trainer.obtain(name)
            found[kind].append(network.module.to(trainer.device))
            if kind == "STD":
                untrained = drawn(network.card["model"], seed).to(trainer.device)
        found["RND"].append(untrained)
    return found

"""The networks of a plan: read from their checkpoints, or trained and kept."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import disk, home, models, shipped
from ..models import Network, Networks, checkpoints
from . import loop
from .plan import Plan
from .recipes import Recipe
from .resume import forget

if TYPE_CHECKING:
    from lightning_fabric import Fabric


SEED = re.compile(r"-s(\d+)-[0-9a-f]{10}$")  # in the name of a checkpoint's folder


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Trainer:
    """Obtains networks of a plan. A network that has no checkpoint is trained; an interrupted training goes on from its last epoch."""

    plan: Plan
    device: torch.device = field(default_factory=best_device)
    fabric: Fabric | None = None

    @cached_property
    def networks(self) -> Networks:
        """Every network of the plan with its role, in the plan's order, in eval mode."""
        found = {name: self.obtain(name) for name in self.plan.names}
        baseline, subject = self.plan.pair
        return Networks.of(found.values(), baseline=baseline, subject=subject)

    def obtain(self, name: str) -> Network:
        """A network of the plan, with the classes of its test images: one that atviz trains is read from its checkpoint or trained.

        ValueError where classes or images do not fit (`models.fitted`).
        """
        network = self.plan.loaded.get(name)
        if network is None:
            folder = self.ready(name) or self.folder(name)
            if not checkpoints.exists(folder):
                recipe = self.recipe(name)
                with self._alone(folder):
                    if not checkpoints.exists(folder):  # else another process has trained it meanwhile
                        self._train(folder, recipe)
            network = models.load(folder)
        network = models.fitted(network, self.plan.images.test, self.plan.mapping)
        return replace(network, name=name, module=network.module.to(self.device))

    def _alone(self, folder: Path) -> AbstractContextManager[None]:
        """One process at a time trains a network; the processes of one training do it together."""
        if self.fabric and self.fabric.world_size > 1:
            return nullcontext()
        return disk.alone(folder.with_name(folder.name + ".training"), wait=lambda said: print(said, file=sys.stderr, flush=True))

    def ready(self, name: str) -> Path | None:
        """Where a trained network lies: trained here, or one of the seeds that ship in ``checkpoints/seeds``; None where there is none.

        Of networks that atviz trains.
        """
        here = self.folder(name)
        return next((place for place in (here, shipped("checkpoints", "seeds", here.name)) if checkpoints.exists(place)), None)

    def retrained(self) -> list[Networks]:
        """Baseline and subject of the same plan from every other seed of which both have been trained, by the seed; nothing is trained."""
        baseline, subject = self.plan.pair
        if self.plan.profile == "zoo" or not {baseline, subject} <= self.plan.recipes.keys() or subject is None:
            return []
        names = baseline, subject
        begin, _, _ = self.folder(baseline).name.rpartition(f"-s{self.plan.seed}-")
        places = [home() / "checkpoints" / "local", shipped("checkpoints", "seeds")]
        numbers = {int(found[1]) for place in places for path in place.glob(f"{begin}-s*") if (found := SEED.search(path.name))}
        two = tuple(reference.title for reference in self.plan.references if reference.name in names)
        plans = [
            replace(self.plan, seed=seed, models=two, baseline=baseline, subject=subject) for seed in sorted(numbers - {self.plan.seed})
        ]
        others = [Trainer(plan, self.device) for plan in plans]
        return [other.networks for other in others if all(other.ready(name) for name in names)]

    def recipe(self, name: str) -> Recipe:
        """The recipe of a network. That of ``underfit`` stops at the accuracy of the first adversarially trained network, which is trained
        where it is missing."""
        train = self.plan.images.train
        stop_at = (
            self.obtain(self.plan.first(adversarial=True)).card["metrics"]["clean"]
            if self.plan.recipes.get(name, name) == "underfit"
            else None
        )
        return self.plan.recipe(name, side=train.shape[-1], count=len(train), stop_at=stop_at)

    def folder(self, name: str) -> Path:
        """Where the checkpoint of a network lies. Outside the zoo its name holds a hash of all that the training depends on."""
        plan = self.plan
        if plan.profile == "zoo":
            return checkpoints.zoo(plan.dataset)[plan.recipes.get(name, name)]
        key = {
            "recipe": loop.describe(self.recipe(name)), "arch": plan.scale.arch, "seed": plan.seed,
            "train": plan.images.train.digest, "test": plan.images.test.digest,
        }  # fmt: skip
        if plan.start:
            key["weights"] = plan.start["sha256"][:8]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]
        dataset = re.sub(r"[^\w.-]+", "-", plan.images.test.name)
        return home() / "checkpoints" / "local" / f"{dataset}-{plan.scale.arch}-{plan.recipes.get(name, name)}-s{plan.seed}-{digest}"

    def _train(self, folder: Path, recipe: Recipe) -> None:
        plan, images, test = self.plan, self.plan.images.train, self.plan.images.test
        channels, _, side = images.shape
        shape: dict[str, Any] = {"arch": plan.scale.arch, "num_classes": len(images.classes), "in_channels": channels, "image_size": side}
        if plan.kind == "tiny-imagenet":
            shape["standardize"] = True  # each image by itself (Zhang & Zhu 2019)
        else:
            shape["mean"], shape["std"] = images.channel_stats()
        if plan.initial:
            shape["small_stem"] = models.has_small_stem(plan.initial)
        model = drawn(shape, plan.seed, plan.initial)
        resume = folder.with_name(folder.name + ".training")
        fabric = self.fabric or loop.make_fabric()
        report = loop.fit(model, recipe, images, test, seed=plan.seed, fabric=fabric, resume=resume)
        described = {
            "name": images.name, "train": len(images), "test": len(test), "train_digest": images.digest, "test_digest": test.digest,
        }  # fmt: skip
        last = report["history"][-1]
        card = {
            "model": shape, "recipe": loop.describe(recipe), "data": described, "classes": images.classes, "seed": plan.seed,
            "started_from": plan.start, "metrics": {"clean": last["clean"], "probe": last["robust"]},
            "collapsed_at": report["collapsed_at"], "stopped_at": report["stopped_at"], "history": report["history"],
            "versions": loop.versions(),
        }  # fmt: skip
        if fabric.is_global_zero:
            checkpoints.save(folder, model.state_dict(), card)
            forget(resume)
        fabric.barrier()


def drawn(shape: dict[str, Any], seed: int, weights: str | None = None) -> nn.Module:
    """A network before its training: of a card's ``model``, its random weights drawn by ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.build(**shape, weights=weights)


def untrained(network: Network, seed: int) -> nn.Module:
    """A network of the same architecture with random weights, in eval mode, on the same device.

    Raises:
        ValueError: a network that atviz did not build, with a layer that cannot be drawn anew (`models.randomized`).
    """
    device = models.device_of(network.module)
    if "model" in network.card:
        made = drawn(network.card["model"], seed).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        return models.Restrict(made, network.module.groups).eval() if isinstance(network.module, models.Restrict) else made
    *_, (_, made) = models.randomized(network.module, seed=seed)
    return made.eval()

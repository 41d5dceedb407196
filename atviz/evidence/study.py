"""A study: networks with their roles, measured on the same test images; results that are known are read from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import attacks, data, models
from ..distortions import Stylizer
from ..models import Networks
from ..training import Profile, eval_eps, profile
from . import maps
from .accuracy import robust_accuracy
from .findings import Roles
from .instruments import find
from .material import completed
from .outcomes import Distortion, Distortions, Outcomes, outcomes
from .records import Store


@dataclass
class Study:
    """What is measured, and how much of it.

    ``images`` are the test images. ``scale`` says how many steps, copies and images the measurements take. ``material`` holds the
    ``stylizer`` and the ``mean`` of the distortions that need them. ``others`` are the same study with baseline and subject trained
    again, from other seeds. ``saliency_limit`` replaces the scale's number of saliency images.
    """

    networks: Networks
    images: data.Images
    store: Store | None = None
    seed: int = 0
    scale: Profile = field(default_factory=lambda: profile("quick"))
    material: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[Study] = ()
    saliency_limit: int | None = None

    @property
    def models(self) -> dict[str, nn.Module]:
        return self.networks.modules

    @property
    def baseline(self) -> str:
        return self.networks.baseline.name

    @property
    def subject(self) -> str:
        return self.networks.subject.name

    @property
    def roles(self) -> Roles:
        """The names of the two networks that findings compare."""
        return Roles(baseline=self.baseline, subject=self.subject)

    @property
    def pair(self) -> Study:
        """The same study of baseline and subject alone."""
        two = [self.networks[name] for name in (self.baseline, self.subject)]
        return replace(self, networks=Networks.of(two, **self.roles))

    def with_roles(self, baseline: str, subject: str) -> Study:
        """The same study with other networks as baseline and subject."""
        return replace(self, networks=Networks.of(self.networks.values(), baseline=baseline, subject=subject))

    @property
    def device(self) -> torch.device:
        return models.device_of(self.networks.baseline.module)

    @cached_property
    def stylizer(self) -> Stylizer:
        """The given stylizer, else the small AdaIN network with procedural styles."""
        return completed(find("stylize"), self.images, self.material)["stylizer"]

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """What colors are reversed about, one value for each channel: the given mean, else the test images' own."""
        return tuple(completed(find("reverse"), self.images, self.material)["mean"])

    def gallery(self, n: int) -> tuple[Tensor, Tensor, list[str]]:
        """``n`` test images in [0, 1], of as many classes as possible, drawn by the seed; their labels; their classes' names."""
        images = self.images.sample(min(n, len(self.images)), seed=self.seed).to(self.device)
        x, y = next(images.batches(len(images)))
        return x, y, [images.classes[i] for i in y]

    def outcomes(self, distortions: Distortions, *, topk: int = 1) -> Outcomes:
        """`outcomes` of the networks on the test images."""
        return outcomes(self.models, self.images, distortions, topk=topk, seed=self.seed, store=self.store, material=self.material)

    @property
    def eps(self) -> float:
        """The L∞ radius of the subject's training, in pixel units; that of `attack` where it was trained otherwise."""
        recipe = self.networks.subject.card.get("recipe", {})
        trained = recipe.get("eps") if recipe.get("norm") == "linf" and recipe.get("attack") in ("pgd", "fgsm") else None
        return float(trained or eval_eps(self.images.name))

    @property
    def attack(self) -> partial[Tensor]:
        """The attack that robustness is measured with: PGD L∞ without random start, steps of eps/4 (Zhang & Zhu 2019, Table 1)."""
        eps = eval_eps(self.images.name)
        return partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=self.scale.eval_steps)

    def robustness(self) -> dict[str, dict[str, Any]]:
        """`robust_accuracy` of each network under `attack`."""
        return {name: robust_accuracy(model, self.images, attack=self.attack, store=self.store) for name, model in self.models.items()}

    @cached_property
    def saliency_images(self) -> data.Images:
        """The test images of the saliency numbers: as many as the scale says, drawn by the seed."""
        return self.images.sample(min(self.saliency_limit or self.scale.saliency_images, len(self.images)), seed=self.seed)

    def saliency_scores(self, method: str = "SmoothGrad") -> dict[str, dict[str, np.ndarray]]:
        """`saliency_scores` of each network: number → network → (n,), for ``bands`` (n, bands)."""
        return _by_number(
            {name: maps.saliency_scores(model, self.saliency_images, **self._maps(method)) for name, model in self.models.items()}
        )

    def saliency_stability(self, distort: Distortion, method: str = "Grad") -> dict[str, dict[str, np.ndarray]]:
        """`stability` of each network under a distortion: measure → network → (n,)."""
        return _by_number({name: maps.stability(m, self.saliency_images, distort, **self._maps(method)) for name, m in self.models.items()})

    def saliency_similarities(self, method: str = "SmoothGrad") -> dict[str, np.ndarray]:
        """`similarities` of the networks, in their order: measure → (n, networks, networks)."""
        return maps.similarities(self.models, self.saliency_images, **self._maps(method))

    def _maps(self, method: str) -> dict[str, Any]:
        return {"method": method, "copies": self.scale.smooth_copies, "store": self.store}


def _by_number(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    return {number: {name: values[number] for name, values in found.items()} for number in next(iter(found.values()))}

"""A study: networks with their roles, measured on the same test images; results that are known are read from the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import attacks, data, models
from ..distortions import Stylizer
from ..models import Networks
from ..training import Profile, eval_eps, profile
from . import findings, maps
from .accuracy import robust_accuracy
from .claims import Claim
from .findings import Finding
from .instruments import MAPS, find, named
from .material import completed
from .outcomes import Distortion, Distortions, Outcomes, outcomes
from .records import Store


@dataclass
class Study:
    """What is measured, and how much of it.

    ``images`` are the test images. ``scale`` says how many steps, copies and images the measurements take. ``material`` holds the
    ``stylizer`` and the ``mean`` of the distortions that need them.
    """

    networks: Networks
    images: data.Images
    store: Store | None = None
    seed: int = 0
    scale: Profile = field(default_factory=lambda: profile("quick"))
    material: Mapping[str, Any] = field(default_factory=dict)

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
    def roles(self) -> dict[str, str]:
        """The names of the two networks that findings compare."""
        return {"baseline": self.baseline, "subject": self.subject}

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
        return self.images.sample(min(self.scale.saliency_images, len(self.images)), seed=self.seed)

    def saliency_scores(self) -> dict[str, dict[str, np.ndarray]]:
        """`saliency_scores` of each network: measure → network → (n,), for ``bands`` (n, bands)."""
        return _by_measure({name: maps.saliency_scores(m, self.saliency_images, store=self.store) for name, m in self.models.items()})

    def saliency_stability(self, distort: Distortion) -> dict[str, dict[str, np.ndarray]]:
        """`stability` of each network under a distortion: measure → network → (n,)."""
        return _by_measure({name: maps.stability(m, self.saliency_images, distort, store=self.store) for name, m in self.models.items()})

    def saliency_similarities(self) -> dict[str, np.ndarray]:
        """`similarities` of the networks, in their order."""
        return maps.similarities(self.models, self.saliency_images, store=self.store)

    def compare(self, results: Outcomes) -> list[Finding]:
        """The findings of outcomes, at every level of which a paper claims something."""
        return findings.of_outcomes(results, **self.roles)

    def compare_shares(self, claim: Claim, hit: Mapping[str, np.ndarray], *, given: Mapping[str, np.ndarray] | None = None) -> Finding:
        """The finding of outcomes ``hit``, (n,) bool for each network, among the images ``given`` for each network."""
        return findings.of_shares(claim, hit, given=given, **self.roles)

    def compare_maps(self, scores: Mapping[str, Mapping[str, np.ndarray]]) -> list[Finding]:
        """The findings of saliency numbers of which a paper claims something: measure → network → (n,)."""
        rows = named(MAPS)
        claims = [claim for name in scores if name in rows for claim in rows[name].claims.values()]
        return [findings.of_means(claim, scores[claim.measure], **self.roles) for claim in claims]


def _by_measure(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    return {measure: {name: values[measure] for name, values in found.items()} for measure in next(iter(found.values()))}

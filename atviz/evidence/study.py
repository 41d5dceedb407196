"""A study: networks with their roles, measured on the same test images; results that are known are read from the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import attacks, data, models
from ..distortions import Stylizer
from ..models import Network, Networks, readable
from ..training import TRAININGS, Profile, eval_eps, profile, trained_as
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

    @classmethod
    def of(
        cls, networks: nn.Module | Network | Mapping[str, nn.Module | Network], images: Any, *, baseline: str = "", subject: str = "",
        mapping: Mapping[str, Sequence[str]] | None = None, **others: Any,
    ) -> Study:  # fmt: skip
        """A study of modules at hand.

        Args:
            networks: modules from pixels in [0, 1] to logits, or `models.load`'s networks, by name; or one of them. They are put into eval
                mode, and restricted to the images' classes where they have more (`models.fitted`).
            images: test images: atviz's, a dataset of (image, label), or a DataLoader (`data.as_images`).
            baseline, subject: names of the two that are compared; default the first two.
            mapping: class of the images → classes of the networks, where their names do not agree.
            others: fields of the study, such as ``store`` and ``scale``.

        Raises:
            TypeError, ValueError: what is no module, no set of images, or does not fit.

        >>> study = Study.of({"mine": nn.Sequential(nn.Flatten(), nn.Linear(784, 10))}, data.load("fashion", "test", limit=20))
        >>> study.alone, list(study.models), study.outcomes({"saturate": [4]}).distorted["mine", "saturate", 4].shape
        (True, ['mine'], (20,))
        """
        named = networks if isinstance(networks, Mapping) else {getattr(networks, "name", "model"): networks}
        wrong = next((value for value in named.values() if not isinstance(value, nn.Module | Network)), None)
        if wrong is not None or not named:
            what = "nothing" if wrong is None else f"a value of type {type(wrong).__name__}"
            raise TypeError(f"networks holds {what}; it must hold modules or networks of models.load, by name")
        images = data.as_images(images)
        made = [
            replace(value, name=name) if isinstance(value, Network) else Network(name, value.eval(), [], None)
            for name, value in named.items()
        ]  # fmt: skip
        fit = [models.fitted(network, images, mapping) for network in made]
        first = baseline or next(name for name in named if name != subject)
        second = subject or next((name for name in named if name != first), None)
        return cls(Networks.of(fit, baseline=first, subject=second), images, **others)

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
        """The two networks that findings compare."""
        return Roles(baseline=self.baseline, subject=self.subject, comparable=self.comparable)

    @property
    def alone(self) -> bool:
        """Whether there is one network, with nothing to compare it with."""
        return self.networks.alone

    @property
    def comparable(self) -> bool:
        """Whether the comparison is the papers': the subject is known to be trained adversarially, and the baseline normally."""
        return (trained_as(self.networks.baseline.card), trained_as(self.networks.subject.card)) == TRAININGS

    @property
    def pair(self) -> Study:
        """The same study of baseline and subject."""
        return self.only([self.baseline, self.subject])

    def with_roles(self, baseline: str, subject: str) -> Study:
        """The same study with other networks as baseline and subject."""
        return replace(self, networks=Networks.of(self.networks.values(), baseline=baseline, subject=subject))

    def only(self, names: Iterable[str]) -> Study:
        """The same study of some of its networks. A role whose network is not among them goes to the first that has none."""
        kept = [network for name, network in self.networks.items() if name in set(names)]
        roles = {network.role: network.name for network in kept}
        free = [network.name for network in kept if network.role == "other"]
        baseline = roles.get("baseline") or (free.pop(0) if free else roles.pop("subject"))
        subject = roles.get("subject") or (free.pop(0) if free and not self.alone else None)
        return replace(self, networks=Networks.of(kept, baseline=baseline, subject=subject))

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

    @cached_property
    def class_names(self) -> list[str]:
        """The classes' names to show: in words also where the folders are called by WordNet ids."""
        return readable(self.images.classes)

    def gallery(self, n: int) -> tuple[Tensor, Tensor, list[str]]:
        """``n`` test images in [0, 1], of as many classes as possible, drawn by the seed; their labels; their classes' names."""
        images = self.images.sample(min(n, len(self.images)), seed=self.seed).to(self.device)
        x, y = next(images.batches(len(images)))
        return x, y, [self.class_names[i] for i in y]

    def outcomes(self, distortions: Distortions, *, topk: int = 1) -> Outcomes:
        """`outcomes` of the networks on the test images."""
        return outcomes(self.models, self.images, distortions, topk=topk, seed=self.seed, store=self.store, material=self.material)

    @property
    def eps(self) -> float:
        """The L∞ radius of the subject's training, in pixel units; that of `attack` where it was trained otherwise."""
        recipe = self.networks.subject.card.get("recipe", {})
        trained = recipe.get("eps") if recipe.get("norm") == "linf" else None  # 0 without a radius
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

"""How many test images each network classifies correctly at a state: read from the records, or measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy, deepcopy
from typing import Any

import numpy as np
from torch import Tensor, nn

from ... import evidence
from ...data import Images
from ...evidence import Study
from ...models import bf16_is_faster, fingerprint
from .state import State
from .view import Chain, active, attack, check


class AttackedChain:
    """The attack of a state on images that its distortions have changed: ``(model, x, y) -> x_adv``."""

    def __init__(self, study: Study, state: State) -> None:
        self.chain, self.attack = Chain(study, state, whole=True), attack(state)
        self.key = {"attack": {**self.attack.keywords}, "after": self.chain.key}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.attack(model, self.chain(x).clamp(0, 1), y)


def _measurement(study: Study, state: State) -> dict[str, Any]:
    """The arguments of `evidence.recorded` at a state. With one distortion they are those of the sweeps."""
    steps = active(state)
    if state.eps:
        return {"attack": AttackedChain(study, state) if steps else attack(state), "bf16": bf16_is_faster(study.device)}
    if not steps:
        return {}
    (name, level), *more = steps
    if not more and (name != "stylize" or state.style == "drawn"):
        material = {"stylizer": study.stylizer, "mean": study.mean}
        return {"name": name, "level": level, "seed": study.seed + state.redraw, "material": material}
    return {"name": "explored", "own": Chain(study, state, whole=True)}


def recorded(study: Study, state: State, prints: Mapping[str, str]) -> dict[str, np.ndarray | None]:
    """Which test images networks classify correctly at a state: network → (n,) bool, or None where the records do not hold it.

    Nothing is computed. ``prints`` holds the `models.fingerprint` of each network.
    """
    if study.store is None:
        return dict.fromkeys(prints)
    what = _measurement(study, state)
    return {name: evidence.recorded(value, study.images, study.store, device=study.device, **what) for name, value in prints.items()}


def copied(study: Study, state: State) -> dict[str, nn.Module]:
    """Copies of a state's networks.

    Do not copy while `explore` runs in another thread: a saliency method may change a network for a moment.
    """
    return {name: deepcopy(study.models[name]) for name in check(study, state)}


def measure(
    study: Study, state: State, models: Mapping[str, nn.Module] | None = None, tell: Callable[[float], object] = lambda share: None
) -> None:
    """Classify all test images with the state's networks at its distortions, and keep the outcomes in the study's records.

    ``models`` are the networks to use, by default the study's own. In a thread beside `explore`, use `copied` networks. ``tell`` gets the
    share of the work that is done.
    """
    models = models or {name: study.models[name] for name in check(study, state)}
    what = _measurement(study, state)
    passes = 1 + (len(models) if state.eps else bool(what))
    evidence.likeliest(models, _told(study.images, 0, passes, tell), study.store)
    if not state.eps:
        if what:
            evidence.likeliest(models, _told(study.images, 1, passes, tell), study.store, **what)
        return
    for done, model in enumerate(models.values(), start=1):  # each begins at the first image again
        images = _told(study.images, done, passes, tell)
        evidence.robust_accuracy(model, images, store=study.store, **_measurement(study, state))


def _told(images: Images, done: int, passes: int, tell: Callable[[float], object]) -> Images:
    """The same images; the share of all passes that is done is told when a batch of them has been used."""

    def batches(*args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        seen = 0
        for x, y in images.batches(*args, **kwargs):
            yield x, y
            seen += len(y)
            tell((done + seen / len(images)) / passes)

    watched = copy(images)
    vars(watched)["batches"] = batches
    return watched


def fingerprints(study: Study) -> dict[str, str]:
    """The `models.fingerprint` of each network, which names it in the records."""
    return {name: fingerprint(model) for name, model in study.models.items()}

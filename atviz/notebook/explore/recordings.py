"""How many test images each network classifies correctly at a state: read from the records, or measured."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from torch import Tensor, nn

from ... import evidence
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


def measure(study: Study, state: State, models: Mapping[str, nn.Module] | None = None) -> None:
    """Classify all test images with the state's networks at its distortions, and keep the outcomes in the study's records.

    ``models`` are the networks to use, by default the study's own. In a thread beside `explore`, use `copied` networks.
    """
    models = models or {name: study.models[name] for name in check(study, state)}
    evidence.likeliest(models, study.images, study.store)
    what = _measurement(study, state)
    if not state.eps:
        if what:
            evidence.likeliest(models, study.images, study.store, **what)
        return
    for model in models.values():  # each begins at the first image again
        evidence.robust_accuracy(model, study.images, store=study.store, **_measurement(study, state))


def fingerprints(study: Study) -> dict[str, str]:
    """The `models.fingerprint` of each network, which names it in the records."""
    return {name: fingerprint(model) for name, model in study.models.items()}

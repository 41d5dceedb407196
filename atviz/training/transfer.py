"""Fine-tuning of pre-trained networks, alone and joined in pairs, on another task (Itazuri et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import models
from ..data import Images
from . import loop, recipes
from .fusion import Fusion, channels, check_join, features, recolored

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COMBINATIONS = ("STD", "ADV", "STD+STD", "ADV+ADV", "STD+ADV", "RND+RND")  # kinds of backbone; RND has random weights
# Itazuri et al. 2019: the learning rate and epochs of the fine-tuning, all else as they train on ImageNet
RECIPE = replace(recipes.lasting(recipes.get("normal", preset="itazuri"), 30), name="transfer", lr=0.001, augment=None)


class Cells(Protocol):
    """Results that are kept: ``cell`` returns the value of a key, computed only once."""

    def cell(self, key: dict[str, Any], compute: Callable[[], Any]) -> Any: ...


class Tuned(NamedTuple):
    """``outcomes``: combination → (runs, n) bool, which test images each run classifies correctly after its last epoch.

    ``curves``: one row per combination, run and epoch, with ``model`` (the combination), ``run``, ``epoch``, ``loss`` (in training) and
    ``clean`` (accuracy on the test images; after the last epoch, that of ``outcomes``).
    """

    outcomes: dict[str, np.ndarray]
    curves: pd.DataFrame


def transfer(
    backbones: Mapping[str, Sequence[nn.Module]],
    train_images: Images,
    test_images: Images,
    recipe: recipes.Recipe = RECIPE,
    *,
    runs: int = 3,
    limit: int | None = None,
    seed: int = 0,
    join: str = "features",
    frozen: bool = False,
    store: Cells | None = None,
    fabric: Fabric | None = None,
) -> Tuned:
    """Fine-tune each of `COMBINATIONS` that the kinds of ``backbones`` allow, ``runs`` times, and test it.

    Args:
        backbones: kind (``STD``, ``ADV`` and, if wanted, ``RND``) → at least two networks. Run r takes the r-th of its kind, counted
            round, and a pair of a kind also the next.
        train_images, test_images: of the same classes; converted where they are gray and the networks are not, or the reverse.
        limit: each run draws that many training images, stratified, by its own seed, ``seed`` + r; None: all of them.
        join, frozen: as `Fusion`. Where the backbones are frozen and the recipe does not augment, their features are computed once.

    Raises:
        ValueError: in one sentence, before anything is trained.
    """
    if runs < 1 or (limit is not None and limit < 1):
        raise ValueError(f"runs is {runs} and limit is {limit}; each must be at least 1")
    if train_images.classes != test_images.classes:
        raise ValueError(f"the training images have {len(train_images.classes)} classes and the test images others; they must be the same")
    known = {kind for name in COMBINATIONS for kind in name.split("+")}
    for kind, networks in backbones.items():
        if kind not in known or len(networks) < 2:
            raise ValueError(
                f"there are {len(networks)} backbones of kind {kind!r}; there must be two or more of {', '.join(sorted(known))}"
            )
    check_join(join)
    combinations = [name for name in COMBINATIONS if set(name.split("+")) <= set(backbones)]
    for name in combinations:  # refuses what cannot be joined
        Fusion(_chosen(name, backbones, 0), 2, join=join)
    of = channels(next(iter(backbones.values()))[0])
    train_images, test_images = recolored(train_images, of), recolored(test_images, of)
    y = test_images.y.cpu().numpy()
    outcomes: dict[str, list[np.ndarray]] = {name: [] for name in combinations}
    curves: list[dict[str, Any]] = []
    for run in range(runs):
        shown = train_images.sample(limit, seed=seed + run) if limit and limit < len(train_images) else train_images
        for name in combinations:
            fitting = replace(recipe, name=name, batch_size=min(recipe.batch_size, len(shown)))
            chosen = _chosen(name, backbones, run)
            key = {
                "measure": "transfer", "backbones": [models.fingerprint(backbone) for backbone in chosen], "train": shown.digest, "test": test_images.digest,
                "recipe": loop.describe(fitting), "seed": seed + run, "join": join, "frozen": frozen,
            }  # fmt: skip
            tune = partial(_tuned, chosen, fitting, shown, test_images, seed + run, join, frozen, fabric)
            found = tune() if store is None else store.cell(key, tune)
            outcomes[name].append(np.array(found["predicted"]) == y)
            curves += [{"model": name, "run": run, **row} for row in found["history"]]
    return Tuned({name: np.stack(hits) for name, hits in outcomes.items()}, pd.DataFrame(curves))


def _chosen(combination: str, backbones: Mapping[str, Sequence[nn.Module]], run: int) -> list[nn.Module]:
    kinds = combination.split("+")
    return [backbones[kind][(run + kinds[:i].count(kind)) % len(backbones[kind])] for i, kind in enumerate(kinds)]


def _tuned(
    backbones: Sequence[nn.Module], recipe: recipes.Recipe, shown: Images, test: Images, seed: int, join: str, frozen: bool,
    fabric: Fabric | None,
) -> dict[str, Any]:  # fmt: skip
    """The classes that a fusion predicts after fine-tuning, (n,), and its history."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fusion = Fusion(backbones, len(shown.classes), join=join, frozen=frozen)
    tuned: nn.Module = fusion
    if frozen and recipe.augment is None:
        tuned = fusion.head
        shown, test = (features(fusion, images) for images in (shown, test))
    report = loop.fit(tuned, recipe, shown, test, seed=seed, fabric=fabric)
    predicted = models.predict(tuned, test.batches(500, device=next(tuned.parameters()).device))[:, 0]
    history = [{name: row[name] for name in ("epoch", "loss", "clean")} for row in report["history"]]
    return {"predicted": predicted.tolist(), "history": history}

"""The benefit of robust features: pre-trained networks, alone and joined in pairs, fine-tuned on another task (Itazuri et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from . import checkpoints, data, home, models, recipes, shipped, study, train, zoo
from .data import Images
from .intervals import mean_interval
from .records import Store, cell

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COMBINATIONS = ("STD", "ADV", "STD+STD", "ADV+ADV", "STD+ADV", "RND+RND")  # kinds of trunk; RND has random weights
PAIRS = ("STD+STD", "ADV+ADV")  # what STD+ADV is held against
JOINS = ("features", "logits")
# Itazuri et al. 2019: the learning rate and epochs of the fine-tuning, all else as they train on ImageNet
RECIPE = replace(recipes.lasting(recipes.get("normal", preset="itazuri"), 30), name="transfer", lr=0.001, augment=None)


class Fusion(nn.Module):
    """Late fusion: what one or two pre-trained networks make of an image, side by side, before one new linear layer.

    With ``join`` ``features`` that is the input of each trunk's own last layer, with ``logits`` its output: what the trunk says of
    the classes that it was trained on. (The sum of new logits of each trunk would be the same function as joined features.) The
    paper says neither which is joined nor whether the trunks are ``frozen``: then they stay in eval mode and get no gradient.
    The trunks are copies; each keeps its own normalizing layer.

    Takes x (N, C, H, W) in [0, 1] to logits (N, num_classes).

    Raises:
        ValueError: no or more than two trunks, twice the same one, trunks for different numbers of channels, or one whose last
            layer is not a linear one named ``network.fc`` as in `models.build`; an unknown ``join``.
    """

    def __init__(self, trunks: Sequence[nn.Module], num_classes: int, *, join: str = "features", frozen: bool = False) -> None:
        super().__init__()
        check_join(join)
        if len(trunks) not in (1, 2):
            raise ValueError(f"there are {len(trunks)} trunks; one or two can be joined")
        if len({models.fingerprint(trunk) for trunk in trunks}) < len(trunks):
            raise ValueError("the two trunks are the same network; a pair needs two that were trained from different seeds")
        if len({channels(trunk) for trunk in trunks}) > 1:
            raise ValueError(f"the trunks take images of {channels(trunks[0])} and {channels(trunks[1])} channels; they must take the same")
        self.frozen = frozen
        self.trunks = nn.ModuleList(map(deepcopy, trunks))
        width = 0
        for trunk in self.trunks:
            last = getattr(getattr(trunk, "network", None), "fc", None)
            if not isinstance(last, nn.Linear):
                raise ValueError(f"a trunk's last layer, network.fc, is {type(last).__name__}; it must be Linear, as models.build makes it")
            width += last.in_features if join == "features" else last.out_features
            if join == "features":
                trunk.network.fc = nn.Identity()  # type: ignore[union-attr]
        self.trunks.requires_grad_(not frozen)
        self.head = nn.Linear(width, num_classes, device=next(self.trunks.parameters()).device)
        self.train()

    def train(self, mode: bool = True) -> Fusion:
        super().train(mode)
        if self.frozen:
            self.trunks.eval()
        return self

    def joined(self, x: Tensor) -> Tensor:
        """What the head gets: (N, sum of the trunks' widths)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return torch.cat([trunk(x) for trunk in self.trunks], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.joined(x))


def check_join(join: str) -> None:
    """ValueError unless ``join`` is one of `JOINS`."""
    if join not in JOINS:
        raise ValueError(f"join is {join!r}; it must be {' or '.join(JOINS)}")


def channels(model: nn.Module) -> int:
    """The number of channels of the images that a network takes."""
    return next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))


class Features(Images):
    """What a frozen fusion joins, in place of images: ``x`` is (N, width) float32."""

    def __post_init__(self) -> None:
        pass

    def _shown(self, x: Tensor, *_: Any) -> Tensor:
        return x


def features(fusion: Fusion, images: Images) -> Features:
    """What the head of a fusion gets of each image, computed once, in eval mode and fp32."""
    device = fusion.head.weight.device
    with models.evaluating(fusion), torch.no_grad():
        x = torch.cat([fusion.joined(x) for x, _ in images.batches(500, device=device)])
    return Features(x, images.y.to(device), images.classes, images.name)


def recolored(images: Images, channels: int) -> Images:
    """Images for a network of 1 or 3 channels: gray is repeated, color becomes its luma, 0.299 R + 0.587 G + 0.114 B."""
    have = images.x.shape[1]
    if have == channels:
        return images
    if {have, channels} != {1, 3}:
        raise ValueError(f"{images.name} has {have} channels and the network takes {channels}; only 1 and 3 can be brought to each other")
    if images.x.is_meta:
        raise ValueError(f"{images.name} is too large to be held in memory, and is not brought from {have} to {channels} channels there")
    from torchvision.transforms.v2 import functional as F

    return replace(images, x=images.x.expand(-1, 3, -1, -1) if channels == 3 else F.rgb_to_grayscale(images.x))


@dataclass(frozen=True)
class Transferred:
    """``outcomes``: combination → (runs, n) bool, which test images each run classifies rightly after its last epoch.

    ``curves``: a row a combination, run and epoch, with ``model`` (the combination), ``run``, ``epoch``, ``loss`` (in training) and
    ``clean`` (accuracy on the ``curve_images`` of `transfer`).
    """

    outcomes: dict[str, np.ndarray]
    curves: pd.DataFrame

    @property
    def bands(self) -> pd.DataFrame:
        """A row a combination and epoch: test accuracy ``value``, mean over the runs, and one standard deviation about it, ``low``, ``high``."""
        found = self.curves.groupby(["model", "epoch"], sort=False)["clean"].agg(value="mean", sd="std").reset_index()
        return found.assign(low=found.value - found.sd, high=found.value + found.sd).drop(columns="sd")

    @property
    def table(self) -> pd.DataFrame:
        """A row a combination: final accuracy ``value``, mean over the ``runs``, with ``ci_low`` and ``ci_high``, 95 % over the ``n`` test
        images, each counted with the share of the runs that get it right; ``sd`` is the standard deviation over the runs."""
        rows = []
        for name, hits in self.outcomes.items():
            value, low, high = mean_interval(hits.mean(0))
            sd = float(hits.mean(1).std(ddof=1)) if len(hits) > 1 else float("nan")
            rows.append({"model": name, "value": value, "ci_low": low, "ci_high": high, "sd": sd, "runs": len(hits), "n": hits.shape[1]})
        return pd.DataFrame(rows)

    @property
    def readable(self) -> pd.DataFrame:
        """`table` as text, in percent."""
        rows = [
            {
                "networks": row["model"],
                "accuracy (%)": f"{100 * row['value']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]",
                "s.d.": f"{100 * row['sd']:.1f}",
                "runs": row["runs"],
                "test images": row["n"],
            }
            for row in self.table.to_dict("records")
        ]
        return pd.DataFrame(rows)

    @property
    def by_run(self) -> pd.DataFrame:
        """A row a combination and run: ``model``, ``run``, final accuracy ``value``."""
        return pd.DataFrame(
            [{"model": m, "run": run, "value": float(v)} for m, hits in self.outcomes.items() for run, v in enumerate(hits.mean(1))]
        )

    @property
    def n(self) -> int:
        """The number of test images."""
        return next(iter(self.outcomes.values())).shape[1]

    def accuracy(self, combination: str) -> float:
        """Final accuracy, mean over the runs."""
        return float(self.outcomes[combination].mean())

    @property
    def better_pair(self) -> str:
        """Which of `PAIRS` is the more accurate."""
        return max(PAIRS, key=self.accuracy)

    def difference(self, a: str, b: str) -> tuple[float, float, float]:
        """Final accuracy of combination ``a`` minus that of ``b``, with its 95 % interval: paired over the images, averaged over the runs."""
        return mean_interval(self.outcomes[a].mean(0) - self.outcomes[b].mean(0))

    def differences(self, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
        """`difference` of each pair, a row each: ``pair``, ``difference``, ``ci_low``, ``ci_high``."""
        rows = [
            dict(zip(("pair", "difference", "ci_low", "ci_high"), (f"{a} − {b}", *self.difference(a, b)), strict=True)) for a, b in pairs
        ]
        return pd.DataFrame(rows)


def transfer(
    trunks: Mapping[str, Sequence[nn.Module]],
    train_images: Images,
    test_images: Images,
    recipe: recipes.Recipe = RECIPE,
    *,
    runs: int = 3,
    limit: int | None = None,
    curve_images: int | None = None,
    seed: int = 0,
    join: str = "features",
    frozen: bool = False,
    store: Store | None = None,
    fabric: Fabric | None = None,
) -> Transferred:
    """Fine-tune each of `COMBINATIONS` that the kinds of ``trunks`` allow, ``runs`` times, and test it.

    Args:
        trunks: kind (``STD``, ``ADV`` and, if wanted, ``RND``) → at least two networks. Run r takes the r-th of its kind, counted
            round, and a pair of a kind also the next.
        train_images, test_images: of the same classes; converted where they are gray and the networks are not, or the reverse.
        limit: each run draws that many training images, stratified, by its own seed, ``seed`` + r; None: all of them.
        curve_images: how many test images, stratified, are asked after every epoch; None: all. After the last all are, in any case.
        join, frozen: as `Fusion`. Where the trunks are frozen and the recipe does not augment, their features are computed once.

    Raises:
        ValueError: in one sentence, before anything is trained.
    """
    if runs < 1 or (limit is not None and limit < 1):
        raise ValueError(f"runs is {runs} and limit is {limit}; each must be at least 1")
    if train_images.classes != test_images.classes:
        raise ValueError(f"the training images have {len(train_images.classes)} classes and the test images others; they must be the same")
    known = {kind for name in COMBINATIONS for kind in name.split("+")}
    for kind, networks in trunks.items():
        if kind not in known or len(networks) < 2:
            raise ValueError(f"there are {len(networks)} trunks of kind {kind!r}; there must be two or more of {', '.join(sorted(known))}")
    check_join(join)
    combinations = [name for name in COMBINATIONS if set(name.split("+")) <= set(trunks)]
    for name in combinations:  # refuses what cannot be joined
        Fusion(_chosen(name, trunks, 0), 2, join=join)
    of = channels(next(iter(trunks.values()))[0])
    train_images, test_images = recolored(train_images, of), recolored(test_images, of)
    y = test_images.y.cpu().numpy()
    asked = test_images.sample(curve_images) if curve_images and curve_images < len(test_images) else test_images
    outcomes: dict[str, list[np.ndarray]] = {name: [] for name in combinations}
    curves: list[dict[str, Any]] = []
    for run in range(runs):
        shown = train_images.sample(limit, seed=seed + run) if limit and limit < len(train_images) else train_images
        for name in combinations:
            fitting = replace(recipe, name=name, batch_size=min(recipe.batch_size, len(shown)))
            chosen = _chosen(name, trunks, run)
            key = {
                "measure": "transfer", "trunks": [models.fingerprint(trunk) for trunk in chosen], "train": shown.digest, "test": test_images.digest,
                "asked": len(asked),                 "recipe": train.describe(fitting), "seed": seed + run, "join": join, "frozen": frozen,
            }  # fmt: skip
            found = cell(store, key, partial(_tuned, chosen, fitting, shown, asked, test_images, seed + run, join, frozen, fabric))
            outcomes[name].append(np.array(found["predicted"]) == y)
            curves += [{"model": name, "run": run, **row} for row in found["history"]]
    return Transferred({name: np.stack(hits) for name, hits in outcomes.items()}, pd.DataFrame(curves))


def _chosen(combination: str, trunks: Mapping[str, Sequence[nn.Module]], run: int) -> list[nn.Module]:
    kinds = combination.split("+")
    return [trunks[kind][(run + kinds[:i].count(kind)) % len(trunks[kind])] for i, kind in enumerate(kinds)]


def _tuned(
    trunks: Sequence[nn.Module], recipe: recipes.Recipe, shown: Images, asked: Images, test: Images, seed: int, join: str, frozen: bool,
    fabric: Fabric | None,
) -> dict[str, Any]:  # fmt: skip
    """The classes that a fusion predicts after fine-tuning, (n,), and its history."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fusion = Fusion(trunks, len(shown.classes), join=join, frozen=frozen)
    tuned: nn.Module = fusion
    if frozen and recipe.augment is None:
        tuned = fusion.head
        shown, asked, test = (features(fusion, images) for images in (shown, asked, test))
    report = train.fit(tuned, recipe, shown, asked, seed=seed, fabric=fabric)
    predicted = models.predict(tuned, test.batches(500, device=next(tuned.parameters()).device))[:, 0]
    history = [{name: row[name] for name in ("epoch", "loss", "clean")} for row in report["history"]]
    return {"predicted": predicted.tolist(), "history": history}


@dataclass(frozen=True)
class Effort:
    """How much of the fine-tuning a profile does."""

    runs: int
    limit: int | None  # training images of each run; None: all
    curve_images: int | None  # test images asked after every epoch; None: all
    epochs: int
    batch_size: int
    lr: float


# quick: of the rates and batch sizes in checkpoints/transfer/README.md, those that do best on training images held out for it
EFFORTS = {
    "smoke": Effort(2, 64, None, 2, 32, 0.1),
    "quick": Effort(3, 300, 250, 12, 32, 0.1),
    "full": Effort(3, None, None, RECIPE.epochs, RECIPE.batch_size, RECIPE.lr),
}


@dataclass(frozen=True)
class Task:
    """Networks trained on one data set, and what they are fine-tuned on: see `task`."""

    source: study.Settings  # of the networks
    target: str
    effort: Effort
    join: str
    frozen: bool

    @cached_property
    def side(self) -> int:
        """The side of the images that the networks were trained on, which the target's are brought to."""
        return study.Study(self.source).train_images.shape[-1]

    @property
    def recipe(self) -> recipes.Recipe:
        """`RECIPE` at the effort's scale; augmented as training on the target is, but not where the trunks are frozen."""
        effort, usual = self.effort, recipes.get("normal", preset="itazuri", image_size=self.side).augment
        augment = None if self.frozen else study.augmentation(self.target, usual)
        return replace(recipes.lasting(RECIPE, effort.epochs), batch_size=effort.batch_size, lr=effort.lr, augment=augment)

    @property
    def described(self) -> dict[str, Any]:
        """The task as a row of a table."""
        source, effort = self.source, self.effort
        return {
            "trained on": source.dataset, "network": source.arch, "STD": "normal", "ADV": study.Study(source).adversarial,
            "fine-tuned on": self.target, "images a run": effort.limit or "all", "runs": effort.runs, "epochs": effort.epochs,
            "learning rate": effort.lr, "batch": effort.batch_size, "augmented": self.recipe.augment or "no",
            "test images asked each epoch": effort.curve_images or "all", "joined": self.join,
            "trunks": "frozen" if self.frozen else "trained",
        }  # fmt: skip

    def run(self, *, store: Store | None = None) -> Transferred:
        """`transfer` of the source's networks to the target."""
        profile = study.Study(self.source).profile
        train_images = data.load(self.target, "train", size=self.side, limit=profile.train_limit)
        test_images = data.load(self.target, "test", size=self.side, limit=profile.test_limit)
        effort = self.effort
        return transfer(
            sources(self.source), train_images, test_images, self.recipe, runs=effort.runs, limit=effort.limit, curve_images=effort.curve_images,
            seed=self.source.seed, join=self.join, frozen=self.frozen, store=store,
        )  # fmt: skip


def task(
    settings: study.Settings, *, target: str = "", runs: int = 0, target_limit: int = 0, tune_epochs: int = 0, join: str = "features",
    frozen: bool = False,
) -> Task:  # fmt: skip
    """What networks of ``settings`` are fine-tuned on; 0 and "" leave the choice to the profile and the data set.

    Without a ``target`` it is ``fashion``; of networks of ``fashion`` itself it is ``fashion-even`` for networks of ``fashion-odd``.
    The profile ``zoo``, which trains no network, fine-tunes those of ``fashion`` that ship for this, whatever its data set and
    test limit.

    Raises:
        ValueError: an unknown target or join, one that shares images with the source, or a negative number.
    """
    for name, value in {"runs": runs, "target_limit": target_limit, "tune_epochs": tune_epochs}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be at least 0")
    check_join(join)
    if settings.profile == "zoo":
        settings = study.Settings()
    halves = ("fashion-odd", "fashion-even")
    if not target and settings.dataset.startswith("fashion"):
        source = settings.dataset if settings.dataset in halves else halves[0]
        settings, target = replace(settings, dataset=source), halves[1 - halves.index(source)]
    target = target or "fashion"
    data.check_name(target)
    if target == settings.dataset or (target.startswith("fashion") and settings.dataset.startswith("fashion") and
                                      {target, settings.dataset} != set(halves)):  # fmt: skip
        raise ValueError(f"target is {target!r} for networks of {settings.dataset!r}, which hold the same images; name another data set")
    effort = EFFORTS[settings.profile]
    chosen = {"runs": runs, "limit": target_limit, "epochs": tune_epochs}
    return Task(settings, target, replace(effort, **{name: value for name, value in chosen.items() if value}), join, frozen)


def sources(settings: study.Settings) -> dict[str, list[nn.Module]]:
    """The trunks: ``STD`` and ``ADV``, the normal and the adversarial network of the settings' seed and of the next, and ``RND``, the
    same networks before any training. They are read where they ship or have been trained, else trained."""
    found: dict[str, list[nn.Module]] = {"STD": [], "ADV": [], "RND": []}
    for seed in (settings.seed, settings.seed + 1):
        made = study.Study(replace(settings, seed=seed))
        for kind, name in (("STD", "normal"), ("ADV", made.adversarial)):
            ready = shipped("checkpoints", "transfer", made.folder(name).name)
            if checkpoints.exists(ready):
                model, made.cards[name] = study.load_checkpoint(ready)
                found[kind].append(model.to(made.device))
            else:
                found[kind].append(made.obtain(name))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found["RND"].append(models.build(**made.cards["normal"]["model"]).to(made.device))
    return found


def ship() -> Path:
    """Train the trunks of the quick profile where they are missing, and keep them in 16 bits in ``checkpoints/transfer``."""
    folder = home() / "checkpoints" / "transfer"
    for seed in (0, 1):
        made = study.Study(replace(task(study.Settings()).source, seed=seed))
        for name in ("normal", made.adversarial):
            kept = folder / made.folder(name).name
            if not checkpoints.exists(kept):
                zoo.publish(made, name, kept)
    return folder

"""A study: one data set, the networks trained on it, and where what is found goes. Each notebook opens one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from . import attacks, checkpoints, data, evaluate, home, models, recipes, train
from .findings import CLAIMS, Finding, sentence
from .records import Store

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """What a run depends on. 0, "" and [] leave the choice to the profile and the data set."""

    dataset: str = "fashion"
    profile: str = "quick"
    models: tuple[str, ...] = ()
    arch: str = ""
    seed: int = 0
    size: int = 0
    train_limit: int = 0
    test_limit: int = 0
    epochs: int = 0
    train_steps: int = 0

    def __post_init__(self) -> None:
        data.check_name(self.dataset)
        profile = recipes.profile(self.profile)
        for name in ("seed", "size", "train_limit", "test_limit", "epochs", "train_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        names = self.models or recipes.default_models(self.dataset)
        object.__setattr__(self, "models", tuple(names))
        object.__setattr__(self, "arch", self.arch or profile.arch)
        models.parse(self.arch)
        found = [recipes.get(name) for name in names]
        if len(set(names)) < len(names):
            raise ValueError(f"the models {', '.join(names)} are not all different")
        if "normal" not in names or not any(recipe.adversarial for recipe in found):
            raise ValueError(f"the models are {', '.join(names)}; there must be normal and an adversarially trained one (pgd-inf-8, fgsm-8, …) to compare it with")


@dataclass
class Study:
    """Images, networks and records of `Settings`; trains what is missing and keeps it.

    ``out`` is the folder that figures (PNG), tables (CSV) and findings go to, under ``name``; nothing is written where it is "".
    """

    settings: Settings
    name: str = "study"
    out: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    fabric: Fabric | None = None
    findings: list[Finding] = field(default_factory=list)
    figures: int = 0
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def profile(self) -> recipes.Profile:
        """The settings' profile, with what the settings override."""
        s = self.settings
        changes = {"train_limit": s.train_limit, "test_limit": s.test_limit, "epochs": s.epochs, "train_steps": s.train_steps}
        return replace(recipes.profile(s.profile), arch=s.arch, **{k: v for k, v in changes.items() if v})

    @cached_property
    def train_images(self) -> data.Images:
        return data.load(self.settings.dataset, "train", size=self.settings.size or None, limit=self.profile.train_limit, seed=self.settings.seed)

    @cached_property
    def test_images(self) -> data.Images:
        return data.load(self.settings.dataset, "test", size=self.settings.size or None, limit=self.profile.test_limit, seed=self.settings.seed)

    @cached_property
    def store(self) -> Store:
        return Store(home() / "results" / "records")

    @property
    def adversarial(self) -> str:
        """The adversarially trained network of the main comparison: the first one named."""
        return next(name for name in self.settings.models if recipes.get(name).adversarial)

    @cached_property
    def models(self) -> dict[str, nn.Module]:
        """Every network of the settings, in their order, in eval mode; those without a checkpoint are trained."""
        # underfit stops at another network's accuracy, which must be known first
        order = sorted(self.settings.models, key=lambda name: name == "underfit")
        found = {name: self.obtain(name) for name in order}
        return {name: found[name] for name in self.settings.models}

    def recipe(self, name: str) -> recipes.Recipe:
        """The recipe of a network at this profile's scale; underfit's needs the adversarial network, which is trained if missing."""
        recipe = recipes.get(name, epochs=self.profile.epochs)
        if self.settings.dataset.startswith("fashion"):
            # small and centered: crops only slow the learning down; and a small set wants small batches
            recipe = replace(recipe, augment="flip", batch_size=64)
        if recipe.attack == "pgd":
            recipe = replace(recipe, steps=self.profile.train_steps)
        if name == "underfit":
            if self.adversarial not in self.cards:
                self.obtain(self.adversarial)
            recipe = replace(recipe, stop_at=self.cards[self.adversarial]["metrics"]["clean"])
        return replace(recipe, batch_size=min(recipe.batch_size, len(self.train_images)))

    def folder(self, name: str) -> Path:
        """Where the checkpoint of a network lies: it is named by all that its training depends on."""
        key = {
            "recipe": train.describe(self.recipe(name)), "arch": self.profile.arch, "seed": self.settings.seed,
            "train": self.train_images.digest, "test": self.test_images.digest,
        }  # fmt: skip
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]
        dataset = re.sub(r"[^\w.-]+", "-", self.test_images.name)
        return home() / "checkpoints" / "local" / f"{dataset}-{self.profile.arch}-{name}-s{self.settings.seed}-{digest}"

    def obtain(self, name: str) -> nn.Module:
        """The network of a recipe: read from its checkpoint, or trained, going on from the last finished epoch of a run cut off."""
        folder, recipe = self.folder(name), self.recipe(name)
        if not checkpoints.exists(folder):
            self._train(folder, recipe)
        model, self.cards[name] = load_checkpoint(folder)
        return model.to(self.device)

    def _train(self, folder: Path, recipe: recipes.Recipe) -> None:
        images = self.train_images
        mean, std = images.channel_stats()
        shape = {
            "arch": self.profile.arch, "num_classes": len(images.classes), "in_channels": images.x.shape[1], "image_size": images.x.shape[-1],
            "mean": mean, "std": std,
        }  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            model = models.build(**shape)
        resume = folder.with_name(folder.name + ".training")
        fabric = self.fabric or train.make_fabric()
        report = train.fit(model, recipe, images, self.test_images, seed=self.settings.seed, fabric=fabric, resume=resume)
        described = {"name": images.name, "train": len(images), "test": len(self.test_images), "train_digest": images.digest, "test_digest": self.test_images.digest}
        card = {
            "model": shape, "recipe": train.describe(recipe), "data": described, "classes": images.classes, "seed": self.settings.seed,
            "metrics": {"clean": evaluate.accuracy(model, self.test_images)["top1"], "probe": report["history"][-1]["robust"]},
            "collapsed_at": report["collapsed_at"], "stopped_at": report["stopped_at"], "history": report["history"], "versions": train.versions(),
        }  # fmt: skip
        if fabric.is_global_zero:
            checkpoints.save(folder, model.state_dict(), card)
            resume.unlink(missing_ok=True)
        fabric.barrier()

    def outcomes(self, distortions: evaluate.Distortions) -> evaluate.Outcomes:
        """`evaluate.outcomes` of the networks on the test images, read from the records where they are known."""
        return evaluate.outcomes(self.models, self.test_images, distortions, seed=self.settings.seed, store=self.store)

    @property
    def attack(self) -> partial:
        """The attack that robustness is measured with: PGD L∞ without random start, steps of eps/4 (Zhang & Zhu 2019, Table 1)."""
        eps = recipes.eval_eps(self.settings.dataset)
        return partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=self.profile.eval_steps)

    def robustness(self) -> dict[str, dict[str, Any]]:
        """`evaluate.robust_accuracy` of each network under `attack`."""
        return {name: evaluate.robust_accuracy(model, self.test_images, attack=self.attack, store=self.store) for name, model in self.models.items()}

    def saliency_scores(self) -> dict[str, dict[str, np.ndarray]]:
        """`evaluate.saliency_scores` of each network on the profile's number of test images: measure -> network -> (n,)."""
        images = self.test_images.sample(min(self.profile.saliency_images, len(self.test_images)), seed=self.settings.seed)
        found = {name: evaluate.saliency_scores(model, images, store=self.store) for name, model in self.models.items()}
        return {measure: {name: scores[measure] for name, scores in found.items()} for measure in ("sparsity", "edges")}

    def gallery(self, n: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        """``n`` test images in [0, 1], of as many classes as there are, drawn by the seed; their labels; their classes' names."""
        images = self.test_images.sample(min(n, len(self.test_images)), seed=self.settings.seed).to(self.device)
        x, y = next(images.batches(len(images)))
        return x, y, [images.classes[i] for i in y]

    def card_table(self) -> pd.DataFrame:
        """A row a network: how it was trained and how it came out, from its card."""
        self.models  # noqa: B018  trains what is missing
        rows = []
        for name in self.settings.models:
            card, recipe = self.cards[name], self.recipe(name)
            stopped = f"stopped at step {card['stopped_at']}" if card["stopped_at"] else f"{len(card['history'])} epochs"
            collapsed = f"catastrophic overfitting in epoch {card['collapsed_at']}" if card["collapsed_at"] else ""
            seconds = sum(row["seconds"] for row in card["history"])
            rows.append({"model": name, "trained on": recipe.title if recipe.adversarial else "clean images", "training": stopped, "seconds": round(seconds),
                         "clean (%)": round(100 * card["metrics"]["clean"], 2), "remark": collapsed, "sha256": card["sha256"][:12]})  # fmt: skip
        return pd.DataFrame(rows)

    def history(self) -> pd.DataFrame:
        """A row a network and epoch: training loss, clean accuracy and the probe's robust accuracy."""
        self.models  # noqa: B018
        return pd.DataFrame([{"model": name, **row} for name in self.settings.models for row in self.cards[name]["history"]])

    def figure(self, figure: Figure, name: str, caption: str) -> Any:
        """Write a figure as PNG, which carries its caption, to ``out``, and return it as a picture for the notebook."""
        from io import BytesIO

        from IPython.display import Image

        self.figures += 1
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=200 if self.out else 110, metadata={"Description": caption, "Software": None})
        self._write("figures", f"{self.figures}-{name}.png", buffer.getvalue())
        return Image(buffer.getvalue(), width=round(figure.get_figwidth() * 100), alt=caption)

    def table(self, rows: pd.DataFrame | Sequence[dict[str, Any]], name: str, *, show: pd.DataFrame | None = None) -> pd.DataFrame:
        """Write rows as CSV to ``out`` and return them, or ``show`` in their place, for the notebook."""
        frame = pd.DataFrame(rows)
        self._write("tables", f"{name}.csv", frame.to_csv(index=False).encode())
        return frame if show is None else show

    def compare(self, results: evaluate.Outcomes) -> None:
        """Note a finding for each distortion and level that the paper reports: accuracy on correct of the compared networks."""
        for measure, level in dict.fromkeys((d, v) for _, d, v in results.distorted):
            if (measure, level) in CLAIMS:
                self.compare_shares(measure, {n: results.distorted[n, measure, level] for n in results.clean}, given=results.clean, level=level)

    def compare_shares(self, measure: str, hit: dict[str, np.ndarray], *, given: dict[str, np.ndarray] | None = None, level: float = 0) -> None:
        """Note the finding of outcomes ``hit``, (n,) bool for each network, among the images ``given`` for each."""
        given = given or {name: np.ones_like(h) for name, h in hit.items()}
        share = {name: float((h & given[name]).sum() / max(1, given[name].sum())) for name, h in hit.items()}
        a, b = self.adversarial, "normal"
        interval = evaluate.paired_difference(hit[a], hit[b], given_a=given[a], given_b=given[b])
        self.findings.append(Finding(measure, level, share[b], share.get("underfit"), share[a], *interval, len(hit[a])))

    def compare_means(self, measure: str, values: dict[str, np.ndarray]) -> None:
        """Note the finding of a number per image, (n,) for each network."""
        a, b = self.adversarial, "normal"
        mean = {name: float(v.mean()) for name, v in values.items()}
        interval = evaluate.mean_interval(values[a] - values[b])
        self.findings.append(Finding(measure, 0, mean[b], mean.get("underfit"), mean[a], *interval, len(values[a]), percent=False))

    def conclude(self) -> Any:
        """Write the findings to ``out`` and return them as one sentence, made from the numbers, for the notebook."""
        from IPython.display import Markdown

        self._write("findings", f"{self.name}.json", json.dumps([f.row() for f in self.findings], indent=1).encode())
        return Markdown(f"**Found.** {sentence(self.findings)}")

    def _write(self, kind: str, name: str, content: bytes) -> None:
        if self.out:
            path = Path(self.out) / kind / (name if kind == "findings" else f"{self.name}_{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def load_checkpoint(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, and its card. Raises as `checkpoints.read`."""
    state, card = checkpoints.read(folder)
    model = models.build(**card["model"])
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval(), card  # type: ignore[call-overload]


def open_study(name: str, *, out: str = "", **settings: Any) -> Study:
    """The study of a notebook's parameters; ValueError, in one sentence, for any that cannot be."""
    models_ = settings.pop("models", ())
    return Study(Settings(models=tuple(models_), **settings), name, out)

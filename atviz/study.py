"""A study: one data set and the networks trained on it, made when they are missing, read ever after."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from . import attacks, checkpoints, data, evaluate, home, models, recipes, scores, train
from .records import Store
from .stylize import Stylizer, check_alpha, load_adain, load_styles

if TYPE_CHECKING:
    from lightning_fabric import Fabric


FINE_TUNED_SIDE = 224  # that ImageNet weights were trained at
CPU_BATCH = 100  # images classified at a time: on one core almost twice as fast as 500, whose activations leave the cache


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
    styles: str = "procedural"
    adain: str = "small"
    alpha: float = 1.0
    preset: str = "paper"
    weights: str = ""  # "imagenet", a file or "none"

    def __post_init__(self) -> None:
        data.check_name(self.dataset)
        profile = recipes.profile(self.profile)
        recipes.check_preset(self.preset)
        for name in ("seed", "size", "train_limit", "test_limit", "epochs", "train_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        names = self.models or recipes.default_models(self.dataset, self.preset)
        if self.profile == "zoo":
            names = self._of_the_zoo()
        object.__setattr__(self, "models", tuple(names))
        object.__setattr__(self, "arch", self.arch or profile.arch)
        models.parse(self.arch)
        check_alpha(self.alpha)
        if self.adain.count(",") > 1:
            raise ValueError(f"adain is {self.adain!r}; it must be small, a folder, or two files: ENCODER,DECODER")
        if not self.weights:
            wanted = self.profile == "full" and self.kind in recipes.FINE_TUNED and self.arch in models.PRETRAINED
            object.__setattr__(self, "weights", "imagenet" if wanted else "none")
        if self.weights != "none":
            models.origin(self.arch, self.weights)  # refuses what is not there
        found = [recipes.get(name) for name in names]
        if len(set(names)) < len(names):
            raise ValueError(f"the models {', '.join(names)} are not all different")
        if "normal" not in names or not any(recipe.adversarial for recipe in found):
            raise ValueError(
                f"the models are {', '.join(names)}; there must be normal and an adversarially trained one (pgd-inf-8, fgsm-8, …) to compare it with"
            )

    def _of_the_zoo(self) -> list[str]:
        """Names of the networks; sets the architecture. ValueError where the zoo does not hold them, or settings ask for training."""
        held = checkpoints.zoo(self.dataset)
        asked = [name for name in ("seed", "size", "train_limit", "epochs", "train_steps") if getattr(self, name)]
        if asked:
            raise ValueError(
                f"{asked[0]} is {getattr(self, asked[0])}; the profile zoo trains nothing, leave it out or take another profile"
            )
        missing = [name for name in self.models if name not in held]
        if missing or not held:
            what = f"no network {missing[0]!r} of {self.dataset}" if held else f"no networks of {self.dataset}"
            raise ValueError(f"the zoo holds {what}" + (f"; it holds {', '.join(recipes.in_order(held))}" if held else ""))
        names = list(self.models) or recipes.in_order(held)
        found = {checkpoints.read_card(held[name])["model"]["arch"] for name in names}
        if self.arch and found != {self.arch}:
            raise ValueError(f"arch is {self.arch!r}; the zoo's networks of {self.dataset} are {', '.join(sorted(found))}")
        object.__setattr__(self, "arch", min(found))
        return names

    @property
    def kind(self) -> str:
        """The data set's name without a path."""
        return self.dataset.partition(":")[0]

    @property
    def side(self) -> int | None:
        """The side that images are brought to; None: the data set's own."""
        return self.size or (FINE_TUNED_SIDE if self.weights != "none" else None)


def augmentation(dataset: str, usual: str | None = "crop-flip") -> str | None:
    """How training images of a data set are augmented, ``usual`` where nothing speaks against it: a name of `augment.AUGMENTATIONS`."""
    kind = dataset.partition(":")[0]
    if kind == "svhn" or kind.startswith("shapetex"):
        return None  # the mirror image of a digit, or of a texture, is another, or none
    if kind == "imagenet":
        return "resized-crop-flip"
    # fashion is small and centered: crops only slow the learning down; archives larger than they are shown are cropped anyway: see data.load
    return "flip" if kind.startswith("fashion") or (kind in data.ARCHIVES and usual == "crop-flip") else usual


@dataclass
class Study:
    """Images, networks and records of `Settings`; trains what is missing and keeps it."""

    settings: Settings
    device: torch.device = field(default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    fabric: Fabric | None = None
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def profile(self) -> recipes.Profile:
        """The settings' profile, with what the settings override."""
        s = self.settings
        changes: dict[str, Any] = {
            "train_limit": s.train_limit,
            "test_limit": s.test_limit,
            "epochs": s.epochs,
            "train_steps": s.train_steps,
        }
        return replace(recipes.profile(s.profile), arch=s.arch, **{k: v for k, v in changes.items() if v})

    @cached_property
    def train_images(self) -> data.Images:
        return data.load(self.settings.dataset, "train", size=self.settings.side, limit=self.profile.train_limit)

    @cached_property
    def test_images(self) -> data.Images:
        return data.load(self.settings.dataset, "test", size=self.settings.side, limit=self.profile.test_limit)

    @cached_property
    def store(self) -> Store:
        return Store(home() / "results" / "records")

    @cached_property
    def stylizer(self) -> Stylizer:
        """The distortion behind the stylized images: the settings' AdaIN network, styles and alpha, seeded."""
        s = self.settings
        network = load_adain(s.adain) if "," not in s.adain else load_adain(*s.adain.split(","))
        return Stylizer(network, load_styles(s.styles, size=max(self.test_images.shape[1:])), alpha=s.alpha, seed=s.seed)

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

    @cached_property
    def untrained(self) -> nn.Module:
        """A network of the same architecture with random weights, in eval mode, drawn by the seed after the one that training starts from."""
        shape = next(self.cards[name]["model"] for name in self.models)
        return self._drawn(shape, self.settings.seed + 1).to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @staticmethod
    def _drawn(shape: dict[str, Any], seed: int, weights: str | None = None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return models.build(**shape, weights=weights)

    def recipe(self, name: str) -> recipes.Recipe:
        """The recipe of a network at this profile's scale; underfit's needs the adversarial network, which is trained if missing.

        The preset ``code`` keeps its own epochs, batch size and attack steps, and ``itazuri`` at full scale its epochs, unless the settings
        state epochs or train_steps. For other epochs the learning rate falls after the same shares of them.
        """
        s = self.settings
        recipe = recipes.get(name, preset=s.preset, image_size=self.train_images.shape[-1])
        if s.weights != "none" and s.preset == "paper":
            recipe = recipes.fine_tuned(recipe)
        as_authors = s.preset == "code" or (s.profile == "full" and (s.weights != "none" or s.preset == "itazuri"))
        recipe = recipes.lasting(recipe, s.epochs or (recipe.epochs if as_authors else self.profile.epochs))
        recipe = replace(recipe, augment=augmentation(s.dataset, recipe.augment))
        if s.dataset.startswith(("fashion", "shapetex")):
            recipe = replace(recipe, batch_size=64)  # a small set wants small batches
        if self.settings.dataset == "shapetex-texture":
            # at 0.1 one of three seeds never left chance
            recipe = replace(recipe, lr=0.05)
        if recipe.attack in ("pgd", "spatial"):
            recipe = replace(recipe, steps=s.train_steps or (recipe.steps if s.preset == "code" else self.profile.train_steps))
        if name == "underfit":
            if self.adversarial not in self.cards:
                self.obtain(self.adversarial)
            recipe = replace(recipe, stop_at=self.cards[self.adversarial]["metrics"]["clean"])
        return replace(recipe, batch_size=min(recipe.batch_size, len(self.train_images)))

    @cached_property
    def start(self) -> dict[str, str] | None:
        """`models.origin` of the weights that training starts from; None where it starts from scratch."""
        return None if self.settings.weights == "none" else models.origin(self.profile.arch, self.settings.weights)

    def folder(self, name: str) -> Path:
        """Where the checkpoint of a network lies: it is named by all that its training depends on, but in the zoo."""
        if self.settings.profile == "zoo":
            return checkpoints.zoo(self.settings.dataset)[name]
        key = {
            "recipe": train.describe(self.recipe(name)), "arch": self.profile.arch, "seed": self.settings.seed,
            "train": self.train_images.digest, "test": self.test_images.digest,
        }  # fmt: skip
        if self.start:
            key["weights"] = self.start["sha256"][:8]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]
        dataset = re.sub(r"[^\w.-]+", "-", self.test_images.name)
        return home() / "checkpoints" / "local" / f"{dataset}-{self.profile.arch}-{name}-s{self.settings.seed}-{digest}"

    def obtain(self, name: str) -> nn.Module:
        """The network of a recipe: read from its checkpoint, or trained, going on from the last finished epoch of a run cut off."""
        folder = self.folder(name)
        if not checkpoints.exists(folder):
            self._train(folder, self.recipe(name))
        model, self.cards[name] = load_checkpoint(folder)
        return model.to(self.device)

    def _train(self, folder: Path, recipe: recipes.Recipe) -> None:
        images = self.train_images
        channels, _, side = images.shape
        shape: dict[str, Any] = {
            "arch": self.profile.arch, "num_classes": len(images.classes), "in_channels": channels, "image_size": side,
        }  # fmt: skip
        if self.settings.kind == "tiny-imagenet":
            shape["standardize"] = True  # each image by itself (Zhang & Zhu 2019)
        else:
            shape["mean"], shape["std"] = images.channel_stats()
        weights = None if self.settings.weights == "none" else self.settings.weights
        if weights:
            shape["small_stem"] = models.has_small_stem(weights)
        model = self._drawn(shape, self.settings.seed, weights)
        resume = folder.with_name(folder.name + ".training")
        fabric = self.fabric or train.make_fabric()
        report = train.fit(model, recipe, images, self.test_images, seed=self.settings.seed, fabric=fabric, resume=resume)
        described = {
            "name": images.name,
            "train": len(images),
            "test": len(self.test_images),
            "train_digest": images.digest,
            "test_digest": self.test_images.digest,
        }
        card = {
            "model": shape, "recipe": train.describe(recipe), "data": described, "classes": images.classes, "seed": self.settings.seed,
            "started_from": self.start,
            "metrics": {"clean": evaluate.accuracy(model, self.test_images)["top1"], "probe": report["history"][-1]["robust"]},
            "collapsed_at": report["collapsed_at"], "stopped_at": report["stopped_at"], "history": report["history"], "versions": train.versions(),
        }  # fmt: skip
        if fabric.is_global_zero:
            checkpoints.save(folder, model.state_dict(), card)
            resume.unlink(missing_ok=True)
        fabric.barrier()

    def outcomes(self, distortions: evaluate.Distortions, *, topk: int = 1) -> evaluate.Outcomes:
        """`evaluate.outcomes` of the networks on the test images, read from the records where they are known."""
        batch_size = CPU_BATCH if self.device.type == "cpu" else 500
        return evaluate.outcomes(
            self.models, self.test_images, distortions, topk=topk, seed=self.settings.seed, batch_size=batch_size, store=self.store
        )

    @property
    def attack(self) -> partial:
        """The attack that robustness is measured with: PGD L∞ without random start, steps of eps/4 (Zhang & Zhu 2019, Table 1)."""
        eps = recipes.eval_eps(self.settings.dataset)
        return partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=self.profile.eval_steps)

    def robustness(self) -> dict[str, dict[str, Any]]:
        """`evaluate.robust_accuracy` of each network under `attack`."""
        return {
            name: evaluate.robust_accuracy(model, self.test_images, attack=self.attack, store=self.store)
            for name, model in self.models.items()
        }

    @cached_property
    def saliency_images(self) -> data.Images:
        """The test images behind the numbers of saliency: the profile's number, drawn by the seed."""
        return self.test_images.sample(min(self.profile.saliency_images, len(self.test_images)), seed=self.settings.seed)

    def saliency_scores(self) -> dict[str, dict[str, np.ndarray]]:
        """`scores.saliency_scores` of each network: measure -> network -> (n,), for ``bands`` (n, bands)."""
        found = {name: scores.saliency_scores(model, self.saliency_images, store=self.store) for name, model in self.models.items()}
        return {measure: {name: values[measure] for name, values in found.items()} for measure in next(iter(found.values()))}

    def saliency_stability(self, distort: evaluate.Distortion) -> dict[str, dict[str, np.ndarray]]:
        """`scores.stability` of each network under a distortion: measure -> network -> (n,)."""
        found = {name: scores.stability(model, self.saliency_images, distort, store=self.store) for name, model in self.models.items()}
        return {measure: {name: values[measure] for name, values in found.items()} for measure in ("rank", "ssim")}

    def saliency_similarities(self) -> dict[str, np.ndarray]:
        """`scores.similarities` of the networks, in their order."""
        return scores.similarities(self.models, self.saliency_images, store=self.store)


def check_fits(card: dict[str, Any], images: data.Images) -> None:
    """ValueError unless a checkpoint, by its card, tells apart the classes of these images, in their number of channels."""
    channels, known = card["model"]["in_channels"], card["classes"]
    if (images.shape[0], list(images.classes)) != (channels, known):
        raise ValueError(
            f"the images of {images.name} have {images.shape[0]} channels and {len(images.classes)} classes, {images.classes[0]} the first; the "
            f"network was trained on {card['data']['name']}, with {channels} channels and {len(known)} classes, {known[0]} the first"
        )


def load_checkpoint(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, and its card. Raises as `checkpoints.read`."""
    state, card = checkpoints.read(folder)
    if "arch" not in card["model"]:
        raise ValueError(f"{folder} holds no classifier; its card says it is {card['recipe'].get('name', 'something else')}")
    model = models.build(**card["model"])
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval(), card

"""Recipes: how a network is trained, as data."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..names import unknown


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model's training but the data, the architecture and the seed."""

    name: str
    attack: str = "none"  # one of `ATTACKS`
    norm: str = "linf"  # "linf" | "l2"
    eps: float = 0.0  # radius of the threat model; pixels are in [0, 1]
    step_size: float = 0.0
    steps: int = 0
    step: str = "sign"  # "sign" | "gradient"
    random_start: bool = False
    noise: float = 0.0  # above 0: the random start is uniform within so many eps, and nothing is projected onto the ball (N-FGSM)
    replays: int = 1  # "free": steps on each batch, in each of which the perturbation moves on with the gradient of the one before
    beta: float = 0.0  # "trades": weight of the divergence between the answers to clean and attacked images
    warmup: float = 0.0  # share of the training in which the attack's eps and step size grow from 0 to their values
    ema: float = 0.0  # decay, for each step, of the average of the weights that is evaluated and kept; 0: the last weights are
    tv_weight: float = 0.0  # "spatial": of the flow's total variation
    method: str = "first-order"  # "spatial": "first-order" | "lbfgs"
    mix: bool = False  # clean and adversarial batches in turn, instead of adversarial ones only
    stop_at: float | None = None  # stop when the clean test accuracy reaches this
    epochs: int = 30  # a step for each batch in each; with replays the images are passed through `passes` times
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"  # "one-cycle" | "step"
    milestones: tuple[int, ...] = ()  # "step": the rate falls to a tenth after each of these epochs
    augment: str | None = "crop-flip"

    def __post_init__(self) -> None:
        if self.replays < 1 or not 0 <= self.ema < 1 or not 0 <= self.warmup <= 1:
            raise ValueError(
                f"replays is {self.replays}, ema {self.ema} and warmup {self.warmup}; they must be at least 1, in [0, 1) and in [0, 1]"
            )

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Recipe:
        """The recipe that a card describes; ValueError for one that this version does not know."""
        known = {field.name for field in fields(cls)}
        if strange := [name for name in described if name not in known]:
            raise ValueError(f"the recipe {described.get('name', '')!r} has {strange[0]!r}, which this atviz does not know")
        return cls(**{"name": "", **described})

    @property
    def adversarial(self) -> bool:
        return self.attack != "none"

    @property
    def passes(self) -> int:
        """How often each image is drawn: ``epochs``, divided by the replays of a batch (Shafahi et al. 2019)."""
        return math.ceil(self.epochs / self.replays)

    def at(self, share: float) -> Recipe:
        """The recipe at a share of the training, with the eps and step size that it has then.

        >>> Recipe("pgd", attack="pgd", eps=0.1, step_size=0.05, steps=2, warmup=0.5).at(0.25).eps
        0.05
        """
        if share >= self.warmup:
            return self
        return replace(self, eps=self.eps * share / self.warmup, step_size=self.step_size * share / self.warmup)

    @property
    def title(self) -> str:
        """The threat model in words, for labels: ``PGD L∞ ε=8/255, 20 steps``."""
        if not self.adversarial:
            return self.name
        if self.attack == "spatial":
            return f"spatial, {self.steps} " + ("L-BFGS steps" if self.method == "lbfgs" else "steps")
        eps = eps_text(self.eps) if self.norm == "linf" else f"{self.eps:g}"
        norm = "L∞" if self.norm == "linf" else "L2"
        return {
            "fgsm": f"N-FGSM ε={eps}" if self.noise else f"FGSM ε={eps}" + ", random start" * self.random_start,
            "free": f"Free ε={eps}, {self.replays} replays",
            "trades": f"TRADES ε={eps}, β={self.beta:g}, {self.steps} steps",
        }.get(self.attack, f"PGD {norm} ε={eps}, {self.steps} steps")


def eps_text(eps: float) -> str:
    """An L∞ radius in words: ``8/255`` where it is a whole number of 255ths, else a decimal."""
    return f"{round(eps * 255)}/255" if abs(eps * 255 - round(eps * 255)) < 1e-9 else f"{eps:g}"


ATTACKS = ("none", "fgsm", "pgd", "spatial", "free", "trades")
MULTI_STEP = ("pgd", "spatial", "trades")  # whose steps the profile, or --train-steps, sets

# The models of Zhang & Zhu (2019), section 4, at the scale of their large images.
PAPER_MODELS = [
    "pgd-inf-8", "pgd-inf-4", "pgd-inf-2", "pgd-inf-1", "pgd-l2-12", "pgd-l2-8", "pgd-l2-4", "fgsm-8", "fgsm-4", "normal", "underfit",
]  # fmt: skip
FAST_MODELS = ["trades-8", "free-8", "n-fgsm-8", "fgsm-rs-8"]  # of later papers: see `get`
EMA = 0.995  # decay of "-ema": Gowal et al. 2020

# what Zhang & Zhu say, what they ran where the two differ, and what Itazuri et al. say
PRESETS = ("paper", "code", "itazuri")
# "code": epochs, and those after which the rate falls, by attack; the schedule of Caltech-256
CODE_EPOCHS = {"none": (11, (5, 8)), "spatial": (20, (8, 14))} | dict.fromkeys(("fgsm", "pgd", "free", "trades"), (21, (10, 16)))

ITAZURI_MODELS = ["normal", "fgsm-0.005"]
STEM_SIDE = 64  # up to this side networks have a small stem, and images are not cropped at random areas

SMALL_SIDE = 32  # up to this side the paper's L2 radii, 12, 8 and 4, count tenths


def get(name: str, *, preset: str = "paper", image_size: int | None = None, **changes: Any) -> Recipe:
    """The recipe of a name for images of a side, with ``changes`` to its fields.

    ``normal``, ``underfit``, ``spatial`` and, with an eps that the name states, ``fgsm-E``, ``pgd-inf-E``, ``pgd-l2-E``, ``fgsm-rs-E``,
    ``n-fgsm-E``, ``free-E`` and ``trades-E``; any but ``underfit`` with ``-ema`` behind it. For L∞ a whole
    number counts 255ths (``pgd-inf-8``: 8/255) and a decimal is in pixel units (``pgd-inf-0.1``); for L2 it is
    in pixel units, and a whole number counts tenths where ``image_size`` is at most 32 (``pgd-l2-8``: 8, and 0.8 on CIFAR-10). PGD
    takes 20 sign steps of eps/2 (``pgd-inf-1``: of eps), and for L2 of eps/2 255ths, with eps counted tenfold where it is small
    or a decimal: the paper divides its radii by ten for small images and keeps the steps. ``spatial`` weighs the total variation
    by 0.05 and takes 10 first-order steps.

    The recipes of later papers, all L∞:

    - ``fgsm-rs``: FGSM from a random start in the ball, with a step of 1.25 eps, projected onto the ball (Wong et al. 2020).
    - ``n-fgsm``: a step of eps from uniform noise of up to 2 eps, not projected onto the ball (de Jorge et al. 2022).
    - ``free``: each batch is trained on 8 times in turn. The gradient of each time also moves a perturbation on by eps, which the next
      time and the next batch start from; of the epochs an eighth is left (Shafahi et al. 2019).
    - ``trades``: cross-entropy of the clean images, and 6 times the divergence KL(clean ‖ attacked) of the answers, which the attack
      maximizes in 10 steps of 7/31 eps (Zhang et al. 2019: 0.007 for 0.031) from noise of standard deviation 0.001.
    - ``-ema``: the average of the weights over the steps, with decay 0.995, is what is evaluated and kept (Gowal et al. 2020).

    The preset ``code`` is what the authors ran: clean and adversarial batches in turn, ``pgd-inf-1`` with steps of eps/2, ``spatial``
    with 50 iterations of L-BFGS, and their schedule: batches of 64, learning rates .01, .001 and .0001 for 5 + 3 + 3 epochs,
    adversarially 10 + 6 + 5, spatially 8 + 6 + 6.

    The preset ``itazuri``, whose models are ``normal`` and ``fgsm-0.005``: batches of 256, a learning rate of 0.1 that falls to a tenth
    after epochs 30 and 60 of 90, momentum 0.9, weight decay 1e-4 (not given in the paper), and, where ``image_size`` is above 64 or
    not given, random crops of 8 to 100 % of the area, resized.

    Raises:
        ValueError: an unknown name, preset or field, or an eps that is not positive.

    Source: Zhang & Zhu 2019, section 4 and the authors' code; Itazuri et al. 2019, section 3; those that are named above.
    """
    unknown = sorted(set(changes) - {field.name for field in fields(Recipe)})
    if unknown:
        raise ValueError(f"a recipe has no field {unknown[0]!r}; it has {', '.join(field.name for field in fields(Recipe))}")
    check_preset(preset)
    recipe = _named(name)
    if preset == "code":
        recipe = _as_run(recipe)
    if preset == "itazuri":
        recipe = replace(
            recipe, epochs=90, batch_size=256, lr=0.1, momentum=0.9, weight_decay=1e-4, schedule="step", milestones=(30, 60),
            augment=recipe.augment if image_size is not None and image_size <= STEM_SIDE else "resized-crop-flip",
        )  # fmt: skip
    if recipe.norm == "l2" and "." not in name and image_size is not None and image_size <= SMALL_SIDE:
        recipe = replace(recipe, eps=recipe.eps / 10)
    return replace(recipe, **changes)


def check_preset(name: str) -> None:
    """ValueError for an unknown preset."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; known are {', '.join(PRESETS)}")


def _as_run(recipe: Recipe) -> Recipe:
    epochs, milestones = CODE_EPOCHS[recipe.attack]
    recipe = replace(
        recipe, mix=recipe.attack in ("fgsm", "pgd", "spatial"), epochs=epochs, batch_size=64, lr=0.01, momentum=0.9, weight_decay=5e-4, schedule="step",
        milestones=milestones,
    )  # fmt: skip
    if recipe.name.removesuffix("-ema") == "pgd-inf-1":
        return replace(recipe, step_size=recipe.eps / 2)
    return replace(recipe, method="lbfgs", steps=50, step_size=0.5) if recipe.attack == "spatial" else recipe


def fine_tuned(recipe: Recipe) -> Recipe:
    """The recipe for a network that starts from ImageNet weights, with the schedule of the authors' code for its kind of attack."""
    epochs, milestones = CODE_EPOCHS[recipe.attack]
    return replace(recipe, lr=0.01, schedule="step", milestones=milestones, epochs=epochs, batch_size=64)


def lasting(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe for a number of epochs: its learning rate falls after the same shares of them."""
    milestones = tuple(max(1, round(epoch * epochs / recipe.epochs)) for epoch in recipe.milestones)
    return replace(recipe, epochs=epochs, milestones=milestones)


def in_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe of a multi-step attack with that many steps. L∞ steps that would not reach the edge of the ball are longer: eps/steps.

    >>> brief = in_steps(Recipe("pgd", attack="pgd", eps=0.1, step_size=0.02, steps=20), 2)
    >>> brief.steps, brief.step_size
    (2, 0.05)
    """
    least = recipe.eps / steps if recipe.norm == "linf" else 0.0
    return replace(recipe, steps=steps, step_size=max(recipe.step_size, least))


def _named(name: str) -> Recipe:
    if name in ("normal", "underfit"):
        return Recipe(name)
    if name == "spatial":
        return Recipe(name, attack="spatial", steps=10, step_size=0.1, tv_weight=0.05)
    if (plain := name.removesuffix("-ema")) not in (name, "underfit"):
        return replace(_named(plain), name=name, ema=EMA)
    match = re.fullmatch(r"(fgsm|pgd-inf|pgd-l2|fgsm-rs|n-fgsm|free|trades)-(\d+(?:\.\d+)?)", name)
    if not match or float(match[2]) == 0:
        hint = (
            "known are normal, underfit, spatial, fgsm-E, pgd-inf-E, pgd-l2-E, fgsm-rs-E, n-fgsm-E, free-E and trades-E "
            "with an eps above 0, as in pgd-inf-8"
        )
        raise unknown("recipe", name, [*PAPER_MODELS, "spatial", *FAST_MODELS], hint=hint, cutoff=0.6)
    kind, number, whole = match[1], float(match[2]), "." not in match[2]
    if kind == "pgd-l2":
        step_size = (number if whole else 10 * number) / 2 / 255
        return Recipe(name, attack="pgd", norm="l2", eps=number, step_size=step_size, steps=20)
    eps = number / 255 if whole else number
    if eps > 1:
        raise ValueError(f"{name!r} states an eps of {eps:.3g}, larger than the range of a pixel, 1; a whole number counts 255ths")
    fast = {
        "fgsm": Recipe(name, attack="fgsm", step_size=eps, steps=1),
        "fgsm-rs": Recipe(name, attack="fgsm", step_size=1.25 * eps, steps=1, random_start=True),
        "n-fgsm": Recipe(name, attack="fgsm", step_size=eps, steps=1, random_start=True, noise=2.0),
        "free": Recipe(name, attack="free", step_size=eps, steps=1, replays=8),
        "trades": Recipe(name, attack="trades", step_size=eps * 7 / 31, steps=10, random_start=True, beta=6.0),
    }
    if kind in fast:
        return replace(fast[kind], eps=eps)
    return Recipe(name, attack="pgd", eps=eps, step_size=eps if name == "pgd-inf-1" else eps / 2, steps=20)


def in_order(names: Iterable[str]) -> list[str]:
    """Recipes as tables list them: normal, underfit, then by kind, the largest eps first."""
    kinds = ["normal", "underfit", "pgd-inf", "pgd-l2", "trades", "free", "n-fgsm", "fgsm-rs", "fgsm", "spatial"]
    return sorted(
        names, key=lambda name: (next((i for i, kind in enumerate(kinds) if name.startswith(kind)), len(kinds)), -get(name).eps, name)
    )

"""A plan: which networks are compared, and all that their training depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from .. import data, models
from . import recipes
from .profiles import FINE_TUNED, Profile, default_models
from .profiles import profile as find_profile

FINE_TUNED_SIDE = 224  # that ImageNet weights were trained at
COUNTS = ("seed", "size", "train_limit", "test_limit", "epochs", "train_steps")


@dataclass(frozen=True)
class Plan:
    """Data, networks and training of a study. None leaves the choice to the profile and the data set.

    ``weights`` are ``imagenet``, a file, or ``none``. The profile ``zoo`` trains nothing: its networks ship with atviz.

    Raises:
        ValueError: in one sentence, a value that cannot be, or values that do not go together.
        FileNotFoundError: a file of weights that is not there.
    """

    dataset: str = "fashion"
    profile: str = "quick"
    models: tuple[str, ...] | None = None
    arch: str | None = None
    seed: int = 0
    size: int | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    epochs: int | None = None
    train_steps: int | None = None
    preset: str = "paper"
    weights: str | None = None

    def __post_init__(self) -> None:
        data.check_name(self.dataset)
        find_profile(self.profile)
        recipes.check_preset(self.preset)
        for name in COUNTS:
            value = getattr(self, name)
            if value is not None and value < (name != "seed"):
                raise ValueError(f"{name} is {value}; it must be at least {int(name != 'seed')}")
        found = [recipes.get(name) for name in self.names]
        if len(set(self.names)) < len(found):
            raise ValueError(f"the models {', '.join(self.names)} are not all different")
        if "normal" not in self.names or not any(recipe.adversarial for recipe in found):
            raise ValueError(
                f"the models are {', '.join(self.names)}; they must include normal and an adversarially trained one (pgd-inf-8, fgsm-8, …) "
                "that is compared with it"
            )
        models.parse(self.scale.arch)
        self.start  # noqa: B018  refuses weights that are not there

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The networks, in the order of the figures."""
        if self.profile == "zoo":
            return self._of_the_zoo()
        return tuple(self.models or default_models(self.dataset, self.preset))

    def _of_the_zoo(self) -> tuple[str, ...]:
        held = models.checkpoints.zoo(self.dataset)
        asked = [name for name in COUNTS if name != "test_limit" and getattr(self, name)]
        if asked:
            raise ValueError(
                f"{asked[0]} is {getattr(self, asked[0])}, but the profile zoo trains nothing; leave {asked[0]} out or take another profile"
            )
        missing = [name for name in self.models or () if name not in held]
        if missing or not held:
            what = f"no network {missing[0]!r} of {self.dataset}" if held else f"no networks of {self.dataset}"
            raise ValueError(f"the zoo holds {what}" + (f"; it holds {', '.join(recipes.in_order(held))}" if held else ""))
        return tuple(self.models or recipes.in_order(held))

    @property
    def baseline(self) -> str:
        """The network that the others are compared with."""
        return "normal"

    @cached_property
    def subject(self) -> str:
        """The network that is compared with the baseline: the first adversarially trained one."""
        return next(name for name in self.names if recipes.get(name).adversarial)

    @cached_property
    def scale(self) -> Profile:
        """The profile with what the plan changes."""
        arch = self.arch or find_profile(self.profile).arch
        if self.profile == "zoo":
            held = models.checkpoints.zoo(self.dataset)
            known = {models.checkpoints.read_card(held[name])["model"]["arch"] for name in self.names}
            if self.arch and known != {self.arch}:
                raise ValueError(f"arch is {self.arch!r}; the zoo's networks of {self.dataset} are {', '.join(sorted(known))}")
            arch = min(known)
        changes = {name: getattr(self, name) for name in ("train_limit", "test_limit", "epochs", "train_steps")}
        return replace(find_profile(self.profile), arch=arch, **{name: value for name, value in changes.items() if value})

    @property
    def kind(self) -> str:
        """The data set's name without a path."""
        return self.dataset.partition(":")[0]

    @property
    def initial(self) -> str | None:
        """The weights that training starts from, ``imagenet`` or a file; None for training from scratch."""
        if self.weights is not None:
            return None if self.weights == "none" else self.weights
        return "imagenet" if self.profile == "full" and self.kind in FINE_TUNED and self.scale.arch in models.PRETRAINED else None

    @cached_property
    def start(self) -> dict[str, str] | None:
        """Name and hash of the initial weights' file; None for training from scratch."""
        return None if self.initial is None else models.origin(self.scale.arch, self.initial)

    @cached_property
    def images(self) -> data.Splits:
        """Training and test images, loaded when they are first asked for."""
        side = self.size or (FINE_TUNED_SIDE if self.initial else None)
        return data.Splits(self.dataset, size=side, train_limit=self.scale.train_limit, test_limit=self.scale.test_limit)

    def recipe(self, name: str, *, side: int, count: int, stop_at: float | None = None) -> recipes.Recipe:
        """The recipe of a network at this plan's scale, for ``count`` training images of a side.

        The preset ``code`` keeps its own epochs, batch size and attack steps, and ``itazuri`` at full scale its epochs, unless the plan
        states epochs or train_steps. For other epochs the learning rate falls after the same shares of them.
        """
        recipe = recipes.get(name, preset=self.preset, image_size=side)
        if self.initial and self.preset == "paper":
            recipe = recipes.fine_tuned(recipe)
        as_authors = self.preset == "code" or (self.profile == "full" and (self.initial is not None or self.preset == "itazuri"))
        recipe = recipes.lasting(recipe, self.epochs or (recipe.epochs if as_authors else self.scale.epochs))
        recipe = replace(recipe, augment=data.augmentation(self.dataset, recipe.augment), stop_at=stop_at)
        if self.dataset.startswith(("fashion", "shapetex")):
            recipe = replace(recipe, batch_size=64)  # small sets need small batches
        if self.dataset == "shapetex-texture":
            recipe = replace(recipe, lr=0.05)  # at 0.1 one of three seeds never left chance
        if recipe.attack in ("pgd", "spatial"):
            recipe = replace(recipe, steps=self.train_steps or (recipe.steps if self.preset == "code" else self.scale.train_steps))
        return replace(recipe, batch_size=min(recipe.batch_size, count))

"""A plan: which networks are compared, in which roles, and all that their training depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from .. import data, models
from ..models import Network, Reference
from ..names import unknown
from . import recipes
from .profiles import FINE_TUNED, Profile, default_models
from .profiles import profile as find_profile
from .recipes import Recipe

FINE_TUNED_SIDE = 224  # that ImageNet weights were trained at
COUNTS = ("seed", "size", "train_limit", "test_limit", "epochs", "train_steps")


@dataclass(frozen=True)
class Plan:
    """Data, networks and training of a study. None leaves the choice to the profile and the data set.

    ``models`` are references (`models.Reference`). Recipes are trained; any other network is loaded. ``baseline`` and ``subject`` are the
    names of the two that are compared, by default the first two of ``models``, or normal and the first adversarially trained network where
    no models are named. A single network is compared with nothing. ``classes`` is a CSV that maps the images' classes to those of networks
    (`models.read_mapping`). ``weights`` are ``imagenet``, a file, or ``none``. The profile ``zoo`` trains nothing: its networks ship with
    atviz.

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
    baseline: str | None = None
    subject: str | None = None
    classes: str | None = None

    def __post_init__(self) -> None:
        data.check_name(self.dataset)
        find_profile(self.profile)
        recipes.check_preset(self.preset)
        for name in COUNTS:
            value = getattr(self, name)
            if value is not None and value < (name != "seed"):
                raise ValueError(f"{name} is {value}; it must be at least {int(name != 'seed')}")
        models.check_names(self.references)
        for name in self.recipes.values():
            recipes.get(name)
        self.pair, self.mapping  # noqa: B018  refuse roles of no network, and a table that is not there
        if "underfit" in self.recipes.values() and self.profile != "zoo":
            self.first(adversarial=True)  # at whose accuracy it stops
        if self.recipes:
            models.parse(self.scale.arch)
            self.start  # noqa: B018  refuses weights that are not there

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """The networks, in the order of the figures."""
        asked = self.models if self.profile != "zoo" else self._of_the_zoo()
        return tuple(models.Reference.of(text) for text in asked or default_models(self.dataset, self.preset))

    @property
    def names(self) -> tuple[str, ...]:
        """The networks' names, in the order of the figures."""
        return tuple(reference.name for reference in self.references)

    @property
    def recipes(self) -> dict[str, str]:
        """The networks that atviz trains or ships: name → recipe. All others are `loaded`."""
        return {reference.name: reference.place for reference in self.references if reference.is_recipe}

    @cached_property
    def loaded(self) -> dict[str, Network]:
        """The networks that atviz does not train, with all of their classes: name → network. Raises as `models.load`."""
        return {r.name: models.load(r, dataset=self.dataset, size=self.size) for r in self.references if not r.is_recipe}

    @cached_property
    def mapping(self) -> dict[str, list[str]] | None:
        """The table of ``classes``."""
        return models.read_mapping(self.classes) if self.classes else None

    @cached_property
    def pair(self) -> tuple[str, str | None]:
        """The names of baseline and subject; a network that is alone has no subject."""
        names = list(self.names)
        for role in ("baseline", "subject"):
            if (name := getattr(self, role)) and name not in names:
                raise unknown(role, name, names)
        usual = names if self.models else sorted(names, key=self._usual)
        baseline = self.baseline or next((name for name in usual if name != self.subject), names[0])
        subject = self.subject or next((name for name in usual if name != baseline), None)
        if subject == baseline:
            raise ValueError(f"baseline and subject are both {baseline!r}; they must be two networks")
        return baseline, subject

    def _usual(self, name: str) -> int:
        """Where no models are named, normal comes first, and the first adversarially trained network second."""
        recipe = recipes.get(self.recipes[name])
        return 0 if recipe.name == "normal" else 1 if recipe.adversarial else 2

    def first(self, *, adversarial: bool) -> str:
        """The name of the first network that is trained adversarially, or normally; ValueError where there is none."""
        for name, recipe in self.recipes.items():
            if recipes.get(recipe).adversarial == adversarial and recipe != "underfit":
                return name
        what, such = ("an adversarially trained", "pgd-inf-8") if adversarial else ("a normally trained", "normal")
        raise ValueError(f"the models are {', '.join(self.names)}; there must be {what} one, such as {such}")

    def _of_the_zoo(self) -> tuple[str, ...]:
        held = models.checkpoints.zoo(self.dataset)
        given = [models.Reference.of(text) for text in self.models or ()]
        named = [reference.place for reference in given if reference.is_recipe]
        if given and not named:
            return tuple(self.models or ())
        asked = [name for name in COUNTS if name != "test_limit" and getattr(self, name)]
        if asked:
            raise ValueError(
                f"{asked[0]} is {getattr(self, asked[0])}, but the profile zoo trains nothing; leave {asked[0]} out or take another profile"
            )
        missing = [name for name in named if name not in held]
        if missing or not held:
            what = f"no network {missing[0]!r} of {self.dataset}" if held else f"no networks of {self.dataset}"
            raise ValueError(f"the zoo holds {what}" + (f"; it holds {', '.join(recipes.in_order(held))}" if held else ""))
        return tuple(self.models or recipes.in_order(held))

    @cached_property
    def scale(self) -> Profile:
        """The profile with what the plan changes."""
        arch = self.arch or find_profile(self.profile).arch
        if self.profile == "zoo":
            held = models.checkpoints.zoo(self.dataset)
            known = {models.checkpoints.read_card(held[recipe])["model"]["arch"] for recipe in self.recipes.values()} or {""}
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
        """Training and test images, loaded when they are first asked for; by default at the size that the loaded networks were trained at.

        ValueError where two of these were trained at different sizes.
        """
        sizes = {name: network.shape[2] for name, network in self.loaded.items() if network.shape}
        if not self.size and len(set(sizes.values())) > 1:
            said = " and ".join(f"{name} at {side}" for name, side in sizes.items())
            raise ValueError(f"the networks were trained at different sizes ({said} pixels); choose one with --size")
        side = self.size or next(iter(sizes.values()), None) or (FINE_TUNED_SIDE if self.initial else None)
        return data.Splits(self.dataset, size=side, train_limit=self.scale.train_limit, test_limit=self.scale.test_limit)

    def recipe(self, name: str, *, side: int, count: int, stop_at: float | None = None) -> Recipe:
        """The recipe of a network at this plan's scale, for ``count`` training images of a side.

        The preset ``code`` keeps its own epochs, batch size and attack steps, and ``itazuri`` at full scale its epochs, unless the plan
        states epochs or train_steps. For other epochs the learning rate falls after the same shares of them; for other steps see
        `recipes.in_steps`.
        """
        recipe = recipes.get(self.recipes.get(name, name), preset=self.preset, image_size=side)
        if self.initial and self.preset == "paper":
            recipe = recipes.fine_tuned(recipe)
        as_authors = self.preset == "code" or (self.profile == "full" and (self.initial is not None or self.preset == "itazuri"))
        recipe = recipes.lasting(recipe, self.epochs or (recipe.epochs if as_authors else self.scale.epochs))
        recipe = replace(recipe, augment=data.augmentation(self.dataset, recipe.augment), stop_at=stop_at)
        if self.dataset.startswith(("fashion", "shapetex")):
            recipe = replace(recipe, batch_size=64)  # small sets need small batches
        if self.kind == "shapetex-texture":
            recipe = replace(recipe, lr=0.05)  # at 0.1 one of three seeds never left chance
        if recipe.attack in recipes.MULTI_STEP:
            recipe = recipes.in_steps(recipe, self.train_steps or (recipe.steps if self.preset == "code" else self.scale.train_steps))
        return replace(recipe, batch_size=min(recipe.batch_size, count))

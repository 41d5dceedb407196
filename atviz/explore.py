"""One image, a few networks and a distortion: what a slider shows, what a saved figure shows and what a sweep measures, from one place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import parse_qsl, urlencode

import numpy as np
import torch
from torch import Tensor, nn

from . import attacks, distortions, evaluate, home, plots, recipes, saliency
from .models import bf16_is_faster, evaluating, fingerprint
from .stylize import Stylizer, check_alpha

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .study import Study

MAPS: dict[str, Callable[..., Tensor]] = {
    "Grad": saliency.grad,
    "SmoothGrad": saliency.smooth_grad,
    "Guided Backprop": saliency.guided_backprop,
    "Integrated Gradients": saliency.integrated_gradients,
}
CHUNK = 10  # copies of SmoothGrad between two looks at what else was asked for


@dataclass(frozen=True)
class State:
    """Everything that decides what is shown. The defaults change nothing about the image.

    The distortions are applied in the order of their fields: style, saturation, blur, median, low-pass, high-pass, shuffling; then, for
    each network its own, the attack.

    Raises:
        ValueError: in one sentence, a value that cannot be. What depends on the study is checked by `explore`.
    """

    image: str = "0"  # the number of a test image, or what `keep_upload` calls an image of one's own
    models: tuple[str, ...] = ()  # two or three; empty: normal and the adversarially trained network of the study
    style: str = ""  # the number of a style, or "drawn": the one that a sweep draws for this image
    alpha: float = 1.0  # of the style
    saturation: float = 2.0
    blur: float = 0.0  # σ in pixels
    median: int = 0  # passes
    low: float | None = None  # radius kept, cycles per image
    high: float | None = None  # radius removed
    patches: int = 1  # k
    shuffle: int = 0  # counts the redraws of the shuffling
    eps: float = 0.0  # PGD, L∞
    steps: int = 20
    method: str = "Grad"
    scale: str = "map"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        plots.check_scale(self.scale)
        if self.method not in MAPS:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(MAPS)}")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be between {least} and {most:g}")
        if len(self.models) > 3 or len(self.models) == 1 or len(set(self.models)) < len(self.models):
            raise ValueError(f"models is {', '.join(self.models)}; there must be two or three different ones, or none for the main two")
        if not (self.style in ("", "drawn") or self.style.isdecimal()):
            raise ValueError(f"style is {self.style!r}; it must be the number of a style, 'drawn', or empty")
        if not (self.image.isdecimal() or UPLOAD.fullmatch(self.image)):
            raise ValueError(f"image is {self.image!r}; it must be the number of a test image, or the name of an upload")

    @property
    def query(self) -> str:
        """The fields that are not the defaults, as the query of a link: ``image=3&saturation=1024.0``."""
        changed = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}
        return urlencode({k: ",".join(v) if isinstance(v, tuple) else v for k, v in changed.items()}, safe=",")

    @classmethod
    def of(cls, query: str) -> State:
        """The state of a `query`; names that are no fields are left alone. ValueError for a value that cannot be read."""
        kinds, found = get_type_hints(cls), {}
        for name, text in parse_qsl(query.strip().lstrip("?")):
            if name not in kinds:
                continue
            kind = kinds[name]
            try:
                value: Any = (
                    tuple(text.split(",")) if name == "models" else text if kind is str else int(text) if kind is int else float(text)
                )
            except ValueError:
                raise ValueError(f"{name} is {text!r}; it must be a {'whole ' if kind is int else ''}number") from None
            found[name] = value
        return cls(**found)

    @property
    def code(self) -> str:
        """The state as Python writes it, without defaults."""
        changed = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}
        written = {name: 'float("inf")' if value == float("inf") else repr(value) for name, value in changed.items()}
        return f"State({', '.join(f'{name}={value}' for name, value in written.items())})"


# a link may come from anyone, and must not keep a machine busy
LIMITS: dict[str, tuple[float, float]] = {
    "saturation": (0, float("inf")), "blur": (0, 100), "median": (0, 50), "low": (0, float("inf")), "high": (0, float("inf")), "patches": (1, 10**4),
    "shuffle": (0, 10**6), "eps": (0, 1), "steps": (1, 200),
}  # fmt: skip


def says_a_state(query: str) -> bool:
    """Whether a query names any field of `State`."""
    return any(name in get_type_hints(State) for name, _ in parse_qsl(query))


UPLOAD = re.compile(r"upload-[0-9a-f]{12}")


def uploads() -> Path:
    return home() / "results" / "explore" / "uploads"


def keep_upload(content: bytes, shape: tuple[int, int, int]) -> tuple[str, str]:
    """Keep an image of one's own, brought to a shape (C, H, W), under a name for `State.image`; and a sentence on what was changed.

    The name is of its pixels, and the file a PNG in ``results/explore/uploads``. Raises as `imagefiles.decode_upload`.
    """
    import hashlib

    from PIL import Image

    from .imagefiles import decode_upload

    pixels, sentence = decode_upload(content, shape)
    name = f"upload-{hashlib.sha256(str(shape).encode() + pixels.tobytes()).hexdigest()[:12]}"
    uploads().mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(uploads() / f"{name}.png")
    return name, sentence


@dataclass(frozen=True)
class View:
    """What a state shows. Every image is (1, C, H, W); the dictionaries are by network, in the state's order."""

    image: Tensor  # as it is
    shown: Tensor  # distorted; Fourier filters may leave [0, 1]
    label: int | None  # None: an upload
    seen: dict[str, Tensor]  # what each network is given: the distorted image, or its own attacked one
    probability: dict[str, np.ndarray]  # (classes,)
    maps: dict[str, Tensor]  # of the true class, or for an upload of each network's likeliest
    copies: int = 0  # of SmoothGrad so far
    outside: float = 0.0  # share of the distorted image's pixels outside [0, 1]


def explore(study: Study, state: State) -> View:
    """What a state shows; for SmoothGrad with all of the profile's copies.

    Networks classify the distorted image as a sweep gives it to them, unclipped. The attack and the maps need pixels in [0, 1], and
    start from it clipped.

    Raises:
        ValueError: an image, network, style or k that the study does not have.
    """
    *_, view = refine(study, state)
    return view


def refine(study: Study, state: State) -> Iterator[View]:
    """`explore`, step by step: SmoothGrad's view after every `CHUNK` copies, any other once."""
    names = check(study, state)
    models = {name: study.models[name] for name in names}
    x, label = original(study, state)
    shown = Chain(study, state)(x)
    seen = {name: _attacked(state, model, shown, label) for name, model in models.items()}
    probability = {name: _probability(model, seen[name]) for name, model in models.items()}
    inputs = {name: t.clamp(0, 1) for name, t in seen.items()}
    targets = {name: torch.tensor([int(p.argmax()) if label is None else label], device=x.device) for name, p in probability.items()}
    base = partial(View, x, shown, label, seen, probability, outside=float(((shown < -1e-6) | (shown > 1 + 1e-6)).float().mean()))
    if state.method != "SmoothGrad":
        yield base({name: MAPS[state.method](model, inputs[name], targets[name]) for name, model in models.items()})
        return
    n = study.profile.smooth_copies
    growing = [saliency.smoothing(model, inputs[name], targets[name], n=n, chunk=CHUNK) for name, model in models.items()]
    for steps in zip(*growing, strict=True):
        yield base({name: maps for name, (_, maps) in zip(names, steps, strict=True)}, copies=steps[0][0])


def check(study: Study, state: State) -> tuple[str, ...]:
    """The networks of a state; ValueError, in one sentence, for what the study does not have."""
    names = state.models or ("normal", study.adversarial)
    _, h, w = study.test_images.shape
    missing = [name for name in names if name not in study.settings.models]
    if missing:
        raise ValueError(f"there is no network {missing[0]!r}; there are {', '.join(study.settings.models)}")
    if state.image.isdecimal() and int(state.image) >= len(study.test_images):
        raise ValueError(f"image is {state.image}; there are test images 0 to {len(study.test_images) - 1}")
    if h % state.patches or w % state.patches:
        right = distortions.patch_counts(h, w, max(h, w))
        raise ValueError(f"patches is {state.patches}; k must divide the side: 1, {', '.join(map(str, right))}")
    if state.style.isdecimal() and int(state.style) >= len(study.stylizer.styles):
        raise ValueError(f"style is {state.style}; there are styles 0 to {len(study.stylizer.styles) - 1}")
    return names


def original(study: Study, state: State) -> tuple[Tensor, int | None]:
    """The image of a state, (1, C, H, W) in [0, 1] on the study's device, and its label, None for an upload."""
    if state.image.isdecimal():
        i = int(state.image)
        x, y = next(study.test_images[i : i + 1].batches(1, device=study.device))
        return x, int(y)
    from .imagefiles import decode

    path = uploads() / f"{state.image}.png"
    if not path.is_file():
        raise ValueError(f"the upload {state.image} is not kept here; upload it again")
    pixels = torch.from_numpy(decode(path).copy()).permute(2, 0, 1)[None].float() / 255
    if pixels.shape[-2:] != study.test_images.shape[1:]:
        raise ValueError(f"the upload {state.image} is of another size than this study's images; upload it again")
    return pixels[:, : study.test_images.shape[0]].to(study.device), None


def active(state: State) -> list[tuple[str, float]]:
    """The distortions that a state applies, in their order, by their names in `distortions.DISTORTIONS` or ``stylize``; and levels."""
    levels = {
        "stylize": (state.alpha, not state.style), "saturate": (state.saturation, state.saturation == 2), "gaussian_blur": (state.blur, not state.blur),
        "median_filter": (state.median, not state.median), "low_pass": (state.low, state.low is None), "high_pass": (state.high, state.high is None),
        "patch_shuffle": (state.patches, state.patches == 1),
    }  # fmt: skip
    return [(name, float(level or 0)) for name, (level, off) in levels.items() if not off]


class Chain:
    """The distortions of a state as one function of images.

    It begins at the state's image: what a sweep over all images would draw for those before it is skipped, and the image is
    shuffled as in the sweep. With ``whole`` it begins at the first image, for the sweep itself. ``key`` says all that the result depends on.
    """

    def __init__(self, study: Study, state: State, *, whole: bool = False) -> None:
        seed = study.settings.seed + state.shuffle
        self.steps: list[Callable[[Tensor], Tensor]] = []
        self.key: list[Any] = []
        for name, level in active(state):
            if name == "stylize":
                painter = Stylizer(study.stylizer.network, study.stylizer.styles, alpha=level, seed=study.settings.seed)
                chosen = None if state.style == "drawn" else int(state.style)
                self.steps.append(painter if chosen is None else partial(_painted, painter, chosen))
                self.key.append([name, painter.key, state.style])
                continue
            step = distortions.named(name, level, seed=seed)
            if name == "patch_shuffle" and not whole and state.image.isdecimal():
                torch.rand(int(state.image), int(level) ** 2, generator=step.keywords["generator"])  # type: ignore[attr-defined]
            self.steps.append(step)
            self.key.append([name, level, *([seed] if name == "patch_shuffle" else [])])

    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


def _painted(painter: Stylizer, style: int, x: Tensor) -> Tensor:
    return painter.paint(x, torch.full((len(x),), style))


def attack(state: State) -> partial[Tensor]:
    """The attack of a state: PGD L∞ without random start, steps of eps/4 as in Table 1 of Zhang & Zhu, or eps/steps if that is more."""
    return partial(attacks.pgd, eps=state.eps, step_size=max(state.eps / 4, state.eps / state.steps), steps=state.steps)


def _attacked(state: State, model: nn.Module, x: Tensor, label: int | None) -> Tensor:
    if not state.eps:
        return x
    x = x.clamp(0, 1)
    target = int(_probability(model, x).argmax()) if label is None else label
    return attack(state)(model, x, torch.tensor([target], device=x.device))


@torch.no_grad()
def _probability(model: nn.Module, x: Tensor) -> np.ndarray:
    with evaluating(model):
        return model(x).float().softmax(1)[0].cpu().numpy()


class AttackedChain:
    """The attack of a state on images that its distortions have changed: ``(model, x, y) -> x_adv``."""

    def __init__(self, study: Study, state: State) -> None:
        self.chain, self.attack = Chain(study, state, whole=True), attack(state)
        self.key = {"attack": {**self.attack.keywords}, "after": self.chain.key}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.attack(model, self.chain(x).clamp(0, 1), y)


def _measurement(study: Study, state: State) -> dict[str, Any]:
    """What of `evaluate.recorded` tells one state's outcomes from another's; of one distortion they are those of the sweeps."""
    steps = active(state)
    if state.eps:
        return {"attack": AttackedChain(study, state) if steps else attack(state), "bf16": bf16_is_faster(study.device)}
    if not steps:
        return {}
    (name, level), chain = steps[0], Chain(study, state, whole=True)
    if len(steps) == 1 and name != "stylize":
        return {"name": name, "level": level, "seed": study.settings.seed + state.shuffle}
    if len(steps) == 1 and state.style == "drawn":
        return {"name": name, "level": level, "own": chain.steps[0]}
    return {"name": "explored", "own": chain}


def recorded(study: Study, state: State, prints: Mapping[str, str]) -> dict[str, np.ndarray | None]:
    """Which test images networks classify rightly at a state, (n,) bool, from the study's records alone: None where not measured.

    ``prints``: network → its `models.fingerprint`.
    """
    what = _measurement(study, state)
    return {name: evaluate.recorded(value, study.test_images, study.store, **what) for name, value in prints.items()}


def copied(study: Study, state: State) -> dict[str, nn.Module]:
    """Copies of a state's networks. Not to be made while `explore` runs in another thread: a map may change a network for a moment."""
    return {name: deepcopy(study.models[name]) for name in check(study, state)}


def measure(study: Study, state: State, models: Mapping[str, nn.Module] | None = None) -> None:
    """Classify all test images with the state's networks at its distortions, and keep the outcomes in the study's records.

    ``models``: `copied`, for a thread beside `explore`; default the study's own.
    """
    models = models or {name: study.models[name] for name in check(study, state)}
    evaluate.likeliest(models, study.test_images, study.store)
    if not state.eps:
        what = _measurement(study, state)
        if what:
            evaluate.likeliest(models, study.test_images, study.store, **what)
        return
    for model in models.values():  # each begins at the first image again
        evaluate.robust_accuracy(model, study.test_images, store=study.store, **_measurement(study, state))


def fingerprints(study: Study) -> dict[str, str]:
    return {name: fingerprint(model) for name, model in study.models.items()}


def row(study: Study, state: State) -> dict[str, Any]:
    """The settings of a state in one row, with the code that draws it again."""
    return {**asdict(state), "models": " ".join(check(study, state)), "dataset": study.test_images.name, "code": code(study, state)}


def code(study: Study, state: State) -> str:
    """Python that draws the figure of a state again."""
    kind = type(study.settings)
    given = asdict(study.settings)
    for name in list(given):  # what the others imply need not be said
        fewer = {k: v for k, v in given.items() if k != name}
        if kind(**fewer) == study.settings:
            given = fewer
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return "\n".join(
        [
            "from atviz.explore import State, figure",
            "from atviz.notebook import open_study",
            "",
            f'study = open_study("11_explore", {json.dumps(given)})',
            f"figure(study, {state.code})",
        ]
    )


def figure(study: Study, state: State) -> Figure:
    """The view of a state as a figure."""
    view = explore(study, state)
    return plots.exploration(
        view.image, view.shown, view.seen, plots.as_shown(view.maps, state.scale), view.probability,
        classes=study.test_images.classes, label=view.label, note=caption(study, state, view),
    )  # fmt: skip


def caption(study: Study, state: State, view: View) -> str:
    """What is shown, in a sentence."""
    what = (
        f"test image {state.image}, {study.test_images.classes[view.label]}"
        if view.label is not None
        else "an image of one's own, without a true class"
    )
    method = f"{state.method} of {'the true class' if view.label is not None else 'the likeliest class'}"
    method += f" ({view.copies} copies)" if view.copies else ""
    return f"{what[0].upper()}{what[1:]}; {words(state)}. {method}, {plots.SCALES[state.scale]}."


def words(state: State) -> str:
    """The distortions of a state in words, in their order."""
    said = {
        "stylize": f"style {state.style}, α = {state.alpha:g}", "saturate": f"saturated to level {state.saturation:g}",
        "gaussian_blur": f"blurred with σ = {state.blur:g} pixels", "median_filter": f"median-filtered {state.median} times",
        "low_pass": f"low-passed at radius {state.low}", "high_pass": f"high-passed at radius {state.high}",
        "patch_shuffle": f"cut into {state.patches} × {state.patches} patches and shuffled",
    }  # fmt: skip
    parts = [said[name] for name, _ in active(state)]
    parts += [f"attacked by PGD, ε = {recipes.eps_text(state.eps)}, {state.steps} steps, each network for itself"] if state.eps else []
    return ", ".join(parts) or "as it is"

"""What a state shows: the distorted image, what each network is given, its probabilities and its saliency map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import attacks, saliency
from ...data import decode
from ...distortions import check_alpha
from ...evidence import Study, find
from ...models import evaluating
from .state import MAPS, State, uploads

CHUNK = 10  # SmoothGrad is shown after every so many copies


@dataclass(frozen=True)
class View:
    """What a state shows. Every image is (1, C, H, W); the dictionaries are by network, in the state's order."""

    image: Tensor  # as it is
    shown: Tensor  # distorted; Fourier filters may leave [0, 1]
    label: int | None  # None: an upload
    seen: dict[str, Tensor]  # what each network is given: the distorted image, or its own attacked image
    probability: dict[str, np.ndarray]  # (classes,)
    maps: dict[str, Tensor]  # of the true class, or for an upload of each network's likeliest class
    copies: int = 0  # of SmoothGrad so far
    outside: float = 0.0  # share of the distorted image's pixels outside [0, 1]


def explore(study: Study, state: State) -> View:
    """What a state shows; for SmoothGrad with all copies of the study's scale.

    Networks classify the distorted image as a sweep gives it to them, unclipped. The attack and the maps need pixels in [0, 1], and
    start from the clipped image.

    Raises:
        ValueError: an image, network, style or level that the study does not have.
    """
    *_, view = refine(study, state)
    return view


def refine(study: Study, state: State) -> Iterator[View]:
    """`explore`, step by step: SmoothGrad's view after every `CHUNK` copies, any other view once."""
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
    n = study.scale.smooth_copies
    growing = [saliency.smoothing(model, inputs[name], targets[name], n=n, chunk=CHUNK) for name, model in models.items()]
    for steps in zip(*growing, strict=True):
        yield base({name: maps for name, (_, maps) in zip(names, steps, strict=True)}, copies=steps[0][0])


def check(study: Study, state: State) -> tuple[str, ...]:
    """The networks of a state; ValueError, in one sentence, for what the study does not have."""
    names = state.models or tuple(dict.fromkeys((study.baseline, study.subject)))
    missing = [name for name in names if name not in study.networks]
    if missing:
        raise ValueError(f"there is no network {missing[0]!r}; there are {', '.join(study.networks)}")
    if state.image.isdecimal() and int(state.image) >= len(study.images):
        raise ValueError(f"image is {state.image}; there are test images 0 to {len(study.images) - 1}")
    if state.style.isdecimal() and int(state.style) >= len(study.stylizer.styles):
        raise ValueError(f"style is {state.style}; there are styles 0 to {len(study.stylizer.styles) - 1}")
    for name, level in active(state):  # refuse a level that does not fit
        if name == "stylize":
            check_alpha(level)
        else:
            find(name).at(level, material={"mean": study.mean})(torch.zeros(1, *study.images.shape))
    return names


def original(study: Study, state: State) -> tuple[Tensor, int | None]:
    """The image of a state, (1, C, H, W) in [0, 1] on the study's device, and its label, None for an upload."""
    if state.image.isdecimal():
        i = int(state.image)
        x, y = next(study.images[i : i + 1].batches(1, device=study.device))
        return x, int(y)
    path = uploads() / f"{state.image}.png"
    if not path.is_file():
        raise ValueError(f"the upload {state.image} is not kept here; upload it again")
    pixels = torch.from_numpy(decode(path).copy()).permute(2, 0, 1)[None].float() / 255
    if pixels.shape[-2:] != study.images.shape[1:]:
        raise ValueError(f"the upload {state.image} is of another size than this study's images; upload it again")
    return pixels[:, : study.images.shape[0]].to(study.device), None


def active(state: State) -> list[tuple[str, float]]:
    """The distortions that a state applies and their levels, in the order in which they are applied."""
    return list(dict(state.levels).items())


class Chain:
    """The distortions of a state as one function of images.

    The random numbers that a sweep draws for the images before the state's image are skipped: the image is distorted as in the sweep.
    With ``whole`` none are skipped; that is for all images, from the first. ``key`` names all that the result depends on.
    """

    def __init__(self, study: Study, state: State, *, whole: bool = False) -> None:
        seed = study.seed + state.redraw
        before = 0 if whole or not state.image.isdecimal() else int(state.image)
        self.steps: list[Callable[[Tensor], Tensor]] = []
        self.key: list[Any] = []
        for name, level in active(state):
            instrument = find(name)
            if name == "stylize" and state.style != "drawn":
                self.steps.append(partial(_painted, study, int(state.style), level))
            else:
                material = {"stylizer": study.stylizer, "mean": study.mean}
                self.steps.append(instrument.at(level, seed=seed, before=before, material=material))
            needed = {"stylize": [study.stylizer.key, state.style], "reverse": list(study.mean)}.get(name)
            self.key.append([name, level, seed if instrument.draws else None, needed])

    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


def _painted(study: Study, style: int, alpha: float, x: Tensor) -> Tensor:
    return study.stylizer.paint(x, torch.full((len(x),), style), alpha=alpha)


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

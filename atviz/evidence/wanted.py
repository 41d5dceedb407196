"""What a measurement is asked for, also in the short forms: one network, a distortion's name, one level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import nn

from ..data import Images
from ..models import Network
from . import instruments
from .material import Distortion

AnyModel = nn.Module | Network
AnyModels = AnyModel | Mapping[str, AnyModel]
Levels = Sequence[float] | Mapping[float, Distortion]
# distortion -> levels of one of the `INSTRUMENTS`, or level -> your own function
Distortions = Mapping[str, Levels]
# also one level in place of a list, or names alone: then the levels are the instruments' own
AnyDistortions = str | Sequence[str] | Mapping[str, float | Levels]


def as_module(model: AnyModel) -> nn.Module:
    """The module of a network; TypeError for what is none."""
    if isinstance(model, Network):
        return model.module
    if not isinstance(model, nn.Module):
        raise TypeError(f"the network is of type {type(model).__name__}; it must be a torch.nn.Module, or a Network of atviz.models.load")
    return model


def as_modules(models: AnyModels) -> dict[str, nn.Module]:
    """Networks by name. A single module is called "model", a single `Network` by its own name; TypeError for what is no network."""
    if isinstance(models, Mapping):
        return {name: as_module(model) for name, model in models.items()}
    return {models.name if isinstance(models, Network) else "model": as_module(models)}


def as_levels(distortions: AnyDistortions) -> dict[str, Levels | None]:
    """The levels of each distortion by its name; None where a name stands alone, for the instrument's own (`usable`).

    Raises:
        TypeError: something that is no name and no dictionary of levels.
        ValueError: an unknown distortion, or one without levels of its own, by its name alone.
    """
    if isinstance(distortions, Mapping):
        return {name: _levels(name, levels) for name, levels in distortions.items()}
    names = [distortions] if isinstance(distortions, str) else distortions
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"distortions is of type {type(distortions).__name__}; it must be a name such as 'saturate', several names, or a dictionary such as "
            "{'saturate': [4, 1024]}"
        )
    for name in names:
        if not instruments.find(name).levels:
            raise ValueError(f"{name} has no levels of its own; name some, such as {{{name!r}: [4, 8]}}")
    return dict.fromkeys(names)


def usable(name: str, images: Images) -> list[float]:
    """A distortion's own levels that the images allow; ValueError where they allow none."""
    found = instruments.find(name).usable(images.shape)
    if not found:
        _, height, width = images.shape
        raise ValueError(f"{name} has no level that suits images of {height} × {width} pixels; load them at another size")
    return found


def _levels(name: str, levels: Any) -> Levels:
    if isinstance(levels, Mapping):
        if not all(isinstance(level, Real) and callable(function) for level, function in levels.items()):
            raise TypeError(
                f"{name} has a dictionary of other things; it must be of levels, each with its function, such as {{1: function}}"
            )
        return levels
    found = list(levels) if isinstance(levels, Iterable) and not isinstance(levels, str) else [levels]
    for level in found:
        if not isinstance(level, Real):
            raise TypeError(
                f"a level of {name} is of type {type(level).__name__}; it must be a number (one or a list), or a dictionary of level to function"
            )
    return found

"""Networks that atviz did not train: what a library or a file says of them, what the caller adds, and the `Network` that both make."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from torch import nn

from ..names import unknown
from .architectures import Normalize
from .inference import fingerprint
from .network import Network

TRAININGS = ("normally", "adversarially")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # of torchvision's and most of timm's weights


@dataclass(frozen=True)
class Options:
    """What a reference adds after ``?``: it goes before what the library or the file says.

    ``mean`` and ``std`` normalize pixels in [0, 1], a value for each channel or one for all; 0 and 1 leave them as they are. ``size`` is
    the side of the images in pixels. ``weights`` is a file, or ``none`` for random weights. ``trained`` says how the network was trained:
    ``normally`` or ``adversarially``.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | None = None
    weights: str | None = None
    trained: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """The options of ``mean=0.5,0.5,0.5&size=224``, taken apart; ValueError, in one sentence, for one that cannot be."""
        found: dict[str, Any] = {}
        for name, text in given.items():
            if name not in (known := [field.name for field in fields(cls)]):
                raise unknown("option of a network", name, known)
            if not text:
                raise ValueError(f"{name} has no value; write options as ?mean=0.5,0.5,0.5&size=224")
            if name in ("mean", "std"):
                found[name] = _numbers(name, text)
            elif name == "size":
                if not re.fullmatch(r"0*[1-9][0-9]*", text):
                    raise ValueError(f"size is {text!r}; it must be a whole number of pixels, such as 224")
                found[name] = int(text)
            else:
                found[name] = text
        if found.get("trained", TRAININGS[0]) not in TRAININGS:
            raise ValueError(f"trained is {found['trained']!r}; it must be normally or adversarially")
        return cls(**found)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    good = all(0 < value < math.inf if name == "std" else abs(value) <= 1 for value in values)
    if not values or not good:
        what = "above 0" if name == "std" else "in units of pixels from 0 to 1"
        raise ValueError(f"{name} is {text!r}; it must be a number {what}, or one for each channel, such as 0.5,0.5,0.5")
    return values


@dataclass
class Found:
    """A network as a library or a file gives it.

    ``mean`` None says that the module takes pixels in [0, 1]. ``size``, ``channels`` and ``classes`` may be unknown. ``card`` is what is
    known besides; ``identity`` tells apart networks that have the same weights and compute otherwise.
    """

    module: nn.Module
    identity: str
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    size: int | None = None
    channels: int | None = None
    classes: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)


def network_of(name: str, found: Found, options: Options, *, size: int | None = None) -> Network:
    """The network of what was found, in eval mode: normalized as ``options`` say, else as the library or the file does.

    ``size`` is that of the images at hand, where the caller brings them to another size than the network was trained at. Channels that
    are not known are as many as the values of the mean, or as the first convolution takes, else 3.

    Raises:
        ValueError: mean or std of a wrong length or in other units, or one without the other.
    """
    mean, std = options.mean or found.mean, options.std or found.std
    channels = found.channels or _channels(found.module, max(len(mean or ()), len(std or ())))
    module: nn.Module = found.module
    if mean is not None or std is not None:
        mean, std = _normalizer(name, mean, std, channels)
        module = nn.Sequential()
        module.add_module("normalize", Normalize(mean, std))
        module.add_module("network", found.module)
    module.eval()
    module.identity = found.identity  # type: ignore[assignment]
    side = size or options.size or found.size
    card = found.card | {
        "outside": True, "mean": mean, "std": std, "size": options.size or found.size, "sha256": fingerprint(module),
        "parameters": sum(parameter.numel() for parameter in module.parameters()), "trained": options.trained or found.card.get("trained", ""),
    }  # fmt: skip
    return Network(name, module, found.classes, (channels, side, side) if side else None, card)


def _channels(module: nn.Module, values: int) -> int:
    if values > 1:
        return values
    return next((layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)), 3)


def _normalizer(name: str, mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation with a value for each channel."""
    if mean is None or std is None:
        raise ValueError(f"{name} has a {'std' if mean is None else 'mean'} and no {'mean' if mean is None else 'std'}; give both")
    for what, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ValueError(
                f"{what} of {name} has {len(values)} values and the network takes images of {channels} channel{'s' * (channels != 1)}; "
                f"give one, or one for each channel: ?mean={','.join(['0.5'] * channels)}&std={','.join(['0.25'] * channels)}"
            )
    if max(abs(value) for value in mean) > 1:
        raise ValueError(
            f"mean of {name} is {max(mean):g}, which is in units of 0 to 255; give mean and std in units of pixels from 0 to 1"
        )
    first, second = ([float(value) for value in (values if len(values) > 1 else [*values] * channels)] for values in (mean, std))
    return first, second

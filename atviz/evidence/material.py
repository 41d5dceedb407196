"""What distortions need besides an image: styles to paint with, and the mean that colors are reversed about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..data import Images, load_styles
from ..distortions import Stylizer, load_adain
from .instruments import Instrument

Distortion = Callable[[Tensor], Tensor]


def completed(instrument: Instrument, images: Images, material: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The material that an instrument needs: the given one, else the small AdaIN network with procedural styles, and the images' own mean."""
    made: dict[str, Callable[[], Any]] = {
        "stylizer": lambda: Stylizer(load_adain("small"), load_styles("procedural", size=max(images.shape[1:]))),
        "mean": lambda: tuple(round(value, 4) for value in images.channel_stats()[0]),
    }
    given = material or {}
    return {name: given[name] if name in given else make() for name, make in made.items() if name in instrument.needs}


def keyed(instrument: Instrument, material: Mapping[str, Any]) -> Any:
    """What a record's key says of the material that an instrument uses; None where it needs none."""
    used = {name: getattr(value, "key", value) for name, value in material.items() if name in instrument.needs}
    return used or None

"""The state of the explore panel: everything that decides what is shown, as values, as a link and as code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, urlencode

from torch import Tensor

from ... import home, saliency
from ...evidence import Instrument, sliders
from ...names import unknown

# the menu of the panel: what is fast first, then every other method of `saliency.attribute` that explains one image alone
_SAME = {*saliency.METHODS, "Grad", "Saliency", "InputXGradient", "IntegratedGradients", "DeepLift"}  # are in the menu by another name
_SLOW = [name for name in saliency.BY_NAME if name not in {*_SAME, "FeaturePermutation"}]
MAPS: dict[str, Callable[..., Tensor]] = {
    "Grad": saliency.grad, **saliency.ATTRIBUTIONS, "SmoothGrad": saliency.smooth_grad,
    **{name: partial(saliency.attribute, name) for name in _SLOW},
}  # fmt: skip
BEYOND = 10  # a link may take a slider to this multiple of its largest stop
LIMITS: dict[str, tuple[float, float]] = {"redraw": (0, 10**6), "eps": (0, 1), "steps": (1, 200)}
UPLOAD = re.compile(r"upload-[0-9a-f]{12}")


@dataclass(frozen=True)
class State:
    """Everything that decides what is shown. The defaults change nothing about the image.

    ``levels`` holds the level of each distortion, by its name in the rows of `INSTRUMENTS`. The distortions are applied in the order of these rows.
    The attack comes last, and each network is attacked for itself.

    Raises:
        ValueError: in one sentence, a value that cannot be. What depends on the study is checked by `check`.

    >>> State(image="3", levels={"patch_shuffle": 2, "saturate": 64}).query
    'image=3&saturate=64&patch_shuffle=2'
    >>> State.of("image=3&saturate=64").levels
    (('saturate', 64.0),)
    """

    image: str = "0"  # the number of a test image, or what `keep_upload` calls an uploaded image
    models: tuple[str, ...] = ()  # one to three; empty: baseline and subject of the study
    levels: Mapping[str, float] | tuple[tuple[str, float], ...] = ()  # afterwards pairs; levels that change nothing are left out
    style: str = "drawn"  # of stylized images: the number of a style, or "drawn": the style that a sweep draws for this image
    redraw: int = 0  # counts how often random distortions were drawn anew
    eps: float = 0.0  # PGD, L∞
    steps: int = 20
    method: str = "Grad"
    scale: str = "map"

    def __post_init__(self) -> None:
        given, known = {name: float(level) for name, level in dict(self.levels).items()}, rows()
        for name, level in given.items():
            if name not in known:
                raise unknown("distortion", name, known)
            stops = known[name].stops + known[name].levels
            least, most = BEYOND * min(0.0, *stops), BEYOND * max(stops)
            if not least <= level <= most:
                raise ValueError(f"{name} is {level:g}; it must be between {least:g} and {most:g}")
        kept = tuple((name, given[name]) for name, row in known.items() if name in given and given[name] != row.original)
        object.__setattr__(self, "levels", kept)
        saliency.check_scale(self.scale)
        if self.method not in MAPS:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(MAPS)}")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be between {least} and {most:g}")
        if len(self.models) > 3 or len(set(self.models)) < len(self.models):
            raise ValueError(f"models is {', '.join(self.models)}; there must be at most three different ones, or none for the main two")
        if not (self.style == "drawn" or self.style.isdecimal()):
            raise ValueError(f"style is {self.style!r}; it must be the number of a style, or 'drawn'")
        if not (self.image.isdecimal() or UPLOAD.fullmatch(self.image)):
            raise ValueError(f"image is {self.image!r}; it must be the number of a test image, or the name of an upload")

    def level(self, name: str) -> float | None:
        """The level of a distortion; where it is off, the level that changes nothing, or None."""
        return dict(self.levels).get(name, rows()[name].original)

    @property
    def changed(self) -> dict[str, Any]:
        """The fields that are not the defaults."""
        return {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}

    @property
    def query(self) -> str:
        """The changed fields as the query of a link, numbers to six digits: ``image=3&saturate=1024``."""
        said = self.changed
        said |= dict(said.pop("levels", ()))
        return urlencode({name: _linked(value) for name, value in said.items()}, safe=",")

    @classmethod
    def of(cls, query: str) -> State:
        """The state of a `query`; other names are ignored. ValueError for a value that cannot be read."""
        found: dict[str, Any] = {"levels": {}}
        for name, text in parse_qsl(query.strip().lstrip("?")):
            kind = _kind(name)
            if kind is None:
                continue
            try:
                value = tuple(text.split(",")) if kind is tuple else kind(text)
            except ValueError:
                raise ValueError(f"{name} is {text!r}; it must be a {'whole ' if kind is int else ''}number") from None
            (found["levels"] if name in rows() else found)[name] = value
        return cls(**found)

    @property
    def code(self) -> str:
        """The state as Python writes it, without defaults."""
        said = self.changed
        if "levels" in said:
            said["levels"] = dict(said["levels"])
        return f"State({', '.join(f'{name}={value!r}' for name, value in said.items())})"


def rows() -> dict[str, Instrument]:
    """The distortions that a state can hold, by name, in the order in which they are applied."""
    return {i.name: i for i in sliders()}


def _linked(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def _kind(name: str) -> Any:
    """How a name's value is read from a link: str, int, float or tuple; None for a name that is no part of a state."""
    if name in rows():
        return float
    hints = get_type_hints(State)
    return None if name == "levels" or name not in hints else tuple if name == "models" else hints[name]


def says_a_state(query: str) -> bool:
    """Whether a query names any part of a `State`."""
    return any(_kind(name) is not None for name, _ in parse_qsl(query))


def uploads() -> Path:
    """The folder that uploaded images are kept in."""
    return home() / "results" / "explore" / "uploads"


def keep_upload(content: bytes, shape: tuple[int, int, int]) -> tuple[str, str]:
    """Keep an uploaded image, brought to a shape (C, H, W), as a PNG in ``results/explore/uploads``.

    Returns its name for `State.image`, which is made from the pixels, and a sentence that says what was changed.

    Raises:
        ValueError: as `data.decode_upload`.
    """
    from PIL import Image

    from ...data import decode_upload

    pixels, sentence = decode_upload(content, shape)
    name = f"upload-{hashlib.sha256(str(shape).encode() + pixels.tobytes()).hexdigest()[:12]}"
    uploads().mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(uploads() / f"{name}.png")
    return name, sentence

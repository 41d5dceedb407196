"""The instruments: every number that is taken for a sign of what a network uses, one row each.

Sweeps, the controls' verdicts, the findings, the sliders of the explore panel and the tables of the pages are made from these rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import distortions, saliency
from ..names import unknown
from .claims import DROP, ITAZURI, MEAN, ON_CORRECT, TOP1, ZHANG_ZHU, Claim

ACCURACY, MAPS = "accuracy on correct", "mean over maps"  # what is read
CHUNK = 2**20  # random numbers that are skipped at once
OF_DISTORTIONS = ("brightness", "contrast", "ball", "underfit", "guessing", "levels", "seeds")  # rivals of every claim on a distortion
OF_MAPS = ("underfit", "untrained", "methods", "seeds")


class Said(NamedTuple):
    """What a paper says of an instrument at a level."""

    level: float
    expected: str  # "higher" | "lower" | "equal"
    source: str  # where in the paper
    paper: str = ZHANG_ZHU
    unit: str = ON_CORRECT
    rivals: tuple[str, ...] = ()  # besides those of every such claim


@dataclass(frozen=True)
class Instrument:
    """A distortion, whose number is accuracy on correct; a number of saliency maps, whose number is the mean over images; or, in `drawn`, a
    number of drawn images.

    ``function`` of a distortion is ``(x, level) -> x``, of a map's number ``(maps) -> (N,)``, of a number of drawn images
    ``(model, drawn, store) -> (value, ci_low, ci_high)``. Keyword arguments name what else it needs:
    ``generator``, ``stylizer``, ``mean``; ``x``, ``mask``.
    """

    name: str
    title: str | Callable[[float], str]  # in words; {level} stands for the level
    function: Callable[..., Any]
    reads: str = ACCURACY
    short: str = ""  # of its slider
    axis: str = ""  # what the level is, on an axis
    levels: tuple[float, ...] = ()  # of a sweep
    stops: tuple[float, ...] = ()  # of a slider, weakest first, where they differ from the levels
    original: float | None = None  # the level that changes nothing
    base: float | None = None  # the level that the others are compared with: images that a network gets right there count
    method: str = "SmoothGrad"  # of saliency, of a map's number
    fits: Callable[[float, int, int], bool] = lambda level, h, w: True  # whether images of h × w pixels allow a level
    draws: Callable[[float, int, int], int] | None = None  # random numbers for each image
    sign: int = 0  # 1: a network that relies more on shape should read higher; −1: lower; 0: not taken for a sign of shape
    judged: tuple[float, ...] = ()  # levels at which the controls read it
    said: tuple[Said, ...] = ()  # the papers' claims

    @property
    def expected(self) -> str:
        """The reading of a network that relies more on shape, by the papers' argument."""
        return {1: "higher", -1: "lower", 0: ""}[self.sign]

    @cached_property
    def claims(self) -> dict[float, Claim]:
        """Level → what a paper claims there."""
        return {said.level: self._claim(said) for said in self.said}

    def _claim(self, said: Said) -> Claim:
        words, unit, rivals = self.words(said.level), said.unit, (*said.rivals, *OF_DISTORTIONS)
        if self.reads == MAPS:
            unit, rivals = MEAN, (*said.rivals, *OF_MAPS)
        else:
            words = f"{unit}{'' if self.base is None else f' at {self.words(self.base)}'}, {words}"
        return Claim(self.name, said.level, words, said.expected, said.source, said.paper, unit=unit, rivals=rivals)

    @property
    def number(self) -> str:
        """The name of a map's number without its method."""
        return self.name.removeprefix(f"{self.method.lower()}_")

    @cached_property
    def needs(self) -> frozenset[str]:
        """The names of what the function needs besides images and level."""
        return frozenset(inspect.signature(self.function).parameters) & {"generator", "stylizer", "mean", "x", "mask"}

    def words(self, level: float) -> str:
        """The instrument at a level, in words."""
        return self.title(level) if callable(self.title) else self.title.format(level=f"{level:g}")

    def usable(self, shape: Sequence[int], *, stops: bool = False) -> list[float]:
        """The levels of a sweep, or the stops of a slider, that images of (C, H, W) allow."""
        return [level for level in (self.stops if stops and self.stops else self.levels) if self.fits(level, *shape[-2:])]

    def at(self, level: float, *, seed: int = 0, before: int = 0, material: Mapping[str, Any] | None = None) -> Callable[[Tensor], Tensor]:
        """The distortion at a level, as a function of images alone.

        Random numbers are drawn from ``seed``, image after image: batches of any size, in the same order, give the same images. The
        first ``before`` images' numbers are skipped. ``material`` holds the ``stylizer`` and the ``mean``.
        """
        given = {name: value for name, value in (material or {}).items() if name in self.needs and name in ("stylizer", "mean")}
        if self.draws is None:
            return partial(self.function, level=level, **given)
        generator, skipped = torch.Generator().manual_seed(seed), before

        def drawn(x: Tensor) -> Tensor:
            nonlocal skipped
            if skipped and self.draws:
                each = self.draws(level, *x.shape[-2:])
                while skipped:
                    part = min(skipped, 1 + CHUNK // each)
                    torch.rand(part, each, generator=generator)
                    skipped -= part
            return self.function(x, level=level, generator=generator, **given)

        return drawn


def key(measure: str, level: float) -> str:
    """The name of an instrument at a level."""
    return f"{measure}-{level:g}" if level else measure


def named(reads: str) -> dict[str, Instrument]:
    """The instruments of one kind, `ACCURACY` or `MAPS`, by name."""
    return {i.name: i for i in INSTRUMENTS if i.reads == reads}


def find(name: str) -> Instrument:
    """The distortion of a name; ValueError, which names the nearest known one, for an unknown name.

    ``saturate/brightness``, ``saturate/contrast`` and ``saturate/ball-0.1`` are parts of what the distortion does: its brightness alone,
    its brightness and contrast alone, and the distortion cut to changes of at most 0.1 (`distortions.brightness_alone`, …).

    >>> find("patch_shuffle").usable((1, 28, 28)), find("patch_shuffle").words(4)
    ([2, 4, 7], '4 × 4 patches shuffled')
    >>> find("saturate").at(2)(torch.full((1, 1, 1, 1), 0.25))
    tensor([[[[0.2500]]]])
    """
    known = named(ACCURACY)
    whole, _, part = name.partition("/")
    if whole not in known:
        raise unknown("distortion", name, known)
    return _part(known[whole], part) if part else known[whole]


def _part(instrument: Instrument, name: str) -> Instrument:
    """A part of what a distortion does, as an instrument of no claim."""
    parts: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"brightness": _d.brightness_alone, "contrast": _d.contrast_alone}
    kind, _, eps = name.partition("-")
    if kind == "ball" and eps.replace(".", "", 1).isdigit():
        parts[name] = lambda x, distorted: _d.within_ball(x, distorted, float(eps))
    if name not in parts:
        raise ValueError(f"a distortion has no part {name!r}; write brightness, contrast or ball-EPS, such as ball-0.1")

    @wraps(instrument.function)
    def part(x: Tensor, *args: Any, **given: Any) -> Tensor:
        return parts[name](x, instrument.function(x, *args, **given))

    return replace(instrument, name=f"{instrument.name}/{name}", function=part, levels=(), stops=(), said=(), judged=(), sign=0)


def sliders() -> list[Instrument]:
    """The distortions of the explore panel, in the order in which it applies them."""
    return [i for i in named(ACCURACY).values() if i.levels]


def stylize(x: Tensor, level: float, *, stylizer: distortions.Stylizer) -> Tensor:
    """Images in the styles that the stylizer chooses for them, with the level as α."""
    return stylizer.paint(x, stylizer.choose(x), alpha=level)


def reverse(x: Tensor, level: float, *, mean: Sequence[float]) -> Tensor:
    """Images mixed with the same images reversed in color, by the share ``level``; ValueError for a share outside [0, 1]."""
    if not 0 <= level <= 1:
        raise ValueError(f"reverse is {level}; a share must be in [0, 1]")
    return torch.lerp(x, distortions.reverse(x, mean=mean), float(level))


def _times(level: float) -> str:
    known: dict[float, str] = {1: "once", 2: "twice", 5: "five times"}
    return f"median-filtered {known.get(level, f'{level:g} times')}"


def _renamed(function: Callable[..., Tensor], **fixed: Any) -> Callable[..., Tensor]:
    """The function with its second argument called ``level``."""
    names = inspect.signature(function).parameters
    if "generator" in names:
        return lambda x, level, *, generator=None: function(x, level, generator=generator, **fixed)
    return lambda x, level: function(x, level, **fixed)


_d = distortions
RADII = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0)
QUARTERS = tuple(i / 4 for i in range(21))
_FOURIER: dict[str, Any] = {"levels": RADII, "fits": lambda level, h, w: level < min(h, w) / 2}
_MODES: dict[str, Any] = {"axis": "probability that a mode is removed", "draws": lambda level, h, w: h * w}
_CODE: dict[str, Any] = {"axis": "radius of the authors' mask (entries of the spectrum)"}

_BOTH = "section 3.1: both methods show the same"


def _of_maps(method: str) -> list[Instrument]:
    """The rows of a saliency method. Zhang & Zhu show and describe SmoothGrad; its names have no prefix."""
    smooth = method == "SmoothGrad"
    contours = "section 4.1, in words" if smooth else _BOTH
    row: Any = partial(Instrument, reads=MAPS, method=method, judged=(0,))
    made = [
        row("sparsity", f"sparsity of {method} (Gini coefficient, mean over images)", lambda maps: saliency.gini(maps), sign=1,
            said=(Said(0, "higher", contours),)),
        row("edges", f"agreement of {method} with the image's edges (Spearman, mean over images)",
            lambda maps, *, x: saliency.edge_agreement(maps, x), sign=1, said=(Said(0, "higher", contours, rivals=("blank ground",)),)),
        row("coarse", f"share of {method} up to 4 cycles per image (mean over images)", lambda maps: saliency.coarse_share(maps), sign=1,
            said=(Said(0, "higher", "Figures 2 and 8 to 14, in words", ITAZURI),)),
        row("edge", f"share of {method} on the outline", lambda maps, *, mask: saliency.region_shares(maps, mask)["edge"], sign=1),
        row("inside", f"share of {method} inside the outline", lambda maps, *, mask: saliency.region_shares(maps, mask)["inside"], sign=-1),
    ]  # fmt: skip
    return made if smooth else [replace(i, name=f"{method.lower()}_{i.name}") for i in made]


INSTRUMENTS: list[Instrument] = [
    Instrument("stylize", lambda level: "α = 0" if not level else "stylized" if level == 1 else f"stylized, α = {level:g}", stylize, short="style α",
               axis="α (share of the style)", levels=(0.25, 0.5, 0.75, 1.0), stops=tuple(i / 20 for i in range(21)), base=0.0, sign=1, judged=(1,),
               said=(Said(1.0, "higher", "Table 2", rivals=("decoder",)),)),
    Instrument("saturate", "saturated to level {level}", _renamed(_d.saturate), short="saturation", axis="saturation level (2 = original)",
               levels=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 1024.0), stops=tuple(2 ** (i / 2) for i in range(-4, 21)), original=2,
               sign=1, judged=(1024,), said=(Said(1024.0, "higher", "Tables 4 to 6"), Said(0.25, "equal", "Figure 5, in words"))),
    Instrument("brightness", lambda level: f"brightness {level:+g}".replace("-", "−"), _renamed(_d.shift), short="brightness", axis="added to every pixel",
               levels=(-0.1, -0.05, 0.05, 0.1), stops=tuple(i / 20 for i in range(-10, 11)), original=0, judged=(-0.1, -0.05, 0.05, 0.1)),
    Instrument("gaussian_blur", "blurred with σ = {level}", _renamed(_d.gaussian_blur), short="blur σ", levels=QUARTERS, original=0,
               axis="σ of the blur (pixels; a kernel of 7 caps it near 2)", sign=1, judged=(2,),
               said=(Said(2.0, "equal", "Figure 6", ITAZURI, DROP),)),
    Instrument("median_filter", _times, _renamed(_d.median_filter), short="median", axis="median filter applied (times, kernel 5)",
               levels=(0, 1, 2, 3, 4, 5), original=0, sign=1, judged=(1,),
               said=(Said(1.0, "higher", "Figure 6", ITAZURI, TOP1), Said(5.0, "higher", "Figure 6", ITAZURI, TOP1))),
    Instrument("low_pass", "low-pass filtered, radius {level}", _renamed(_d.low_pass), short="low-pass", axis="radius kept (cycles per image)", **_FOURIER,
               stops=RADII[::-1], sign=1, judged=(4,), said=(Said(4.0, "higher", "Table 3, radius not given"),)),
    Instrument("high_pass", "high-pass filtered, radius {level}", _renamed(_d.high_pass, keep_mean=True), short="high-pass",
               axis="radius removed (cycles per image), mean kept", **_FOURIER, stops=(0.0, *RADII), sign=-1, judged=(4,),
               said=(Said(4.0, "lower", "Table 3, radius not given", rivals=("removed mean",)),)),
    Instrument("random_modes", lambda level: "a tenth of the Fourier modes removed" if level == 0.1 else f"{100 * level:g} % of the Fourier modes removed",
               _renamed(_d.random_modes, keep_mean=True), short="modes removed", **_MODES, levels=(0.05, 0.1, 0.2, 0.3, 0.5), original=0, sign=1,
               judged=(0.1,), said=(Said(0.1, "equal", "Table 3", rivals=("removed mean",)),)),
    Instrument("patch_shuffle", "{level} × {level} patches shuffled", _renamed(_d.patch_shuffle), short="patches k", axis="k (image cut into k × k patches)",
               levels=tuple(range(2, 9)), stops=tuple(range(2, 225)), original=1, fits=lambda level, h, w: h % level == w % level == 0,
               draws=lambda level, h, w: int(level) ** 2 + 1, sign=-1, judged=(2, 4),
               said=(Said(2.0, "lower", "Tables 7 and 8"), Said(4.0, "lower", "Tables 7 and 8"))),
    Instrument("grayscale", lambda level: "without color" if level == 1 else f"with {100 * (1 - level):g} % of the color", _renamed(_d.grayscale),
               short="grayscale", axis="share of the luma", levels=(0.25, 0.5, 0.75, 1.0), stops=tuple(i / 20 for i in range(21)),
               original=0, sign=1, judged=(1,)),
    Instrument("reverse", lambda level: "colors reversed" if level == 1 else f"colors reversed by {100 * level:g} %", reverse, short="reversal",
               axis="share of the reversed image", levels=(0.25, 0.5, 0.75, 1.0), original=0,
               said=(Said(1.0, "equal", "Table 2", ITAZURI, DROP),)),
    # of later papers; the controls judge them
    Instrument("bilateral", "smoothed by a bilateral filter, level {level}", _renamed(_d.bilateral), axis="level (units of pixels)", sign=1, judged=(0.2,)),
    Instrument("nl_means", "smoothed by non-local means, level {level}", _renamed(_d.nl_means), axis="level (units of pixels)", sign=1, judged=(0.2,)),
    Instrument("patch_rotate", "{level} × {level} patches turned in their places", _renamed(_d.patch_rotate), axis="k (image cut into k × k patches)",
               fits=lambda level, h, w: h == w and h % level == 0, draws=lambda level, h, w: int(level) ** 2, sign=-1, judged=(4,)),
    Instrument("channel_shuffle", "with its channels in another order", _renamed(_d.channel_shuffle), axis="share of the shuffled image",
               draws=lambda level, h, w: 1, sign=1, judged=(1,)),
    # the same filters without the mean: they also measure brightness
    Instrument("high_pass_dark", "high-pass filtered, radius {level}, mean removed (measures brightness, too)", _renamed(_d.high_pass),
               axis="radius removed (cycles per image), mean removed"),
    Instrument("random_modes_dark", lambda level: f"{100 * level:g} % of the Fourier modes removed, the mean among them (measures brightness, too)",
               _renamed(_d.random_modes), **_MODES),
    # as in the code of Zhang & Zhu
    Instrument("low_pass_code", "low-pass filtered, the authors' mask, radius {level}", _renamed(_d.low_pass, preset="code"), **_CODE),
    Instrument("high_pass_code", "high-pass filtered, the authors' mask, radius {level}", _renamed(_d.high_pass, preset="code"), **_CODE),
    Instrument("random_modes_code", "Fourier modes removed with probability {level}, as in the authors' code",
               _renamed(_d.random_modes, symmetric=False), **_MODES),
    *_of_maps("SmoothGrad"),
    *_of_maps("Grad"),
]  # fmt: skip

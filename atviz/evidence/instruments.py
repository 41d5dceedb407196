"""The instruments: every number that is taken for a sign of what a network uses, one row each.

Sweeps, the controls' verdicts, the findings, the sliders of the explore panel and the tables of the pages are made from these rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from .. import distortions, saliency
from ..names import unknown
from .claims import ITAZURI, ZHANG_ZHU, Claim

ACCURACY, MAPS = "accuracy on correct", "mean over maps"  # what is read
CHUNK = 2**20  # random numbers that are skipped at once
Said = tuple[float, str, str, str]  # level, "higher" | "lower" | "equal", where in the paper, which paper


@dataclass(frozen=True)
class Instrument:
    """A distortion, whose number is accuracy on correct, or a number of Grad maps, whose number is the mean over images.

    ``function`` of a distortion is ``(x, level) -> x``, of a map's number ``(maps) -> (N,)``. Keyword arguments name what else it needs:
    ``generator``, ``stylizer``, ``mean``; ``x``, ``mask``.
    """

    name: str
    title: str | Callable[[float], str]  # in words; {level} stands for the level
    function: Callable[..., Tensor]
    reads: str = ACCURACY
    short: str = ""  # of its slider
    axis: str = ""  # what the level is, on an axis
    levels: tuple[float, ...] = ()  # of a sweep
    stops: tuple[float, ...] = ()  # of a slider, weakest first, where they differ from the levels
    original: float | None = None  # the level that changes nothing
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
        of = f"{ACCURACY}, " if self.reads == ACCURACY else ""
        return {v: Claim(self.name, v, of + self.words(v), expected, source, paper) for v, expected, source, paper in self.said}

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

    >>> find("patch_shuffle").usable((1, 28, 28)), find("patch_shuffle").words(4)
    ([2, 4, 7], '4 × 4 patches shuffled')
    >>> find("saturate").at(2)(torch.full((1, 1, 1, 1), 0.25))
    tensor([[[[0.2500]]]])
    """
    known = named(ACCURACY)
    if name not in known:
        raise unknown("distortion", name, known)
    return known[name]


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

INSTRUMENTS: list[Instrument] = [
    Instrument("stylize", lambda level: "stylized" if level == 1 else f"stylized, α = {level:g}", stylize, short="style α", axis="α (share of the style)",
               levels=(0.25, 0.5, 0.75, 1.0), stops=tuple(i / 20 for i in range(21)), sign=1, judged=(1,),
               said=((1.0, "higher", "Table 2", ZHANG_ZHU),)),
    Instrument("saturate", "saturated to level {level}", _renamed(_d.saturate), short="saturation", axis="saturation level (2 = original)",
               levels=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 1024.0), stops=tuple(2 ** (i / 2) for i in range(-4, 21)), original=2,
               sign=1, judged=(1024,), said=((1024.0, "higher", "Tables 4 to 6", ZHANG_ZHU),)),
    Instrument("gaussian_blur", "blurred with σ = {level}", _renamed(_d.gaussian_blur), short="blur σ", levels=QUARTERS, original=0,
               axis="σ of the blur (pixels; a kernel of 7 caps it near 2)", sign=1, judged=(2,),
               said=((2.0, "equal", "Figure 6", ITAZURI),)),
    Instrument("median_filter", _times, _renamed(_d.median_filter), short="median", axis="median filter applied (times, kernel 5)",
               levels=(0, 1, 2, 3, 4, 5), original=0, sign=1, judged=(1,),
               said=((1.0, "higher", "Figure 6", ITAZURI), (5.0, "higher", "Figure 6", ITAZURI))),
    Instrument("low_pass", "low-pass filtered, radius {level}", _renamed(_d.low_pass), short="low-pass", axis="radius kept (cycles per image)", **_FOURIER,
               stops=RADII[::-1], sign=1, judged=(4,), said=((4.0, "higher", "Table 3, radius not given", ZHANG_ZHU),)),
    Instrument("high_pass", "high-pass filtered, radius {level}", _renamed(_d.high_pass), short="high-pass", axis="radius removed (cycles per image)",
               **_FOURIER, stops=(0.0, *RADII), sign=-1, judged=(4,), said=((4.0, "lower", "Table 3, radius not given", ZHANG_ZHU),)),
    Instrument("random_modes", lambda level: "a tenth of the Fourier modes removed" if level == 0.1 else f"{100 * level:g} % of the Fourier modes removed",
               _renamed(_d.random_modes), short="modes removed", **_MODES, levels=(0.05, 0.1, 0.2, 0.3, 0.5), original=0, sign=1, judged=(0.1,),
               said=((0.1, "equal", "Table 3", ZHANG_ZHU),)),
    Instrument("patch_shuffle", "{level} × {level} patches shuffled", _renamed(_d.patch_shuffle), short="patches k", axis="k (image cut into k × k patches)",
               levels=tuple(range(2, 9)), stops=tuple(range(2, 225)), original=1, fits=lambda level, h, w: h % level == w % level == 0,
               draws=lambda level, h, w: int(level) ** 2, sign=-1, judged=(2, 4),
               said=((2.0, "lower", "Tables 7 and 8", ZHANG_ZHU), (4.0, "lower", "Tables 7 and 8", ZHANG_ZHU))),
    Instrument("grayscale", lambda level: "without color" if level == 1 else f"with {100 * (1 - level):g} % of the color", _renamed(_d.grayscale),
               short="grayscale", axis="share of the luma", levels=(0.25, 0.5, 0.75, 1.0), stops=tuple(i / 20 for i in range(21)),
               original=0, sign=1, judged=(1,)),
    Instrument("reverse", lambda level: "colors reversed" if level == 1 else f"colors reversed by {100 * level:g} %", reverse, short="reversal",
               axis="share of the reversed image", levels=(0.25, 0.5, 0.75, 1.0), original=0,
               said=((1.0, "equal", "Table 2", ITAZURI),)),
    # as in the code of Zhang & Zhu
    Instrument("low_pass_code", "low-pass filtered, the authors' mask, radius {level}", _renamed(_d.low_pass, preset="code"), **_CODE),
    Instrument("high_pass_code", "high-pass filtered, the authors' mask, radius {level}", _renamed(_d.high_pass, preset="code"), **_CODE),
    Instrument("random_modes_code", "Fourier modes removed with probability {level}, as in the authors' code",
               _renamed(_d.random_modes, symmetric=False), **_MODES),
    Instrument("sparsity", "sparsity of Grad (Gini coefficient, mean over images)", lambda maps: saliency.gini(maps), MAPS, sign=1, judged=(0,),
               said=((0, "higher", "Figure 10, in words", ZHANG_ZHU),)),
    Instrument("edges", "agreement of Grad with the image's edges (Spearman, mean over images)",
               lambda maps, *, x: saliency.edge_agreement(maps, x), MAPS, sign=1, judged=(0,),
               said=((0, "higher", "Figure 10, in words", ZHANG_ZHU),)),
    Instrument("coarse", "share of Grad up to 4 cycles per image", lambda maps: saliency.coarse_share(maps), MAPS, sign=1, judged=(0,)),
    Instrument("edge", "share of Grad on the outline", lambda maps, *, mask: saliency.region_shares(maps, mask)["edge"], MAPS, sign=1, judged=(0,)),
    Instrument("inside", "share of Grad inside the outline", lambda maps, *, mask: saliency.region_shares(maps, mask)["inside"], MAPS, sign=-1, judged=(0,)),
]  # fmt: skip

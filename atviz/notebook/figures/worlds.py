"""The crossed experiment: what decides in each world, the model of the choice, and the instruments across the worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .networks import networks, percent
from .style import GRAY, LINE, NOTE, styled

CUES = {
    "by shape": {"color": "#D55E00", "marker": "^", "linestyle": "-"}, "by texture": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "by neither": {"color": GRAY, "marker": "x", "linestyle": ":"},
}  # fmt: skip
LOOKS = {name: each | {"fillstyle": "full", "markerfacecoloralt": "white"} for name, each in CUES.items()}
WRAP = 4  # panels in a row


@styled
def deciding(rows: pd.DataFrame, amplitudes: Mapping[str, Sequence[float]]) -> Figure:
    """What decides when shape and texture disagree, against ε, a panel for each world.

    Rows as `evidence.crossed.summary`, of the measures in `CUES` and of one norm. ``amplitudes``: world → the amplitudes of shape and
    texture, in the units of ``eps``, drawn as vertical lines. The radii of a world are drawn at equal distances; ε = 0 is normal training.
    """
    rows = rows.assign(at=rows.groupby("world").eps.transform(lambda eps: eps.rank(method="dense") - 1))
    worlds = list(dict.fromkeys(rows.world))
    figure = networks(
        (11, 2.3 * -(-len(worlds) // WRAP) + 0.9), percent(rows), "at", by="measure", looks=LOOKS, facet={"col": "world", "wrap": WRAP, "order": worlds},
        share={"x": False, "y": True}, ylim=(-3, 103),
    )  # fmt: skip
    for ax, world in zip(figure.axes, worlds, strict=True):
        eps = np.sort(rows[rows.world == world].eps.unique())
        ax.set_title(world)
        ax.set_xticks(range(len(eps)), [f"{e:.2g}".removeprefix("0") if e else "0" for e in eps])
        for amplitude, cue in zip(amplitudes[world] if len(eps) > 2 else (), ("shape", "texture"), strict=len(eps) > 2):
            place = 1 + np.log(amplitude / eps[1]) / np.log(eps[2] / eps[1])  # the radii have equal ratios
            ax.axvline(place, **LINE | {"color": CUES[f"by {cue}"]["color"], "linestyle": "--"})
    figure.supxlabel(
        "ε of adversarial training (0: normal). Dashed: amplitude of the texture (blue) and of the silhouette (red)", fontsize=10
    )
    figure.supylabel("images decided (%)", fontsize=10)
    return figure


@styled
def coefficients(found: Mapping[str, pd.DataFrame]) -> Figure:
    """The terms of `evidence.choice.fit` with their 95 % intervals, a panel for each title."""
    figure = Figure(figsize=(11, 3.4))
    for ax, (title, rows) in zip(figure.subplots(1, len(found), sharey=True, squeeze=False)[0], found.items(), strict=True):
        looks = {sign: LOOKS[name] for sign, name in ((1, "by shape"), (-1, "by texture"), (0, "by neither"))}
        sign = np.where(rows.ci_low > 0, 1, np.where(rows.ci_high < 0, -1, 0))
        shown = rows.assign(value=rows.coefficient, sign=sign, title=[fill(each, 46) for each in rows.title])
        networks(
            ax, shown, "title", so.Range(linewidth=1.4), so.Path(linewidth=0, pointsize=6), by="sign", flat=True,
            looks={each: looks[each] for each in shown.sign.unique()}, xlabel="log odds of shape against texture",
        )  # fmt: skip
        ax.axvline(0, **LINE)
        ax.set_title(title)
    return figure


@styled
def instruments_by_world(found: pd.DataFrame, overall: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Each instrument's rank correlation with what decides, by world. A frame: reliable there. At the right, the verdict over all worlds.

    Rows as `evidence.across.in_worlds` and `evidence.across.overall`.
    """
    worlds, names = list(dict.fromkeys(found.world)), list(overall.instrument)
    figure = Figure(figsize=(11, 0.34 * len(names) + 1.6))
    ax = _ratings(figure, found.assign(column=found.world, value=found.rho), titles, names, worlds, found.verdict == "reliable")
    for i, verdict in enumerate(overall.verdict):
        ax.annotate(verdict, (len(worlds) + 0.1, i + 0.5), va="center", annotation_clip=False, **NOTE)
    return figure


@styled
def instruments_by_kind(found: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """How each instrument ranks the networks whose images lacked something against the normal ones. A frame: in the order that is expected.

    Rows as `evidence.removed.rated`. Under the name of a kind stands what is expected of it.
    """
    kinds, names = list(dict.fromkeys(found.kind)), list(dict.fromkeys(found.instrument))
    figure = Figure(figsize=(11, 0.34 * len(names) + 1.4))
    shown = found.assign(column=found.kind, value=found.order)
    ax = _ratings(figure, shown, titles, names, kinds, found.verdict == "right")
    sign = found.groupby("kind").expected.sum()  # 0 in single rows: what a network has practiced
    arrow = {1: "(more\nshape)", -1: "(less\nshape)", 0: "(nothing\nknown)"}
    ax.set_xticks(ax.get_xticks(), [f"{kind}\n{arrow[int(np.sign(sign[kind]))]}" for kind in kinds], rotation=0)
    return figure


def _ratings(
    figure: Figure, rows: pd.DataFrame, titles: Mapping[str, str], names: list[str], columns: list[str], framed: pd.Series
) -> Axes:
    """A heat map of ``value``, from −1 to 1, of each ``instrument`` and ``column``, with frames around the cells of the rows that are ``framed``."""
    wide = rows.pivot(index="instrument", columns="column", values="value").loc[names, columns]
    ax = figure.add_subplot()
    numbers = np.vectorize(lambda value: "" if np.isnan(value) else f"{value:+.2f}".replace("-", "−"))(wide)
    sns.heatmap(
        wide, vmin=-1, vmax=1, cmap="vlag", annot=numbers, fmt="", annot_kws={"size": 8.5}, cbar=False, linewidths=1, linecolor="white",
        yticklabels=[titles[name] for name in names], ax=ax,
    )  # fmt: skip
    for instrument, column in rows.loc[framed, ["instrument", "column"]].itertuples(index=False):
        ax.add_patch(_frame(columns.index(column), names.index(instrument)))
    ax.set(xlabel="", ylabel="")
    ax.set_xticks(ax.get_xticks(), [column.replace("-", "\n") for column in columns], rotation=0)
    ax.tick_params(length=0)
    return ax


def _frame(x: float, y: float) -> Rectangle:
    return Rectangle((x + 0.05, y + 0.07), 0.9, 0.86, fill=False, edgecolor="black", linewidth=1.4)

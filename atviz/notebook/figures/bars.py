"""Bars, points, boxes and tables of numbers: a value or a distribution for each network.

Rows hold ``model``, ``value``, ``ci_low``, ``ci_high`` and what each function names; seaborn draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .networks import networks, percent
from .style import ALONE, GRAY, HATCHES, LINE, MARK, NOTE, kind_of, legend, look, styled, words

POINT = so.Path(linewidth=0, pointsize=6)  # only its markers are seen; seaborn's own dots cannot be half filled


@styled
def accuracy_bars(rows: pd.DataFrame, *, ylabel: str = "accuracy (%)") -> Figure:
    """Bars with intervals, a group for each ``measure``. Values are shares."""
    figure = Figure(figsize=(max(5.5, 1.6 * rows.measure.nunique() + 0.5 * rows.model.nunique() + 1.5), 3.4))
    looks = {name: (look(name)["color"], HATCHES.get(kind_of(name)[0], "")) for name in rows.model.unique()}
    plot = so.Plot(percent(rows).assign(text=(rows.value * 100).map("{:.1f}".format)), x="measure", y="value", color="model")
    plot = plot.add(so.Bar(alpha=1, edgecolor="white", edgewidth=0), so.Dodge(gap=0.08), legend=False)
    plot = plot.add(so.Range(color=MARK, linewidth=1.3), so.Dodge(), ymin="ci_low", ymax="ci_high", legend=False)
    number = so.Text(color="black", fontsize=8.5, valign="bottom", offset=2)
    plot = plot.add(number, so.Dodge(by=["color"]), y="ci_high", text="text", legend=False)
    plot.scale(color={name: color for name, (color, _) in looks.items()}).theme(mpl.rcParams).on(figure).plot()
    patches = [Patch(facecolor=color, edgecolor="white", linewidth=0, hatch=hatch, label=name) for name, (color, hatch) in looks.items()]
    for bar in figure.axes[0].patches:
        bar.set_hatch(next(patch.get_hatch() for patch in patches if patch.get_facecolor() == bar.get_facecolor()))
    figure.axes[0].set(xlabel="", ylabel=ylabel, ylim=(0, 112), yticks=range(0, 101, 20))
    legend(figure, patches)
    return figure


@styled
def difference_bars(rows: pd.DataFrame, *, label: str, xlabel: str, ylabel: str = "") -> Figure:
    """Differences with 95 % intervals, a row each. Rows as `evidence.differences`; ``label`` is the column that tells the rows apart.

    An interval above zero has the color of the ``model``, one below zero that of the ``baseline``, any other is gray. Rows that compare
    several pairs have the colors of adversarial and of normal training.
    """
    if not len(rows):
        return words(ALONE)
    one = {"model", "baseline"} <= set(rows) and len(rows[["model", "baseline"]].drop_duplicates()) == 1
    two = (rows.model.iloc[0], rows.baseline.iloc[0]) if one else ("pgd-inf", "normal")
    looks = {sign: look(name) | {"marker": "o"} for sign, name in ((1, two[0]), (-1, two[1]))} | {
        0: look("underfit") | {"color": GRAY, "marker": "o"}
    }
    sign = np.where(rows.ci_low > 0, 1, np.where(rows.ci_high < 0, -1, 0))
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in rows[label]]
    figure = networks(
        (6.4, 0.7 + 0.32 * len(rows)), percent(rows.assign(value=rows.difference, sign=sign, at=range(len(rows)))), "at", so.Range(linewidth=2), POINT,
        by="sign", looks=looks, flat=True, xlabel=fill(xlabel, 70), ylabel=ylabel, yticks=range(len(rows)), yticklabels=names, ylim=(len(rows) - 0.4, -0.6),
    )  # fmt: skip
    figure.axes[0].axvline(0, color="#555555", linewidth=1)
    return figure


@styled
def accuracy_intervals(rows: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Accuracies with intervals, a row each, and below them a tick for each run (``model``, ``value``) of which they are the mean."""
    names = list(rows.model)
    rows, runs = (percent(each.assign(at=each.model.map(names.index))) for each in (rows, runs))
    figure = networks((6.8, 1.0 + 0.42 * len(rows)), rows, "at", so.Range(linewidth=2), POINT, flat=True)
    networks(
        figure.axes[0], runs, "at", (so.Path(linewidth=0, marker="|"), so.Shift(y=0.24)), flat=True, xlabel="accuracy on test images (%)",
        yticks=range(len(rows)), yticklabels=names, ylim=(len(rows) - 0.4, -0.7),
    )  # fmt: skip
    for at, value in enumerate(rows.value):
        figure.axes[0].annotate(f"{value:.1f}%", (value, at), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8.5)
    return figure


@styled
def likeness_points(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Means with 95 % intervals, a panel per measure (measure → title), a column per method. Rows with ``pair``, ``method``, ``measure``.

    A pair "untrained and b" has the look of b, others are black.
    """
    looks = {pair: look(pair.removeprefix("untrained and ") if pair.startswith("untrained and ") else "untrained") for pair in rows.pair}
    methods, pairs = list(rows.method.unique()), list(looks)
    beside = 0.18 * (rows.pair.map(pairs.index) - (len(pairs) - 1) / 2)
    figure = networks(
        (3.6 * len(titles) + 0.4, 3.7), rows.assign(at=rows.method.map(methods.index) + beside), "at", so.Range(linewidth=1.5), POINT, by="pair",
        looks=looks, facet={"col": "measure", "order": list(titles)}, ylabel="similarity (1: the same map)",
        ylim=(min(-0.1, rows.ci_low.min() - 0.05), 1.03),
    )  # fmt: skip
    for ax, title in zip(figure.axes, titles.values(), strict=True):
        ax.axhline(0, **LINE)
        ax.set_title(title)
        ax.set_xticks(range(len(methods)), methods, rotation=35, ha="right", rotation_mode="anchor")
    return figure


@styled
def score_boxes(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Distributions over images, a panel per ``measure`` (measure → title). Rows: one per image."""
    figure = Figure(figsize=(4.1 * len(titles), 3.1))
    colors = {name: look(name)["color"] for name in rows.model.unique()}
    for ax, (measure, title) in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles.items(), strict=True):
        sns.boxplot(
            rows[rows.measure == measure], x="model", y="value", hue="model", palette=colors, saturation=1, width=0.55, showfliers=False,
            linecolor="black", linewidth=1, boxprops={"alpha": 0.75}, ax=ax,
        )  # fmt: skip
        ax.set(xlabel="", ylabel=title)
        if len(colors) > 4:
            ax.set_xticks(range(len(colors)), list(colors), rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    return figure


@styled
def matrices(values: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Network × network matrices side by side with their numbers: title → (len(names), len(names)), each from −1 to 1."""
    side = max(3.2, 0.42 * len(names) + 1.3)
    figure = Figure(figsize=(side * len(values) + 0.8, side))
    for ax, (title, matrix) in zip(figure.subplots(1, len(values), sharey=True, squeeze=False)[0], values.items(), strict=True):
        lowest = min(0.0, float(matrix.min()))
        numbers = np.vectorize(lambda value: f"{value:z.2f}".replace("-", "−"))(matrix)
        sns.heatmap(
            matrix, vmin=lowest, vmax=1, cmap="cividis", annot=numbers, fmt="", annot_kws={"size": 7.5}, cbar=False, square=True,
            yticklabels=names, ax=ax,
        )  # fmt: skip
        for text, value in zip(ax.texts, matrix.flat, strict=True):
            text.set_color("white" if value < (1 + lowest) / 2 else "black")
        ax.set_xticks(ax.get_yticks(), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.tick_params("y", rotation=0)
        ax.set_title(title)
    return figure


@styled
def reading_points(rows: pd.DataFrame, *, at: str, xlabel: str, titles: Mapping[str, str], labels: str = "") -> Figure:
    """Accuracy on correct of each network with its interval against another share, ``at``, a panel for each distortion (name → title).

    Rows as `evidence.table`, and ``at``. ``labels``: the column whose values are written above the points, such as ``level``.
    """
    rows = percent(rows.assign(value=rows.acc_on_correct, at=rows[at] * 100))
    figure = networks(
        (4.4 * len(titles) + 0.8, 3.7), rows, "at", so.Range(linewidth=1), POINT, facet={"col": "distortion", "order": list(titles)},
        share={"x": False, "y": True}, ylabel="accuracy on correctly\nclassified images (%)", ylim=(0, 135 if labels else 104), xlabel=xlabel,
        yticks=range(0, 101, 20),
    )  # fmt: skip
    for ax, (name, title) in zip(figure.axes, titles.items(), strict=True):
        ax.set_title(title)
        if labels:
            _stacked(ax, rows[rows.distortion == name], labels)
    return figure


def _stacked(ax: Axes, rows: pd.DataFrame, labels: str) -> None:
    """The values of a column above the points; words that would run into each other stand one above the other."""
    last, step, top, width = float("-inf"), 0, 0.0, float(np.ptp(rows["at"]))
    for value in sorted(rows["at"].unique()):
        here = rows[rows["at"] == value]
        near = value - last < 0.08 * width
        step, top = (step + 1, max(top, here.ci_high.max())) if near else (0, here.ci_high.max())
        last, word = value, ", ".join(f"{level:g}" for level in dict.fromkeys(here[labels]))
        line: dict[str, Any] = {"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.6, "shrinkB": 3}
        place: dict[str, Any] = {
            "xytext": (0, 4 + 9 * step),
            "textcoords": "offset points",
            "ha": "center",
            "fontsize": 8,
            "color": "#666666",
        }
        if step:
            place["arrowprops"] = line
        ax.annotate(word, (value, top), **place)


@styled
def bias_curve(rows: pd.DataFrame, seeds: pd.DataFrame, controls: Mapping[str, float]) -> Figure:
    """Shape bias against eps with its band. Rows: ``eps``, ``shape_bias``, ``ci_low``, ``ci_high`` (shares).

    ``seeds``: ``network``, ``eps`` and ``shape_bias`` of each, drawn as points; ``controls``: name → shape bias, drawn as lines.
    """
    figure = Figure(figsize=(6.0, 3.6))
    ax = figure.add_subplot()
    networks(ax, percent(rows.assign(value=rows.shape_bias, model="pgd-inf")), "eps", so.Band(alpha=0.18), so.Line(marker=""))
    labels: Any = {"xlabel": "ε of the PGD training (L∞; 0 is normal training)", "ylabel": "true shape bias (%)"}
    networks(ax, percent(seeds.assign(value=seeds.shape_bias)), "eps", POINT, by="network", ylim=(-3, 103), **labels)
    for name, value in controls.items():
        ax.axhline(value * 100, color="#666666", linewidth=1.2, linestyle="--")
        side: Any = {"xytext": (0, -4), "va": "top"} if value > 0.5 else {"xytext": (0, 4), "va": "bottom"}
        ax.annotate(name, (rows.eps.min(), value * 100), textcoords="offset points", **side, **NOTE)
    ax.set_xticks(list(rows.eps), [f"{e:g}" for e in rows.eps])
    return figure


@styled
def instrument_panels(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """What each instrument reads against the truth, a panel each (instrument → title). Rows with ``instrument``, ``network``, ``shape_bias``."""
    figure = networks(
        (11, 2.4 * -(-len(titles) // 5) + 0.9), rows.assign(at=rows.shape_bias * 100), "at", so.Range(linewidth=1), POINT, by="network",
        facet={"col": "instrument", "wrap": 5, "order": list(titles)}, share={"x": False, "y": False}, xlim=(-8, 108), xticks=[0, 50, 100],
    )  # fmt: skip
    for ax, title in zip(figure.axes, titles.values(), strict=True):
        ax.set_title(fill(title, 27), fontsize=9)
        ax.tick_params(labelsize=8.5)
    figure.supxlabel("true shape bias (%)", fontsize=10)
    figure.supylabel("what the instrument reads", fontsize=10)
    return figure

"""Curves: a line for each network with its 95 % band.

Rows hold ``model``, ``value``, ``ci_low``, ``ci_high`` (shares) and what each function names; seaborn draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from textwrap import fill

import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .networks import networks, percent
from .style import LINE, MARK, look, styled, words


@styled
def training_curves(history: pd.DataFrame) -> Figure:
    """Test accuracy after every epoch. Rows: ``model``, ``epoch``, ``clean``, ``robust`` (shares; robust may be missing); may be empty."""
    if not len(history):
        return words("None of these networks was trained here: there is no training to show.")
    rows = percent(history.melt(["model", "epoch"], ["clean", "robust"], "measure").astype({"value": float}).dropna())
    facet = {"col": "measure", "order": ["clean", "robust"]}
    figure = networks((8, 3.2), rows, "epoch", so.Line(), facet=facet, xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    for ax, title in zip(figure.axes, ("on clean test images", "under PGD at the training ε (a sample)"), strict=True):
        ax.set_title(title)
        ax.locator_params("x", integer=True)
    return figure


@styled
def distortion_curves(
    rows: pd.DataFrame, *, xlabel: str, log: bool = False, original: float | None = None, chance: float | None = None,
    mark: float | None = None, title: str = "",
) -> Figure:  # fmt: skip
    """Accuracy on correctly classified images against the level of one distortion. Rows as `evidence.table`.

    ``log`` spaces the levels by their logarithm; ``original`` is the level that changes nothing; ``chance`` is the accuracy of guessing;
    ``mark`` is a level at which a line is drawn.
    """
    rows, ylabel = percent(rows.assign(value=rows.acc_on_correct)), "accuracy on correctly\nclassified images (%)"
    figure = networks((6.4, 3.8), rows, "level", xlabel=xlabel, ylabel=ylabel, ylim=(0, 102), title=title)
    ax, levels = figure.axes[0], sorted(set(rows.level))
    if log:
        ax.set_xscale("log", base=2)
    ax.set_xticks(levels, [f"{level:g}" for level in levels])
    ax.minorticks_off()
    if original is not None:
        ax.axvline(original, linestyle=":", **LINE)
        ax.annotate("original", (original, 2), xytext=(3, 0), textcoords="offset points", fontsize=8.5, color="#666666")
    if mark is not None:
        ax.axvline(mark, color=MARK, linewidth=2)
    if chance is not None:
        _reference(ax, chance * 100, "chance", up=chance < 0.08)  # below a line this low the word would leave the panel
    return figure


def _reference(ax: Axes, value: float, text: str, *, up: bool) -> None:
    """A dotted line at a value, and at its end a word above (``up``) or below it."""
    ax.axhline(value, linestyle=":", **LINE)
    ax.annotate(text, (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2 if up else -2), textcoords="offset points",
                fontsize=8.5, color="#666666", ha="right", va="bottom" if up else "top")  # fmt: skip


@styled
def band_lines(rows: pd.DataFrame, bands: Sequence[str]) -> Figure:
    """Share of saliency energy in each frequency band, mean over images. Rows with ``band``, one of ``bands``."""
    rows = percent(rows.assign(at=rows.band.map(list(bands).index)))
    return networks(
        (6.4, 3.8), rows, "at", xlabel="frequency band (cycles per image)", ylabel="share of the maps' energy (%)", ylim=(0, None),
        xticks=range(len(bands)), xticklabels=bands,
    )  # fmt: skip


@styled
def learning_curves(rows: pd.DataFrame, *, xlabel: str = "epoch of fine-tuning") -> Figure:
    """Test accuracy after every epoch. Rows with ``epoch``, and ``low`` and ``high`` over the runs (may be missing) as the band."""
    marks = so.Band(alpha=0.12), so.Line(artist_kws={"markevery": max(1, rows.epoch.nunique() // 12)})
    rows = percent(rows.rename(columns={"low": "ci_low", "high": "ci_high"}))
    figure = networks((7.6, 4.2), rows, "epoch", *marks, xlabel=xlabel, ylabel="accuracy on test images (%)")
    figure.axes[0].locator_params("x", integer=True)
    return figure


@styled
def centroid_curves(rows: pd.DataFrame, *, ylabel: str, noise: float | None = None) -> Figure:
    """A mean over filters for every layer, in the order of the rows. Rows with ``layer``; ``noise`` is the value of white noise."""
    layers = list(rows.layer.unique())
    size, every = (max(8.0, min(11.0, 0.36 * len(layers) + 1.5)), 4.2), -(-len(layers) // 30)
    figure = networks(size, rows.assign(at=rows.layer.map(layers.index)), "at", ylabel=ylabel)
    (ax,) = figure.axes
    if noise is not None:
        _reference(ax, noise, "white noise", up=True)
    ax.set_xticks(range(0, len(layers), every), layers[::every], rotation=60, ha="right", rotation_mode="anchor", fontsize=8.5)
    ax.set_ylim(0)
    return figure


@styled
def cascade_curves(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Similarity to the intact network's maps after each step of a randomization: a row of panels per measure, a column per method.

    Rows with ``method``, ``step``, ``measure``. ``titles``: measure → the label of its axis.
    """
    methods, steps = list(rows.method.unique()), list(rows.step.unique())
    size = 2.1 * len(methods) + 0.6, 1.75 * len(titles) + 1.1
    facet = {"col": "method", "row": "measure", "order": {"col": methods, "row": list(titles)}}
    limits = min(-0.1, rows.ci_low.min() - 0.05), 1.05
    figure = networks(size, rows.assign(at=rows.step.map(steps.index)), "at", facet=facet, ylim=limits)
    for i, (ax, (title, method)) in enumerate(zip(figure.axes, product(titles.values(), methods), strict=True)):
        ax.set(title=method if i < len(methods) else "", ylabel=fill(title, 18))
        ax.axhline(0, **LINE)
        ax.set_xticks(range(len(steps)), steps, rotation=90, fontsize=min(9.0, 90 / len(steps)))
    figure.supxlabel("randomized down to this layer", fontsize=10)
    return figure


@styled
def signed_areas(
    rows: pd.DataFrame, areas: pd.DataFrame, *, labels: Mapping[str, str], chance: Mapping[str, float], titles: Mapping[str, str]
) -> Figure:
    """Accuracy against level; the area between two networks has the color of the upper one. Other networks are thin lines.

    Without ``areas`` there is one network, and no area.

    Args:
        rows: with ``distortion``, ``level``, ``measure``.
        areas: ``model``, ``baseline``, ``distortion``, ``measure``, ``difference``, ``ci_low``, ``ci_high``: written above the panels.
        labels: distortion → its level on the axis. chance: measure → share that guessing gets. titles: measure → its name.
    """
    two = (areas.model.iloc[0], areas.baseline.iloc[0]) if len(areas) else (rows.model.iloc[0],)
    rows = percent(rows.assign(ci_low=rows.ci_low.where(rows.model.isin(two)))).sort_values("level", kind="stable")  # bands of the two only
    facet = {"col": "distortion", "row": "measure", "order": {"col": list(labels), "row": list(titles)}}
    size, share = (4.6 * len(labels) + 0.4, 2.75 * len(titles) + 0.6), {"x": "col", "y": "row"}
    figure = networks(size, rows, "level", so.Band(alpha=0.3), so.Line(), facet=facet, share=share, ylim=(0, 102))
    for ax, (measure, distortion) in zip(figure.axes, product(titles, labels), strict=True):
        here = rows[(rows.measure == measure) & (rows.distortion == distortion)]
        for name, drawn in zip(here.model.unique(), ax.lines, strict=True):
            drawn.set(**{"markersize": 4.5} if name in two else {"linewidth": 1, "markersize": 3, "alpha": 0.8})
        if len(areas):
            above, below = (here[here.model == name].value.to_numpy() for name in two)
            for name, where in zip(two, (above >= below, above <= below), strict=True):
                color = look(name)["color"]
                ax.fill_between(here.level.unique(), below, above, where=where, interpolate=True, color=color, alpha=0.14, linewidth=0)
            area = areas[(areas.measure == measure) & (areas.distortion == distortion)].iloc[0]
            mean, low, high = (f"{100 * value:+.1f}".replace("-", "−") for value in (area.difference, area.ci_low, area.ci_high))
            ax.set_title(f"mean of {' − '.join(two)}: {mean} [{low}, {high}] points", fontsize=9)
        ax.set(xlabel=labels[distortion], ylabel=titles[measure])
        ax.locator_params("x", integer=True)
        _reference(ax, chance[measure] * 100, "chance", up=chance[measure] < 0.08)
    return figure

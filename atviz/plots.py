"""Figures: functions of rows and of images, drawn in one style. Nothing is measured here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from io import BytesIO
from textwrap import fill
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from .saliency import display, magnitude

Key = TypeVar("Key")

STYLE: dict[str, Any] = {
    "font.size": 10, "axes.titlesize": 10.5, "axes.labelsize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.edgecolor": "#555555",
    "legend.frameon": False, "lines.linewidth": 1.8, "lines.markersize": 5.5, "figure.facecolor": "white", "image.interpolation": "nearest",
    "svg.hashsalt": "atviz", "figure.constrained_layout.use": True,
}  # fmt: skip

MARK = "#333333"  # of the line that points at a level

# Okabe & Ito's palette, safe for color-blind readers; one color for each kind of training, paler for a smaller eps
KINDS = {
    "normal": ("#0072B2", "o", "-"), "underfit": ("#777777", "s", "--"), "pgd-inf": ("#D55E00", "^", "-"), "pgd-l2": ("#009E73", "D", "-"),
    "fgsm": ("#CC79A7", "v", "-."), "spatial": ("#E69F00", "P", ":"), "shape-only": ("#000000", "*", "-"), "texture-only": ("#000000", "x", ":"),
    "STD": ("#0072B2", "o", ":"), "STD+STD": ("#0072B2", "s", "-"), "ADV": ("#D55E00", "^", ":"), "ADV+ADV": ("#D55E00", "v", "-"),
    "STD+ADV": ("#009E73", "D", "-"), "RND+RND": ("#777777", "x", "--"),
}  # fmt: skip
HATCHES = {
    "underfit": "..",
    "pgd-inf": "//",
    "pgd-l2": "\\\\",
    "fgsm": "xx",
    "spatial": "++",
}  # of bars; the shade tells one eps from another
# the eps of the palest and of the darkest shade
RANGE = {"pgd-inf": (1 / 255, 0.1), "fgsm": (1 / 255, 0.1), "pgd-l2": (0.25, 1.6)}
FILLS = ("left", "full", "none", "bottom")  # of markers, in turn: eps an octave apart, in L2 0.4 apart, can be told apart in grayscale


def _kind(model: str) -> tuple[str, str]:
    """The kind of training that a model's name says, and its eps, "" where it says none."""
    match = re.fullmatch(r"(.*?)-(\d+(?:\.\d+)?)", model)
    return (match[1], match[2]) if match and match[1] in KINDS else (model, "")


def look(model: str) -> dict[str, Any]:
    """Color, marker, its filling, and line style of a model: the same in every figure, told apart in grayscale by marker and filling."""
    kind, text = _kind(model)
    color, marker, line = KINDS.get(kind, ("#000000", "X", "-"))
    fill = "full"
    if text and kind in RANGE:
        whole = "." not in text
        eps = float(text) / ((10 if kind == "pgd-l2" else 255) if whole else 1)
        low, high = RANGE[kind]
        color = _shade(color, np.log(eps / low) / np.log(high / low))
        fill = FILLS[round(eps / 0.4 if kind == "pgd-l2" else np.log2(eps / low)) % len(FILLS)]
    return {"color": color, "marker": marker, "linestyle": line, "fillstyle": fill, "markerfacecoloralt": "white"}


def _shade(color: str, at: float) -> str:
    """A color mixed with white (0) or black (1), as it is in between."""
    at = min(1.0, max(0.0, at))
    share, end = (0.6 * (1 - 2 * at), 1.0) if at < 0.5 else (0.3 * (2 * at - 1), 0.0)
    return to_hex(tuple(np.add(np.multiply(to_rgb(color), 1 - share), share * end)))


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in `STYLE`, whatever the caller's own settings are."""

    @wraps(draw)
    def inner(*args: Any, **kwargs: Any) -> Figure:
        settings: Any = {**mpl.rcParamsDefault, **STYLE, "backend": mpl.rcParams["backend"]}
        with mpl.rc_context(settings):
            figure = draw(*args, **kwargs)
            figure.canvas.draw()  # lays out under this style
            return figure

    return inner


@styled
def accuracy_bars(rows: pd.DataFrame, *, ylabel: str = "accuracy (%)") -> Figure:
    """Bars with intervals. Rows: ``model``, ``measure``, ``value``, ``ci_low``, ``ci_high`` (shares)."""
    measures, names = list(dict.fromkeys(rows.measure)), list(dict.fromkeys(rows.model))
    figure = Figure(figsize=(max(5.5, 1.6 * len(measures) + 0.5 * len(names) + 1.5), 3.4))
    ax = figure.add_subplot()
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        part = rows[rows.model == name].set_index("measure").loc[measures]
        at = np.arange(len(measures)) + (i - (len(names) - 1) / 2) * width
        errors = np.clip([part.value - part.ci_low, part.ci_high - part.value], 0, None) * 100
        bars = ax.bar(
            at, part.value * 100, width * 0.92, label=name, color=look(name)["color"], hatch=HATCHES.get(_kind(name)[0], ""),
            edgecolor="white", linewidth=0, yerr=errors, ecolor="#333333", capsize=2.5,
        )  # fmt: skip
        ax.bar_label(bars, fmt="%.1f", fontsize=8.5, padding=2)
    ax.set_xticks(range(len(measures)), measures)
    ax.set_ylabel(ylabel)
    ax.set_ylim(0, 112)
    ax.set_yticks(range(0, 101, 20))
    ax.grid(axis="x", visible=False)
    _legend(figure, ax)
    return figure


@styled
def training_curves(history: pd.DataFrame) -> Figure:
    """Test accuracy after every epoch. Rows: ``model``, ``epoch``, ``clean``, ``robust`` (shares; robust may be missing)."""
    figure = Figure(figsize=(8, 3.2))
    left, right = figure.subplots(1, 2, sharey=True)
    for name in dict.fromkeys(history.model):
        part = history[history.model == name]
        left.plot(part.epoch, part.clean * 100, label=name, **look(name))
        if part.robust.notna().any():
            right.plot(part.epoch, part.robust.astype(float) * 100, **look(name))
    left.set(title="on clean test images", xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    right.set(title="under PGD at the training eps (a sample)", xlabel="epoch")
    for ax in (left, right):
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    _legend(figure, left)
    return figure


@styled
def distortion_curves(
    rows: pd.DataFrame,
    *,
    xlabel: str,
    log: bool = False,
    original: float | None = None,
    chance: float | None = None,
    mark: float | None = None,
    title: str = "",
) -> Figure:
    """Accuracy on correct against level, a line a model with its 95 % band. Rows as `evaluate.table`, of one distortion.

    ``log`` spaces the levels by their logarithm; ``original`` marks the level that changes nothing; ``chance`` the accuracy of guessing;
    ``mark`` is a level that a line points at.
    """
    figure = Figure(figsize=(6.4, 3.8))
    ax = figure.add_subplot()
    for name in dict.fromkeys(rows.model):
        part = rows[rows.model == name].sort_values("level")
        ax.plot(part.level, part.acc_on_correct * 100, label=name, **look(name))
        ax.fill_between(part.level, part.ci_low * 100, part.ci_high * 100, color=look(name)["color"], alpha=0.18, linewidth=0)
    levels = sorted(set(rows.level))
    if log:
        ax.set_xscale("log", base=2)
    ax.set_xticks(levels, [f"{level:g}" for level in levels])
    ax.minorticks_off()
    if original is not None:
        ax.axvline(original, color="#999999", linewidth=1, linestyle=":")
        ax.annotate("original", (original, 2), xytext=(3, 0), textcoords="offset points", fontsize=8.5, color="#666666")
    if mark is not None:
        ax.axvline(mark, color=MARK, linewidth=2)
    if chance is not None:
        ax.axhline(chance * 100, color="#999999", linewidth=1, linestyle=":")
        ax.annotate(
            "chance",
            (levels[-1], chance * 100),
            xytext=(0, -2),
            textcoords="offset points",
            fontsize=8.5,
            color="#666666",
            ha="right",
            va="top",
        )
    ax.set(xlabel=xlabel, ylabel="accuracy on correctly\nclassified images (%)", ylim=(0, 102), title=title)
    _legend(figure, ax)
    return figure


@styled
def difference_bars(rows: pd.DataFrame, *, label: str, xlabel: str, ylabel: str = "") -> Figure:
    """Differences with 95 % intervals, a row each. Rows as `evaluate.differences`; ``label`` names the column that tells the rows apart."""
    figure = Figure(figsize=(6.4, 0.7 + 0.32 * len(rows)))
    ax = figure.add_subplot()
    at = np.arange(len(rows))[::-1]
    color = np.where(rows.ci_low > 0, KINDS["pgd-inf"][0], np.where(rows.ci_high < 0, KINDS["normal"][0], "#777777"))
    ax.hlines(at, rows.ci_low * 100, rows.ci_high * 100, color=color, linewidth=2)
    ax.scatter(rows.difference * 100, at, color=color, zorder=3, s=26)
    ax.axvline(0, color="#555555", linewidth=1)
    ax.set_yticks(at, [f"{value:g}" if isinstance(value, float) else str(value) for value in rows[label]])
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.6, len(rows) - 0.4))
    ax.grid(axis="y", visible=False)
    return figure


@styled
def image_grid(
    rows: Sequence[tuple[str, Tensor | Sequence[Tensor]]], columns: Sequence[str], *, note: str = "", block: int | None = None
) -> Figure:
    """Images in rows and columns, shown clipped to [0, 1]. ``rows``: a label and one (C, H, W) for each column.

    ``block`` leaves a gap after every so many columns.
    """
    figure, axes = _panel(len(rows), len(columns), block)
    for i, (label, images) in enumerate(rows):
        for j, image in enumerate(images):
            _show(axes[i, j], image)
        axes[i, 0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6)
    for ax, title in zip(axes[0], columns, strict=True):
        ax.set_title(title, fontsize=9.5)
    if note:
        figure.supxlabel(note, fontsize=9, color="#555555")
    return figure


@styled
def saliency_grid(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str], *, scale: str = "map") -> Figure:
    """Images above, below them each model's saliency: Σ_channels |map|, gray, white is strong.

    Args:
        images: (N, C, H, W); maps: model → a tensor like it.
        scale: ``map`` clips each map at its own 99th percentile; ``shared`` at one value for the whole figure, the 99th percentile
            of all maps, so that magnitudes can be compared. The figure says which.
    """
    shown = as_shown(maps, check_scale(scale))
    figure, axes = _panel(1 + len(maps), len(images))
    for j, image in enumerate(images):
        _show(axes[0, j], image)
        axes[0, j].set_title(titles[j], fontsize=9.5)
        for i, pictures in enumerate(shown.values(), start=1):
            _show(axes[i, j], pictures[j])
    for ax, name in zip(axes[:, 0], ["image", *maps], strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6, color=look(name)["color"] if name in maps else "black")
    figure.supxlabel(SCALES[scale], fontsize=9, color="#555555")
    return figure


# scale of saliency maps -> what a figure says of it
SCALES = {"map": "each map clipped at its own 99th percentile", "shared": "all maps on one scale, clipped at the 99th percentile of all"}


def check_scale(scale: str) -> str:
    """The scale; ValueError unless it is one of `SCALES`."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; it must be map or shared")
    return scale


def as_shown(maps: Mapping[Key, Tensor], scale: str) -> dict[Key, Tensor]:
    """Maps (N, C, H, W) as gray pictures (N, 1, H, W) in [0, 1]: Σ_channels |map| over the 99th percentile, of each map or of all."""
    if scale == "map":
        return {key: display(m)[:, None] for key, m in maps.items()}
    values = {key: magnitude(m)[:, None] for key, m in maps.items()}
    top = np.percentile(torch.cat(list(values.values())).cpu().numpy(), 99)
    return {key: (m / max(float(top), 1e-30)).clamp(max=1) for key, m in values.items()}


def signed(maps: Tensor) -> Tensor:
    """Signed maps (N, C, H, W) as pictures: clipped at ±3 standard deviations of each map, 0 as mid-gray (Itazuri et al. 2019)."""
    deviation = maps.flatten(1).std(1)[:, None, None, None].clamp(min=1e-30)
    return ((maps / (3 * deviation)).clamp(-1, 1) + 1) / 2


@styled
def score_boxes(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Distributions over images, a panel a measure. Rows: ``model``, ``measure``, ``value``, one an image."""
    figure = Figure(figsize=(4.1 * len(titles), 3.1))
    names = list(dict.fromkeys(rows.model))
    for ax, (measure, title) in zip(np.atleast_1d(figure.subplots(1, len(titles))), titles.items(), strict=True):
        values = [rows[(rows.model == name) & (rows.measure == measure)].value.to_numpy() for name in names]
        boxes = ax.boxplot(values, tick_labels=names, patch_artist=True, widths=0.55, showfliers=False, medianprops={"color": "black"})
        for box, name in zip(boxes["boxes"], names, strict=True):
            box.set(facecolor=look(name)["color"], alpha=0.75)
        ax.set_ylabel(title)
        ax.grid(axis="x", visible=False)
        if len(names) > 4:
            ax.set_xticks(ax.get_xticks(), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    return figure


@styled
def band_lines(rows: pd.DataFrame, bands: Sequence[str]) -> Figure:
    """Share of saliency energy in each frequency band, mean over images with its 95 % interval.

    Rows: ``model``, ``band`` (one of ``bands``), ``value``, ``ci_low``, ``ci_high`` (shares).
    """
    figure = Figure(figsize=(6.4, 3.8))
    ax = figure.add_subplot()
    at = np.arange(len(bands))
    for name in dict.fromkeys(rows.model):
        part = rows[rows.model == name].set_index("band").loc[list(bands)]
        ax.plot(at, part.value * 100, label=name, **look(name))
        ax.fill_between(at, part.ci_low * 100, part.ci_high * 100, color=look(name)["color"], alpha=0.18, linewidth=0)
    ax.set_xticks(at, bands)
    ax.set(xlabel="frequency band (cycles per image)", ylabel="share of the maps' energy (%)", ylim=(0, None))
    _legend(figure, ax)
    return figure


@styled
def matrices(values: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Model × model matrices side by side with their numbers: title → (len(names), len(names)), each from −1 to 1."""
    side = max(3.2, 0.42 * len(names) + 1.3)
    figure = Figure(figsize=(side * len(values) + 0.8, side))
    axes = np.atleast_1d(figure.subplots(1, len(values), sharey=True))
    for ax, (title, matrix) in zip(axes, values.items(), strict=True):
        shown = ax.imshow(matrix, cmap="cividis", vmin=min(0.0, float(matrix.min())), vmax=1)
        for (i, j), value in np.ndenumerate(matrix):
            dark = shown.norm(value) < 0.6
            ax.text(j, i, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
        ax.set_yticks(range(len(names)), names)
        ax.set_title(title)
        ax.grid(visible=False)
    return figure


@styled
def probability_strip(images: Tensor, probability: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Images side by side, under each the probability of its true class by every model: model → (len(images),)."""
    figure = Figure(figsize=(max(6.0, 1.75 * len(images)), 3.2))
    axes = figure.subplots(2, len(images), height_ratios=[1.35, 1], squeeze=False)
    names = list(probability)
    for j, image in enumerate(images):
        _show(axes[0, j], image)
        axes[0, j].set_title(titles[j], fontsize=9.5)
        ax = axes[1, j]
        at = np.arange(len(names))[::-1]
        ax.barh(at, [100 * probability[name][j] for name in names], color=[look(name)["color"] for name in names])
        ax.set_yticks(at, names if j == 0 else [""] * len(names))
        ax.set(xlim=(0, 100), xticks=[0, 50, 100])
        ax.grid(axis="y", visible=False)
    figure.supxlabel("probability of the true class (%)", fontsize=9.5)
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    """The models of ``ax`` above the figure, in as many columns as its width holds."""
    handles, labels = ax.get_legend_handles_labels()
    widest = 0.085 * max(map(len, labels), default=1) + 0.65  # inches
    columns = max(1, min(6, len(labels), int(figure.get_figwidth() / widest)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def _panel(rows: int, columns: int, block: int | None = None) -> tuple[Figure, np.ndarray]:
    side = min(1.15, 11 / columns)
    figure = Figure(figsize=(side * columns + 1.3, (side + 0.05) * rows + 0.6))
    gaps = [1.0 if not block or (column + 1) % (block + 1) else 0.25 for column in range(columns + (columns - 1) // (block or columns))]
    axes: np.ndarray = figure.subplots(rows, len(gaps), squeeze=False, width_ratios=gaps)
    for ax in axes[:, [gap < 1 for gap in gaps]].flat:
        ax.remove()
    axes = axes[:, [gap == 1 for gap in gaps]]
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return figure, axes


def _show(ax: Axes, image: Tensor) -> None:
    pixels = image.detach().float().clamp(0, 1).cpu().numpy()
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.imshow(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)


@styled
def bias_curve(rows: pd.DataFrame, seeds: pd.DataFrame, controls: Mapping[str, float]) -> Figure:
    """Shape bias against eps with its band.

    Rows: ``eps``, ``shape_bias``, ``ci_low``, ``ci_high`` (shares). ``seeds``: ``network``, ``eps`` and ``shape_bias`` of each, drawn as
    points. ``controls``: name → shape bias of each control, drawn as a line.
    """
    figure = Figure(figsize=(6.0, 3.6))
    ax = figure.add_subplot()
    color = KINDS["pgd-inf"][0]
    ax.plot(rows.eps, rows.shape_bias * 100, color=color)
    ax.fill_between(rows.eps, rows.ci_low * 100, rows.ci_high * 100, color=color, alpha=0.18, linewidth=0)
    for name, part in seeds.groupby("network"):
        kind = look(str(name))
        ax.scatter(part.eps, part.shape_bias * 100, color=kind["color"], marker=kind["marker"], s=28, zorder=3)
    for name, value in controls.items():
        ax.axhline(value * 100, color="#666666", linewidth=1.2, linestyle="--")
        below = value > 0.5
        ax.annotate(name, (rows.eps.min(), value * 100), xytext=(0, -4 if below else 4), textcoords="offset points",
                    va="top" if below else "bottom", fontsize=9, color="#444444")  # fmt: skip
    ax.set_xticks(list(rows.eps), [f"{e:g}" for e in rows.eps])
    ax.set(xlabel="ε of the PGD training (L∞; 0 is normal training)", ylabel="true shape bias (%)", ylim=(-3, 103))
    return figure


@styled
def instrument_panels(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Instrument against truth, a panel an instrument, titled by ``titles``: instrument → title.

    Rows: ``instrument``, ``network``, ``value``, ``ci_low``, ``ci_high``, ``shape_bias``.
    """
    columns = 5
    figure = Figure(figsize=(11, 2.15 * -(-len(titles) // columns) + 0.9))
    axes = figure.subplots(-(-len(titles) // columns), columns, squeeze=False)
    names = list(dict.fromkeys(rows.network))
    for ax in axes.flat[len(titles) :]:
        ax.set_visible(False)
    for ax, (instrument, title) in zip(axes.flat, titles.items(), strict=False):
        for name in names:
            part = rows[(rows.instrument == instrument) & (rows.network == name)]
            errors = np.clip([part.value - part.ci_low, part.ci_high - part.value], 0, None)
            kind = look(name) | {"linestyle": ""}
            ax.errorbar(part.shape_bias * 100, part.value, yerr=errors, markersize=6, elinewidth=1, label=name, **kind)
        ax.set_title(title, fontsize=9)
        ax.set_xlim(-8, 108)
        ax.set_xticks([0, 50, 100])
        ax.tick_params(labelsize=8.5)
    figure.supxlabel("true shape bias (%)", fontsize=10)
    figure.supylabel("what the instrument reads", fontsize=10)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=8, columnspacing=1.2, handletextpad=0.3)
    return figure


@styled
def exploration(
    image: Tensor,
    shown: Tensor,
    seen: Mapping[str, Tensor],
    maps: Mapping[str, Tensor],
    probability: Mapping[str, np.ndarray],
    *,
    classes: Sequence[str],
    label: int | None,
    note: str = "",
) -> Figure:
    """An image and what is made of it; beside them a column a network: what it sees, its map, and its classes' probabilities.

    Args:
        image, shown: (1, C, H, W); seen: network → a tensor like them; maps: network → a picture (1, 1, H, W) in [0, 1], see `as_shown`.
        probability: network → (classes,), of which `likeliest` are drawn.
        label: the true class, which is marked; None where there is none.
    """
    chosen = likeliest(probability, label)
    figure = Figure(figsize=(1.9 * (1 + len(maps)) + 1.1, 3.9 + 0.19 * len(chosen)))
    axes = figure.subplots(3, 1 + len(maps), height_ratios=[1.7, 1.7, 0.19 * len(chosen)])
    for ax, picture, title in zip(axes[:2, 0], (image, shown), ("image", "distorted"), strict=True):
        _show(ax, picture[0])
        ax.set_title(title, fontsize=9.5)
    axes[2, 0].set_visible(False)
    at = np.arange(len(chosen))[::-1]
    for j, (name, picture) in enumerate(maps.items(), start=1):
        _show(axes[0, j], seen[name][0])
        axes[0, j].set_title(name, color=look(name)["color"], fontsize=10.5)
        _show(axes[1, j], picture[0])
        ax = axes[2, j]
        ax.barh(at, [100 * probability[name][c] for c in chosen], color=look(name)["color"])
        ax.set_yticks(
            at, [f"{classes[c]} (true)" if c == label else classes[c] for c in chosen] if j == 1 else [""] * len(chosen), fontsize=9
        )
        ax.set(xlim=(0, 100), xticks=[0, 50, 100])
        ax.set_xlabel("probability (%)", fontsize=9)
        ax.grid(axis="y", visible=False)
        if label is not None:
            ax.axhspan(*(at[chosen.index(label)] + np.array([-0.5, 0.5])), color="#dddddd", zorder=0)
    for ax, text in zip(axes[:2, 1], ("what it sees", "its map"), strict=True):
        ax.set_ylabel(text, fontsize=9, color="#555555")
    if note:
        figure.supxlabel(fill(note, round(15 * figure.get_figwidth())), fontsize=8.5, color="#555555")
    return figure


SHOWN_CLASSES = 10


def likeliest(probability: Mapping[str, np.ndarray], label: int | None) -> list[int]:
    """The classes to show bars of: all where they are few, else those likeliest for any network, and the true one; in their order."""
    highest = np.max(list(probability.values()), axis=0)
    found = set(np.argsort(-highest, kind="stable")[:SHOWN_CLASSES].tolist())
    return sorted(found | (set() if label is None else {label}))


@styled
def words(text: str) -> Figure:
    """A sentence where there is nothing to draw."""
    figure = Figure(figsize=(6.4, 0.8))
    figure.text(0.5, 0.5, text, ha="center", va="center", color="#555555")
    return figure


def rendered(figure: Figure, kind: str, *, caption: str = "", dpi: int = 200) -> bytes:
    """A figure as ``png`` or ``svg``, the same bytes each time; it carries its caption."""
    buffer = BytesIO()
    metadata = {"Description": caption, **({"Software": None} if kind == "png" else {"Date": None, "Creator": None})}
    with mpl.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


@styled
def filter_sheet(filters: Mapping[str, Tensor], *, gain: float = 1.0) -> Figure:
    """First-layer filters, a panel a network, all on one scale: gain · weight + 1/2, clipped to [0, 1] (Itazuri et al. 2019, Figure 4).

    ``filters``: network → (K, C, h, w), of one or three channels.
    """
    figure = Figure(figsize=(3.2 * len(filters), 3.6))
    panels = figure.subplots(1, len(filters), squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for ax, (name, weights) in zip(panels, filters.items(), strict=True):
        _show(ax, _mosaic((gain * weights.detach().float().cpu() + 0.5).clamp(0, 1)))
        ax.set_title(name, color=look(name)["color"])
    said = "weight" if gain == 1 else f"{gain:.3g} · weight"
    figure.supxlabel(f"{said} + 0.5, clipped to [0, 1], on one scale for all: mid-gray is a weight of 0", fontsize=9, color="#555555")
    return figure


def _mosaic(tiles: Tensor) -> Tensor:
    """Tiles (K, C, h, w) side by side in about as many rows as columns, with pale lines between them: one image of three channels."""
    zoom = max(1, 24 // tiles.shape[-1])  # narrow lines between small tiles
    tiles = tiles.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    count, _, height, width = tiles.shape
    columns, gap = int(np.ceil(np.sqrt(count))), 3
    rows = -(-count // columns)
    sheet = torch.tensor(to_rgb("#cfe3f5"))[:, None, None].repeat(1, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = tile
    return sheet


@styled
def feature_sheet(images: Mapping[str, Mapping[str, Tensor]], labels: Mapping[str, str]) -> Figure:
    """Maximized features, a row a layer, a block of columns a network (Itazuri et al. 2019, Figures 3 and 15 to 19).

    Args:
        images: network → layer → (n, C, H, W).
        labels: layer → what is said of its row.
    """
    shown = max(len(pictures) for layers in images.values() for pictures in layers.values())
    figure, axes = _panel(len(labels), shown * len(images), shown)
    for block, (name, layers) in enumerate(images.items()):
        axes[0, block * shown].set_title(name, loc="left", color=look(name)["color"])
        for i, layer in enumerate(labels):
            for j, picture in enumerate(layers[layer]):
                _show(axes[i, block * shown + j], picture)
                axes[i, block * shown + j].images[0].set_interpolation("antialiased")  # large images are shown smaller than they are
                axes[i, block * shown + j].spines[:].set(visible=True, color="#bbbbbb", linewidth=0.6)
    for ax, label in zip(axes[:, 0], labels.values(), strict=True):
        ax.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6, fontsize=8.5)
    beside = 0.07 * max(len(line) for label in labels.values() for line in label.split("\n")) + 0.3 * len(images)  # labels and gaps, inches
    side = (figure.get_figwidth() - beside) / axes.shape[1]
    figure.set_figheight(0.4 + len(labels) * side)
    return figure


@styled
def centroid_curves(rows: pd.DataFrame, *, ylabel: str, noise: float | None = None) -> Figure:
    """A mean over filters for every layer, a line a network with its 95 % band, layers in the order of the rows.

    Rows: ``model``, ``layer``, ``value``, ``ci_low``, ``ci_high``. ``noise`` marks the value of white noise.
    """
    layers = list(dict.fromkeys(rows.layer))
    at, every = np.arange(len(layers)), -(-len(layers) // 30)
    figure = Figure(figsize=(max(8.0, min(11.0, 0.36 * len(layers) + 1.5)), 4.2))
    ax = figure.add_subplot()
    for name in dict.fromkeys(rows.model):
        part = rows[rows.model == name].set_index("layer").loc[layers]
        ax.plot(at, part.value, label=name, **look(name))
        ax.fill_between(at, part.ci_low, part.ci_high, color=look(name)["color"], alpha=0.18, linewidth=0)
    if noise is not None:
        ax.axhline(noise, color="#999999", linewidth=1.2, linestyle=":", label="white noise")
    ax.set_xticks(at[::every], layers[::every], rotation=60, ha="right", rotation_mode="anchor", fontsize=8.5)
    ax.set(ylabel=ylabel, ylim=(0, None))
    _legend(figure, ax)
    return figure


# scale of signed maps -> what a figure says of it
SIGNED_SCALES = {
    "map": "mid-gray is 0; each map clipped at ±3 of its own standard deviations",
    "shared": "mid-gray is 0; all maps on one scale, clipped at ±3 standard deviations of all",
}


def signed_grid(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str], *, scale: str = "map") -> Figure:
    """Images above, below them each model's signed maps with their channels as colors (Itazuri et al. 2019).

    Args:
        images: (N, C, H, W); maps: model → a tensor like it.
        scale: ``map`` as `signed`; ``shared`` clips at ±3 standard deviations of all the figure's values, so that magnitudes can be
            compared. The figure says which.
    """
    if check_scale(scale) == "map":
        shown = {name: signed(each) for name, each in maps.items()}
    else:
        values = torch.cat(list(maps.values()))
        together = signed(values.flatten()[None, None, None]).view_as(values)
        shown = dict(zip(maps, together.split(len(images)), strict=True))
    return image_grid([("image", images), *shown.items()], titles, note=SIGNED_SCALES[scale])


@styled
def likeness_points(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Means with 95 % intervals, a panel a measure (measure → title), a column a method, a color a pair of networks.

    Rows: ``pair``, ``method``, ``measure``, ``value``, ``ci_low``, ``ci_high``. A pair "untrained and b" has the look of b, others are black.
    """
    figure = Figure(figsize=(3.6 * len(titles) + 0.4, 3.7))
    axes = np.atleast_1d(figure.subplots(1, len(titles), sharey=True))
    names, methods = list(dict.fromkeys(rows.pair)), list(dict.fromkeys(rows.method))
    for ax, (measure, title) in zip(axes, titles.items(), strict=True):
        for i, name in enumerate(names):
            part = rows[(rows.pair == name) & (rows.measure == measure)].set_index("method").loc[methods]
            at = np.arange(len(methods)) + 0.18 * (i - (len(names) - 1) / 2)
            errors = [part.value - part.ci_low, part.ci_high - part.value]
            ax.errorbar(at, part.value, yerr=errors, label=name, **look(name.removeprefix("untrained and ")) | {"linestyle": ""})
        ax.axhline(0, color="#999999", linewidth=1)
        ax.set_xticks(range(len(methods)), methods, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_title(title)
    axes[0].set(ylabel="similarity (1: the same map)", ylim=(min(-0.1, rows.ci_low.min() - 0.05), 1.03))
    _legend(figure, axes[0])
    return figure


@styled
def cascade_curves(rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Similarity to the intact network's maps after each step of a randomization, with 95 % bands: a row a measure, a column a method.

    Rows: ``model``, ``method``, ``step``, ``measure``, ``value``, ``ci_low``, ``ci_high``. ``titles``: measure → its axis' label.
    """
    methods, steps = list(dict.fromkeys(rows.method)), list(dict.fromkeys(rows.step))
    figure = Figure(figsize=(2.1 * len(methods) + 0.6, 1.75 * len(titles) + 1.1))
    axes: np.ndarray = figure.subplots(len(titles), len(methods), sharex=True, sharey=True, squeeze=False)
    for (i, j), ax in np.ndenumerate(axes):
        part = rows[(rows.measure == list(titles)[i]) & (rows.method == methods[j])]
        for name, line in part.groupby("model", sort=False):
            at = [steps.index(step) for step in line.step]
            kind = look(str(name))
            ax.plot(at, line.value, label=name, **kind)
            ax.fill_between(at, line.ci_low, line.ci_high, color=kind["color"], alpha=0.18, linewidth=0)
        ax.axhline(0, color="#999999", linewidth=1)
        ax.set_xticks(range(len(steps)), steps, rotation=90, fontsize=min(9.0, 90 / len(steps)))
    for ax, method in zip(axes[0], methods, strict=True):
        ax.set_title(method)
    for ax, label in zip(axes[:, 0], titles.values(), strict=True):
        ax.set_ylabel(fill(label, 18))
    axes[0, 0].set_ylim(min(-0.1, rows.ci_low.min() - 0.05), 1.05)
    figure.supxlabel("randomized down to this layer", fontsize=10)
    _legend(figure, axes[0, 0])
    return figure


@styled
def signed_areas(
    rows: pd.DataFrame, areas: pd.DataFrame, *, labels: Mapping[str, str], chance: Mapping[str, float], titles: Mapping[str, str]
) -> Figure:
    """Accuracy against level, a row of panels a measure and a column a distortion; what lies between two networks filled by its sign.

    The area is of the color of the network that lies above. Bands are the 95 % intervals of the two; other networks are thin lines.

    Args:
        rows: ``model``, ``distortion``, ``level``, ``measure``, ``value``, ``ci_low``, ``ci_high`` (shares).
        areas: ``model``, ``baseline``, ``distortion``, ``measure``, ``difference``, ``ci_low``, ``ci_high``: what is written in the panels.
        labels: distortion → its level on the axis. chance: measure → share that guessing gets. titles: measure → its name.
    """
    model, baseline = areas.model.iloc[0], areas.baseline.iloc[0]
    figure = Figure(figsize=(4.6 * len(labels) + 0.4, 2.75 * len(titles) + 0.6))
    axes = figure.subplots(len(titles), len(labels), squeeze=False, sharex="col", sharey="row")
    for i, (measure, title) in enumerate(titles.items()):
        for j, (distortion, label) in enumerate(labels.items()):
            ax = axes[i, j]
            panel = rows[(rows.measure == measure) & (rows.distortion == distortion)].sort_values("level")
            lines = {name: panel[panel.model == name] for name in dict.fromkeys(rows.model)}
            for name, line in lines.items():
                main = name in (model, baseline)
                style = look(name) | ({"markersize": 4.5} if main else {"linewidth": 1, "markersize": 0, "alpha": 0.8})
                ax.plot(line.level, line.value * 100, label=name, **style)
                if main:
                    ax.fill_between(line.level, line.ci_low * 100, line.ci_high * 100, color=style["color"], alpha=0.3, linewidth=0)
            above, below = (lines[name].value.to_numpy() * 100 for name in (model, baseline))
            level = lines[model].level.to_numpy()
            for name, where in ((model, above >= below), (baseline, above <= below)):
                ax.fill_between(level, below, above, where=where, interpolate=True, color=look(name)["color"], alpha=0.14, linewidth=0)
            area = areas[(areas.measure == measure) & (areas.distortion == distortion)].iloc[0]
            mean, low, high = (f"{100 * value:+.1f}".replace("-", "−") for value in (area.difference, area.ci_low, area.ci_high))
            ax.set_title(f"mean of {model} − {baseline}: {mean} [{low}, {high}] points", fontsize=9)
            ax.axhline(chance[measure] * 100, color="#999999", linewidth=1, linestyle=":")
            low_down = chance[measure] < 0.08  # below its line the word would leave the panel
            ax.annotate("chance", (level.max(), chance[measure] * 100), xytext=(0, 2 if low_down else -2), textcoords="offset points",
                        fontsize=8.5, color="#666666", ha="right", va="bottom" if low_down else "top")  # fmt: skip
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
            ax.set_ylim(0, 102)
            if i == len(titles) - 1:
                ax.set_xlabel(label)
            if j == 0:
                ax.set_ylabel(title)
    _legend(figure, axes[0, 0])
    return figure


@styled
def learning_curves(rows: pd.DataFrame, *, xlabel: str = "epoch of fine-tuning") -> Figure:
    """Test accuracy after every epoch, a line a model with its band over the runs.

    Rows: ``model``, ``epoch``, ``value``, ``low``, ``high`` (shares; low and high may be missing).
    """
    figure = Figure(figsize=(7.6, 4.2))
    ax = figure.add_subplot()
    for name in dict.fromkeys(rows.model):
        part = rows[rows.model == name]
        ax.plot(part.epoch, part.value * 100, label=name, markevery=max(1, len(part) // 12), **look(name))
        ax.fill_between(part.epoch, part.low * 100, part.high * 100, color=look(name)["color"], alpha=0.12, linewidth=0)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    ax.set(xlabel=xlabel, ylabel="accuracy on test images (%)")
    _legend(figure, ax)
    return figure


@styled
def accuracy_intervals(rows: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Accuracies with intervals, a row each, and the runs that they are means of as ticks below them.

    Rows: ``model``, ``value``, ``ci_low``, ``ci_high`` (shares). Runs: ``model``, ``value``.
    """
    figure = Figure(figsize=(6.8, 1.0 + 0.42 * len(rows)))
    ax = figure.add_subplot()
    at = np.arange(len(rows))[::-1]
    for y, row in zip(at, rows.to_dict("records"), strict=True):
        kind = look(row["model"])
        ax.hlines(y, row["ci_low"] * 100, row["ci_high"] * 100, color=kind["color"], linewidth=2)
        ax.scatter(row["value"] * 100, y, color=kind["color"], marker=kind["marker"], s=44, zorder=3)
        own = runs[runs.model == row["model"]].value * 100
        ax.scatter(own, [y - 0.24] * len(own), color=kind["color"], marker="|", s=40, linewidth=1.2)
        ax.annotate(f"{row['value']:.1%}", (row["value"] * 100, y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8.5)
    ax.set_yticks(at, rows.model)
    ax.set(xlabel="accuracy on test images (%)", ylim=(-0.6, len(rows) - 0.3))
    ax.grid(axis="y", visible=False)
    return figure

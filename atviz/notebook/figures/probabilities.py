"""Images with the probabilities that networks give to their classes. Drawn by matplotlib: images and bars share one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from .grids import show
from .style import NOTE, look, styled

SHOWN_CLASSES = 10


def likeliest(probability: Mapping[str, np.ndarray], label: int | None) -> list[int]:
    """The classes to draw, in their order: those likeliest for any network, at most `SHOWN_CLASSES`, and the true one."""
    highest = np.max(list(probability.values()), axis=0)
    found = set(np.argsort(-highest, kind="stable")[:SHOWN_CLASSES].tolist())
    return sorted(found | (set() if label is None else {label}))


def _bars(ax: Axes, values: Sequence[float], colors: str | list[str], names: Sequence[str] | None) -> None:
    """Probabilities as bars in percent, the first on top; ``names`` are written beside them."""
    at = np.arange(len(values))[::-1]
    ax.barh(at, 100 * np.asarray(values), color=colors)
    ax.set_yticks(at, names or [""] * len(values), fontsize=9)
    ax.set(xlim=(0, 100), xticks=[0, 50, 100])
    ax.grid(axis="y", visible=False)


@styled
def probability_strip(images: Tensor, probability: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Images side by side, under each the probability of its true class by every network: network → (len(images),)."""
    figure = Figure(figsize=(max(6.0, 1.75 * len(images)), 2.6 + 0.2 * max(3, len(probability))))
    axes = figure.subplots(2, len(images), height_ratios=[1.6, 0.2 * max(3, len(probability))], squeeze=False)
    names = list(probability)
    for j, image in enumerate(images):
        show(axes[0, j], image, titles[j])
        _bars(axes[1, j], [probability[name][j] for name in names], [look(name)["color"] for name in names], None if j else names)
    figure.supxlabel("probability of the true class (%)", fontsize=9.5)
    return figure


@styled
def exploration(
    image: Tensor, shown: Tensor, seen: Mapping[str, Tensor], maps: Mapping[str, Tensor], probability: Mapping[str, np.ndarray], *,
    classes: Sequence[str], label: int | None, note: str = "",
) -> Figure:  # fmt: skip
    """An image and its distorted copy; beside them a column for each network: what it sees, its map, its probabilities.

    Args:
        image, shown: (1, C, H, W); seen: network → a tensor like them; maps: network → a picture (1, 1, H, W) in [0, 1], see `as_shown`.
        probability: network → (classes,), of which `likeliest` are drawn.
        label: the true class, which is marked; None if it is not known.
    """
    chosen = likeliest(probability, label)
    figure = Figure(figsize=(1.9 * (1 + len(maps)) + 1.1, 3.9 + 0.19 * len(chosen)))
    axes = figure.subplots(3, 1 + len(maps), height_ratios=[1.7, 1.7, 0.19 * len(chosen)])
    show(axes[0, 0], image[0], "image")
    show(axes[1, 0], shown[0], "distorted")
    axes[2, 0].set_visible(False)
    names = [f"{classes[c]} (true)" if c == label else classes[c] for c in chosen]
    for j, (name, picture) in enumerate(maps.items(), start=1):
        color, ax = look(name)["color"], axes[2, j]
        show(axes[0, j], seen[name][0])
        axes[0, j].set_title(name, color=color, fontsize=10.5)
        show(axes[1, j], picture[0])
        _bars(ax, [probability[name][c] for c in chosen], color, names if j == 1 else None)
        ax.set_xlabel("probability (%)", fontsize=9)
        if label is not None:
            ax.axhspan(*(len(chosen) - 1 - chosen.index(label) + np.array([-0.5, 0.5])), color="#dddddd", zorder=0)
    axes[0, 1].set_ylabel("what it sees", **NOTE)
    axes[1, 1].set_ylabel("where it looks", **NOTE)
    figure.supxlabel(fill(note, round(15 * figure.get_figwidth())), fontsize=8.5, color="#555555")
    return figure

"""Fourier heat maps and dose curves: what networks of known bias make of noise and of suppressed features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .networks import networks, percent
from .style import styled

LEFT = {"texture": "local variance left", "shape": "agreement of the edges", "color": "color left"}  # of each feature
TITLES = {
    "bilateral": "bilateral filter", "nl_means": "non-local means", "patch_shuffle": "patches shuffled",
    "patch_rotate": "patches turned in their places", "grayscale": "colors removed", "channel_shuffle": "channels exchanged",
}  # fmt: skip


@styled
def fourier_maps(found: Mapping[str, np.ndarray]) -> Figure:
    """Error under noise of each spatial frequency, a panel for each network, as `evidence.fourier_heat` gives them."""
    figure = Figure(figsize=(11, 11 / len(found) + 0.35))
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for ax, (title, values) in zip(axes, found.items(), strict=True):
        last = ax is axes[-1]
        sns.heatmap(
            100 * values, vmin=0, vmax=100, cmap="magma", square=True, cbar=last, cbar_kws={"label": "error (%)", "shrink": 0.7}, ax=ax
        )
        middle = len(values) // 2
        places, names = [0.5, middle + 0.5, 2 * middle + 0.5], [f"−{middle}", "0", str(middle)]
        ax.set_xticks(places, names, rotation=0)
        ax.set_yticks(places, names, rotation=0)
        ax.grid(visible=False)
        ax.set_title(title)
    figure.supxlabel("cycles along the width", fontsize=10)
    axes[0].set_ylabel("cycles along the height")
    return figure


@styled
def dose_curves(rows: pd.DataFrame) -> Figure:
    """Accuracy on correct against the share of a feature that a distortion leaves, a panel for each distortion, from the whole image at the left.

    Rows as `evidence.dose_curves`.
    """
    feature = dict(zip(rows.distortion, rows.feature, strict=True))
    columns = list(dict.fromkeys(feature.values()))
    order = sorted(
        feature, key=lambda name: ([n for n in feature if feature[n] == feature[name]].index(name), columns.index(feature[name]))
    )
    figure = networks(
        (11, 5.6), percent(rows), "dose", facet={"col": "distortion", "order": order, "wrap": len(columns)}, share={"x": False, "y": True},
        ylim=(-2, 103),
    )  # fmt: skip
    for ax, name in zip(figure.axes, order, strict=True):
        least = rows[rows.feature == feature[name]].dose.min()
        ax.set(title=TITLES[name], xlabel=LEFT[feature[name]], xlim=(1.04, min(0.0, least) - 0.04))
    figure.supylabel("accuracy on correctly classified images (%)", fontsize=10)
    return figure

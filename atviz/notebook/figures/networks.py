"""From rows to seaborn: for every network a line with its band, or points with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from .style import legend, look


def percent(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with ``value``, ``ci_low`` and ``ci_high`` as percentages instead of shares."""
    return rows.assign(**{column: rows[column] * 100 for column in ("value", "ci_low", "ci_high") if column in rows})


def networks(
    target: Axes | tuple[float, float], rows: pd.DataFrame, at: str, *marks: Any, by: str = "model", looks: Mapping[Any, Any] | None = None,
    flat: bool = False, facet: Mapping[str, Any] | None = None, share: Mapping[str, Any] | None = None, **settings: Any,
) -> Figure:  # fmt: skip
    """Draw ``value`` and the interval from ``ci_low`` to ``ci_high`` against the column ``at``, each network in its look.

    Args:
        target: axes, or the size of a new figure (inches). The figure gets a legend, unless it is flat and names its rows.
        marks: what is drawn, a band with a line if none is given; a tuple is a mark with seaborn's moves (`so.Dodge`).
        by, looks: the column that decides the look, and the look of each of its values if they are no networks.
        flat: lay the values along x. facet, share: panels and what they share, as in seaborn. settings: settings of all axes.
    """
    figure: Any = target.figure if isinstance(target, Axes) else Figure(figsize=target)
    looks = looks or {name: look(name) for name in rows[by].unique()}
    layers = [mark if isinstance(mark, tuple) else (mark,) for mark in marks or (so.Band(alpha=0.18), so.Line())]
    lined = any(isinstance(mark, so.Line) for mark, *_ in layers)
    shown = ["color", "marker", *["linestyle"] * lined]  # no more than needed: seaborn tries all combinations of their values
    across, along = ("y", "x") if flat else ("x", "y")
    plot = so.Plot(rows.reset_index(drop=True), **{across: at, along: "value"}, **dict.fromkeys(shown, by)).theme(mpl.rcParams)
    for mark, *moves in layers:
        ends = {f"{along}min": "ci_low", f"{along}max": "ci_high"} if isinstance(mark, (so.Band, so.Range)) else {}
        plot = plot.add(mark, *moves, orient=across, legend=False, **ends)
    scales = {key: {name: each[key] for name, each in looks.items()} for key in shown}
    scales["marker"] = {name: MarkerStyle(each["marker"], fillstyle=each["fillstyle"]) for name, each in looks.items()}
    plot.scale(**scales).facet(**facet or {}).share(**share or {}).on(target if isinstance(target, Axes) else figure).plot()
    for ax in [target] if isinstance(target, Axes) else figure.axes:
        ax.set(**{"xlabel": "", "ylabel": ""} | settings)
        ax.grid(axis="y" if flat else "x", visible=not flat)
        for drawn in ax.lines:
            drawn.set_markerfacecoloralt("white")
    if not isinstance(target, Axes) and not flat:
        handles = [Line2D([], [], label=name, **each | ({} if lined else {"linestyle": ""})) for name, each in looks.items()]
        legend(figure, handles)
    return figure

"""All networks of a study against one slider: curves, the slider's level marked, and a table that any column sorts."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import pandas as pd

from ... import evidence
from ...evidence import Study, find
from .. import figures
from ..explore import fingerprints
from ..page import Page
from .parts import STYLE, Still, text

COLUMNS = ["network", "clean", "attacked", "at level", "of its correct"]
WIDTHS = [130, 84, 96, 96, 118]


class Comparison(Still):
    """Curves of the chosen distortion, its level marked, and a table at that level. It shows what the records hold, and measures nothing."""

    def __init__(self, study: Study, page: Page, levels: Mapping[str, Sequence[float]]) -> None:
        self.study, self.page = study, page
        prints = fingerprints(study)
        self._known = {name: _recorded(study, prints, name, sorted(map(float, values))) for name, values in levels.items()}
        wide, label = {"width": "360px"}, {"description_width": "80px"}
        titles = [(find(name).axis or name, name) for name in levels]
        self._which = w.Dropdown(options=titles, description="distortion", layout=wide, style=label)
        self._level = w.SelectionSlider(options=[0.0], description="level", layout=wide, style=label)
        self._level.add_class("atviz-level")
        self._plot, self._table = text(), text().add_class("atviz-everything")
        self._by, self._down = COLUMNS[-1], True
        self._heads = [w.Button(layout={"width": f"{width}px"}) for width in WIDTHS]
        for column, head in zip(COLUMNS, self._heads, strict=True):
            head.on_click(lambda _, column=column: self._sort(column))
        self._which.observe(lambda _: self._choose(), "value")
        self._level.observe(lambda _: self._show(), "value")
        self._choose()
        table = w.VBox([w.HBox(self._heads), self._table])
        super().__init__(
            [w.HTML(STYLE), w.HBox([self._which, self._level]).add_class("atviz-wrap"), w.HBox([self._plot, table]).add_class("atviz-wrap")]
        )

    @property
    def rows(self) -> pd.DataFrame:
        """What is drawn of the chosen distortion, as `evidence.table`."""
        return self._known[self._which.value]

    def _figure(self, mark: float | None = None) -> Any:
        name = self._which.value
        return figures.distortion_curves(
            self.rows, xlabel=find(name).axis, log=name in ("saturate", "patch_shuffle"), original=2 if name == "saturate" else None,
            chance=1 / len(self.study.images.classes), mark=mark,
        )  # fmt: skip

    def _choose(self) -> None:
        name = self._which.value
        measured = sorted(set(self.rows.level)) if len(self.rows) else []
        if not measured:
            call = f"<code>study.outcomes({{'{name}': […]}})</code>"
            self._plot.value = f"<span class='quiet'>No network was measured under this distortion yet; {call} measures all.</span>"
            self._table.value, self._drawn = "", None
            return
        figure = self._figure()
        ax, size = figure.axes[0], figure.get_size_inches() * figure.dpi
        box = ax.get_window_extent()
        picture = base64.b64encode(figures.rendered(figure, "png", dpi=160)).decode()
        self._drawn = ax, size, 1 - box.y1 / size[1], box.height / size[1], picture
        self._level.options = [(f"{v:g}", v) for v in measured]
        self._level.value = measured[-1]
        self._show()

    def _show(self) -> None:
        if self._drawn is None or self._level.value is None:
            return
        ax, size, top, height, picture = self._drawn
        across = ax.transData.transform((self._level.value, 0))[0] / size[0]
        line = f"position:absolute;left:{100 * across:.3f}%;top:{100 * top:.3f}%;height:{100 * height:.3f}%;width:0;border-left:2px solid {figures.MARK}"
        self._plot.value = (
            f'<div style="position:relative;width:560px;max-width:100%"><img style="width:100%;display:block" src="data:image/png;base64,{picture}">'
            f'<div class="atviz-mark" style="{line}"></div></div>'
        )
        table = self.table()
        for column, head in zip(COLUMNS, self._heads, strict=True):
            head.description = column + ((" ▼" if self._down else " ▲") if column == self._by else "")
        cells = "".join(
            f"<tr><td><span style='color:{figures.look(row['network'])['color']}'>■</span> {html.escape(row['network'])}</td>"
            + "".join(f"<td>{100 * row[column]:.1f}</td>" if row[column] == row[column] else "<td>–</td>" for column in COLUMNS[1:])
            + "</tr>"
            for row in table.to_dict("records")
        )
        columns = "".join(f"<col style='width:{width + 4}px'>" for width in WIDTHS)
        self._table.value = f"<table style='table-layout:fixed'>{columns}{cells}</table>"

    def _sort(self, column: str) -> None:
        self._by, self._down = column, not self._down if column == self._by else column != COLUMNS[0]
        self._show()

    def table(self) -> pd.DataFrame:
        """One row per network, in the order of the panel; all values are shares, and NaN where a value is not known.

        Accuracy on clean images and under attack is from the model card. Top-1 accuracy and accuracy on correct are at the slider's level.
        """
        if self._drawn is None:
            return pd.DataFrame(columns=COLUMNS)
        at = self.rows[self.rows.level == self._level.value].set_index("model")
        rows = []
        for name in (name for name in self.study.networks if name in at.index):
            metrics = self.study.networks[name].card.get("metrics", {})
            from_card = [metrics.get(key, float("nan")) for key in ("clean", "robust")]
            rows.append([name, *from_card, at.top1[name], at.acc_on_correct[name]])
        return pd.DataFrame(rows, columns=COLUMNS).sort_values(self._by, ascending=not self._down, kind="stable")

    def still(self) -> bytes:
        """The panel as PNG: its curves, with the slider's level marked."""
        name, level = self._which.value, self._level.value
        if self._drawn is None:
            return figures.rendered(figures.words("No network was measured under this distortion yet."), "png")
        caption = f"Accuracy on correctly classified images of all networks, with 95 % bands; the vertical line is at level {level:g}."
        return bytes(self.page.figure(self._figure(mark=level), f"all-{name.replace('_', '-')}", caption).data)


def _recorded(study: Study, prints: Mapping[str, str], name: str, levels: Sequence[float]) -> pd.DataFrame:
    """What the records hold of a distortion at these levels, as `evidence.table`; nothing is measured."""
    clean: dict[str, np.ndarray] = {}
    distorted: dict[tuple[str, str, float], np.ndarray] = {}
    store, images = study.store, study.images
    if store is not None:
        asked: dict[str, Any] = {"seed": study.seed, "material": {"stylizer": study.stylizer, "mean": study.mean}}
        for model, value in prints.items():
            right = evidence.recorded(value, images, store)
            if right is not None:
                clean[model] = right
                found = {level: evidence.recorded(value, images, store, name, level, **asked) for level in levels}
                distorted |= {(model, name, level): right for level, right in found.items() if right is not None}
    return evidence.table(evidence.Outcomes(clean, distorted))

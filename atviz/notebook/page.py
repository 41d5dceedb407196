"""The page of a notebook: it shows figures, tables and findings and, on request, writes them to a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import disk
from ..evidence import Finding, findings
from ..papers import Drawing
from .settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Page:
    """What a notebook shows.

    ``settings`` are those of the notebook's parameters. ``out`` is the folder that figures (PNG and SVG), tables (CSV) and findings are
    written to; "" writes nothing. ``remark`` is what a reader must know of the networks and images: it stands under every figure and in
    the conclusion.
    """

    name: str
    settings: Settings = field(default_factory=Settings)
    out: str = ""
    findings: list[Finding] = field(default_factory=list)
    figures: int = 0
    remark: str = ""

    def draw(self, drawing: Drawing) -> Any:
        """Draw a paper's figure: see `figure`."""
        from . import figures

        return self.figure(getattr(figures, drawing.kind)(**drawing.content), drawing.name, drawing.caption)

    def figure(self, figure: Figure, name: str, caption: str) -> Any:
        """Write a figure as PNG and SVG, which carry its caption, to ``out``, and return it as a picture for the notebook."""
        from IPython.display import Image

        from .figures import rendered

        self.figures += 1
        caption = f"{caption} {self.remark}".strip()
        png = rendered(figure, "png", caption=caption, dpi=200 if self.out else 110)
        self._write("figures", f"{self.figures}-{name}.png", png)
        if self.out:
            self._write("figures", f"{self.figures}-{name}.svg", rendered(figure, "svg", caption=caption))
        return Image(png, width=round(figure.get_figwidth() * 100), alt=caption)

    def table(self, rows: pd.DataFrame | Sequence[dict[str, Any]], name: str, *, show: pd.DataFrame | None = None) -> pd.DataFrame:
        """Write rows as CSV to ``out``, unless there are none, and return them, or ``show`` in their place, for the notebook."""
        frame = pd.DataFrame(rows)
        if not len(frame.columns):
            return frame if show is None else show
        self._write("tables", f"{name}.csv", frame.to_csv(index=False).encode())
        return frame if show is None else show

    def say(self, text: str) -> Any:
        """A sentence for the notebook; nothing for ""."""
        from IPython.display import Markdown

        return Markdown(_plain(text)) if text else None

    def note(self, *found: Finding | None) -> None:
        """Keep findings for the page's conclusion. None, of a claim that the networks do not allow to measure, is left out."""
        self.findings += [finding for finding in found if finding]

    def conclude(self, also: str = "") -> Any:
        """Write the findings to ``out`` and return them for the notebook: a table, and the first one in words. ``also`` comes after it."""
        from IPython.display import Markdown

        self._write("findings", f"{self.name}.json", json.dumps([f.row() for f in self.findings], indent=1).encode())
        table = f"{findings.markdown(self.findings)}\n\n" if self.findings else ""
        return Markdown(_plain(f"{table}**Found.** {findings.sentence(self.findings)} {also} {self.remark}".strip()))

    def _write(self, kind: str, name: str, content: bytes) -> None:
        if self.out:
            disk.write(Path(self.out) / kind / (name if kind == "findings" else f"{self.name}_{name}"), content)


def _plain(text: str) -> str:
    """Markdown in which names of classes, networks and files are text, and no HTML."""
    return text.replace("<", "&lt;")

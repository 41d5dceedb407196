"""What a notebook opens: a study whose pictures, tables and findings are shown and, on request, written to a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from . import evaluate, recipes
from .findings import CLAIMS, COMPARED, Finding, sentence
from .intervals import mean_interval, paired_difference
from .study import Settings, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Notebook(Study):
    """A study under a notebook's ``name``.

    ``out`` is the folder that figures (PNG), tables (CSV) and findings go to; nothing is written where it is "".
    """

    name: str = "notebook"
    out: str = ""
    findings: list[Finding] = field(default_factory=list)
    figures: int = 0

    def gallery(self, n: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        """``n`` test images in [0, 1], of as many classes as there are, drawn by the seed; their labels; their classes' names."""
        images = self.test_images.sample(min(n, len(self.test_images)), seed=self.settings.seed).to(self.device)
        x, y = next(images.batches(len(images)))
        return x, y, [images.classes[i] for i in y]

    def card_table(self) -> pd.DataFrame:
        """A row a network: how it was trained and how it came out, from its card."""
        self.models  # noqa: B018  trains what is missing
        rows = []
        for name in self.settings.models:
            card = self.cards[name]
            recipe = recipes.Recipe(**card["recipe"])
            stopped = f"stopped at step {card['stopped_at']}" if card["stopped_at"] else f"{len(card['history'])} epochs"
            collapsed = f"catastrophic overfitting in epoch {card['collapsed_at']}" if card["collapsed_at"] else ""
            seconds = sum(row["seconds"] for row in card["history"])
            rows.append({"model": name, "trained on": recipe.title if recipe.adversarial else "clean images", "training": stopped, "seconds": round(seconds),
                         "clean (%)": round(100 * card["metrics"]["clean"], 2), "remark": collapsed, "sha256": card["sha256"][:12]})  # fmt: skip
        return pd.DataFrame(rows)

    def history(self) -> pd.DataFrame:
        """A row a network and epoch: training loss, clean accuracy and the probe's robust accuracy."""
        self.models  # noqa: B018
        return pd.DataFrame([{"model": name, **row} for name in self.settings.models for row in self.cards[name]["history"]])

    def figure(self, figure: Figure, name: str, caption: str) -> Any:
        """Write a figure as PNG, which carries its caption, to ``out``, and return it as a picture for the notebook."""
        from io import BytesIO

        from IPython.display import Image

        self.figures += 1
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=200 if self.out else 110, metadata={"Description": caption, "Software": None})
        self._write("figures", f"{self.figures}-{name}.png", buffer.getvalue())
        return Image(buffer.getvalue(), width=round(figure.get_figwidth() * 100), alt=caption)

    def table(self, rows: pd.DataFrame | Sequence[dict[str, Any]], name: str, *, show: pd.DataFrame | None = None) -> pd.DataFrame:
        """Write rows as CSV to ``out`` and return them, or ``show`` in their place, for the notebook."""
        frame = pd.DataFrame(rows)
        self._write("tables", f"{name}.csv", frame.to_csv(index=False).encode())
        return frame if show is None else show

    def compare(self, results: evaluate.Outcomes) -> None:
        """Note a finding for each distortion and level that a paper reports: accuracy on correct of the compared networks."""
        for measure, level in dict.fromkeys((d, v) for _, d, v in results.distorted):
            if (measure, level) in CLAIMS:
                self.compare_shares(
                    measure, {n: results.distorted[n, measure, level] for n in results.clean}, given=results.clean, level=level
                )

    def compare_shares(
        self, measure: str, hit: dict[str, np.ndarray], *, given: dict[str, np.ndarray] | None = None, level: float = 0
    ) -> None:
        """Note the finding of outcomes ``hit``, (n,) bool for each network, among the images ``given`` for each."""
        given = given or {name: np.ones_like(h) for name, h in hit.items()}
        share = {name: float((h & given[name]).sum() / max(1, given[name].sum())) for name, h in hit.items()}
        a, b = self.adversarial, "normal"
        interval = paired_difference(hit[a], hit[b], given_a=given[a], given_b=given[b])
        self.note(measure, share[b], share[a], interval, n=len(hit[a]), level=level, percent=True, underfit=share.get("underfit"))

    def compare_means(self, measure: str, values: dict[str, np.ndarray]) -> None:
        """Note the finding of a number per image, (n,) for each network."""
        a, b = self.adversarial, "normal"
        mean = {name: float(v.mean()) for name, v in values.items()}
        interval = mean_interval(values[a] - values[b])
        self.note(measure, mean[b], mean[a], interval, n=len(values[a]), underfit=mean.get("underfit"))

    def note(
        self, measure: str, before: float, after: float, interval: tuple[float, float, float], *, n: int, level: float = 0,
        percent: bool = False, names: tuple[str, str] = COMPARED, underfit: float | None = None, unit: str = "images",
    ) -> None:  # fmt: skip
        """Note a finding of any two quantities: ``interval`` is their difference, after minus before, and its bounds; ``n`` and ``unit``
        say of how many of what, ``names`` what is compared."""
        self.findings.append(Finding(measure, level, before, underfit, after, *interval, n, percent, names, unit))

    def conclude(self, also: str = "") -> Any:
        """Write the findings to ``out`` and return them as one sentence, made from the numbers, for the notebook; ``also`` comes after it."""
        from IPython.display import Markdown

        self._write("findings", f"{self.name}.json", json.dumps([f.row() for f in self.findings], indent=1).encode())
        return Markdown(f"**Found.** {sentence(self.findings)} {also}".strip())

    def _write(self, kind: str, name: str, content: bytes) -> None:
        if self.out:
            path = Path(self.out) / kind / (name if kind == "findings" else f"{self.name}_{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def means(values: Mapping[str, np.ndarray], names: Sequence[str], label: str) -> pd.DataFrame:
    """Means over images with their 95 % intervals: model → (n, len(names)) to a row a model × name.

    Columns: ``model``, ``label``'s own, ``value``, ``ci_low``, ``ci_high``, ``n``.
    """
    return pd.DataFrame(
        [
            {"model": model, label: name, **dict(zip(("value", "ci_low", "ci_high"), mean_interval(column), strict=True)), "n": len(column)}
            for model, table in values.items()
            for name, column in zip(names, table.T, strict=True)
        ]
    )


def open_study(name: str, parameters: Mapping[str, Any]) -> Notebook:
    """The study that a notebook's parameters describe: those of its variables, as in ``globals()``, that are `Settings`, and ``out``.

    Raises:
        ValueError: in one sentence, settings that cannot be.
    """
    settings = {field.name: parameters[field.name] for field in fields(Settings) if field.name in parameters}
    return Notebook(Settings(**settings | {"models": tuple(settings.get("models", ()))}), name=name, out=parameters.get("out", ""))

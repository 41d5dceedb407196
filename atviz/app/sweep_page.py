"""The table of a sweep, its summary over seeds, and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from .. import disk
from ..evidence import find
from ..evidence.intervals import mean_interval
from ..notebook import figures
from .report import figure, render

COLUMNS = ("dataset", "model", "seed", "measure", "level", "n", "top1", "n_correct", "acc_on_correct", "ci_low", "ci_high")
ACCURACIES = ("clean", "robust")  # of all images; the other measures are of those that a network classifies correctly
TICKS = 12  # more have no room
WIDE = 32  # levels that span more than this factor are spaced by their logarithm


def write_page(folder: Path) -> Path:
    """Write ``table.csv``, ``summary.csv``, ``figures/`` and ``index.html`` of a sweep's folder from the cells that lie in it."""
    here = Path(__file__)
    record = disk.read_json(folder / "sweep.json", here.with_name("sweep.schema.json"), "a sweep's record")
    paths = [path for name in record["cells"] if (path := folder / "cells" / f"{name}.json").is_file()]
    found = [disk.read_json(path, here.with_name("cell.schema.json"), "a sweep's cell") for path in paths]
    found = [cell for cell in found if cell["version"] == record["version"]]
    table = pd.DataFrame([{**cell, **row} for cell in found for row in cell["rows"]], columns=COLUMNS)
    disk.write(folder / "table.csv", table.to_csv(index=False))
    summary = summarized(table)
    disk.write(folder / "summary.csv", summary.to_csv(index=False))
    classes = {cell["dataset"]: cell["classes"] for cell in found}
    drawn = _draw(folder / "figures", summary, table, record, classes) if len(table) else []
    missing = [name for name in record["cells"] if name not in record["failed"] and not (folder / "cells" / f"{name}.json").is_file()]
    return render(
        "sweep.html.j2",
        folder / "index.html",
        sweep=record,
        settings=record["settings"],
        done=len(found),
        missing=missing,
        collapsed=[cell for cell in found if cell["collapsed_at"]],
        accuracies=_accuracies(summary),
        figures=[figure(path) for path in drawn],
        summary=summary.to_html(index=False, border=0, na_rep="–", float_format=lambda v: f"{v:.4g}"),
        rows=len(table),
    )


def summarized(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with its 95 % t interval: one row per data set, network, measure and level.

    ``value`` is the accuracy for the measures ``clean`` and ``robust``, and accuracy on correct for all others. The bounds are empty for
    fewer than two seeds. ``seeds`` counts the seeds.
    """
    rows = []
    value = table.acc_on_correct.where(~table.measure.isin(ACCURACIES), table.top1).astype(float)
    keys = ["dataset", "model", "measure", "level"]
    for key, values in value.groupby([table[name] for name in keys], sort=False, dropna=False):
        mean, low, high = mean_interval(values.to_numpy())
        rows.append({**dict(zip(keys, key, strict=True)), "seeds": len(values), "value": mean, "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows, columns=[*keys, "seeds", "value", "ci_low", "ci_high"])


def _accuracies(summary: pd.DataFrame) -> list[dict[str, str]]:
    """Clean and robust accuracy of each network, in percent, as text."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in summary[summary.measure.isin(ACCURACIES)].to_dict("records"):
        line = found.setdefault((row["dataset"], row["model"]), {"dataset": row["dataset"], "model": row["model"], "seeds": row["seeds"]})
        line |= {"eps": f"{row['level']:.3g}"} if row["measure"] == "robust" else {}
        line[row["measure"]] = f"{100 * row['value']:.1f}" + (
            f" [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]" if row["seeds"] > 1 else ""
        )
    return list(found.values())


def _draw(folder: Path, summary: pd.DataFrame, table: pd.DataFrame, record: dict[str, Any], classes: dict[str, int]) -> list[Path]:
    """A figure of each data set and distortion. Where there is one seed, the interval is over images."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    drawn = []
    for number, dataset in enumerate(record["datasets"], start=1):
        for name in record["distortions"]:
            rows = summary[(summary.dataset == dataset) & (summary.measure == name)]
            if not len(rows):
                continue
            few, seeds, instrument = int(rows.seeds.min()), int(rows.seeds.max()), find(name)
            rows = rows.assign(acc_on_correct=rows.value)
            if seeds < 2:
                rows = table[(table.dataset == dataset) & (table.measure == name)]
            levels = rows.level[rows.level > 0]
            shown = figures.distortion_curves(
                rows, xlabel=instrument.axis, original=instrument.original, chance=1 / classes[dataset],
                log=rows.level.min() > 0 and levels.max() / levels.min() > WIDE, title=f"{dataset}, {name}",
            )  # fmt: skip
            ticks = sorted(set(rows.level))
            if len(ticks) > TICKS:
                kept = ticks[:: -(-len(ticks) // TICKS)]
                shown.axes[0].set_xticks(kept, [f"{level:g}" for level in kept])
            count = f"{seeds} seeds" if few == seeds else f"{few} to {seeds} seeds"  # a cell may have failed
            over = f"The mean over {count}, with its 95 % t interval" if seeds > 1 else "One seed, with the 95 % interval over images"
            caption = f"{dataset}: accuracy on correct under {name.replace('_', ' ')}. {over}. Higher: less is lost by the distortion."
            drawn.append(folder / f"{number:02d}-{name.replace('/', '-')}.png")
            disk.write(drawn[-1], figures.rendered(shown, "png", caption=caption, dpi=200))
    return drawn

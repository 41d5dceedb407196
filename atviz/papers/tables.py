"""What the papers' tables report, and tables for reading: this study's numbers beside the papers'."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd


@cache
def reported() -> pd.DataFrame:
    """What the papers' tables report: ``paper``, ``table``, ``dataset``, ``model``, ``measure``, ``setting``, ``value`` (text),
    ``slip`` (what is known to be wrong with a number, else empty)."""
    return pd.read_csv(Path(__file__).with_name("paper_tables.csv"), dtype=str, keep_default_na=False)


def readable(rows: pd.DataFrame, *, top1: bool = False) -> pd.DataFrame:
    """The rows of `table` for reading: models down, settings across, percentages with their 95 % intervals in brackets, and
    ± the standard deviation over several runs.

    Where the paper has a number it stands in parentheses, with a † if it is a known slip. The first column, ``n correct``, is the number
    of images that a share of those classified correctly is of. With ``top1`` the cells are the accuracy over all images instead.
    """
    models, settings = list(dict.fromkeys(rows.model)), list(dict.fromkeys(rows.setting))
    cells = [f"{100 * value:.1f}" for value in rows.top1] if top1 else [_cell(row) for row in rows.to_dict("records")]
    wide = rows.assign(cell=cells).pivot(index="model", columns="setting", values="cell")
    wide = wide.reindex(index=models, columns=settings).fillna("–").rename_axis(None, axis=1)
    of_correct = rows[rows.measure.isin(["acc_on_correct", "defense_success"])].groupby("model").n.first()
    if len(of_correct) and not top1:
        wide.insert(0, "n correct", [f"{of_correct[name]:,}" for name in models])
    return wide


def _cell(row: dict[Hashable, Any]) -> str:
    over_runs, in_paper = (f" ± {100 * row[sd]:.2f}" if pd.notna(row.get(sd)) else "" for sd in ("sd", "paper_sd"))
    own = f"{100 * row['value']:.1f}{over_runs} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    return own if pd.isna(row["paper"]) else f"{own} ({100 * row['paper']:.2f}{in_paper}{'†' if row['slip'] else ''})"

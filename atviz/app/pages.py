"""The Markdown pages of the project: their tables and figures, filled from what lies in results/."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from .. import disk, home
from ..evidence import Finding, controls, findings, reliability
from ..papers import readable
from . import first, world_tables
from .report import cells, once, read_findings
from .world_tables import line, signed

PAGES = ("README.md", "checkpoints/README.md", "notebooks/README.md", "notebooks/controls.md")
ZOO = "zoo-fashion"  # the run of the networks that ship
# figure in notebooks/figures -> source in results
FIGURES = {
    "saliency": "quick-fashion/figures/02_saliency_1-figure-9", "saturation": "quick-fashion/figures/04_saturate_2-figure-5",
    "worlds": "quick-fashion/figures/00_controls_1-worlds", "deciding": "quick-fashion/figures/00_controls_2-deciding",
    "by-world": "quick-fashion/figures/00_controls_4-by-world", "removed": "quick-fashion/figures/00_controls_5-removed",
    "controls": "quick-fashion/figures/00_controls_7-instruments", "heat": "quick-fashion/figures/00_controls_8-heat",
    "doses": "quick-fashion/figures/00_controls_9-doses",
    "filters": "quick-fashion/figures/07_filters_2-figure-6",
    "layers": "quick-fashion/figures/08_layers_4-features", "sanity": "quick-fashion/figures/09_sanity_6-pairs",
    "fusion": "quick-fashion/figures/10_ensemble_transfer_2-accuracy", "zoo-saliency": "zoo-fashion/figures/02_saliency_1-figure-9",
    "zoo-saturation": "zoo-fashion/figures/04_saturate_2-figure-5", "zoo-shuffling": "zoo-fashion/figures/05_shuffle_3-figure-7",
    "zoo-similarity": "zoo-fashion/figures/02_saliency_9-similarity", "zoo-invariance": "zoo-fashion/figures/04_saturate_5-invariance",
    "brightness": "quick-fashion/figures/06_fourier_10-brightness", "cifar-saliency": "zoo-cifar10/figures/02_saliency_1-figure-9",
    "cifar-saturation": "zoo-cifar10/figures/04_saturate_2-figure-5", "cifar-centroids": "zoo-cifar10/figures/08_layers_5-centroids",
    "explore": "browser/lab-light",
}  # fmt: skip
# the ten findings at the top of the README, and what it calls them
HEADLINES = {
    "shape_bias": "decided by shape, where drawn shape and texture conflict", "clean": "accuracy, clean images", "robust": "accuracy under PGD",
    "saturate-1024": "saturated", "patch_shuffle-2": "2 × 2 patches shuffled", "low_pass-4": "low-pass filtered",
    "high_pass-4": "high-pass filtered, mean kept", "stylize-1": "stylized, against α = 0", "edges": "agreement of SmoothGrad with the edges",
    "coarse": "share of SmoothGrad up to 4 cycles",
}  # fmt: skip
MARKED = re.compile(
    r"(?P<open><!-- (?P<kind>headlines|findings|others|table|instruments|worlds): (?P<run>[\w.-]+)(?: (?P<name>[\w.-]+))? -->).*?<!-- end -->",
    re.DOTALL,
)


def fill_all() -> None:
    """Fill every page, copy the figures that the pages show, and keep what the first page of a run shows."""
    if (home() / "results" / ZOO / "run.json").is_file():
        first.keep(home() / "results" / ZOO)
    for page in PAGES:
        fill(home() / page, home() / "results")
    for name, source in FIGURES.items():
        if (found := home() / "results" / f"{source}.png").is_file():
            shutil.copyfile(found, home() / "notebooks" / "figures" / f"{name}.png")


def fill(page: Path, results: Path) -> None:
    """Fill the blocks of a page: what stands between ``<!-- KIND: RUN -->`` and ``<!-- end -->``.

    KIND is ``headlines`` of the run in ``results/RUN``, its ``findings``, or those on ``others`` than its test images,
    ``table: RUN NAME`` for its file ``tables/NAME.csv``; or, of what ships, ``instruments: controls``, ``worlds`` with one
    of `world_tables.TABLES`. A block whose run is not in ``results`` stays as it is.
    """

    def filled(match: re.Match[str]) -> str:
        folder = results / match["run"]
        lines = {
            "headlines": lambda: _headlines(folder), "findings": lambda: _findings(folder, own=True), "others": lambda: _findings(folder, own=False),
            "instruments": _instruments, "worlds": world_tables.TABLES.get(match["run"], list),
            "table": lambda: _table(folder / "tables" / f"{match['name']}.csv"),
        }[match["kind"]]()  # fmt: skip
        return "\n".join([match["open"], *lines, "<!-- end -->"]) if lines else match[0]

    disk.write(page, MARKED.sub(filled, page.read_text()))


def _rows(folder: Path) -> list[dict[str, Any]]:
    if not (folder / "run.json").is_file():
        return []
    return [row for name in json.loads((folder / "run.json").read_text())["order"] for row in read_findings(folder, name)]


def _columns(folder: Path) -> tuple[str, str]:
    """The two networks that most findings of a run compare."""
    return findings.heading(Finding.of(row) for row in _rows(folder) if not row["images"])


def _headlines(folder: Path) -> list[str]:
    columns = _columns(folder)
    found = {c["key"]: c for c in once(cells(row, columns) for row in _rows(folder))}
    named = [(HEADLINES[name], found[name]) for name in HEADLINES if name in found]
    if not named:
        return []
    header = ["what", *columns, "difference [95 %]", "verdict"]
    rows = [
        [label, c["baseline"], c["subject"], c["difference"], _judged(c["brief"], c["caution"].partition(":")[0])] for label, c in named
    ]
    return [line(each) for each in (header, ["---", "--:", "--:", "--:", "---"], *rows)]


def _judged(verdict: str, caution: str) -> str:
    return "; ".join(filter(None, (verdict, caution)))


def _findings(folder: Path, *, own: bool) -> list[str]:
    columns = _columns(folder) if own else None
    rows = [c for c in once(cells(row, columns) for row in _rows(folder)) if own == (not c["images"])]
    keys = ("what", "n", "baseline", "underfit", "subject", "difference", "paper")
    if own:
        assert columns
        header = ["what", "n", columns[0], "underfit", columns[1], "difference [95 %]", "the paper says", "verdict", "rivals, measured"]
        body = [[*(c[k] for k in keys), _judged(c["judged"], c["caution"]), c["rivals"]] for c in rows]
    else:
        header = ["what", "images", "n", "first", "second", "difference [95 %]", "the paper says", "verdict", "rivals, measured"]
        shown = ("what", "images", "n", "baseline", "subject", "difference", "paper", "judged", "rivals")
        body = [[c[k] for k in shown] for c in rows]
    aligned = ["--:" if name in ("n", *(columns or ()), "underfit", "first", "second") else "---" for name in header]
    return [line(each) for each in (header, aligned, *body)] if rows else []


def _table(path: Path) -> list[str]:
    if not path.is_file():
        return []
    import pandas as pd

    wide = readable(pd.read_csv(path, dtype={"setting": str, "slip": str}).fillna({"slip": ""}))
    rows = [[name, *values] for name, values in zip(wide.index, wide.to_numpy(), strict=True)]
    return [line(each) for each in (["", *wide.columns], ["---", *["--:"] * len(wide.columns)], *rows)]


def _instruments() -> list[str]:
    def interval(row: dict[str, Any], name: str) -> str:
        value, low, high = (signed(row[k]) for k in (name, f"{name}_low", f"{name}_high"))
        return f"{value} [{low}, {high}]"

    known = findings.verdicts()
    header = ["instrument", "more shape bias should read", *controls.CONTROLS, "gap as expected [95 %]",
              "rank correlation with the truth [95 %]", "verdict"]  # fmt: skip
    rows = [
        [
            title,
            r["expected"] or "(no sign of it)",
            f"{r['shape_only']:.3f}",
            f"{r['texture_only']:.3f}",
            interval(r, "gap"),
            interval(r, "rho"),
            r["verdict"],
        ]
        for title, r in ((title, known[name]) for name, title in reliability.titles().items() if name in known)
    ]
    return [line(each) for each in (header, ["---", "---", *["--:"] * 4, "---"], *rows)]

"""Two runs side by side: the settings that differ, the findings of both and how their differences changed, and the figures of both."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import disk, home
from ..evidence import Finding
from ..evidence.findings import heading
from ..evidence.instruments import key
from ..evidence.rivals import signed
from .report import figure, read_findings, render
from .runs import MARKS, find, kind_of, state_of_run

SIDES = ("a", "b")
COLUMNS = ("key", "what", "images", "in", *(f"{side}_{name}" for side in SIDES for name in (
    "baseline_name", "subject_name", "n", "baseline", "subject", "difference", "ci_low", "ci_high", "verdict",
)), "change", "change_low", "change_high", "verdict_changed")  # fmt: skip


@dataclass(frozen=True)
class Side:
    """A run: its folder, its record, and the first finding of each claim, by the claim's key."""

    folder: Path
    record: dict[str, Any]
    rows: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, values of the notebooks' parameters, and the version."""
        return self.record["settings"] | self.record.get("set", {}) | {"atviz": self.record["version"]}

    @property
    def networks(self) -> str:
        """What says that two runs have the same networks; "" where it is not known."""
        return str(self.record["stages"].get("train", {}).get("key", ""))


def compare(a: str, b: str) -> tuple[Path, dict[str, Any]]:
    """Write ``results/A-vs-B/`` with ``index.html``, ``table.csv`` and ``compare.json``; return the page and what compare.json holds.

    Args:
        a, b: names in results/, or paths of folders.

    Raises:
        ValueError, FileNotFoundError: what is no run, twice the same run, a damaged run, or a folder that holds something else.
    """
    folders = [find(text).resolve() for text in (a, b)]
    for text, folder in zip((a, b), folders, strict=True):
        if (kind := kind_of(folder)) != "run":
            raise ValueError(f"{text} is a {kind}; compare takes two runs")
    if folders[0] == folders[1]:
        raise ValueError(f"{a} and {b} are the same run; compare takes two")
    sides = tuple(map(read, folders))
    target = home() / "results" / f"{sides[0].name}-vs-{sides[1].name}"
    if target.exists() and kind_of(target) != "comparison":
        raise ValueError(f"results/{target.name} is there and is no comparison; move it, or delete it")
    found = compared(*sides)
    target.mkdir(parents=True, exist_ok=True)
    disk.write_json(target / MARKS["comparison"], found)
    disk.write(target / "table.csv", as_csv(found))
    return write_page(target, sides, found), found


def read(folder: Path) -> Side:
    """A run's folder as a side; ValueError, in one sentence, for a damaged one."""
    record = disk.read_json(folder / MARKS["run"], Path(__file__).with_name("run.schema.json"), "a run's record")
    rows: dict[str, dict[str, Any]] = {}
    for row in (row for name in record["order"] for row in read_findings(folder, name)):
        rows.setdefault(key(row["measure"], row["level"]), row)  # a later notebook may measure it again, at fewer levels
    return Side(folder, record, rows)


def compared(a: Side, b: Side) -> dict[str, Any]:
    """Both runs, the settings that differ, and a row for each claim that either has measured, in the order of the first run."""
    settings = [
        {"setting": name, "a": a.settings.get(name), "b": b.settings.get(name)}
        for name in a.settings | b.settings
        if a.settings.get(name) != b.settings.get(name)
    ]
    return {
        **{side: {"name": of.name, "folder": str(of.folder), "state": state_of_run(of.record)} for side, of in zip(SIDES, (a, b), strict=True)},
        "same_data": a.settings["dataset"] == b.settings["dataset"], "same_networks": bool(a.networks) and a.networks == b.networks,
        "settings": settings, "findings": [_row(name, a.rows.get(name), b.rows.get(name)) for name in a.rows | b.rows],
    }  # fmt: skip


def _row(name: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any]:
    either = a or b
    assert either
    found: dict[str, Any] = {"key": name, "what": either["label"], "images": either["images"]}
    found["in"] = "both" if a and b else "a" if a else "b"
    for side, row in zip(SIDES, (a, b), strict=True):
        if row:
            compared = dict(zip(("baseline_name", "subject_name"), row["names"], strict=True))
            values = {column: _finite(row[column]) for column in ("n", "baseline", "subject", "difference", "ci_low", "ci_high")}
            found[side] = compared | values | {"verdict": Finding.of(row).verdict}
    if a and b and a["percent"] == b["percent"]:
        low, high = change(*((row["difference"], row["ci_low"], row["ci_high"]) for row in (a, b)))
        found |= {"change": _finite(b["difference"] - a["difference"]), "change_low": _finite(low), "change_high": _finite(high)}
        found["verdict_changed"] = found["a"]["verdict"] != found["b"]["verdict"]
    return found


def change(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float]:
    """The 95 % interval of b − a, for two independent numbers, each with its own 95 % interval: (value, low, high).

    The distances between a value and its bounds are joined as the root of the sum of their squares, each on its own side:
    low = b − a − √((b − b_low)² + (a_high − a)²), high = b − a + √((b_high − b)² + (a − a_low)²).

    Zou & Donner 2008, Construction of confidence limits about effect measures.

    >>> change((0.0, -3.0, 3.0), (10.0, 6.0, 14.0))
    (5.0, 15.0)
    """
    (x, x_low, x_high), (y, y_low, y_high) = a, b
    return y - x - math.hypot(y - y_low, x_high - x), y - x + math.hypot(y_high - y, x - x_low)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_csv(found: dict[str, Any]) -> str:
    """The findings of a comparison as CSV, one row each; a run that has not measured a claim has empty cells."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in found["findings"]:
        flat = {key: value for key, value in row.items() if key not in SIDES}
        writer.writerow(flat | {f"{side}_{name}": value for side in SIDES for name, value in row.get(side, {}).items()})
    return text.getvalue()


def write_page(target: Path, sides: tuple[Side, ...], found: dict[str, Any]) -> Path:
    """Write ``index.html`` of a comparison."""
    pairs = [heading(Finding.of(row) for row in side.rows.values() if not row["images"]) for side in sides]
    lines = [_line(row, sides, pairs) for row in found["findings"]]
    figures = [{path.stem: shown for path in sorted(side.folder.glob("figures/*.png")) if (shown := _figure(path))} for side in sides]
    both = [name for name in figures[0] if name in figures[1]]
    judged = [row for row in found["findings"] if row.get("change_low") is not None and row.get("change_high") is not None]
    return render(
        "compare.html.j2",
        target / "index.html",
        a=found["a"],
        b=found["b"],
        same_data=found["same_data"],
        same_networks=found["same_networks"],
        settings=[(row["setting"], *(_text(row[side]) for side in SIDES)) for row in found["settings"]],
        pairs=[" → ".join(pair) for pair in pairs],
        lines=lines,
        both=len(judged),
        moved=sum(row["change_low"] > 0 or row["change_high"] < 0 for row in judged),
        changed=sum(row.get("verdict_changed", False) for row in found["findings"]),
        figures=[(name, figures[0][name], figures[1][name]) for name in both],
        alone=[(side.name, [name for name in own if name not in both]) for side, own in zip(sides, figures, strict=True)],
    )


def _figure(path: Path) -> dict[str, str]:
    """A figure, or {} for a damaged file: the page goes without."""
    try:
        return figure(path)
    except (OSError, ValueError, SyntaxError):  # Pillow has all three for a damaged file
        return {}


def _text(value: Any) -> str:
    """A setting as text."""
    return (
        "–"
        if value is None
        else ", ".join(map(_text, value))
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else json.dumps(value)
    )


def _line(row: Mapping[str, Any], sides: tuple[Side, ...], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """A row of a comparison as text for the cells of its page. What is compared is named where it is not the run's own pair."""
    held = [side.rows.get(row["key"]) for side in sides]
    percent = next(of["percent"] for of in held if of)
    line: dict[str, Any] = {"what": row["what"], "images": row["images"], "in": row["in"], "sides": [], "change": "–", "moved": False}
    line["turned"] = row.get("verdict_changed", False)
    for of, pair in zip(held, pairs, strict=True):
        if of:
            names = tuple(of["names"])
            line["sides"].append(Finding.of(of).cells(names) | {"names": "" if names == pair else " → ".join(names)})
        else:
            line["sides"].append(None)
    if row.get("change") is not None:
        line["change"] = signed(row["change"], percent=percent)
        if row["change_low"] is not None and row["change_high"] is not None:
            line["moved"] = row["change_low"] > 0 or row["change_high"] < 0
            line["change"] += f" [{signed(row['change_low'], percent=percent)}, {signed(row['change_high'], percent=percent)}]"
    return line

"""What every benchmark shares: competitors in turn in one run, medians and spread, operations against the machine's ceiling."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parent.parent
OURS = "atviz"
PACKAGES = ("torch", "torchvision", "captum", "torchattacks", "foolbox", "kornia", "scipy", "numpy", "pillow")
COLUMNS = [
    "work",
    "shape",
    "competitor",
    "turns",
    "median_s",
    "low_s",
    "high_s",
    "rate",
    "unit",
    "ratio",
    "ratio_low",
    "ratio_high",
    "same",
    "ceiling",
]


@dataclass
class Case:
    """One piece of work that atviz and its peers do on the same input.

    ``calls`` are the competitors by name; atviz's own is ``OURS``. ``same`` looks at their results and says in words how far they are the same;
    it raises AssertionError where they are not. ``flops`` is what the plain way computes; ``bytes`` what must be read and written at least.
    """

    work: str
    shape: str
    count: int
    unit: str
    calls: dict[str, Callable[[], Any]]
    same: Callable[[dict[str, Any]], str]
    turns: int = 5
    flops: Callable[[], Any] | None = None  # a call whose operations are counted
    factor: float = 1.0  # how often the work repeats that call
    bytes: int = 0
    missing: list[str] = field(default_factory=list)  # peers that are not installed


def measured(case: Case, ceilings: dict[str, float]) -> list[dict[str, Any]]:
    """The rows of a case: each competitor's time, and how many times as long as atviz it takes, turn by turn."""
    results = {name: call() for name, call in case.calls.items()}  # the first call is not timed
    same = case.same(results)
    took: dict[str, list[float]] = {name: [] for name in case.calls}
    names = list(case.calls)
    for turn in range(case.turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # each goes first in its turn
            start = time.perf_counter()
            case.calls[name]()
            took[name].append(time.perf_counter() - start)
    flops = 0.0
    if case.flops:
        with FlopCounterMode(display=False) as counter:
            case.flops()
        flops = case.factor * counter.get_total_flops()
    rows = []
    for name, times in took.items():
        ratios = np.array(times) / np.array(took[OURS])
        median = float(np.median(times))
        share = flops / median / ceilings["fp32"] if flops else case.bytes / median / ceilings["copy"] if case.bytes else float("nan")
        rows.append(
            dict(zip(COLUMNS, [
                case.work, case.shape, name, case.turns, median, min(times), max(times), case.count / median, case.unit,
                float(np.median(ratios)), ratios.min(), ratios.max(), same, share,
            ], strict=True))
        )  # fmt: skip
    return rows


def ceilings() -> dict[str, float]:
    """What this machine does at most, measured now: operations per second of a matrix product, bytes per second of a copy."""
    found = {}
    for name, kind, n in [("fp32", torch.float32, 2048), ("bf16", torch.bfloat16, 512)]:  # bf16 is slow where hardware does not have it
        a, b = torch.rand(n, n).to(kind), torch.rand(n, n).to(kind)
        found[name] = 2 * n**3 / best_of(lambda a=a, b=b: a @ b)
    x, y = torch.rand(50_000_000), torch.empty(50_000_000)
    found["copy"] = 2 * 4 * len(x) / best_of(lambda: y.copy_(x))
    return found


def best_of(call: Callable[[], Any], times: int = 7) -> float:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)


def machine() -> dict[str, str]:
    """Hardware and versions, as every table states them."""
    listed = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in listed.read_text().splitlines() if line.startswith("model name")]
        if listed.is_file()
        else []
    )
    name = names[0] if names else platform.processor()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "-"
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"), "commit": git, "cpu": name, "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()), "capability": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version(), **versions,
    }  # fmt: skip


def have(*packages: str) -> bool:
    """Whether all of these packages can be imported."""
    import importlib

    try:
        for package in packages:
            importlib.import_module(package)
    except ImportError:
        return False
    return True


def table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS)


def markdown(rows: pd.DataFrame) -> str:
    """The table as the pages show it: times in milliseconds or seconds, ratios against atviz."""
    lines = ["| work | shape | competitor | median [lowest, highest] | rate | times atviz's time [lowest, highest] | of the ceiling | the same? |",
             "|---|---|---|--:|--:|--:|--:|---|"]  # fmt: skip
    for row in rows.itertuples():
        ratio = "1" if row.competitor == OURS else f"**{row.ratio:.2f}** [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
        share = "–" if np.isnan(row.ceiling) else f"{row.ceiling:.0%}"
        time_ = f"{_time(row.median_s)} [{_time(row.low_s)}, {_time(row.high_s)}]"
        lines.append(
            f"| {row.work} | {row.shape} | {row.competitor} | {time_} | {row.rate:.3g} {row.unit}/s | {ratio} | {share} | {row.same} |"
        )
    return "\n".join(lines)


def pipes(found: pd.DataFrame) -> str:
    """A table in Markdown."""
    lines = [
        list(found.columns),
        ["---"] * found.shape[1],
        *(["" if pd.isna(v) else v for v in row] for row in found.itertuples(index=False)),
    ]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def append_history(rows: pd.DataFrame, about: dict[str, str]) -> None:
    """One line per row of atviz's peers in ``benchmarks/history.csv``: what was measured, when, where, and the ratio."""
    path = Path(__file__).parent / "history.csv"
    kept = ["work", "shape", "competitor", "median_s", "ratio", "ratio_low", "ratio_high"]
    lines = rows[kept].assign(**{key: about[key] for key in ("date", "commit", "cpu", "cores", "capability", "torch")})
    lines.round(5).to_csv(path, mode="a", header=not path.is_file(), index=False)

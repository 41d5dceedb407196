"""The whole: `atviz run` from nothing, repeated, and with the zoo, now and as it was at an earlier commit, in turn on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .measure import ROOT


def checked_out(commit: str, place: Path) -> Path:
    """The files of a commit below ``place``."""
    folder = place / commit
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def run(code: Path, home: Path, *options: str) -> dict[str, Any]:
    """`atviz run` by the package in ``code``, with ``home`` as the place of its results: seconds, and those of the stages."""
    module, name = tomllib.loads((code / "pyproject.toml").read_text())["project"]["scripts"]["atviz"].split(":")
    home.mkdir(parents=True, exist_ok=True)
    variables = os.environ | {"PYTHONPATH": str(code), "ATVIZ_HOME": str(home), "OMP_WAIT_POLICY": "passive", "TQDM_DISABLE": "1"}
    program = f"import sys; sys.argv[0] = 'atviz'; from {module} import {name}; {name}()"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, "run", *options], cwd=home, env=variables, capture_output=True, text=True)
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"atviz run in {code} failed: {done.stderr[-2000:]}")
    record = max((home / "results").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    return {"seconds": took, "stages": {name: stage.get("seconds") for name, stage in json.loads(record.read_text())["stages"].items()}}


def compared(before: str) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Both versions in turn, job by job; after each job the rows so far: one for each job, and one for each stage of the run from nothing."""
    rows, stages = [], []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        codes = {"before": checked_out(before, place), "now": checked_out("HEAD", place)}
        for job, options in {"from nothing": [], "repeated": [], "zoo, from nothing": ["--profile", "zoo"]}.items():
            took: dict[str, float] = {}
            for who, code in codes.items():
                found = run(code, place / f"{'zoo' if 'zoo' in job else 'home'}-{who}", *options)
                took[who] = found["seconds"]
                if job == "from nothing":
                    stages += [{"version": who, "stage": stage, "seconds": value} for stage, value in found["stages"].items()]
            rows.append({"job": job, **took, "ratio": took["before"] / took["now"]})
            yield pd.DataFrame(rows).round(2), pd.DataFrame(stages).round(1)

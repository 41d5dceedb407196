"""The page of a run: the question and its answer, the findings, sliders, and every notebook, in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import disk
from ..evidence import Finding, findings
from ..evidence.findings import heading
from . import answer, origin
from .files import GOOD
from .pictures import reduced
from .rows import cells
from .section import section
from .slider_page import slider_values

# of a page: of networks that the papers do not compare, and of those that they do
QUESTIONS = ("What do these networks look at?", "What does an adversarially trained network look at?")
ALONE = ("What does this network look at?", "One network has nothing to be compared with: this page shows its numbers, without a verdict.")
PAPERS = {
    "Zhang & Zhu 2019": "https://arxiv.org/abs/1905.09797",
    "Itazuri et al. 2019": "https://arxiv.org/abs/1905.07666",
    "Geirhos et al. 2019": "https://arxiv.org/abs/1811.12231",
}


PLACE = "first"  # in a run's folder, what its first page shows


def write_report(folder: Path, *, first: Path | None = None) -> Path:
    """Write ``index.html`` of a run's folder from the files that lie in it, and ``notebooks/NAME.html`` where one is missing.

    With ``first`` that file is written instead, as the first page of another run: without notebooks and sliders, and it says so.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: a file of the run holds something else.
    """
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} holds no run (no run.json); `atviz run` makes one")
    run = disk.read_json(folder / "run.json", Path(__file__).with_name("run.schema.json"), "a run's record")
    stages, found = run["stages"], {name: read_findings(folder, name) for name in run["order"]}
    rows = [row for name in run["order"] for row in found[name]]
    columns = heading(Finding.of(row) for row in rows if not row["images"])
    shown = once(cells(row, columns) for row in rows)
    small = reduced(sorted(folder.glob("figures/*.png")))
    pictures = answer.pictures(folder, shown, small)
    used = {picture["file"]: f"picture-{i + 1}" for i, card in enumerate(pictures) for picture in card["figures"]}
    books = [] if first else run["order"]
    sections = [section(folder, name, stages.get(name, {"status": "not run"}), found[name], used, small) for name in books]
    judged = any(row["comparable"] and tuple(row["names"]) == columns for row in rows) or not rows
    alone = not rows and len(run["settings"]["models"]) == 1
    script = Path(__file__).with_name("page.js").read_text()
    return render(
        "report.html.j2",
        first or folder / "index.html",
        first=bool(first),
        beside=f"{PLACE}/" if first else "",
        run=run,
        settings=run["settings"],
        stages=stages,
        sections=sections,
        failed=[name for name in ["train", *run["order"]] if stages.get(name, {}).get("status") not in GOOD],
        notes=run.get("notes", []),
        heading=columns,
        question=ALONE[0] if alone else QUESTIONS[judged],
        train_error=stages.get("train", {}).get("error", ""),
        findings=[f for f in shown if not f["images"]],
        others=[f for f in shown if f["images"]],
        tally=answer.tally(shown),
        answer=ALONE[1] if alone else answer.sentence(pictures),
        pictures=pictures,
        sliders=slider_values(folder),
        papers=PAPERS,
        project=origin.project(),
        duration=answer.duration(run.get("seconds")),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def render(template: str, target: Path, **values: Any) -> Path:
    """Write a page from a template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    disk.write(target, environment.get_template(template).render(**values))
    return target


def read_findings(folder: Path, name: str) -> list[dict[str, Any]]:
    """The findings of a notebook in a run's folder; ValueError where the file holds none."""
    path = folder / "findings" / f"{name}.json"
    return disk.read_json(path, findings.SCHEMA, "a file of findings") if path.is_file() else []


def once(findings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first finding of each claim: a later notebook may measure it again, at fewer levels."""
    found: dict[str, dict[str, Any]] = {}
    for finding in findings:
        found.setdefault(finding["key"], finding)
    return list(found.values())


def figure(path: Path) -> dict[str, str]:
    """A figure's file, caption and width, and its PNG as base64."""
    from PIL import Image

    with Image.open(path) as image:
        caption = str(image.info.get("Description", path.stem))
        width = image.width
    return {
        "file": f"figures/{path.name}",
        "caption": caption,
        "width": str(width // 2),
        "data": base64.b64encode(path.read_bytes()).decode(),
    }

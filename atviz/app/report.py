"""The page of a run: findings first, then every notebook's figures and tables, in one file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import disk
from ..evidence import Finding, findings
from ..evidence.findings import heading

GOOD = ("done", "left out")  # of a stage
# of a page: of networks that the papers do not compare, and of those that they do
QUESTIONS = ("What do these networks look at?", "What does an adversarially trained network look at?")


def write_report(folder: Path) -> Path:
    """Write ``index.html`` of a run's folder from the files that lie in it; FileNotFoundError where there is no run."""
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} holds no run (no run.json); `atviz run` makes one")
    run = disk.read_json(folder / "run.json", Path(__file__).with_name("run.schema.json"), "a run's record")
    stages = run["stages"]
    sections = [_section(folder, name, stages.get(name, {"status": "not run"})) for name in run["order"]]
    failed = [name for name in ["train", *run["order"]] if stages.get(name, {}).get("status") not in GOOD]
    rows = [row for name in run["order"] for row in read_findings(folder, name)]
    columns = heading(Finding.of(row) for row in rows if not row["images"])
    found = once(cells(row, columns) for row in rows)
    return render(
        "report.html.j2",
        folder / "index.html",
        run=run,
        settings=run["settings"],
        sections=sections,
        failed=failed,
        notes=run.get("notes", []),
        heading=columns,
        question=QUESTIONS[any(row["comparable"] and tuple(row["names"]) == columns for row in rows) or not rows],
        train_error=stages.get("train", {}).get("error", ""),
        findings=[f for f in found if not f["images"]],
        others=[f for f in found if f["images"]],
    )


def render(template: str, target: Path, **values: Any) -> Path:
    """Write a page from a template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    disk.write(target, environment.get_template(template).render(**values))
    return target


def _section(folder: Path, name: str, stage: dict[str, Any]) -> dict[str, Any]:
    notebook = folder / "notebooks" / f"{name}.ipynb"
    return {
        "name": name, "status": stage["status"], "error": stage.get("error", ""), "link": f"notebooks/{name}.ipynb" if notebook.is_file() else "",
        "title": _title(notebook) or name, "question": _question(notebook), "findings": [cells(row) for row in read_findings(folder, name)],
        "figures": [figure(path) for path in sorted(folder.glob(f"figures/{name}_*.png"))],
        "tables": [_table(path) for path in sorted(folder.glob(f"tables/{name}_*.csv"))],
    }  # fmt: skip


def read_findings(folder: Path, name: str) -> list[dict[str, Any]]:
    """The findings of a notebook in a run's folder; ValueError where the file holds none."""
    path = folder / "findings" / f"{name}.json"
    return disk.read_json(path, findings.SCHEMA, "a file of findings") if path.is_file() else []


def once(findings: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """The first finding of each claim: a later notebook may measure it again, at fewer levels."""
    found: dict[str, dict[str, str]] = {}
    for finding in findings:
        found.setdefault(finding["key"], finding)
    return list(found.values())


def cells(row: dict[str, Any], columns: tuple[str, str] | None = None) -> dict[str, str]:
    """A finding of a run's folder as text for the cells of a table with these columns."""
    finding = Finding.of(row)
    return finding.cells(columns) | {"clause": finding.clause}


def figure(path: Path) -> dict[str, str]:
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


def _table(path: Path) -> dict[str, str]:
    import pandas as pd

    frame = pd.read_csv(path)
    html = frame.head(200).to_html(index=False, border=0, na_rep="–", float_format=lambda v: f"{v:.4g}")
    return {"file": f"tables/{path.name}", "name": path.stem.split("_", 2)[-1].replace("-", " "), "html": html, "rows": str(len(frame))}


def _first_markdown(notebook: Path) -> list[str]:
    if not notebook.is_file():
        return []
    try:
        text = next(("".join(cell["source"]) for cell in disk.read_json(notebook)["cells"] if cell["cell_type"] == "markdown"), "")
    except (ValueError, TypeError, KeyError):  # a damaged notebook has no title, and the page goes without
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _title(notebook: Path) -> str:
    return next((line.lstrip("# ") for line in _first_markdown(notebook) if line.startswith("# ")), "")


def _question(notebook: Path) -> str:
    return next((line for line in _first_markdown(notebook) if not line.startswith("#")), "").replace("**", "").replace("*", "")

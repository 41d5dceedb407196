"""The page of a run: findings first, then every notebook's figures and tables, in one file that needs no network."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from .findings import Finding, verdicts

TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(folder: Path) -> Path:
    """Write ``index.html`` of a run's folder from the files that lie in it; FileNotFoundError where there is no run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} holds no run (no run.json); `atviz run` makes one")
    run = json.loads((folder / "run.json").read_text())
    stages = run["stages"]
    sections = [_section(folder, name, stages.get(name, {"status": "not run"})) for name in run["order"]]
    failed = [name for name in ["train", *run["order"]] if stages.get(name, {}).get("status") != "done"]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(TEMPLATE.name).render(
        run=run,
        settings=run["settings"],
        sections=sections,
        failed=failed,
        train_error=stages.get("train", {}).get("error", ""),
        findings=_once(f for s in sections for f in s["findings"]),
    )
    target = folder / "index.html"
    target.write_text(page, encoding="utf-8")
    return target


def _section(folder: Path, name: str, stage: dict[str, Any]) -> dict[str, Any]:
    notebook = folder / "notebooks" / f"{name}.ipynb"
    return {
        "name": name, "status": stage["status"], "error": stage.get("error", ""), "link": f"notebooks/{name}.ipynb" if notebook.is_file() else "",
        "title": _title(notebook) or name, "question": _question(notebook), "findings": [_finding(row) for row in _findings(folder, name)],
        "figures": [_figure(path) for path in sorted(folder.glob(f"figures/{name}_*.png"))],
        "tables": [_table(path) for path in sorted(folder.glob(f"tables/{name}_*.csv"))],
    }  # fmt: skip


def _findings(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "findings" / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else []


def _once(findings: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Without those that an earlier notebook found already."""
    return list({tuple(finding.items()): finding for finding in findings}.values())


def _finding(row: dict[str, Any]) -> dict[str, str]:
    finding = Finding(**{field.name: row[field.name] for field in fields(Finding)} | {"names": tuple(row["names"])})
    return finding.cells() | {"clause": finding.clause}


def _figure(path: Path) -> dict[str, str]:
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
    cells = json.loads(notebook.read_text())["cells"]
    text = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), "")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _title(notebook: Path) -> str:
    return next((line.lstrip("# ") for line in _first_markdown(notebook) if line.startswith("# ")), "")


def _question(notebook: Path) -> str:
    return next((line for line in _first_markdown(notebook) if not line.startswith("#")), "").replace("**", "").replace("*", "")


def fill_readme(readme: Path, results: Path, figures: dict[str, str]) -> None:
    """Fill what stands between ``<!-- findings: RUN -->``, ``<!-- table: RUN NAME -->`` or ``<!-- instruments: controls -->`` and
    ``<!-- end -->``, and copy figures.

    A table's NAME is that of its file in ``results/RUN/tables``, one of Zhang & Zhu's (`zhang_zhu.readable`). A run that is not in
    ``results`` keeps what stands there. ``figures``: target file, beside the README -> source below ``results``.
    """

    def filled(match: re.Match[str]) -> str:
        kind, run, name = match["kind"], match["run"], match["name"]
        if kind == "findings":
            lines = _findings_lines(results / run)
        elif kind == "table":
            lines = _table_lines(results / run / "tables" / f"{name}.csv")
        else:
            lines = _instrument_lines()
        return "\n".join([match["open"], *lines, "<!-- end -->"]) if lines else match[0]

    marked = r"(?P<open><!-- (?P<kind>findings|table|instruments): (?P<run>[\w.-]+)(?: (?P<name>[\w.-]+))? -->).*?<!-- end -->"
    readme.write_text(re.sub(marked, filled, readme.read_text(), flags=re.DOTALL))
    for target, source in figures.items():
        if (results / source).is_file():
            shutil.copyfile(results / source, readme.parent / target)


def _findings_lines(folder: Path) -> list[str]:
    if not (folder / "run.json").is_file():
        return []
    names = json.loads((folder / "run.json").read_text())["order"]
    cells = _once(_finding(row) for name in names for row in _findings(folder, name))
    keys = ("what", "n", "normal", "underfit", "adversarial", "difference", "paper", "verdict")
    return [
        "| what | n | normal | underfit | adversarial | difference [95 %] | the paper says | |",
        "|---|--:|--:|--:|--:|--:|---|---|",
        *(f"| {' | '.join(c[k] for k in keys)}{'; ' * bool(c['caution'])}{c['caution']} |" for c in cells),
    ]


def _table_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    import pandas as pd

    from .zhang_zhu import readable

    wide = readable(pd.read_csv(path, dtype={"setting": str, "slip": str}).fillna({"slip": ""}))
    header = ["", *wide.columns]
    rows = [[name, *cells] for name, cells in zip(wide.index, wide.to_numpy(), strict=True)]
    return [f"| {' | '.join(map(str, cells))} |" for cells in (header, ["---", *["--:"] * len(wide.columns)], *rows)]


def _instrument_lines() -> list[str]:
    from .controls import INSTRUMENTS

    def interval(row: dict[str, Any], name: str) -> str:
        value, low, high = (f"{row[key]:+.2f}".replace("-", "−") for key in (name, f"{name}_low", f"{name}_high"))
        return f"{value} [{low}, {high}]"

    known = verdicts()
    rows = [(i.title, known[i.name]) for i in INSTRUMENTS if i.name in known]
    return [
        "| instrument | more shape bias should read | shape-only | texture-only | gap as expected [95 %] | rank correlation with the truth [95 %] | |",
        "|---|---|--:|--:|--:|--:|---|",
        *(
            f"| {title} | {r['expected']} | {r['shape_only']:.3f} | {r['texture_only']:.3f} | {interval(r, 'gap')} | {interval(r, 'rho')} | {r['verdict']} |"
            for title, r in rows
        ),
    ]

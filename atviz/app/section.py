"""A notebook on a run's page: its question, figures, conclusion and tables, and the notebook as a page of its own."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .. import disk
from .pictures import embedded
from .readable import readable
from .rows import cells

SHOWN = 100  # rows of a table


def section(
    folder: Path, name: str, stage: Mapping[str, Any], found: list[dict[str, Any]], used: Mapping[str, str], small: Collection[Path] = ()
) -> dict[str, Any]:
    """What the page shows of a notebook. ``used`` are the figures that stand in another place: file → id of that place. ``small`` are
    the figures that are shown at half their size."""
    notebook = folder / "notebooks" / f"{name}.ipynb"
    content = _content(notebook)
    title = next((line.lstrip("# ") for line in content["lines"] if line.startswith("# ")), name)
    question = next((line for line in content["lines"] if not line.startswith("#")), "")
    figures = []
    for path in sorted(folder.glob(f"figures/{name}_*.png"), key=_number):
        file = f"figures/{path.name}"
        figures.append({"file": file, "above": used[file]} if file in used else embedded(path, small=path in small) | {"above": ""})
    clauses = "; ".join(row["clause"] for row in map(cells, found))
    return {
        "name": name, "status": stage["status"], "error": stage.get("error", ""), "link": f"notebooks/{name}.ipynb" if notebook.is_file() else "",
        "page": f"notebooks/{name}.html" if readable(notebook) else "", "title": title, "short": title.partition(":")[0],
        "question": question.replace("**", "").replace("*", ""), "conclusion": content["conclusion"] or (f"{clauses}." if clauses else ""),
        "figures": figures, "tables": [_table(path) for path in sorted(folder.glob(f"tables/{name}_*.csv"))],
    }  # fmt: skip


def _number(path: Path) -> tuple[int, str]:
    """Figures in the order in which the notebook draws them: the tenth after the ninth."""
    found = re.search(r"_(\d+)-[^_]*$", path.stem)
    return (int(found[1]) if found else 0, path.name)


def _content(notebook: Path) -> dict[str, Any]:
    """The first lines of prose of a notebook, and what it found, in its own words."""
    nothing: dict[str, Any] = {"lines": [], "conclusion": ""}
    if not notebook.is_file():
        return nothing
    try:
        book = disk.read_json(notebook)["cells"]
        first = next(("".join(cell["source"]) for cell in book if cell["cell_type"] == "markdown"), "")
        said = ["".join(output.get("data", {}).get("text/markdown", "")) for cell in book for output in cell.get("outputs", [])]
    except (ValueError, TypeError, KeyError, AttributeError):  # of a damaged notebook the page shows nothing
        return nothing
    conclusion = next((text.partition("**Found.**")[2] for text in reversed(said) if "**Found.**" in text), "")
    return {"lines": [line.strip() for line in first.splitlines() if line.strip()], "conclusion": html.unescape(conclusion).strip()}


def _table(path: Path) -> dict[str, Any]:
    import pandas as pd

    frame = pd.read_csv(path)
    shown = frame.head(SHOWN).to_html(index=False, border=0, na_rep="–", float_format=lambda v: f"{v:.4g}", classes="sortable")
    name = path.stem.split("_", 2)[-1].replace("-", " ")
    return {"file": f"tables/{path.name}", "name": name, "html": shown, "rows": len(frame), "shown": min(SHOWN, len(frame))}

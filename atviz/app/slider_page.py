"""What the page's template needs of the sliders: their data, checked, and as JSON that cannot end the script that holds it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .. import disk

SCHEMA = Path(__file__).with_name("sliders.schema.json")
ENDS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}  # a script, or a line of it


def slider_values(folder: Path) -> dict[str, Any] | None:
    """The data of a run's sliders; None where it has none. ValueError where the file holds something else."""
    path = folder / "sliders" / "sliders.json"
    if not path.is_file():
        return None
    data = disk.read_json(path, SCHEMA, "a file of sliders")
    if wrong := _wrong(data):
        raise ValueError(f"{path} is not a file of sliders: {wrong}")
    sheets = {sheet.stem: _link(sheet) for sheet in sorted(path.parent.glob("*.webp"))}
    needed = {"shown", *(f"map-{i}" for i in range(len(data["models"])))}
    if not needed <= set(sheets):
        return None
    names = [data["classes"][str(image["label"])] for image in data["images"]]
    return data | {"labels": names, "json": script(data | {"sheets": sheets})}


def _wrong(data: dict[str, Any]) -> str:
    """Which part of the data does not fit another part; "" where all fit."""
    columns, networks = data["columns"], len(data["models"])
    views = [view for row in data["views"] for view in row]
    named = [image["label"] for image in data["images"]] + [c for view in views for c in (*view["classes"], *view["top"])]
    checks = {
        "shares": len(data["shares"]) == columns and all(len(row) == networks for row in data["shares"]),
        "views": len(data["views"]) == len(data["images"]) and all(len(row) == columns for row in data["views"]),
        "probabilities": all(
            len(view["top"]) == len(view["p"]) == networks and all(len(p) == len(view["classes"]) for p in view["p"]) for view in views
        ),
        "classes": all(str(c) in data["classes"] for c in named),
        "stops": all(
            slider["start"] < len(slider["stops"]) and all(stop["column"] < columns for stop in slider["stops"])
            for slider in data["sliders"]
        ),
    }
    return next((f"its {name} do not fit" for name, fits in checks.items() if not fits), "")


def script(value: Any) -> Markup:
    """A value as JSON for a ``<script>``: its texts cannot end it.

    >>> print(script("</script>"))
    "\\u003c/script\\u003e"
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign, safe in ENDS.items():
        text = text.replace(sign, safe)
    return Markup(text)


def _link(sheet: Path) -> str:
    return f"data:image/webp;base64,{base64.b64encode(sheet.read_bytes()).decode()}"

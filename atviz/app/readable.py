"""A notebook as a page of HTML, for readers without Jupyter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .. import disk

NOTHING = "data:text/javascript,"  # in place of libraries that a page would load from the network


def readable(notebook: Path) -> Path | None:
    """Write ``NAME.html`` beside a notebook, unless it is there and newer; None where there is no notebook that can be read."""
    if not notebook.is_file():
        return None
    target = notebook.with_suffix(".html")
    if target.is_file() and target.stat().st_mtime_ns >= notebook.stat().st_mtime_ns:
        return target
    import nbformat

    try:
        content = nbformat.read(notebook, as_version=4)
        disk.write(target, _page(content, notebook.stem))
    except Exception:  # a damaged notebook, whose libraries raise errors of many kinds, has no page, and the run's page goes without
        return None
    return target


def _page(content: Any, title: str) -> str:
    """A notebook with its figures inside, which loads nothing from the network."""
    from nbconvert import HTMLExporter

    names = (
        "mathjax_url",
        "require_js_url",
        "jquery_url",
        "mermaid_js_url",
        "mermaid_layout_elk_js_url",
        "jupyter_widgets_base_url",
        "widget_renderer_url",
    )
    exporter = HTMLExporter(template_name="lab", **{name: NOTHING for name in names if HTMLExporter.class_traits().get(name)})
    with warnings.catch_warnings():  # figures without a text beside them are not ours to mend here
        warnings.simplefilter("ignore")
        page, _ = exporter.from_notebook_node(content, resources={"metadata": {"name": title}})
    return str(page)

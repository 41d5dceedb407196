"""Notebooks as pages of HTML."""

import os
import re

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from atviz.app.readable import readable


def test_a_notebook_becomes_a_page_that_loads_nothing(tmp_path):
    output = new_output("display_data", {"text/markdown": "**Found.** it"})
    book = new_notebook(cells=[new_markdown_cell("# 91 · A title: what?"), new_code_cell("print(1)", outputs=[output])])
    path = tmp_path / "91_x.ipynb"
    nbformat.write(book, path)
    page = readable(path)
    text = page.read_text()
    assert page == tmp_path / "91_x.html" and "A title" in text and "it" in text
    assert not re.search(r"(?:src|href)=\"https?://|@import|url\(https?:", text)
    before = page.stat().st_mtime_ns
    assert readable(path) == page and page.stat().st_mtime_ns == before  # made once
    os.utime(path, ns=(before + 10**9, before + 10**9))
    readable(path)
    assert page.stat().st_mtime_ns != before


def test_a_damaged_or_missing_notebook_has_no_page(tmp_path):
    (tmp_path / "a.ipynb").write_text("{")
    assert readable(tmp_path / "a.ipynb") is None and readable(tmp_path / "b.ipynb") is None
    assert list(tmp_path.glob("*.html")) == []

"""A page: what a notebook shows, and the files that it writes."""

import json

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from atviz.evidence import Claim, Finding
from atviz.notebook import Page
from atviz.papers import Drawing

CLAIM = Claim("robust", 0, "accuracy under PGD", "higher", "Table 1")


def test_tables_and_figures_go_to_the_folder_or_nowhere(tmp_path):
    for out in (str(tmp_path), ""):
        page = Page("demo", out=out)
        assert page.table([{"a": 1}], "numbers").a.tolist() == [1]
        assert page.figure(Figure(), "empty", "A caption with ε.").data.startswith(b"\x89PNG")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")) == [
        "figures/demo_1-empty.png",
        "figures/demo_1-empty.svg",
        "tables/demo_numbers.csv",
    ]
    with Image.open(tmp_path / "figures" / "demo_1-empty.png") as image:
        assert image.info["Description"] == "A caption with ε."


def test_a_table_keeps_all_rows_and_shows_what_it_is_given(tmp_path):
    page, rows = Page("demo", out=str(tmp_path)), pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert page.table(rows, "numbers", show=rows.head(1)).shape == (1, 2)
    assert pd.read_csv(tmp_path / "tables" / "demo_numbers.csv").equals(rows)


def test_a_table_of_nothing_is_not_written(tmp_path):
    assert Page("demo", out=str(tmp_path)).table([], "numbers").empty and not list(tmp_path.rglob("*.csv"))


def test_a_drawing_is_drawn_by_the_figure_that_it_names():
    page = Page("demo")
    drawing = Drawing("image_grid", {"rows": [("one", torch.zeros(1, 1, 4, 4))], "columns": ["here"]}, "grid", "A grid.")
    shown = page.draw(drawing)
    assert shown.data.startswith(b"\x89PNG")
    assert (shown.alt, page.figures) == ("A grid.", 1)


def test_a_remark_stands_under_every_figure_and_in_the_conclusion():
    page = Page("demo", remark="A: judged on 2 of its 10 classes.")
    assert page.figure(Figure(), "empty", "A caption.").alt == "A caption. A: judged on 2 of its 10 classes."
    assert page.conclude().data.endswith("A: judged on 2 of its 10 classes.")


def test_a_sentence_is_shown_and_nothing_is_not():
    assert Page("demo").say("Left out.").data == "Left out." and Page("demo").say("") is None


def test_two_numbers_are_compared_and_written(tmp_path):
    page = Page("demo", out=str(tmp_path))
    page.note(
        Finding(CLAIM, 0.5, 1.0, 0.75, 0.25, 0.1, 0.4, n=100, percent=False, names=("plain", "trained")), None
    )  # a claim that could not be measured is left out
    page.note(Finding(CLAIM, 0.5, None, 0.25, -0.25, -0.4, -0.1, n=3, unit="runs", names=("one", "other")))
    said = page.conclude("That is all.").data
    first, second = json.loads((tmp_path / "findings" / "demo.json").read_text())
    assert (first["baseline"], first["underfit"], first["subject"], first["verdict"]) == (0.5, 1.0, 0.75, "agrees")
    assert (second["underfit"], second["verdict"], second["unit"], second["names"]) == (None, "disagrees", "runs", ["one", "other"])
    assert "**Found.** Accuracy under PGD: 0.500 (plain) → 0.750 (trained) (+0.250 [+0.100, +0.400]" in said
    assert said.index("| ---") < said.index("**Found.**")  # the table of all findings, then the sentence
    assert said.endswith("That is all.")
    assert said.count("| accuracy under PGD |") == 2


@pytest.mark.parametrize("out", ["", "folder"])
def test_nothing_found_is_said(out, tmp_path):
    page = Page("demo", out=out and str(tmp_path / out))
    assert page.conclude().data == "**Found.** No level was measured at which the papers report a number."
    assert [json.loads(p.read_text()) for p in tmp_path.rglob("*.json")] == ([[]] if out else [])

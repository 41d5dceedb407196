"""The first page of a run: what it shows, when it is there, and that the run's own page replaces it."""

import json
import re
import shutil

import pytest
from PIL import Image

from atviz import shipped
from atviz.app import first, pipeline
from atviz.evidence import Finding
from atviz.evidence.instruments import key
from atviz.notebook import Settings


def findings_of(folder):
    """The findings that a folder of a first page holds."""
    return [Finding.of(row) for path in sorted((folder / "findings").iterdir()) for row in json.loads(path.read_text())]


@pytest.fixture
def run(tmp_path):
    """The folder of a run: what ships, with a figure and a table that no first page shows."""
    folder = tmp_path / "results" / "zoo-fashion"
    shutil.copytree(shipped("checkpoints", "first", "fashion"), folder)
    Image.new("RGB", (40, 30)).save(folder / "figures" / "08_layers_1-filters.png")
    (folder / "tables").mkdir()
    (folder / "tables" / "08_layers_norms.csv").write_text("a,b\n")
    return folder


@pytest.fixture
def kept(run, tmp_path, monkeypatch):
    """What is kept of the run, in a home of the test's own."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    monkeypatch.setattr(first, "shipped", tmp_path.joinpath)
    return first.keep(run)


def test_what_is_kept_of_a_run_is_what_its_first_page_needs(kept):
    ships = shipped("checkpoints", "first", "fashion")
    files = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} for folder in (kept, ships)]
    files = [{name: content for name, content in side.items() if name.suffix != ".webp"} for side in files]
    assert files[0] == files[1]


def test_the_first_page_shows_findings_and_pictures_without_notebooks_and_sliders(kept, tmp_path):
    folder = tmp_path / "results" / "mine"
    page = first.write(folder, "fashion")
    assert page == folder / "index.html"
    text = page.read_text()
    for heading in ('<p class="note" id="first">', 'id="pictures"', "Findings on the data set of this run"):
        assert heading in text
    assert 'id="sliders"' not in text and 'id="notebooks"' not in text and "notebooks/" not in text
    assert text.count('role="row" class="finding"') == len({row.claim.label + row.images for row in findings_of(kept)}) > 20
    links = set(re.findall(r'href="(first/[^"]+)"', text))
    assert len(links) >= 3 and all((folder / link).is_file() for link in links)


def test_a_page_that_is_there_is_kept_and_the_figures_of_the_first_go(kept, tmp_path):
    folder = tmp_path / "results" / "mine"
    assert first.write(folder, "cifar10") is None and not folder.exists()
    page = first.write(folder, "fashion")
    page.write_text("the run's own")
    assert first.write(folder, "fashion") is None and page.read_text() == "the run's own"
    first.remove(folder)
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    first.remove(folder)


@pytest.mark.parametrize(("changes", "there"), [({}, True), ({"test_limit": 50}, False), ({"models": ("normal",)}, False)])
def test_the_first_page_is_there_before_anything_is_trained(kept, tmp_path, monkeypatch, capsys, changes, there):
    seen = []

    def train(settings, stages, engine, after):
        seen.append((tmp_path / "results" / "mine" / "index.html").is_file())
        stages["train"] = {"status": "failed", "error": "of the test"}

    monkeypatch.setattr(pipeline, "_train", train)
    folder, good = pipeline.run(Settings(profile="smoke", **changes), name="mine")
    assert (seen, good) == ([there], False)
    assert ("a first page, of the networks that ship: " in capsys.readouterr().out) == there
    assert 'id="first"' not in (folder / "index.html").read_text() and not (folder / "first").exists()


def test_what_ships_is_of_this_version_and_its_figures_are_all_there():
    folder = shipped("checkpoints", "first", "fashion")
    run = json.loads((folder / "run.json").read_text())
    assert run["settings"]["profile"] == "zoo" and len(run["settings"]["models"]) == 12
    found = {key(row.claim.measure, row.claim.level) for row in findings_of(folder)}
    assert {"shape_bias", "saturate-1024", "patch_shuffle-4", "edges"} <= found
    assert len(list(folder.glob("figures/*.png"))) == 4

"""The page of a run."""

import json
import re
from html.parser import HTMLParser

import pytest

from atviz.app.report import PAPERS, write_report
from atviz.evidence import Claim, Finding, Rival, findings

CLAIMS = [Claim("saturate", 1024, "saturated", "higher", "Tables 4 to 6"), Claim("sparsity", 0, "sparsity", "higher", "Figure 10")]


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A run of one notebook with two findings, of which the controls trust the second."""
    trust = {"saturate-1024": {"verdict": "unreliable", "why": "orders them wrongly"}, "sparsity": {"verdict": "reliable", "why": ""}}
    monkeypatch.setattr(findings, "verdicts", lambda: trust)
    folder = tmp_path / "results" / "r"
    (folder / "findings").mkdir(parents=True)
    made = [Finding(claim, 0.5, None, 0.7, 0.2, 0.1, 0.3, 100, ("normal", "pgd-inf-8")).row() for claim in CLAIMS]
    (folder / "findings" / "04_saturate.json").write_text(json.dumps(made))
    settings = {"dataset": "fashion", "models": ["normal"], "arch": "small", "profile": "quick", "seed": 0}
    stages = {name: {"status": "done"} for name in ("train", "04_saturate")}
    (folder / "run.json").write_text(json.dumps({"settings": settings, "stages": stages, "order": ["04_saturate"], "version": "0"}))
    return folder


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.alts = [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[key] for key in ("src", "href") if key in attrs]
        if tag == "img":
            self.alts.append(attrs["alt"])


def test_the_page_marks_what_the_controls_distrust(judged):
    page = write_report(judged).read_text()
    assert "<li>Unreliable in the controls: orders them wrongly.</li>" in page
    # a verdict with a caution has no full color, wherever it stands
    assert page.count('<span class="badge agrees doubted">agrees</span>') == 1 == page.count('<span class="badge agrees">agrees</span>')
    assert "<b>2</b> agree with the papers<small>1 with a caution</small>" in page


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_the_page_says_which_stage_did_not_end(judged, status):
    run = json.loads((judged / "run.json").read_text())
    run["stages"]["04_saturate"] = {"status": status}
    (judged / "run.json").write_text(json.dumps(run | {"order": ["04_saturate", "05_shuffle"]}))
    page = write_report(judged).read_text()
    assert f'role="alert">04_saturate: {status}.' in page and 'role="alert">05_shuffle: not run.' in page
    assert "These parts failed: 04_saturate, 05_shuffle." in page


def test_the_page_says_the_rival_beside_the_verdict(judged):
    path = judged / "findings" / "04_saturate.json"
    (first, *others) = json.loads(path.read_text())
    rivals = [Rival("brightness", "alone", 0.15).row(), Rival.unmeasured("seeds", "one training").row()]
    path.write_text(json.dumps([first | {"rivals": rivals}, *others]))
    page = write_report(judged).read_text()
    assert "<li>Brightness alone gives +15.0 of +20.0.</li>" in page
    assert "brightness alone: +15.0; one seed: not measured, one training" in page


def test_one_network_alone_has_a_page_without_verdicts(judged):
    (judged / "findings" / "04_saturate.json").unlink()
    page = write_report(judged).read_text()
    assert "<h1>What does this network look at?</h1>" in page and "nothing to be compared with" in page
    assert "No notebook has reported a finding." in page and 'class="tally"' not in page


def test_another_comparison_has_no_verdict_and_its_columns_are_named(judged):
    path = judged / "findings" / "04_saturate.json"
    rows = [row | {"comparable": False, "names": ["mine", "theirs"]} for row in json.loads(path.read_text())]
    path.write_text(json.dumps(rows))
    page = write_report(judged).read_text()
    assert re.search(r'<th [^>]*class="number fits">mine</th>', page) and re.search(r'<th [^>]*class="number fits">theirs</th>', page)
    assert page.count(">not judged</span>") == 2 and "<h1>What do these networks look at?</h1>" in page
    assert "<b>2</b> not judged" in page and 'class="answer"' not in page
    mixed = [rows[0] | {"names": ["a", "b"]}, rows[1]]
    path.write_text(json.dumps([*mixed, rows[1] | {"measure": "other"}]))
    assert "50.0\u00a0% <small>(a)</small>" in write_report(judged).read_text()


def test_a_finding_of_two_notebooks_is_said_once(judged):
    row = json.loads((judged / "findings" / "04_saturate.json").read_text())[:1]
    row[0]["rivals"] = [Rival.unmeasured("levels", "this is the only level").row()]  # measured again, at fewer levels
    (judged / "findings" / "05_shuffle.json").write_text(json.dumps(row))
    run = json.loads((judged / "run.json").read_text())
    (judged / "run.json").write_text(json.dumps(run | {"order": ["04_saturate", "05_shuffle"]}))
    page = write_report(judged).read_text()
    table = page[page.index('<table class="findings') : page.index("</table>")]
    assert table.count("<tbody") == 2 and "only level" not in table


def test_the_page_needs_no_network_and_its_links_lead_somewhere(smoke_run):
    page = (smoke_run / "index.html").read_text()
    parser = Links()
    parser.feed(page)
    for link in parser.links:
        assert link.startswith(("#", "data:image/webp;base64,")) or link in PAPERS.values() or (smoke_run / link).is_file(), link[:80]
    assert not re.search(r"@import|url\((?!\$\{data)", page) and "default-src 'none'; img-src data:" in page
    shown = [alt for alt in parser.alts if alt]  # the dialog that enlarges figures begins empty
    assert len(shown) == len(list((smoke_run / "figures").glob("*.png"))) >= 15
    assert all(len(alt) > 20 for alt in shown)
    assert len(page.encode()) <= 6_000_000


def test_the_page_begins_with_every_finding(smoke_run):
    page = (smoke_run / "index.html").read_text()
    rows = [row for path in sorted((smoke_run / "findings").glob("*.json")) for row in json.loads(path.read_text())]
    own, others = re.findall(r'<table class="findings[^>]*>(.*?)</table>', page, re.DOTALL)
    order = [
        "<h1>",
        'class="answer"',
        'class="tally"',
        'id="pictures"',
        "<dfn>Accuracy on correct</dfn>",
        'id="findings-table"',
        'id="explorer"',
        'id="notebooks"',
    ]
    assert [page.index(part) for part in order] == sorted(page.index(part) for part in order)
    # a later notebook may find what an earlier one found: then it is said once
    for table, mine in ((own, [r for r in rows if not r["images"]]), (others, [r for r in rows if r["images"]])):
        assert table.count("<tbody") == len({row["label"] for row in mine}) >= 3
        for row in mine:
            assert row["label"].replace("'", "&#39;") in table
            assert len(row["rivals"]) == len(row["named"]) > 0


def test_the_page_says_where_it_came_from_and_what_every_notebook_found(smoke_run):
    page, run = (smoke_run / "index.html").read_text(), json.loads((smoke_run / "run.json").read_text())
    for said in (run["date"], "atviz run --profile smoke --name smoke", "Run time", "https://arxiv.org/abs/1905.09797"):
        assert said in page
    for name in run["order"]:
        assert f'href="notebooks/{name}.html"' in page and f'href="notebooks/{name}.ipynb" download' in page
    controls = page[page.index('id="00_controls"') :]
    assert re.search(r"<b>Found.</b>[^<]*instruments above, as signs of shape bias", controls[: controls.index("</details>")])


def test_the_sliders_of_a_run_hold_eight_images_and_the_main_networks(smoke_run):
    data = json.loads((smoke_run / "sliders" / "sliders.json").read_text())
    run = json.loads((smoke_run / "run.json").read_text())
    assert len(data["images"]) == 8 and [model["name"] for model in data["models"]] == run["settings"]["models"]
    measured = [share for shares in data["shares"] for share in shares if share]
    assert len(measured) > len(data["models"]) * 20
    assert all(0 <= share["both"] <= share["clean"] <= data["n"] for share in measured)
    assert run["stages"]["sliders"]["status"] == "done"


def test_the_page_can_be_written_again_from_its_folder(smoke_run, tmp_path):
    before = (smoke_run / "index.html").read_bytes()
    (smoke_run / "index.html").unlink()
    assert write_report(smoke_run).read_bytes() == before
    with pytest.raises(FileNotFoundError, match="holds no run"):
        write_report(tmp_path)

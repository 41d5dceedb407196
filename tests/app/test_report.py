"""The page of a run."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from atviz.app.report import write_report
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
    assert page.count("unreliable in the controls: orders them wrongly") == 2  # in the table and in the sentence
    assert page.count('<span class="badge agrees">agrees</span>') == 2


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
    assert "agrees</span><br><small>but brightness alone gives +15.0 of +20.0</small>" in page
    assert "brightness alone: +15.0<br>one seed: not measured, one training" in page


def test_another_comparison_has_no_verdict_and_its_columns_are_named(judged):
    path = judged / "findings" / "04_saturate.json"
    rows = [row | {"comparable": False, "names": ["mine", "theirs"]} for row in json.loads(path.read_text())]
    path.write_text(json.dumps(rows))
    page = write_report(judged).read_text()
    assert '<th class="number">mine</th>' in page and '<th class="number">theirs</th>' in page
    assert page.count('<span class="badge not-judged">not judged</span>') == 2 and "<h1>What do these networks look at?</h1>" in page
    mixed = [rows[0] | {"names": ["a", "b"]}, rows[1]]
    path.write_text(json.dumps([*mixed, rows[1] | {"measure": "other"}]))
    assert "50.0 % (a)" in write_report(judged).read_text()


def test_a_finding_of_two_notebooks_is_said_once(judged):
    row = json.loads((judged / "findings" / "04_saturate.json").read_text())[:1]
    row[0]["rivals"] = [Rival.unmeasured("levels", "this is the only level").row()]  # measured again, at fewer levels
    (judged / "findings" / "05_shuffle.json").write_text(json.dumps(row))
    run = json.loads((judged / "run.json").read_text())
    (judged / "run.json").write_text(json.dumps(run | {"order": ["04_saturate", "05_shuffle"]}))
    page = write_report(judged).read_text()
    table = page[page.index('<table class="findings">') : page.index("</table>")]
    assert table.count("<tr>") == 3 and "only level" not in table


def test_the_page_needs_no_network_and_its_links_lead_somewhere(smoke_run):
    page = (smoke_run / "index.html").read_text()
    parser = Links()
    parser.feed(page)
    for link in parser.links:
        assert link.startswith(("#", "data:image/png;base64,")) or (smoke_run / link).is_file(), link[:80]
    assert not re.search(r"https?://|@import|url\(", page)
    assert len(parser.alts) == len(list((smoke_run / "figures").glob("*.png"))) >= 15
    assert all(len(alt) > 20 for alt in parser.alts)


def test_the_page_begins_with_every_finding(smoke_run):
    page = (smoke_run / "index.html").read_text()
    rows = [row for path in sorted((smoke_run / "findings").glob("*.json")) for row in json.loads(path.read_text())]
    own, others = re.findall(r'<table class="findings">(.*?)</table>', page, re.DOTALL)
    assert page.index('<table class="findings">') < page.index("<figure>")
    # a later notebook may find what an earlier one found: then it is said once
    for table, mine in ((own, [r for r in rows if not r["images"]]), (others, [r for r in rows if r["images"]])):
        assert table.count("<tr>") == len({row["label"] for row in mine}) + 1 >= 4
        for row in mine:
            assert row["label"].replace("'", "&#39;") in table
            assert len(row["rivals"]) == len(row["named"]) > 0


def test_the_page_can_be_written_again_from_its_folder(smoke_run, tmp_path):
    before = (smoke_run / "index.html").read_bytes()
    (smoke_run / "index.html").unlink()
    assert write_report(smoke_run).read_bytes() == before
    with pytest.raises(FileNotFoundError, match="holds no run"):
        write_report(tmp_path)


CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
EVIL = "<script>hacked = 1</script><img src=x onerror='hacked = 1'>"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page was opened in no browser")
def test_names_that_hold_html_are_shown_as_text_and_nothing_runs(judged):
    from playwright.sync_api import sync_playwright

    run = json.loads((judged / "run.json").read_text())
    run["settings"] |= {"dataset": f"folder:{EVIL}", "models": [EVIL]}
    run["stages"]["04_saturate"] |= {"status": "failed", "error": EVIL}
    (judged / "run.json").write_text(json.dumps(run | {"notes": [EVIL]}))
    rows = json.loads((judged / "findings" / "04_saturate.json").read_text())
    odd = {"label": EVIL, "names": [EVIL, "b"], "images": EVIL, "source": EVIL}
    (judged / "findings" / "04_saturate.json").write_text(json.dumps([row | odd | {"measure": f"m{i}"} for i, row in enumerate(rows)]))
    (judged / "tables").mkdir()
    (judged / "tables" / f"04_saturate_{EVIL.replace('/', '')}.csv").write_text(f'class,{EVIL.replace(",", "")}\n"{EVIL}",1\n')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(write_report(judged).as_uri())
        text = page.inner_text("body")
        assert page.evaluate("typeof hacked") == "undefined" and page.evaluate("document.querySelectorAll('script, img').length") == 0
        browser.close()
    assert text.count("<script>hacked = 1</script>") >= 6

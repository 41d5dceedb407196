"""The Markdown pages: filled from results, and as they are committed."""

import json
import re
from pathlib import Path

import pytest

from atviz.app import pages
from atviz.evidence import Claim, Finding, Rival, findings
from atviz.evidence.instruments import key

ROOT = Path(__file__).parents[2]


def test_pages_are_filled_from_the_findings_and_keep_what_was_not_run(smoke_run, tmp_path):
    page = tmp_path / "README.md"
    marks = [
        "findings: smoke", "others: smoke", "headlines: smoke", "table: smoke 04_saturate_table-6", "instruments: controls",
        "findings: absent", "headlines: absent", "table: absent 01_train_table-1",
    ]  # fmt: skip
    page.write_text("".join(f"a\n<!-- {m} -->\n{'kept' if 'absent' in m else 'old'}\n<!-- end -->\n" for m in marks))
    pages.fill(page, smoke_run.parent)
    text = page.read_text()
    assert text.count("\nkept\n") == 3 and text.count("<!-- end -->") == 8
    own, others = (text[text.index(f"<!-- {kind}: smoke -->") :].partition("<!-- end -->")[0] for kind in ("findings", "others"))
    assert "drawn" not in own and "fine-tuned" not in own
    assert "| drawn images, 00_controls |" in others and "fine-tuned on fashion-even" in others
    assert re.search(r"\| normal \| [\d,]+ \|( \d+\.\d \[\d+\.\d, \d+\.\d\] \|){8}", text)
    assert "| median-filtered once | higher | " in text
    assert "old" not in text
    rows = [row for path in (smoke_run / "findings").glob("*.json") for row in json.loads(path.read_text())]
    for row in rows:
        assert f"| {row['label']} | " in text
    # a run of all notebooks has each of the headlines
    assert pages.HEADLINES.keys() <= {key(row["measure"], row["level"]) for row in rows}
    headlines = text[text.index("<!-- headlines: smoke -->") : text.index("<!-- table: smoke")]
    for label in pages.HEADLINES.values():
        assert headlines.count(f"\n| {label} | ") == 1
    before = text
    pages.fill(page, smoke_run.parent)
    assert page.read_text() == before


def test_pages_mark_what_the_controls_distrust(tmp_path, monkeypatch):
    trust = {"saturate-1024": {"verdict": "unreliable", "why": "orders them wrongly"}, "sparsity": {"verdict": "reliable", "why": ""}}
    monkeypatch.setattr(findings, "verdicts", lambda: trust)
    folder = tmp_path / "results" / "r"
    (folder / "findings").mkdir(parents=True)
    claims = [Claim("saturate", 1024, "saturated", "higher", "Tables 4 to 6"), Claim("sparsity", 0, "sparsity", "higher", "Figure 10")]
    made = [
        Finding(claim, 0.5, None, 0.7, 0.2, 0.1, 0.3, 100, ("normal", "pgd-inf-8"), rivals=(Rival("brightness", "alone", 0.15),)).row()
        for claim in claims
    ]
    (folder / "findings" / "04_saturate.json").write_text(json.dumps(made))
    (folder / "run.json").write_text(json.dumps({"order": ["04_saturate"]}))
    page = tmp_path / "README.md"
    page.write_text("<!-- findings: r -->\n<!-- end --><!-- headlines: r -->\n<!-- end -->")
    pages.fill(page, tmp_path / "results")
    rows = [line for line in page.read_text().splitlines() if "| 100 |" in line]
    assert rows[0].endswith(
        "| agrees, but brightness alone gives +15.0 of +20.0; unreliable in the controls: orders them wrongly | brightness alone: +15.0 |"
    )
    assert rows[1].endswith("| agrees, but brightness alone gives +15.0 of +20.0 | brightness alone: +15.0 |")
    assert (
        "| saturated | 50.0 % | 70.0 % | +20.0 [+10.0, +30.0] | agrees, but brightness alone gives +15.0 of +20.0; unreliable in the controls |"
        in page.read_text()
    )


def test_all_pages_are_filled_and_their_figures_copied(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    for name in pages.PAGES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("<!-- instruments: controls -->\nold\n<!-- end -->")
    name, source = next(iter(pages.FIGURES.items()))
    for path in (tmp_path / "results" / f"{source}.png", tmp_path / "notebooks" / "figures" / "other.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a picture")
    pages.fill_all()
    assert all("| saturated to level 1024 | higher |" in (tmp_path / name).read_text() for name in pages.PAGES)
    assert sorted(p.name for p in (tmp_path / "notebooks" / "figures").iterdir()) == sorted(["other.png", f"{name}.png"])


def blocks_of(name):
    return re.findall(
        r"<!-- (?:headlines|findings|others|table|instruments|worlds): .+? -->\n(.*?)<!-- end -->", (ROOT / name).read_text(), re.DOTALL
    )


def pictures_of(name):
    found = re.findall(r"!\[([^\]]*)\]\((.+?)\)", (ROOT / name).read_text())
    return [(alt, (ROOT / name).parent / path) for alt, path in found]


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_page_lacks_no_table_and_no_figure(name):
    assert all(block.count("\n| ") >= 4 for block in blocks_of(name))
    assert len(re.findall("<!-- end -->", (ROOT / name).read_text())) == len(blocks_of(name))
    for alt, path in pictures_of(name):
        assert path.is_file(), path
        assert len(alt) > 10


def test_the_pages_together_show_every_table_and_every_figure():
    assert sum(len(blocks_of(name)) for name in pages.PAGES) >= 10
    shown = {path.resolve() for name in pages.PAGES for _, path in pictures_of(name)}
    assert shown == {ROOT / "notebooks" / "figures" / f"{name}.png" for name in pages.FIGURES}


def test_the_committed_table_of_the_instruments_is_of_the_verdicts_that_ship(tmp_path):
    page = tmp_path / "controls.md"
    page.write_text((ROOT / "notebooks" / "controls.md").read_text())
    pages.fill(page, tmp_path)
    assert page.read_text() == (ROOT / "notebooks" / "controls.md").read_text(), "`atviz readme` fills it"


@pytest.mark.parametrize("name", [*pages.PAGES, "CONTRIBUTING.md"])
def test_links_between_pages_lead_somewhere(name):
    text = (ROOT / name).read_text()
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", text):
        if not re.match(r"https?://|#", link):
            assert ((ROOT / name).parent / link.partition("#")[0]).exists(), link

"""Two runs side by side: what changed, with an honest interval, on one page."""

import json
import math
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from atviz import disk
from atviz.app import compare
from atviz.evidence import Claim, Finding
from atviz.evidence.intervals import unpaired_difference

SETTINGS = {"dataset": "fashion", "models": ["normal", "pgd-inf-0.1"], "arch": "small", "profile": "quick", "seed": 0, "size": None}
EVIL = "<script>hacked = 1</script><img src=x onerror='hacked = 1'>"


def claim(name, expected="higher"):
    return Claim(name, 0, f"the {name} of it", expected, "Table 1")


def finding(name, difference, half=0.1, *, names=("normal", "pgd-inf-0.1"), **changes):
    bounds = difference - half, difference + half
    return Finding(claim(name), 0.5, None, 0.5 + difference, difference, *bounds, 100, names, **changes)


def write(folder, findings, *, key="k", status="done", figures=(), **changes):
    (folder / "figures").mkdir(parents=True)
    disk.write_json(folder / "findings" / "04_saturate.json", [found.row() for found in findings])
    stages = {"train": {"status": "done", "key": key}, "04_saturate": {"status": status}}
    disk.write_json(folder / "run.json", {"settings": SETTINGS | changes, "stages": stages, "order": ["04_saturate"], "version": "0"})
    for number, name in enumerate(figures):
        said = PngImagePlugin.PngInfo()
        said.add_text("Description", f"caption of {folder.name} {number}")
        Image.new("RGB", (4, 4)).save(folder / "figures" / f"{name}.png", pnginfo=said)
    return folder


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Runs a and b: one claim that both measured and whose verdict changed, one that is the same, and one that each has alone."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    results = tmp_path / "results"
    both = [finding("same", 0.2)]
    write(results / "a", [finding("turned", 0.3), *both, finding("first", 0.0)], figures=["04_x", "04_mine"])
    names = ("normal", "spatial")
    rows = [finding("last", 0.1, names=names), *(finding(*of, names=names) for of in (("turned", -0.2), ("same", 0.2)))]
    write(results / "b", rows, key="other", figures=["04_x", "04_yours"], seed=1, models=["normal", "spatial"])
    return results


def rows_of(found):
    return {row["key"]: row for row in found["findings"]}


def test_the_change_is_b_minus_a_and_swapping_the_runs_mirrors_it(two):
    there, back = (rows_of(compare.compare(*pair)[1]) for pair in (("a", "b"), ("b", "a")))
    assert there["turned"]["change"] == pytest.approx(-0.5)
    half = 0.1 * math.sqrt(2)
    assert [there["turned"][k] for k in ("change_low", "change_high")] == pytest.approx([-0.5 - half, -0.5 + half])
    assert there.keys() == back.keys() == {"turned", "same", "first", "last"}
    for key in ("turned", "same"):
        values = [row[k] for row in (there[key], back[key]) for k in ("change", "change_low", "change_high")]
        assert values[:3] == pytest.approx([-values[3], -values[5], -values[4]])
    assert [row["in"] for row in there.values()] == ["both", "both", "a", "b"] and there["first"].keys().isdisjoint({"b", "change"})
    assert (there["turned"]["verdict_changed"], there["same"]["verdict_changed"]) == (True, False)


def test_the_interval_of_a_change_is_that_of_two_independent_samples():
    draw = np.random.default_rng(0)
    a, b = draw.normal(0.1, 1, 4000), draw.normal(0.3, 3, 6000)
    means = [(x.mean(), *(x.mean() + sign * 1.96 * x.std(ddof=1) / len(x) ** 0.5 for sign in (-1, 1))) for x in (a, b)]
    value, low, high = unpaired_difference(b, a)
    assert compare.change(*means) == pytest.approx((low, high), abs=1e-3) and means[1][0] - means[0][0] == pytest.approx(value)


def test_each_bound_of_a_change_uses_the_sides_of_the_intervals_that_lead_there():
    low, high = compare.change((0.0, -1.0, 3.0), (10.0, 6.0, 12.0))
    assert (low, high) == pytest.approx((10 - math.hypot(4, 3), 10 + math.hypot(2, 1)))


def test_a_bound_that_is_not_known_gives_no_interval(two):
    unknown = finding("turned", -0.2, float("nan"))
    disk.write_json(two / "b" / "findings" / "04_saturate.json", [unknown.row()])
    page, found = compare.compare("a", "b")
    row = rows_of(found)["turned"]
    assert (row["change"], row["change_low"], row["change_high"]) == (pytest.approx(-0.5), None, None)
    assert "nan" not in (page.parent / "compare.json").read_text().lower() and ">−50.0<" in page.read_text()


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.words += data.split()


def test_the_page_says_what_differs_what_changed_and_what_it_assumes(two):
    page, found = compare.compare("a", "b")
    text, parser = page.read_text(), Page()
    assert page == two / "a-vs-b" / "index.html"
    parser.feed(text)
    said = " ".join(parser.words)
    assert [row["setting"] for row in found["settings"]] == ["models", "seed"] and "normal, spatial" in said
    assert text.count('<tr class="turned">') == 1 and text.count(">verdict changed<") == 1 and "1 verdict changed (colored rows)" in said
    assert said.count("not in this run") == 2 and "−50.0 [−64.1, −35.9]" in said and "+0.0 [−14.1, +14.1]" in said
    assert "Of 2 claims that both runs measured, 1 changed by more than the interval allows" in said
    assert "root of the sum of their squares" in said and "Runs that share test images or networks are not independent" in said
    assert "These two runs have the same data set" in said and "They have the same networks" not in said
    assert "normal → pgd-inf-0.1" in said and "normal → spatial" in said
    # one file: figures of the same name are in it, once for each run
    assert [link for link in parser.links if not link.startswith(("data:image/png;base64,", "#"))] == ["table.csv", "compare.json"]
    assert sum(link.startswith("data:") for link in parser.links) == 2
    assert said.index("caption of a 0") < said.index("caption of b 0") and "Only a has 04_mine." in said and "Only b has 04_yours." in said
    assert not re.search(r"https?://|@import|url\(", text)
    assert json.loads((page.parent / "compare.json").read_text()) == found


def test_runs_of_the_same_networks_and_of_other_images_are_told_so(two):
    write(two / "c", [finding("turned", 0.3)], dataset="cifar10", status="failed")
    text = compare.compare("a", "c")[0].read_text()
    assert "They have the same networks." in text and "have the same data set" not in text
    assert 'role="alert">c: 1 of 1 notebooks failed.' in text


def test_the_table_is_csv_with_a_line_for_each_claim(two):
    page, found = compare.compare("a", "b")
    header, *lines = compare.as_csv(found).splitlines()
    assert header == ",".join(compare.COLUMNS) and len(lines) == 4
    assert (page.parent / "table.csv").read_text() == compare.as_csv(found)
    cells = dict(zip(header.split(","), lines[2].split(","), strict=True))
    assert (cells["key"], cells["in"], cells["a_difference"], cells["b_difference"], cells["change"]) == ("first", "a", "0.0", "", "")


def test_names_that_hold_html_are_shown_as_text(two):
    rows = [finding("turned", 0.3, names=(EVIL, "b"), images=EVIL).row() | {"label": EVIL}]
    disk.write_json(two / "b" / "findings" / "04_saturate.json", rows)
    record = json.loads((two / "b" / "run.json").read_text())
    record["settings"] |= {"dataset": f"folder:{EVIL}", "models": [EVIL], EVIL: EVIL}
    disk.write_json(two / "b" / "run.json", record)
    shutil.move(two / "b", two / "b<script>")
    text = compare.compare("a", "b<script>")[0].read_text()
    assert "<script" not in text and "<img src=x" not in text and text.count("&lt;script&gt;hacked") >= 5


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("a", "c", "unknown run 'c'"),
        ("a", "a", "a and a are the same run"),
        ("a", "swept", "swept is a sweep; compare takes two runs"),
        ("cut", "a", "run.json is no JSON"),
        ("spoiled", "a", "is not a file of findings"),
        ("taken", "b", "results/taken-vs-b is there and is no comparison"),
    ],
)
def test_what_is_no_pair_of_runs_is_refused_and_nothing_is_written(two, a, b, message):
    write(two / "swept", [])
    (two / "swept" / "run.json").rename(two / "swept" / "sweep.json")
    for name in ("cut", "spoiled", "taken"):
        write(two / name, [])
    (two / "cut" / "run.json").write_text("{")
    (two / "spoiled" / "findings" / "04_saturate.json").write_text('[{"measure": 3}]')
    write(two / "taken-vs-b", [])
    before = sorted(two.rglob("*"))
    with pytest.raises(ValueError, match=message):
        compare.compare(a, b)
    assert sorted(two.rglob("*")) == before


def test_a_comparison_can_be_written_again(two):
    page, found = compare.compare("a", "b")
    before = page.read_bytes()
    assert compare.compare(str(two / "a"), "b") == (page, found) and page.read_bytes() == before


def test_a_damaged_figure_is_left_out_and_the_rest_is_shown(two):
    before = compare.compare("a", "b")[0].read_text()
    (two / "b" / "figures" / "04_x.png").write_bytes(b"no picture")
    after = compare.compare("a", "b")[0].read_text()
    assert before.count("data:image/png") == 2 and after.count("data:image/png") == 0
    assert "Only a has 04_mine, 04_x." in after and '<table class="compared">' in after


def test_of_a_claim_that_two_notebooks_measured_the_first_counts(two):
    disk.write_json(two / "b" / "findings" / "05_shuffle.json", [finding("turned", 0.9).row()])
    record = json.loads((two / "b" / "run.json").read_text())
    disk.write_json(two / "b" / "run.json", record | {"order": ["04_saturate", "05_shuffle"]})
    assert rows_of(compare.compare("a", "b")[1])["turned"]["b"]["difference"] == -0.2

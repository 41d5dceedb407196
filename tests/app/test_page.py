"""The page of a run in Chromium: sliders, tables, figures, widths, themes, print; nothing that a name holds is run.

Screenshots stay in ``results/page``, for a person to look at.
"""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from atviz import saliency
from atviz.app import sliders
from atviz.app.report import write_report
from atviz.evidence import Claim, Finding
from atviz.notebook import explore
from atviz.notebook.explore import State

KEPT = Path(__file__).parents[2] / "results" / "page"
EVIL = "</script><script>hacked = 1</script><img src=x onerror='hacked = 1'>"
STEP = 50  # milliseconds
# the pixels of a sprite as the page shows them: the part of its sheet that its background's place and size say
PIXELS = """async selector => {
  const element = document.querySelector(selector), style = getComputedStyle(element), image = new Image();
  image.src = style.backgroundImage.slice(5, -2);
  await image.decode();
  const [x, y] = style.backgroundPosition.split(' ').map(parseFloat), [w, h] = style.backgroundSize.split(' ').map(parseFloat);
  const canvas = document.createElement('canvas'), sx = image.width / w, sy = image.height / h;
  canvas.width = Math.round(element.clientWidth * sx); canvas.height = Math.round(element.clientHeight * sy);
  const context = canvas.getContext('2d');
  context.drawImage(image, Math.round(-x * sx), Math.round(-y * sy), canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
  const found = [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0);
  return [canvas.height, canvas.width, found];
}"""


@pytest.fixture(scope="module")
def written(slid):
    """The page of a run with sliders, findings, a notebook that failed, a figure and a table; with names that hold HTML."""
    folder, _ = slid
    names, name = ("normal", EVIL), "04_saturate"
    made = [Finding(Claim("saturate", 1024 + i, f"accuracy on correct, {'x' * i} {EVIL}", "higher", EVIL), 0.5, None, 0.6 + i / 9,
                    0.1 + i / 9, i / 9, 0.2 + i / 9, 1000, names, images=EVIL if i == 2 else "") for i in range(3)]  # fmt: skip
    for part in ("findings", "figures", "tables"):
        (folder / part).mkdir(exist_ok=True)
    (folder / "findings" / f"{name}.json").write_text(json.dumps([finding.row() for finding in made]))
    Image.new("RGB", (1280, 760), "white").save(folder / "figures" / f"{name}_2-figure-5.png")
    (folder / "tables" / f"{name}_{EVIL.replace('/', '')}.csv").write_text(f'class,value\n"{EVIL.replace(chr(34), "")}",10\nb,9\nc,100\n')
    run = json.loads((folder / "run.json").read_text())
    run |= {"order": [name], "notes": [EVIL], "stages": {"train": {"status": "done"}, name: {"status": "failed", "error": EVIL}}}
    run |= {"command": f"atviz run {EVIL}", "date": "2026-01-31 12:00 UTC", "commit": "abc", "seconds": 61}
    run["settings"] |= {"dataset": f"folder:{EVIL}", "models": [EVIL]}
    (folder / "run.json").write_text(json.dumps(run))
    data = json.loads((folder / "sliders" / "sliders.json").read_text())
    data["classes"]["0"], data["dataset"] = EVIL, EVIL
    (folder / "sliders" / "sliders.json").write_text(json.dumps(data))
    return write_report(folder)


@pytest.fixture
def page(browser, written):
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.problems = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on(
        "request", lambda request: opened.problems.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None
    )
    opened.goto(written.as_uri())
    yield opened
    assert opened.problems == []
    opened.close()


def test_names_that_hold_html_are_shown_as_text_and_nothing_runs(page):
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("[...document.images].every(image => !image.getAttribute('src') || image.src.startsWith('data:image/webp'))")
    assert page.evaluate("[...document.scripts].map(script => script.type)") == ["application/json", ""]
    assert page.inner_text("body").count("<script>hacked = 1</script>") >= 6
    assert EVIL in page.inner_text("#explorer .answers")


def test_every_slider_by_keyboard_shows_what_the_package_computes(page, slid):
    _, study = slid
    data = json.loads((slid[0] / "sliders" / "sliders.json").read_text())
    choices, seen = sliders.choices(study), set()
    page.locator("input[name=image]").nth(0).focus()
    page.keyboard.press("ArrowRight")  # another image
    number = data["images"][1]["number"]
    for slider in data["sliders"]:
        handle = page.locator(f"#slide-{slider['name']}")
        handle.focus()
        for key in ("End", "ArrowLeft", "Home"):
            page.keyboard.press(key)
            stop = slider["stops"][int(handle.input_value())]
            value = dict(choices[slider["name"]][1])[stop["label"]]
            eps = {"eps": value, "steps": study.scale.eval_steps} if slider["name"] == "eps" and value else {}
            levels = {} if slider["name"] == "eps" or value == "off" else {slider["name"]: value}
            state = replace(State(levels=levels, **eps), image=str(number))
            check(page, study, state, stop)
            seen.add(page.evaluate("document.querySelector('#explorer').dataset.drawn"))
            assert page.inner_text(f"#said-{slider['name']}") == stop["label"] and handle.get_attribute("aria-valuetext") == stop["words"]
    assert len(seen) > 2 * len(data["sliders"])
    page.get_by_role("button", name="Put all sliders back").click()
    assert page.evaluate("document.querySelector('#explorer').dataset.drawn") == "1 0"


def check(page, study, state, stop):
    view = explore.explore(study, state)
    maps = saliency.as_shown(view.maps, "map")
    near(page, "#distorted", view.shown)
    for i, (name, print_) in enumerate(explore.fingerprints(study).items()):
        near(page, f".given[data-model='{i}']", view.seen[name])
        near(page, f".map[data-model='{i}']", maps[name])
        assert stop["words"] in page.get_attribute(f".map[data-model='{i}']", "aria-label")
        place = f".network-answer[data-model='{i}']"
        bars = page.evaluate(f'[...document.querySelectorAll("{place} tr")].map(row => row.lastChild.textContent)')
        np.testing.assert_allclose([float(text.removesuffix(" %")) for text in bars], 100 * view.probability[name], atol=0.06)
        assert ("right" in page.inner_text(f"{place} .guess")) == (view.probability[name].argmax() == view.label)
        right, clean = (explore.recorded(study, given, {name: print_})[name] for given in (replace(state, image="0"), State()))
        share = page.inner_text(f"{place} .share")
        if right is None:
            assert "not measured" in share
        else:
            assert (
                share.startswith(f"{100 * (right & clean).sum() / clean.sum():.1f} % still right")
                and f"{100 * right.mean():.1f} % of all 60" in share
            )


def near(page, selector, tensor):
    height, width, found = page.evaluate(PIXELS, selector)
    assert np.abs(np.reshape(found, (height, width)) - 255 * tensor[0, 0].clamp(0, 1).numpy()).max() < 3, (
        selector,
        page.get_attribute("#explorer", "data-drawn"),
    )


def test_a_slider_moves_by_mouse_and_touch(browser, page, written):
    box = page.locator("#slide-saturate").bounding_box()
    page.locator("#slide-saturate").click(position={"x": box["width"] - 4, "y": box["height"] / 2})
    assert page.inner_text("#said-saturate") == "1024"
    context = browser.new_context(viewport={"width": 420, "height": 800}, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.goto(written.as_uri())
    slide = phone.locator("#slide-median_filter")
    slide.scroll_into_view_if_needed()
    slide.tap(position={"x": slide.bounding_box()["width"] - 4, "y": 10})
    assert phone.inner_text("#said-median_filter") == "5"
    assert phone.inner_text("#said-saturate") == "2 (original)"
    context.close()


def test_a_step_takes_less_than_fifty_milliseconds(page):
    steps = """() => { const range = document.querySelector('#slide-saturate'), took = [];
      for (let i = 0; i < 40; i++) { range.value = i % 9; const began = performance.now();
        range.dispatchEvent(new Event('input')); document.body.offsetHeight; took.push(performance.now() - began); }
      return took; }"""
    assert np.median(page.evaluate(steps)) < STEP


def test_a_screen_reader_is_told_where_a_slider_rests(page):
    page.locator("#slide-saturate").focus()
    page.keyboard.press("End")
    expect(page.locator("#live")).to_have_text(re.compile("^saturated to level 1024. normal: .* still right"))
    unnamed = """[...document.querySelectorAll('input, button, [role=img], table, dialog')].filter(
      e => !(e.labels?.length || e.ariaLabel || e.caption || e.textContent.trim())).map(e => e.outerHTML)"""
    assert page.evaluate(unnamed) == []


def test_tables_sort_and_download(page, tmp_path):
    firsts = "[...document.querySelectorAll('#findings-table tbody')].map(group => group.rows[0].cells[3].textContent)"
    assert page.evaluate(firsts) == ["60.0\u00a0%", "71.1\u00a0%"]
    for wanted in (["60.0\u00a0%", "71.1\u00a0%"], ["71.1\u00a0%", "60.0\u00a0%"]):
        page.locator("#findings-table thead button").nth(2).click()
        assert page.evaluate(firsts) == wanted
    with page.expect_download() as waiting:
        page.locator("button.download").first.click()
    waiting.value.save_as(tmp_path / "t.csv")
    head, *rows = list(csv.reader((tmp_path / "t.csv").read_text("utf-8-sig").splitlines()))
    assert len(rows) == 2 and {len(row) for row in rows} == {len(head)} and rows[0][head.index("Verdict")] == "agrees"
    page.locator("details.table summary").click()
    page.locator(".dataframe thead button").nth(1).click()
    assert page.evaluate("[...document.querySelectorAll('.dataframe tbody tr')].map(row => row.cells[1].textContent)") == ["9", "10", "100"]


def test_cautions_stand_behind_a_mark(page):
    mark = page.locator("#findings-table button.more").first
    details = page.locator(f"[id='{mark.get_attribute('aria-controls')}']")
    assert not details.is_visible()
    mark.press("Enter")
    assert details.is_visible() and mark.get_attribute("aria-expanded") == "true"


def test_figures_zoom_and_links_open_notebooks(page):
    page.locator("a.zoom").first.click()
    dialog = page.locator("#zoom")
    assert dialog.is_visible()
    page.get_by_role("button", name="Actual size").click()
    assert page.evaluate("document.querySelector('#zoom img').clientWidth") == 1280
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.evaluate("document.querySelector('details.notebook').open = false")
    page.locator("#contents a[href='#04_saturate']").click()
    expect(page.locator("details.notebook")).to_have_attribute("open", "")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800, 420, 320])
def test_nothing_is_cut_off_in_any_width_and_theme(page, width, dark):
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.set_viewport_size({"width": width, "height": 800})
    beyond = """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .choose, .live, svg') && e.getClientRects().length
      && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 99))"""
    assert page.evaluate(beyond) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("td.verdict .badge").first.is_visible() and page.locator("td.chart").first.is_visible() == (width >= 600)
    for selector in (".answer", ".tally"):  # the first screen
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] < 800
    light = [
        sum(map(int, re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{name}"))[:3]))
        for name in ("color", "backgroundColor")
    ]
    assert (light[0] > light[1]) == dark
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=KEPT / f"{width}-{'dark' if dark else 'light'}.png", full_page=True)


def test_print_opens_what_is_folded(page):
    page.evaluate("document.querySelector('details.notebook').open = false")
    page.evaluate(
        "window.during = 0; addEventListener('beforeprint', () => { during = document.querySelectorAll('details.notebook[open]').length; })"
    )
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.evaluate("during") == 1 and not page.evaluate("document.querySelector('details.notebook').open")

"""The sliders of the notebooks that are about them, and what a served page looks like, in a real browser."""

import re

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from atviz.app import pipeline, serve
from atviz.notebook import open_study
from atviz.notebook.explore import State

SETTINGS = {"profile": "zoo", "models": ["normal", "underfit", "pgd-inf-0.1"], "subject": "pgd-inf-0.1", "test_limit": 60}
TOKEN = "a-token-of-the-tests"
READY = "img.atviz-picture"
BOXES = (
    "selector => [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect()).map(r => [r.left, r.top, r.right, r.bottom])"
)
LEVELS = {  # of each notebook's slider, as its parameters have them
    "04_saturate": {"saturate": [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 1024.0]},
    "05_shuffle": {"patch_shuffle": [2, 4, 7]},
    "06_fourier": {"low_pass": [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0], "high_pass": [0.0, 1.0, 2.0, 3.0, 4.0, 6.0]},
}


def opening(name, home):
    """A notebook as it ships, with the tests' parameters, cut down to what its slider needs."""
    (shipped,) = pipeline.choose([name])
    notebook = load_notebook_node(str(shipped))
    needed = ("parameters", "open_study(", "panel.slider(")
    text = lambda cell: " ".join([*cell.metadata.tags, cell.source])
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and any(word in text(cell) for word in needed)]
    for cell in notebook.cells:
        cell.outputs = []
    path = home / "results" / "explore" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(parameterize_notebook(notebook, SETTINGS), path)
    return path


@pytest.fixture(scope="module")
def lab(home, serving):
    addresses = {name: opening(name, home) for name in LEVELS}
    first = serving(addresses["04_saturate"], page=False)
    return {name: first.replace("04_saturate", name) for name in LEVELS}


@pytest.mark.parametrize("name", LEVELS)
def test_a_notebooks_sliders_by_keyboard_show_what_the_package_computes(name, browser, lab, driven, home):
    study, _ = open_study(name, SETTINGS)
    page = driven(browser.new_page(viewport={"width": 1280, "height": 1000}), study)
    page.run_all(lab[name])
    page.wait_for_selector(READY)
    state = page.settle()
    assert len(state.models) == 3 and [field for field, _ in state.levels] == [next(iter(LEVELS[name]))]
    page.check(state)
    right = study.outcomes(LEVELS[name]).distorted
    for field in LEVELS[name]:
        for key in ("ArrowLeft", "ArrowLeft") if field == next(iter(LEVELS[name])) else ("ArrowRight", "ArrowRight"):
            before = page.state()
            page.press(field, key)
            page.wait_for_function("before => document.querySelector('[data-state]').dataset.state !== before", arg=before)
            state = page.settle()
            if state.level(field) is not None:
                page.check(state)
            if len(state.levels) == 1:
                (moved, level), said = state.levels[0], page.locator(".atviz-cards").inner_text()
                for model in study.models:
                    assert f"{100 * right[model, moved, level].mean():.1f} % of 60 test images" in said
    tall = [bottom - top for _, top, _, bottom in page.evaluate(BOXES, ".widget-box:has(> .widget-slider)")]
    assert tall[0] < 100  # the sliders stand right above the pictures
    page.shot(f"slider-{name}", ".atviz-thumb")
    assert page.locator("text=Traceback").count() == 0
    page.close()


@pytest.fixture(scope="module")
def voila(home, serving):
    return serving(serve.prepare({**SETTINGS, "levels": [2.0, 1024.0]}), page=True)


LINK = "image=5&models=normal,pgd-inf-0.1&saturate=8"


@pytest.fixture(scope="module")
def night(browser, voila, driven, home):
    """The served page of a reader whose system is dark."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme="dark")
    page = driven(context.new_page(), open_study("11_explore", SETTINGS)[0])
    page.goto(f"{voila}?token={TOKEN}&{LINK}")
    page.wait_for_selector(READY)
    yield page
    context.close()


def test_a_served_page_is_dark_where_the_system_is_and_talks_of_no_terminal(night):
    shade = lambda selector, what: [
        int(v) for v in re.findall(r"\d+", night.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{what}"))
    ][:3]
    assert max(shade("body", "backgroundColor")) < 60
    for selector in (".jp-RenderedMarkdown p", ".atviz-bar", ".widget-label", ".atviz-saturate .widget-readout", ".atviz-state input"):
        assert min(shade(selector, "color")) > 150, selector
    text = night.locator("body").inner_text()
    assert "Look for" in text
    assert "terminal" not in text and "atviz train" not in text and "atviz explore" not in text
    night.shot("voila-dark")


@pytest.mark.parametrize("width", [1280, 800, 420])
def test_pictures_fit_the_room_and_stand_beside_the_sliders(night, width):
    night.set_viewport_size({"width": width, "height": 900})
    night.locator(".atviz-sides").scroll_into_view_if_needed()
    night.shot(f"voila-{width}", ".atviz-name")
    pictures, sliders, (card,) = (night.evaluate(BOXES, s) for s in (READY, ".atviz-sides .widget-slider", ".atviz-cards"))
    assert len(pictures) == 6
    sides = [right - left for left, _, right, _ in pictures]
    assert max(sides) - min(sides) < 1
    assert sides[0] == pytest.approx(224) if width == 1280 else 90 <= sides[0] <= 224
    assert max(right for _, _, right, _ in [*pictures, *sliders]) <= width  # nothing is cut off
    if width >= 800:
        top, bottom = min(box[1] for box in [*pictures, *sliders]), max(box[3] for box in [*pictures, *sliders])
        assert bottom - top < 900  # all in sight at once
        assert max(right for _, _, right, _ in sliders) <= card[0]
    cut = """() => { const percent = document.querySelector('.atviz-bar > span:last-child'); percent.textContent = '100 %';
        return percent.scrollWidth - percent.clientWidth; }"""
    assert night.evaluate(cut) <= 0
    assert "what it sees" in night.locator(".atviz-cards").inner_text() and "where it looks" in night.locator(".atviz-cards").inner_text()


def test_measure_now_says_how_far_it_is(night):
    night.press("gaussian_blur", "ArrowRight")
    night.settle(saturate="8")
    night.wait_for_selector("text=not measured here")
    night.get_by_role("button", name="measure now").click()
    night.wait_for_function("!document.querySelector('.atviz-cards').innerText.includes('not measured here')")
    assert State.of(night.state()).level("gaussian_blur") > 0
    assert "of 60 test images correct at this setting" in night.locator(".atviz-cards").inner_text()

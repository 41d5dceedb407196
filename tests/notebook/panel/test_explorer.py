"""The explore panel without a browser: what it says, refuses and leaves behind."""

import asyncio
import base64
import io
from dataclasses import replace
from datetime import UTC, datetime
from threading import Thread, get_ident

import nbformat
import pytest
from nbconvert import HTMLExporter
from PIL import Image

from atviz import saliency
from atviz.app import execution
from atviz.notebook import explore, figures, panel
from atviz.notebook.explore import State, active
from atviz.notebook.panel import saving
from atviz.notebook.panel.parts import png
from atviz.notebook.panel.sliders import OFF

MODELS = ("normal", "underfit", "pgd-inf-0.1")


def test_a_moved_slider_is_drawn_by_explore(explorer, study):
    explorer.sliders["saturate"].value = 64.0
    explorer.sliders["low_pass"].value = 6.0
    assert explorer.state == State(models=MODELS, levels={"saturate": 64.0, "low_pass": 6.0})
    view = explore.explore(study, explorer.state)
    assert explorer.cards.image.value == png(view.image)
    assert explorer.cards.shown.value == png(view.shown)
    heats = saliency.as_shown(view.maps, "map")
    for name, (seen, heat, bars, _) in explorer.cards.columns.items():
        assert seen.value == png(view.seen[name])
        assert heat.value == png(heats[name])
        assert bars.value.count("atviz-bar") == 10
        assert bars.value.count("atviz-bar true") == 1
    explorer.sliders["low_pass"].value = OFF
    assert explorer.state == State(models=MODELS, levels={"saturate": 64.0})


def test_every_slider_changes_the_state_and_reset_takes_it_back(explorer):
    for name, slider in explorer.sliders.items():
        if name != "steps":
            slider.value = slider.options[-1][1]
    assert len(explorer.state.levels) == len(explore.rows()) and explorer.state.eps > 0
    explorer._reset.click()
    assert explorer.state == State(models=MODELS)
    assert explorer.sliders["patch_shuffle"].value == 1


def test_the_style_is_chosen_or_drawn(explorer, study):
    explorer.chosen["style"].value = "3"
    assert explorer.state == State(models=MODELS, style="3")  # it shows as soon as the style has a share
    explorer.sliders["stylize"].value = 1.0
    painted = explorer.cards.shown.value
    assert painted == png(explore.explore(study, State(levels={"stylize": 1}, style="3")).shown)
    explorer.chosen["style"].value = "4"
    assert explorer.cards.shown.value != painted


def test_random_distortions_are_drawn_anew(explorer):
    explorer.sliders["patch_shuffle"].value = 4.0
    before = explorer.cards.shown.value
    explorer._redraw.click()
    assert (explorer.state.redraw, explorer.cards.shown.value == before) == (1, False)


def test_the_scale_can_be_shared(explorer, study):
    explorer.chosen["scale"].value = "shared"
    view = explore.explore(study, explorer.state)
    assert explorer.cards.columns["normal"][1].value == png(saliency.as_shown(view.maps, "shared")["normal"])


def test_the_same_network_twice_is_refused_and_taken_back(explorer):
    explorer._models[1].value = "normal"
    assert "at most three different ones" in explorer._notice.value
    assert explorer._models[1].value == "underfit"
    assert explorer.state.models == MODELS
    explorer._models[2].value = "–"
    assert explorer.state.models == ("normal", "underfit")
    assert list(explorer.cards.columns) == ["normal", "underfit"]


def test_a_state_between_two_stops_gets_one(explorer):
    explorer._text.value = "saturate=3.0&low_pass=5.0"
    assert explorer.sliders["saturate"].value == 3.0
    values = [value for _, value in explorer.sliders["saturate"].options]
    assert values == sorted(values)
    low = [value for _, value in explorer.sliders["low_pass"].options]
    assert low == [OFF, *sorted(low[1:], reverse=True)]
    assert 5.0 in low
    explorer._text.value = "saturate=lots"
    assert "Saturate is &#x27;lots&#x27;" in explorer._notice.value
    assert explorer.state.level("saturate") == 3.0
    explorer._text.value = "patch_shuffle=5"
    assert "k can be 1, 2, 4, 7, 14, 28" in explorer._notice.value
    assert explorer.state.level("saturate") == 3.0


def test_shares_come_from_the_records_or_name_the_nearest(explorer, study):
    explorer.sliders["gaussian_blur"].value = 1.0
    assert all("not measured here" in share.value for *_, share in explorer.cards.columns.values())
    assert explorer._measure.layout.visibility == "visible"
    explore.measure(study, explorer.state)
    right = explore.recorded(study, explorer.state, {"normal": explorer.prints["normal"]})["normal"]
    explorer.sliders["gaussian_blur"].value = 1.5
    assert f"{100 * right.mean():.1f} % at 1" in explorer.cards.columns["normal"][3].value
    explorer.sliders["gaussian_blur"].value = 1.0
    assert f"<b>{100 * right.mean():.1f} %</b> of 60 test images" in explorer.cards.columns["normal"][3].value
    assert explorer._measure.layout.visibility == "hidden"


def test_a_filter_that_leaves_the_range_is_told(explorer, study):
    assert "lie outside" not in explorer._status.value
    explorer.sliders["high_pass"].value = 2.0
    share = explore.explore(study, explorer.state).outside
    assert f"{100 * share:.0f} % of the distorted image&#x27;s pixels lie outside [0, 1]" in explorer._status.value


def test_a_link_sets_the_state_and_a_wrong_one_is_told(at_once, study, page, monkeypatch):
    monkeypatch.setenv("QUERY_STRING", "token=x&saturate=8.0&image=3")
    assert panel.show(study, page).state == State(image="3", levels={"saturate": 8.0})
    monkeypatch.setenv("QUERY_STRING", "image=60")
    explorer = panel.show(study, page, State(levels={"median_filter": 1}))
    assert explorer.state == State(levels={"median_filter": 1})
    assert "test images 0 to 59" in explorer._notice.value
    monkeypatch.delenv("QUERY_STRING")
    with pytest.raises(ValueError, match="test images 0 to 59"):
        panel.show(study, page, State(image="60"))


def test_thumbnails_choose_an_image_and_others_are_shown(explorer):
    thumbs = [button for button in explorer._thumbs.children if "atviz-thumb" in getattr(button, "_dom_classes", ())]
    assert len(thumbs) == 12
    thumbs[3].click()
    assert f"test image {explorer.state.image}:" in thumbs[3].tooltip
    assert explorer._number.value == int(explorer.state.image)
    tooltips = [button.tooltip for button in thumbs]
    explorer._thumbs.others.click()
    again = [b.tooltip for b in explorer._thumbs.children if "atviz-thumb" in getattr(b, "_dom_classes", ())]
    assert len(again) == 12 and again != tooltips
    explorer._number.value = 5
    assert explorer.state.image == "5"


def file(mode, size, color, kind="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, kind)
    return buffer.getvalue()


def upload(explorer, content):
    chosen = {
        "name": "mine.png",
        "type": "image/png",
        "size": len(content),
        "content": memoryview(content),
        "last_modified": datetime.now(UTC),
    }
    explorer._upload.value = (chosen,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"words", "is not an image"),
        (b"", "is empty"),
        (file("L", (9000, 9000), 0), "at most 50 million"),
        (file("L", (9, 9), 0) + bytes(9 * 2**20), "at most 8"),
        (file("RGB", (90, 90), 0)[:60], "cannot be used"),
    ],
    ids=["words", "empty", "many pixels", "many bytes", "incomplete"],
)
def test_a_bad_upload_is_a_sentence(explorer, content, said):
    before = explorer.state
    upload(explorer, content)
    assert "(mine.png)" in explorer._notice.value
    assert said in explorer._notice.value
    assert explorer.state == before
    assert explorer._upload.value == ()


@pytest.mark.parametrize(
    "content",
    [file("L", (28, 28), 90), file("RGBA", (60, 50), (9, 99, 200, 40)), file("RGB", (300, 20), (5, 60, 7), "JPEG")],
    ids=["gray", "transparent", "jpeg"],
)
def test_a_good_upload_is_shown_and_said(explorer, content):
    upload(explorer, content)
    assert explorer.state.image.startswith("upload-")
    assert "no true class" in explorer._notice.value
    assert "atviz-bar true" not in explorer.cards.columns["normal"][2].value
    explorer._number.value = 5
    assert explorer.state.image == "5"


@pytest.mark.parametrize("views", [True, False], ids=["as a kernel left it", "as atviz writes it"])
def test_without_a_kernel_a_picture_stands_there(explorer, views):
    bundle = explorer._repr_mimebundle_()
    assert execution.VIEW in bundle
    output = nbformat.v4.new_output("display_data", data=bundle)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show", outputs=[output])])
    if not views:
        execution.without_views(notebook)
        assert execution.VIEW not in output["data"]
    html, _ = HTMLExporter().from_notebook_node(notebook)
    assert bundle["image/png"][:60] in html
    assert explorer.model_id not in html
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.width > 500


def test_measuring_that_fails_is_told(explorer, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(explore, "measure", fail)
    asyncio.run(explorer._measure_all(explorer.state))
    assert "Nothing was measured: no space left on device" in explorer._notice.value
    assert explorer._measure.description == "measure now" and not explorer._measure.disabled


def test_measuring_says_how_much_of_it_is_done(explorer):
    said = []
    explorer._measure.observe(lambda change: said.append(change["new"]), "description")
    asyncio.run(explorer._measure_all(State(eps=0.03, steps=1)))
    assert said[-2:] == ["measuring 100 %", "measure now"] and len(said) > 3


def test_a_slider_moved_in_another_thread_while_a_picture_is_put_in_its_place_counts(explorer):
    """As a kernel does it whose subshell gets the second press of a key while the main thread draws the first."""

    def press(_):
        other.start()
        other.join(0.3)  # if it waits, the picture is drawn first

    other = Thread(target=lambda: setattr(explorer.sliders["patch_shuffle"], "value", 4.0))
    explorer._text.observe(press, "value")
    explorer.sliders["patch_shuffle"].value = 2.0
    explorer._text.unobserve(press, "value")
    other.join()
    assert explorer.state.level("patch_shuffle") == 4.0
    assert explorer.cards.shown.value == png(explore.explore(explorer.study, explorer.state).shown)


def test_moves_told_in_many_threads_are_all_drawn_by_the_loop_of_the_panel(at_once, study, page):
    async def moved():
        found = panel.show(study, page, State())
        drawn_in = []
        draw = found._draw
        found._draw = lambda *given: (drawn_in.append(get_ident()), draw(*given))
        for level in (4.0, 8.0, 16.0, 64.0):
            await asyncio.to_thread(setattr, found.sliders["saturate"], "value", level)
        while found._task is None or not found._task.done():
            await asyncio.sleep(0.01)
        return found, drawn_in

    found, drawn_in = asyncio.run(moved())
    assert set(drawn_in) == {get_ident()}
    assert "saturate=64'" in found._status.value
    assert found.cards.shown.value == png(explore.explore(study, State(levels={"saturate": 64})).shown)


def test_a_notebooks_slider_shows_its_levels_and_measures_their_shares(at_once, study, page):
    found = panel.slider(study, page, {"low_pass": [2.0, 4.0, 8.0], "high_pass": [0.0, 1.0]})
    assert list(found.sliders) == ["low_pass", "high_pass"]
    assert found.state.levels == (("low_pass", 4.0),) and found.state.models == ("normal", "pgd-inf-0.1", "underfit")
    right = study.outcomes({"low_pass": [2.0, 4.0, 8.0], "high_pass": [0.0, 1.0]}).distorted
    for levels in ({"low_pass": 2.0}, {"low_pass": 8.0}, {"low_pass": OFF, "high_pass": 1.0}):
        for name, level in levels.items():
            found.sliders[name].value = level
        view = explore.explore(study, found.state)
        assert found.cards.shown.value == png(view.shown)
        name, level = active(found.state)[0]
        for model, (*_, bars, share) in found.cards.columns.items():
            assert f"<b>{100 * right[model, name, level].mean():.1f} %</b> of 60 test images" in share.value
            assert f"{100 * view.probability[model][view.label]:.2f} %" in bars.value
    shown = [widget for widget in found._controls.children if widget in found.sliders.values()]
    assert shown == list(found._controls.children)  # no others
    with Image.open(io.BytesIO(base64.b64decode(found._repr_mimebundle_()["image/png"]))) as picture:
        assert picture.width > 500
    with pytest.raises(ValueError, match="k can be 1, 2, 4, 7, 14, 28"):
        panel.slider(study, page, {"patch_shuffle": [5]})


def test_one_network_keeps_its_color_everywhere(explorer, study, page):
    names = list(study.networks)
    explorer._go(replace(explorer.state, models=tuple(names[:2])))
    for name in names[:2]:
        assert figures.look(name)["color"] in explorer.cards.columns[name][2].value
    study.outcomes({"saturate": [2.0]})
    compared = panel.compare(study, page, {"saturate": [2.0]})
    assert all(figures.look(name)["color"] in compared._table.value for name in names)


def test_saving_leaves_files_and_the_row(explorer, tmp_path):
    explorer.sliders["saturate"].value = 16.0
    explorer._save.click()
    folder = tmp_path / "results" / "explore"
    name = f"explore-{saving.file_name(explorer.state)}"
    assert (folder / f"{name}.svg").read_bytes().startswith(b"<?xml")
    with Image.open(folder / f"{name}.png") as picture:
        assert "saturated to level 16" in picture.info["Description"]
    assert State.of(explorer.state.query) == explorer.state
    assert "saturate" in (folder / f"{name}.csv").read_text().splitlines()[0]
    assert "also in results/explore" in explorer._files.value


def test_a_figure_that_cannot_be_kept_is_still_offered(explorer, tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    explorer._saved()
    assert "not in results/explore" in explorer._files.value
    assert "data:image/svg+xml;base64," in explorer._files.value


def test_one_network_alone_is_explored(study, page):
    alone = study.only(["normal"])
    found = panel.show(alone, page, State())
    assert list(found.cards.columns) == ["normal"] and len(found._models) == 1
    assert found._read().models == ("normal",)

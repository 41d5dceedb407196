"""The panels without a browser: what they say, refuse and leave behind."""

import asyncio
import base64
import io
import os
from dataclasses import replace
from datetime import UTC, datetime

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from PIL import Image

from atviz import explore, pipeline, plots, widgets
from atviz.explore import State
from atviz.notebook import open_study

MODELS = ("normal", "underfit", "pgd-inf-0.1")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    before = os.environ["ATVIZ_HOME"]
    os.environ["ATVIZ_HOME"] = str(tmp_path_factory.mktemp("widgets"))
    yield open_study("11_explore", {"profile": "zoo", "test_limit": 60, "models": list(MODELS)})
    os.environ["ATVIZ_HOME"] = before


@pytest.fixture
def panel(study, monkeypatch):
    """A panel that draws at once: there is no event loop here."""
    monkeypatch.delenv("QUERY_STRING", raising=False)
    monkeypatch.setattr(widgets.Explorer, "_ask", lambda self: self._draw(explore.explore(self.study, self.state), 0.0))
    return widgets.show(study, State(models=MODELS))


def test_sliders_have_the_stops_that_fit_the_images(study):
    stops = {name: [value for _, value in pairs] for name, (_, pairs) in widgets.choices(study).items()}
    assert stops["patches"] == [1, 2, 4, 7, 14, 28]
    assert (stops["saturation"][0], stops["saturation"][-1]) == (0.25, 1024)
    assert len(set(np.diff(np.log2(stops["saturation"])).round(9))) == 1  # logarithmic
    assert {0.25, 0.5, 1, 2, 4, 8, 16, 64, 1024} <= set(stops["saturation"])
    assert dict(widgets.choices(study)["saturation"][1])["2 (original)"] == 2
    for name, values in stops.items():
        default = getattr(State(), name)
        assert (widgets.OFF if default is None else default) in values, name


def test_a_moved_slider_is_drawn_by_explore(panel, study):
    panel.fields["saturation"].value = 64.0
    panel.fields["low"].value = 6.0
    assert panel.state == State(models=MODELS, saturation=64.0, low=6.0)
    view = explore.explore(study, panel.state)
    assert panel._pictures["shown"].value == widgets.png(view.shown)
    heats = plots.as_shown(view.maps, "map")
    for name, (seen, heat, bars, _) in panel._cards.items():
        assert seen.value == widgets.png(view.seen[name])
        assert heat.value == widgets.png(heats[name])
        assert bars.value.count("atviz-bar") == 10
        assert bars.value.count("atviz-bar true") == 1
    panel.fields["low"].value = widgets.OFF
    assert panel.state.low is None


def test_the_scale_can_be_shared(panel, study):
    panel.fields["scale"].value = "shared"
    view = explore.explore(study, panel.state)
    assert panel._cards["normal"][1].value == widgets.png(plots.as_shown(view.maps, "shared")["normal"])


def test_the_same_network_twice_is_refused_and_taken_back(panel):
    panel._models[1].value = "normal"
    assert "two or three different ones" in panel._notice.value
    assert panel._models[1].value == "underfit"
    assert panel.state.models == MODELS
    panel._models[2].value = "–"
    assert panel.state.models == ("normal", "underfit")
    assert list(panel._cards) == ["normal", "underfit"]


def test_a_state_between_two_stops_gets_one(panel):
    panel._text.value = "saturation=3.0&low=5.0"
    assert panel.fields["saturation"].value == 3.0
    values = [value for _, value in panel.fields["saturation"].options]
    assert values == sorted(values)
    low = [value for _, value in panel.fields["low"].options]
    assert low == [widgets.OFF, *sorted(low[1:], reverse=True)]
    panel._text.value = "saturation=lots"
    assert "Saturation is &#x27;lots&#x27;" in panel._notice.value
    assert panel.state.saturation == 3.0


def test_shares_come_from_the_records_or_name_the_nearest(panel, study):
    panel.fields["blur"].value = 1.0
    assert all("not measured here" in share.value for *_, share in panel._cards.values())
    explore.measure(study, panel.state)
    right = explore.recorded(study, panel.state, {"normal": panel.prints["normal"]})["normal"]
    panel.fields["blur"].value = 1.5
    assert f"{100 * right.mean():.1f} % at 1" in panel._cards["normal"][3].value
    panel.fields["blur"].value = 1.0
    assert f"<b>{100 * right.mean():.1f} %</b> of 60 test images" in panel._cards["normal"][3].value
    assert panel._measure.layout.visibility == "hidden"


def test_a_link_sets_the_state_and_a_wrong_one_is_told(study, monkeypatch):
    monkeypatch.setenv("QUERY_STRING", "token=x&saturation=8.0&image=3")
    assert widgets.show(study).state == State(image="3", saturation=8.0)
    monkeypatch.setenv("QUERY_STRING", "image=60")
    panel = widgets.show(study, State(median=1))
    assert panel.state == State(median=1)
    assert "test images 0 to 59" in panel._notice.value
    assert widgets.link(State()) == ""  # no page is served
    monkeypatch.setenv("ATVIZ_PAGE", "/voila/render/11_explore.ipynb")
    assert widgets.link(State(median=1)) == "/voila/render/11_explore.ipynb?median=1"
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://127.0.0.1/")
    for state in (State(image="4"), State()):
        address = widgets.link(state)
        assert explore.says_a_state(address.lstrip("?"))
        assert State.of(address) == state


def file(mode, size, color, kind="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"words", "is not an image"),
        (b"", "is empty"),
        (file("L", (9000, 9000), 0), "at most 50 million"),
        (file("L", (9, 9), 0) + bytes(9 * 2**20), "at most 8"),
        (file("RGB", (90, 90), 0)[:60], "cannot be used"),
    ],
    ids=["words", "empty", "many pixels", "many bytes", "cut off"],
)
def test_a_bad_upload_is_a_sentence(panel, content, said):
    before = panel.state
    panel._upload.value = (
        {"name": "mine.png", "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": datetime.now(UTC)},
    )
    assert "(mine.png)" in panel._notice.value
    assert said in panel._notice.value
    assert panel.state == before
    assert panel._upload.value == ()


@pytest.mark.parametrize(
    "content",
    [file("L", (28, 28), 90), file("RGBA", (60, 50), (9, 99, 200, 40)), file("RGB", (300, 20), (5, 60, 7), "JPEG")],
    ids=["gray", "transparent", "jpeg"],
)
def test_a_good_upload_is_shown_and_said(panel, content):
    panel._upload.value = (
        {"name": "mine.png", "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": datetime.now(UTC)},
    )
    assert panel.state.image.startswith("upload-")
    assert "no true class" in panel._notice.value
    assert "atviz-bar true" not in panel._cards["normal"][2].value
    panel._number.value = 5
    assert panel.state.image == "5"


def test_saving_leaves_files_and_the_row(panel, study):
    panel.fields["saturation"].value = 16.0
    panel._saved()
    folder = explore.home() / "results" / "explore"
    name = f"explore-{widgets.file_name(panel.state)}"
    assert (folder / f"{name}.svg").read_bytes().startswith(b"<?xml")
    with Image.open(folder / f"{name}.png") as picture:
        assert "saturated to level 16" in picture.info["Description"]
    assert State.of(panel.state.query) == panel.state
    assert "saturation" in (folder / f"{name}.csv").read_text().splitlines()[0]


def test_a_figure_that_cannot_be_kept_is_still_offered(panel, monkeypatch, tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    monkeypatch.setattr(widgets, "home", lambda: tmp_path)
    panel._saved()
    assert "not in results/explore" in panel._files.value
    assert "data:image/svg+xml;base64," in panel._files.value


@pytest.mark.parametrize("views", [True, False], ids=["as a kernel left it", "as atviz writes it"])
def test_without_a_kernel_a_picture_stands_there(panel, views):
    bundle = panel._repr_mimebundle_()
    assert pipeline.VIEW in bundle
    output = nbformat.v4.new_output("display_data", data=bundle)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show", outputs=[output])])
    if not views:
        pipeline.without_views(notebook)
        assert pipeline.VIEW not in output["data"]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert bundle["image/png"][:60] in page
    assert panel.model_id not in page
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.width > 500


def test_comparison_marks_sorts_and_reads(study):
    levels = {"saturate": [2.0, 1024.0], "patch_shuffle": [2]}
    study.outcomes({"saturate": levels["saturate"]})
    computed = study.store.computed
    panel = widgets.compare(study, levels)
    assert study.store.computed == computed
    right = study.outcomes({"saturate": [1024.0]})
    table = panel.table().set_index("network")
    for name in MODELS:
        assert table.loc[name, "at level"] == right.distorted[name, "saturate", 1024.0].mean()
        assert table.loc[name, "clean"] == study.cards[name]["metrics"]["clean"]
    for column in widgets.COLUMNS:
        panel._sort(column)
        once = panel.table()[column].tolist()
        panel._sort(column)
        assert panel.table()[column].tolist() == once[::-1]
        assert once in (sorted(once), sorted(once, reverse=True))
    before = panel._plot.value
    panel._level.value = 2.0
    assert panel._plot.value != before
    assert panel._plot.value.count("atviz-mark") == 1
    panel._which.value = "patch_shuffle"  # of which nothing was measured
    assert "No network was measured" in panel._plot.value
    assert panel.table().empty
    with Image.open(io.BytesIO(base64.b64decode(panel._repr_mimebundle_()["image/png"]))) as picture:
        assert picture.width > 500


def test_measuring_that_fails_is_told(panel, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(explore, "measure", fail)
    asyncio.run(panel._measure_all(panel.state))
    assert "Nothing was measured: no space left on device" in panel._notice.value
    assert panel._measure.description == "measure now" and not panel._measure.disabled


def test_one_network_keeps_its_color_everywhere(panel, study):
    names = list(study.settings.models)
    panel._go(replace(panel.state, models=tuple(names[:2])))
    for name in names[:2]:
        assert plots.look(name)["color"] in panel._cards[name][2].value
    study.outcomes({"saturate": [2.0]})
    assert all(plots.look(name)["color"] in widgets.compare(study, {"saturate": [2.0]})._table.value for name in names)

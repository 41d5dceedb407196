"""The data of the page's sliders."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torch import nn

from atviz import disk, saliency
from atviz.app import slider_page, sliders
from atviz.app.report import write_report
from atviz.evidence import Study
from atviz.models import Network, Networks
from atviz.notebook import explore
from atviz.notebook.explore import State


@pytest.fixture(scope="module")
def data(slid):
    return disk.read_json(slid[0] / "sliders" / "sliders.json", sliders.SCHEMA, "a file of sliders")


def state_of(name, value, study):
    if name == "eps":
        return State(eps=value, steps=study.scale.eval_steps if value else 20)
    return State(levels={} if value == "off" else {name: value})


def test_every_distortion_of_the_page_has_a_slider_that_can_leave_the_image_as_it_is(data):
    assert [slider["name"] for slider in data["sliders"]] == list(sliders.TITLES)
    for slider in data["sliders"]:
        assert 4 <= len(slider["stops"]) <= sliders.STOPS
        assert slider["stops"][slider["start"]]["column"] == 0
        assert len({stop["label"] for stop in slider["stops"]}) == len(slider["stops"])
    assert len(data["images"]) == len({image["label"] for image in data["images"]}) == 3


def test_shares_are_those_of_the_records_and_nothing_was_measured(slid, data):
    study = slid[1]
    found = {(s["name"], stop["label"]): data["shares"][stop["column"]] for s in data["sliders"] for stop in s["stops"]}
    assert found["saturate", "16"] == found["eps", "0.05"] == [None, None]
    outcomes = study.outcomes({"saturate": [64.0, 0.25]})
    for i, name in enumerate(data["models"]):
        clean = outcomes.clean[name["name"]]
        for label in ("64", "0.25"):
            right = outcomes.distorted[name["name"], "saturate", float(label)]
            assert found["saturate", label][i] == {"right": right.sum(), "clean": clean.sum(), "both": (clean & right).sum()}
        assert found["eps", "off"][i]["right"] == found["eps", "off"][i]["both"] == clean.sum()
        assert found["eps", "0.1"][i]["right"] == round(60 * study.robustness()[name["name"]]["robust"])


def test_pictures_and_probabilities_are_those_of_the_live_panel(slid, data):
    folder, study = slid
    sheets = {path.stem: np.array(Image.open(path).convert("L")).astype(int) for path in (folder / "sliders").glob("*.webp")}
    assert data["quality"] is None and data["size"] == [28, 28]
    choices = sliders.choices(study)
    for slider in data["sliders"]:
        value = dict(choices[slider["name"]][1])
        for stop in slider["stops"][::3]:
            state = replace(state_of(slider["name"], value[stop["label"]], study), image=str(data["images"][1]["number"]))
            view, column = explore.explore(study, state), stop["column"]

            def cell(name, column):
                return sheets[name][28:56, 28 * column : 28 * column + 28]

            def near(found, tensor):
                assert np.abs(found - 255 * tensor[0, 0].clamp(0, 1).numpy()).max() < 3

            near(cell("shown", column), view.shown)
            maps = saliency.as_shown(view.maps, "map")
            for i, name in enumerate(study.models):
                near(cell(f"map-{i}", column), maps[name])
                if state.eps:
                    near(cell(f"seen-{i}", column - data["attacked_from"]), view.seen[name])
                said = data["views"][1][column]
                np.testing.assert_allclose(said["p"][i], 100 * view.probability[name][said["classes"]], atol=0.02)
                assert said["top"][i] == view.probability[name].argmax()


class Deaf(nn.Module):
    """A network whose answer has no gradient."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x).detach()


def test_a_network_that_cannot_be_attacked_has_no_slider_for_it(slid):
    study = slid[1]
    deaf = [Network(name, Deaf(module), list(study.images.classes), None) for name, module in study.models.items()]
    broken = Study(Networks.of(deaf, baseline="normal", subject="pgd-inf-0.1"), study.images, material=study.material)
    assert sliders.attackable(study, State(image="0")) and not sliders.attackable(broken, State(image="0"))


def test_the_main_networks_are_at_most_three_with_baseline_subject_and_underfit(slid):
    network = slid[1].networks.baseline
    for names, kept in [("abcd", "abd"), ("a", "a"), (["x", "y", "z", "underfit", "s"], ["x", "underfit", "s"])]:
        study = Study(
            Networks.of([replace(network, name=n) for n in names], baseline=names[0], subject=names[-1] if names[1:] else None),
            slid[1].images,
        )
        assert sliders.main(study) == tuple(kept)


def test_large_images_have_fewer_stops(slid):
    shape = (3, 224, 224)
    study = replace(slid[1], images=type("Large", (), {"shape": shape, "name": "x", "channel_stats": slid[1].images.channel_stats})())
    for name in sliders.TITLES:
        found = sliders.stops(study, name)
        assert 4 <= len(found) <= sliders.FEW, name
        unchanged = {"off", 0.0 if name == "eps" else sliders.find(name).original}
        assert any(value in unchanged for _, value in found), name


def test_json_cannot_close_its_script():
    texts = ["</script>", "<!--<script>", "a & b", "\u2028", "é"]
    made = str(slider_page.script(texts))
    assert not set(made) & set("<>&\u2028")
    assert json.loads(made) == texts


def test_a_damaged_file_is_named_and_missing_sheets_leave_the_sliders_out(slid, tmp_path):
    folder = tmp_path / "r"
    (folder / "sliders").mkdir(parents=True)
    for name in ("run.json", "sliders/sliders.json"):
        (folder / name).write_bytes((slid[0] / name).read_bytes())
    assert slider_page.slider_values(folder) is None
    assert "This run has no data for the sliders" in write_report(folder).read_text()
    data = json.loads((slid[0] / "sliders" / "sliders.json").read_text())
    for name, change in {
        "shares": {"shares": []},
        "views": {"images": data["images"][:1]},
        "classes": {"classes": {}},
        "stops": {"columns": 1},
    }.items():
        (folder / "sliders" / "sliders.json").write_text(json.dumps(data | change))
        with pytest.raises(
            ValueError, match=rf"sliders\.json is not a file of sliders: its {'shares' if name == 'stops' else name} do not fit"
        ):
            write_report(folder)
    (folder / "sliders" / "sliders.json").write_text("[]")
    with pytest.raises(ValueError, match=r"sliders\.json is not a file of sliders"):
        write_report(folder)

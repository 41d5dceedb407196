"""Instruments of drawn images: each is the number of its measure, and tells networks of known cues apart."""

import numpy as np
import pytest
import torch

from atviz.data import shapetex
from atviz.data.world import WORLDS
from atviz.evidence import channel, controls, crossed, drawn, reliability
from atviz.evidence.crossed import Cell
from atviz.evidence.frequencies import frequency_conflict
from atviz.evidence.grounds import replaced_grounds
from atviz.evidence.stable import output_stability

WORLD = "bold-coarse-shape"


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATVIZ_HOME", str(tmp_path_factory.mktemp("home")))
        return {cue: crossed.network(Cell(WORLD, cue), train=2000, epochs=4)[0] for cue in ("shape", "texture")}


@pytest.fixture(scope="module")
def images():
    return shapetex(200, seed=1, world=WORLDS[WORLD])


@pytest.mark.parametrize("name", ["low_frequencies", "grounds", "alignment"])
def test_shape_and_texture_alone_are_ordered_as_expected(name, networks, images):
    (row,) = (row for row in drawn.DRAWN if row.name == name)
    shape, texture = (row.function(networks[cue], images) for cue in ("shape", "texture"))
    assert row.sign * (shape[0] - texture[0]) > 0 and all(low <= value <= high for value, low, high in (shape, texture))
    assert shape[1] > texture[2] if row.sign == 1 else shape[2] < texture[1]


def test_readings_are_those_of_the_measures(networks, images):
    network = networks["shape"]
    assert drawn.low_frequencies(network, images)[0] == frequency_conflict(network, images.images, radius=4)["low_bias"]
    assert drawn.grounds(network, images)[0] == replaced_grounds(network, images.images, images.mask)["acc_on_correct"]
    value, low, high = drawn.instability(network, images)
    assert low < value < high and np.isfinite(value)
    ros = output_stability(network, images.images[:100], sd=drawn.SD)["ros"]
    value, low, high = drawn.relative_instability(network, images)
    assert value == pytest.approx(np.log10(np.nanmean(ros))) and low < value < high


def test_the_channel_is_that_of_accuracies_under_the_same_noise(networks, images, monkeypatch):
    asked = []

    def spy(rows):
        asked.append(rows)
        return channel(rows)

    monkeypatch.setattr(drawn, "channel", spy)
    center, width = drawn.channel_center(networks["shape"], images), drawn.channel_width(networks["shape"], images)
    one, other = asked
    assert one.equals(other) and len(one) == 1 + len(drawn.CENTERS) * len(drawn.SDS)
    (fitted,) = channel(one).itertuples()
    assert center == (pytest.approx(np.log2(fitted.center), nan_ok=True),) * 3
    assert width == (pytest.approx(fitted.bandwidth, nan_ok=True),) * 3
    worst = one[one.sd == max(drawn.SDS)].accuracy
    assert worst.min() < one.accuracy[0] - 0.3


def test_the_controls_read_them_and_judge_them(networks, images):
    found = controls.readings([controls.Control("shape-only", 0, 0.0, networks["shape"], {})], images, saliency_images=8, copies=2)
    read = found.set_index("instrument").value
    assert set(read.index) == set(reliability.judged()) >= {row.name for row in drawn.DRAWN}
    assert read["grounds"] == drawn.grounds(networks["shape"], images)[0]
    assert torch.isfinite(torch.tensor(read.drop(["channel_center", "channel_width"]).to_numpy(float))).all()

"""Fine-tuning: every combination is tested in every run, and what is known is read."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from atviz import data, training
from atviz.evidence import Store, accuracy
from atviz.training import loop
from atviz.training.transfer import _chosen

QUICK = replace(training.RECIPE, epochs=2, batch_size=20, lr=0.05, milestones=(1,))


@pytest.fixture
def backbones(network):
    return {"STD": [network(1), network(2)], "ADV": [network(3), network(4)]}


def test_transfer_tests_every_combination_in_every_run_and_reads_it_back(backbones, halves, fabric, tmp_path):
    store = Store(tmp_path)
    found = training.transfer(backbones, *halves, QUICK, runs=3, limit=40, store=store, fabric=fabric)
    assert list(found.outcomes) == ["STD", "ADV", "STD+STD", "ADV+ADV", "STD+ADV"]
    assert {hits.shape for hits in found.outcomes.values()} == {(3, 50)}
    assert store.computed == 15
    assert len(found.curves) == 15 * 2
    last = found.curves[found.curves.epoch == 2].set_index(["model", "run"]).clean
    for name, hits in found.outcomes.items():  # the curve is of all test images and ends at the final accuracy
        assert [last[name, run] for run in range(3)] == pytest.approx(hits.mean(1))
    again = Store(tmp_path)
    other = training.transfer(backbones, *halves, QUICK, runs=3, limit=40, store=again, fabric=fabric)
    assert (again.computed, again.read) == (0, 15)
    pd.testing.assert_frame_equal(other.curves, found.curves)
    assert all(np.array_equal(other.outcomes[name], hits) for name, hits in found.outcomes.items())
    keys = [json.loads(path.read_text())["key"] for path in tmp_path.glob("*.json")]
    assert len(keys) == 15 and all("test" in key and "asked" not in key for key in keys)
    for changed in ({"seed": 7}, {"join": "logits"}, {"frozen": True}, {"limit": 41}):
        fresh = Store(tmp_path)
        training.transfer({"STD": backbones["STD"]}, *halves, QUICK, **{"runs": 1, "limit": 40, "fabric": fabric, "store": fresh} | changed)
        assert (fresh.computed, fresh.read) == (2, 0), changed


def test_the_networks_take_turns_and_a_pair_is_never_twice_the_same(backbones):
    names = {id(network): f"{kind}{i}" for kind, networks in backbones.items() for i, network in enumerate(networks)}

    def chosen(combination, run):
        return [names[id(network)] for network in _chosen(combination, backbones, run)]

    assert [chosen("STD", run) for run in range(3)] == [["STD0"], ["STD1"], ["STD0"]]
    assert [chosen("ADV+ADV", run) for run in range(2)] == [["ADV0", "ADV1"], ["ADV1", "ADV0"]]
    assert [chosen("STD+ADV", run) for run in range(2)] == [["STD0", "ADV0"], ["STD1", "ADV1"]]


def test_frozen_transfer_equals_fitting_the_whole_fusion(backbones, halves, fabric):
    shown, test = halves
    found = training.transfer({"STD": backbones["STD"]}, shown, test, QUICK, runs=1, seed=4, frozen=True, fabric=fabric)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        fusion = training.Fusion(backbones["STD"], 5, frozen=True)
    training.fit(fusion, QUICK, shown, test, seed=4, fabric=fabric)
    assert found.outcomes["STD+STD"].mean() == pytest.approx(accuracy(fusion, test)["top1"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runs": 0}, "runs is 0 and limit is None; each must be at least 1"),
        ({"limit": 0}, "limit is 0"),
        ({"join": "both"}, "join is 'both'"),
        ({"backbones": lambda t: {"STD": t["STD"][:1]}}, "there are 1 backbones of kind 'STD'; there must be two or more"),
        ({"backbones": lambda t: {"NRM": t["STD"]}}, "2 backbones of kind 'NRM'"),
        ({"backbones": lambda t: {"STD": [t["STD"][0]] * 2}}, "the two backbones are the same network"),
        ({"test": lambda: data.load("fashion", "test", limit=10)}, "the training images have 5 classes"),
    ],
)
def test_what_cannot_be_transferred_is_refused_before_any_work(backbones, halves, change, said, monkeypatch):
    monkeypatch.setattr(loop, "fit", lambda *args, **kwargs: pytest.fail("it trained"))
    given = change.pop("backbones", lambda t: t)(backbones)
    test = change.pop("test", lambda: halves[1])()
    with pytest.raises(ValueError, match=said):
        training.transfer(given, halves[0], test, QUICK, **change)

"""The share of correct images is read from the records, and is what showing every image counts."""

from dataclasses import replace

import pytest

from atviz import evidence
from atviz.notebook import explore
from atviz.notebook.explore import State

SETTINGS = [
    State(), State(levels={"saturate": 1024.0}), State(levels={"patch_shuffle": 4}), State(levels={"patch_shuffle": 4}, redraw=2),
    State(levels={"random_modes": 0.1}), State(levels={"reverse": 1}), State(levels={"stylize": 1}), State(levels={"stylize": 0.5}, style="5"),
    State(levels={"saturate": 8.0, "patch_shuffle": 2}), State(eps=0.1, steps=2),
    State(levels={"low_pass": 4.0, "patch_shuffle": 2}, eps=0.05, steps=2),
]  # fmt: skip


@pytest.mark.parametrize("state", SETTINGS, ids=lambda state: state.query or "clean")
def test_the_share_is_what_showing_every_image_counts(study, state):
    """The records' outcome of each image is that of the view of the image."""
    prints = {name: value for name, value in explore.fingerprints(study).items() if name in explore.check(study, state)}
    explore.measure(study, state)
    computed = study.store.computed
    found = explore.recorded(study, state, prints)
    assert study.store.computed == computed  # read, not computed
    assert set(found) == {"normal", "pgd-inf-0.1"}
    for name, right in found.items():
        seen = []
        for i in range(0, 120, 9):
            view = explore.explore(study, replace(state, image=str(i)))
            seen.append(view.probability[name].argmax() == view.label)
        assert right[::9].tolist() == seen


def test_records_of_sweeps_and_of_the_panel_are_the_same(study):
    study.outcomes({"saturate": [16.0], "low_pass": [3.0], "stylize": [study.stylizer.alpha], "random_modes": [0.2], "reverse": [0.5]})
    prints = explore.fingerprints(study)
    for levels in ({"saturate": 16.0}, {"low_pass": 3.0}, {"stylize": 1}, {"random_modes": 0.2}, {"reverse": 0.5}):
        assert all(right is not None for right in explore.recorded(study, State(levels=levels), prints).values()), levels
    assert set(explore.recorded(study, State(levels={"saturate": 15.0}), prints).values()) == {None}
    assert set(explore.recorded(study, State(levels={"random_modes": 0.2}, redraw=1), prints).values()) == {None}


def test_without_records_nothing_is_known(study):
    bare = replace(study, store=None)
    assert explore.recorded(bare, State(), {"normal": explore.fingerprints(study)["normal"]}) == {"normal": None}


def test_measuring_leaves_the_networks_alone(study, untouched):
    with untouched(study.models["normal"]):
        explore.measure(study, State(levels={"median_filter": 1}))


def test_copies_are_measured_as_the_networks_themselves(study):
    state = State(levels={"gaussian_blur": 0.75})
    explore.measure(study, state, explore.copied(study, state))
    prints = {name: explore.fingerprints(study)[name] for name in explore.check(study, state)}
    assert all(right is not None for right in explore.recorded(study, state, prints).values())


def test_recorded_knows_what_robust_accuracy_kept(study):
    state = State(eps=0.05, steps=3)
    model = study.models["spatial"]
    prints = {"spatial": explore.fingerprints(study)["spatial"]}
    assert explore.recorded(study, state, prints) == {"spatial": None}
    row = evidence.robust_accuracy(model, study.images, attack=explore.attack(state), store=study.store)
    assert explore.recorded(study, state, prints)["spatial"].tolist() == row["survived"].tolist()


@pytest.mark.parametrize("state", [State(levels={"gaussian_blur": 1.25}), State(eps=0.02, steps=1)], ids=lambda state: state.query)
def test_measuring_tells_how_much_of_it_is_done(study, state):
    shares, again = [], []
    explore.measure(study, state, tell=shares.append)
    assert len(shares) >= 2 and shares == sorted(shares) and shares[-1] == 1
    assert len(set(shares)) == len(shares)
    explore.measure(study, state, tell=again.append)  # there is nothing left to do
    assert again == []

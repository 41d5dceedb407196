"""The sliders: made from the rows of the instruments, for the images of a study."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atviz import data, evidence
from atviz.evidence import Instrument
from atviz.notebook import explore, panel
from atviz.notebook.explore import State, rows
from atviz.notebook.panel.sliders import OFF, at_stops, choices, moved, nearest, value_of, with_stop


def stops_of(study):
    return {name: [value for _, value in pairs] for name, (_, pairs) in choices(study).items()}


def test_sliders_have_the_stops_that_fit_the_images(study):
    stops = stops_of(study)
    assert stops["patch_shuffle"] == [1, 2, 4, 7, 14, 28]
    assert (stops["saturate"][0], stops["saturate"][-1]) == (0.25, 1024)
    assert len(set(np.diff(np.log2(stops["saturate"])).round(9))) == 1  # logarithmic
    assert {0.25, 0.5, 1, 2, 4, 8, 16, 64, 1024} <= set(stops["saturate"])
    assert dict(choices(study)["saturate"][1])["2 (original)"] == 2
    assert stops["low_pass"] == [OFF, 12, 8, 6, 4, 3, 2, 1]  # weakest first
    assert stops["high_pass"] == [OFF, 0, 1, 2, 3, 4, 6, 8, 12]
    for name, values in stops.items():
        assert value_of(State(), name) in values, name


def test_large_images_can_be_cut_into_all_patches_that_divide_them(study):
    images = data.Images(torch.zeros(1, 3, 224, 224, dtype=torch.uint8), torch.tensor([0]), ["one"], "large")
    stops = stops_of(replace(study, images=images))
    assert stops["patch_shuffle"] == [k for k in range(1, 225) if 224 % k == 0]
    assert stops["low_pass"][:2] == [OFF, 96]


def test_there_is_a_slider_for_every_distortion_with_levels_and_two_of_the_attack(study):
    titles = {name: title for name, (title, _) in choices(study).items()}
    assert list(titles) == [*rows(), "eps", "steps"]
    assert {"random_modes", "reverse"} <= titles.keys()
    assert len(set(titles.values())) == len(titles)
    assert all(0 < len(title) <= 14 for title in titles.values())  # they fit beside the slider


def test_a_new_row_gets_a_slider(at_once, study, page, monkeypatch):
    dimmed = Instrument("dimmed", "dimmed to {level}", lambda x, level: x * level, levels=(0.25, 0.5, 1.0), original=1)
    monkeypatch.setattr(evidence.instruments, "INSTRUMENTS", [*evidence.INSTRUMENTS, dimmed])
    explorer = panel.show(study, page, State.of("dimmed=0.5"))
    assert explorer.sliders["dimmed"].value == 0.5
    explorer.sliders["dimmed"].value = 0.25
    assert explorer.state.levels == (("dimmed", 0.25),)
    view = explore.explore(study, explorer.state)
    assert torch.equal(view.shown, 0.25 * view.image)
    assert explore.words(explorer.state) == "dimmed to 0.25"


@pytest.mark.parametrize("name", ["saturate", "low_pass", "high_pass", "reverse"])
def test_one_more_stop_comes_in_its_place(study, name):
    stops = choices(study)[name][1]
    levels = [value for _, value in with_stop(stops, 0.6) if value != OFF]
    assert levels in (sorted(levels), sorted(levels, reverse=True))
    assert set(with_stop(stops, 0.6)) - set(stops) == {("0.6", 0.6)}
    assert [stop for stop in with_stop(stops, 0.6) if stop[1] == OFF] == [stop for stop in stops if stop[1] == OFF]


def test_sliders_say_a_state_and_a_state_the_sliders(study):
    state = State(image="3", levels={"saturate": 64, "low_pass": 4, "reverse": 0.5, "stylize": 0.0}, eps=0.05, steps=5)
    values = {name: value_of(state, name) for name in choices(study)}
    assert moved(State(image="3"), values) == state
    assert (values["high_pass"], values["patch_shuffle"], values["low_pass"]) == (OFF, 1, 4)
    still = {name: value_of(State(), name) for name in choices(study)}
    assert moved(state, still) == State(image="3")


class Slider:
    def __init__(self, options):
        self.options = options


def test_a_rounded_number_is_the_stop_that_it_stands_for(study):
    sliders = {name: Slider(stops) for name, (_, stops) in choices(study).items()}
    for name, (_, stops) in choices(study).items():
        for _, value in stops:
            state = moved(State(), {name: value})
            assert at_stops(State.of(state.query), sliders) == state, (name, value)
    between = State(levels={"saturate": 3.3, "low_pass": 5.5}, eps=0.07)
    assert at_stops(between, sliders) == between
    assert at_stops(State(image="4", levels={"saturate": 4, "low_pass": 6}), {"saturate": sliders["saturate"]}) == State(
        image="4", levels={"saturate": 4}
    )


def test_chosen_levels_are_the_stops_weakest_first(study):
    found = choices(study, {"low_pass": [1, 4, 12], "patch_shuffle": [2, 7], "saturate": [1024, 2.0, 0.5]})
    stops = {name: [value for _, value in pairs] for name, (_, pairs) in found.items()}
    assert stops == {"low_pass": [OFF, 12, 4, 1], "patch_shuffle": [1, 2, 7], "saturate": [0.5, 2, 1024]}
    with pytest.raises(ValueError, match="unknown distortion 'saturation'"):
        choices(study, {"saturation": [4]})


def test_the_nearest_measured_stop_is_named(study):
    sliders = {name: Slider(stops) for name, (_, stops) in choices(study).items()}
    print_of = explore.fingerprints(study)["normal"]
    study.outcomes({"random_modes": [0.1, 0.5]})
    right = study.outcomes({"random_modes": [0.5]}).distorted["normal", "random_modes", 0.5]
    assert nearest(study, State(levels={"random_modes": 0.3}), print_of, sliders) == f"{100 * right.mean():.1f} % at 0.5"
    assert nearest(study, State(levels={"random_modes": 0.3, "saturate": 4}), print_of, sliders) == ""  # two are moved
    assert nearest(study, State(levels={"random_modes": 0.3}, eps=0.1), print_of, sliders) == ""
    assert nearest(study, State(), print_of, sliders) == ""
    eps = sliders["eps"].options
    explore.measure(study, State(eps=eps[2][1], steps=2))
    assert nearest(study, State(eps=eps[1][1], steps=2), print_of, sliders).endswith(f"at {eps[2][0]}")

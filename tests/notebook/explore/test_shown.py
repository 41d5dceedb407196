"""A state in words, as a figure, as a row and as code."""

from dataclasses import fields, replace

import pytest

from atviz.notebook import explore, figures
from atviz.notebook.explore import State

MODELS = ("normal", "pgd-inf-0.1", "spatial")


def test_code_draws_the_same_figure(study, page):
    state = State(image="7", models=MODELS, levels={"saturate": 64.0, "patch_shuffle": 2})
    names: dict = {}
    *lines, last = explore.code(state, page.settings).splitlines()
    exec("\n".join(lines), names)
    assert names["page"].settings == page.settings
    again = figures.rendered(eval(last, names), "png", dpi=60)
    assert again == figures.rendered(explore.figure(study, state), "png", dpi=60)
    assert again != figures.rendered(explore.figure(study, replace(state, levels={})), "png", dpi=60)


def test_code_says_only_what_is_not_the_default(page):
    lines = explore.code(State(image="7"), page.settings).splitlines()
    assert lines[-2:] == [
        'study, page = open_study("11_explore", {"profile": "zoo", "models": ["normal", "underfit", "pgd-inf-0.1", "spatial"], "test_limit": 120, '
        '"subject": "pgd-inf-0.1"})',
        "figure(study, State(image='7'))",
    ]


def test_a_row_names_every_setting(study, page):
    row = explore.row(study, State(image="7", levels={"gaussian_blur": 1.5}), page.settings)
    assert {field.name for field in fields(State)} - {"levels"} | set(explore.rows()) <= row.keys()
    assert (row["gaussian_blur"], row["saturate"], row["low_pass"]) == (1.5, 2, None)
    assert row["models"] == "normal pgd-inf-0.1"
    assert row["dataset"] == "fashion"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State(), "unchanged"),
        (State(levels={"saturate": 64}), "saturated to level 64"),
        (State(levels={"patch_shuffle": 2, "stylize": 1}, style="3"), "stylized, style 3, 2 × 2 patches shuffled"),
        (State(levels={"median_filter": 2}, eps=0.1, steps=5), "median-filtered twice, attacked by PGD, ε = 0.1, 5 steps, each network for itself"),
    ],
)  # fmt: skip
def test_a_state_in_words(study, state, said):
    assert explore.words(state) == said
    view = explore.explore(study, state)
    assert explore.caption(study, state, view).startswith(
        f"Test image 0, {study.images.classes[view.label]}; {said}. Grad of the true class, "
    )


def test_the_opening_image_is_one_on_which_the_networks_part(study):
    number = int(explore.parting(study, "saturate", 64.0))
    found = study.outcomes({"saturate": [64.0]})
    hit = {name: (found.clean[name], found.distorted[name, "saturate", 64.0]) for name in (study.baseline, study.subject)}
    parted = [
        i for i in range(len(study.images)) if [*(h[i] for h in hit[study.baseline]), *(h[i] for h in hit[study.subject])] == [1, 0, 1, 1]
    ]
    assert number == (parted[0] if parted else 0)
    assert explore.parting(study, "saturate", 2.0) == "0"  # nothing changes there, and they part on no image

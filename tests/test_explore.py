"""The state of the explore panel: read, shown, measured and drawn by the same functions as a batch run."""

import io
import os
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atviz import attacks, distortions, evaluate, explore, plots, saliency
from atviz.explore import State
from atviz.notebook import open_study

MODELS = ("normal", "pgd-inf-0.1", "spatial")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    before = os.environ["ATVIZ_HOME"]
    os.environ["ATVIZ_HOME"] = str(tmp_path_factory.mktemp("explore"))
    yield open_study("11_explore", {"profile": "zoo", "test_limit": 120, "models": ["normal", "underfit", "pgd-inf-0.1", "spatial"]})
    os.environ["ATVIZ_HOME"] = before


@pytest.fixture(scope="module")
def one(study):
    x, y = next(study.test_images[7:8].batches(1))
    return x, y


states = st.builds(
    State,
    image=st.integers(0, 10**4).map(str) | st.just("upload-0123456789ab"),
    models=st.sampled_from([(), MODELS, ("normal", "underfit")]),
    style=st.sampled_from(["", "drawn", "3"]),
    alpha=st.floats(0, 1),
    saturation=st.floats(0, 2000) | st.just(float("inf")),
    blur=st.floats(0, 5),
    median=st.integers(0, 5),
    low=st.none() | st.floats(0, 20),
    high=st.none() | st.floats(0, 20),
    patches=st.integers(1, 28),
    shuffle=st.integers(0, 99),
    eps=st.floats(0, 1),
    steps=st.integers(1, 50),
    method=st.sampled_from(list(explore.MAPS)),
    scale=st.sampled_from(["map", "shared"]),
)


@given(states)
def test_a_link_and_a_line_of_code_say_the_whole_state(state):
    assert State.of(state.query) == state
    assert State.of(f"?token=abc&{state.query}") == state  # a server's own part of the query is left alone
    assert eval(state.code) == state


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"saturation": -1.0}, "saturation is -1"),
        ({"saturation": float("nan")}, "saturation is nan"),
        ({"method": "Magic"}, "method is 'Magic'; it must be one of Grad"),
        ({"models": ("normal",)}, "two or three"),
        ({"models": ("normal", "normal")}, "two or three different"),
        ({"style": "red"}, "style is 'red'"),
        ({"eps": 8.0}, "eps is 8.0; it must be between 0 and 1"),
        ({"image": "../../etc/passwd"}, "image is"),
        ({"steps": 10**9}, "between 1 and 200"),
        ({"low": float("nan")}, "low is nan"),
        ({"scale": "none"}, "scale is 'none'"),
    ],
)
def test_values_that_cannot_be_are_refused_in_a_sentence(changes, said):
    with pytest.raises(ValueError, match=said):
        State(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "120"}, "test images 0 to 119"),
        ({"models": ("normal", "fgsm-0.1")}, "no network 'fgsm-0.1'"),
        ({"patches": 5}, "must divide the side: 1, 2, 4, 7, 14, 28"),
        ({"style": "40"}, "styles 0 to 39"),
        ({"image": "upload-0123456789ab"}, "not kept here"),
    ],
)
def test_what_the_study_does_not_have_is_refused(study, changes, said):
    with pytest.raises(ValueError, match=said):
        explore.explore(study, State(**changes))


@pytest.mark.parametrize("query", ["median=2.5", "saturation=much", "patches=x"])
def test_a_link_that_cannot_be_read_names_the_value(query):
    with pytest.raises(ValueError, match=query.partition("=")[0]):
        State.of(query)


def test_nothing_moved_is_the_image_itself(study, one):
    view = explore.explore(study, State(image="7", models=MODELS))
    x, y = one
    assert torch.equal(view.image, x)
    assert torch.equal(view.shown, x)
    assert view.label == int(y)
    for name in MODELS:
        assert torch.equal(view.maps[name], saliency.grad(study.models[name], x, y))
        np.testing.assert_allclose(view.probability[name], study.models[name](x).softmax(1)[0].detach(), rtol=1e-5)


def test_distortions_come_in_the_order_of_the_fields(study, one):
    x, _ = one
    state = State(image="7", style="3", alpha=0.5, saturation=8.0, blur=1.0, median=1, low=6.0, high=1.0, patches=2)
    found = explore.explore(study, state).shown
    painter = type(study.stylizer)(study.stylizer.network, study.stylizer.styles, alpha=0.5)
    want = distortions.saturate(painter.paint(x, torch.tensor([3])), 8.0)
    want = distortions.high_pass(distortions.low_pass(distortions.median_filter(distortions.gaussian_blur(want, 1.0)), 6.0), 1.0)
    generator = torch.Generator().manual_seed(0)
    want = distortions.patch_shuffle(want.expand(8, -1, -1, -1), 2, generator=generator)[7:]
    torch.testing.assert_close(found, want, rtol=0, atol=1e-6)


def test_an_image_is_shuffled_as_the_sweep_shuffles_it(study):
    whole = next(study.test_images.batches(120))[0]
    swept = distortions.named("patch_shuffle", 4, seed=study.settings.seed)(whole)
    for i in (0, 7, 119):
        assert torch.equal(explore.explore(study, State(image=str(i), patches=4)).shown[0], swept[i])
    again = [explore.explore(study, State(image="7", patches=4, shuffle=s)).shown for s in (0, 1, 0)]
    assert torch.equal(again[0], again[2])
    assert not torch.equal(again[0], again[1])


def test_each_network_is_attacked_for_itself(study, one):
    x, y = one
    state = State(image="7", models=MODELS, eps=0.05, steps=10)
    view = explore.explore(study, state)
    for name in MODELS:
        want = attacks.pgd(study.models[name], x, y, eps=0.05, step_size=0.0125, steps=10)
        assert torch.equal(view.seen[name], want)
        assert (view.seen[name] - x).abs().max() <= 0.05 * (1 + 1e-6)
    assert not torch.equal(view.seen["normal"], view.seen["spatial"])
    one_step = explore.explore(study, replace(state, steps=1)).seen["normal"]
    assert torch.equal(one_step, attacks.fgsm(study.models["normal"], x, y, eps=0.05))


def test_smoothgrad_is_refined_to_what_the_package_computes(study, one):
    state = State(image="7", models=MODELS, method="SmoothGrad")
    views = list(explore.refine(study, state))
    n = study.profile.smooth_copies
    assert [view.copies for view in views] == list(range(explore.CHUNK, n + 1, explore.CHUNK))
    for name in MODELS:
        want = saliency.smooth_grad(study.models[name], *one, n=n)
        errors = [float((view.maps[name] - want).norm() / want.norm()) for view in views]
        assert errors[-1] < 1e-5
        assert errors[0] > 10 * errors[-1]
        coarse = saliency.smooth_grad(study.models[name], *one, n=explore.CHUNK)
        torch.testing.assert_close(views[0].maps[name], coarse, rtol=1e-5, atol=1e-7)


def test_filters_leave_the_range_and_it_is_said(study):
    view = explore.explore(study, State(image="7", high=2.0))
    outside = ((view.shown < -1e-6) | (view.shown > 1 + 1e-6)).float().mean()
    assert outside > 0.1
    assert view.outside == pytest.approx(float(outside))
    assert explore.explore(study, State(image="7")).outside == 0


SETTINGS = [
    State(), State(saturation=1024.0), State(patches=4), State(patches=4, shuffle=2), State(style="drawn"), State(style="5", alpha=0.5),
    State(saturation=8.0, patches=2), State(eps=0.1, steps=2), State(low=4.0, patches=2, eps=0.05, steps=2),
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
    wanted = {"saturate": [16.0], "low_pass": [3.0], "stylize": {study.stylizer.alpha: study.stylizer}}
    study.outcomes(wanted)
    prints = explore.fingerprints(study)
    for state in (State(saturation=16.0), State(low=3.0), State(style="drawn")):
        assert all(right is not None for right in explore.recorded(study, state, prints).values())
    assert set(explore.recorded(study, State(saturation=15.0), prints).values()) == {None}


def test_measuring_leaves_the_networks_alone(study, untouched):
    with untouched(study.models["normal"]):
        explore.measure(study, State(median=1))


def image_bytes(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array, **options).save(buffer, kind)
    return buffer.getvalue()


def test_an_upload_is_shown_without_a_true_class(study):
    rng = np.random.default_rng(0)
    name, changes = explore.keep_upload(image_bytes(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)), study.test_images.shape)
    assert "gray made from color" in changes
    assert "70 × 50" in changes
    view = explore.explore(study, State(image=name, models=MODELS))
    assert view.image.shape == (1, 1, 28, 28)
    assert view.label is None
    likeliest = torch.tensor([int(view.probability["spatial"].argmax())])
    assert torch.equal(view.maps["spatial"], saliency.grad(study.models["spatial"], view.image, likeliest))
    assert "without a true class" in explore.caption(study, State(image=name), view)


def test_code_draws_the_same_figure(study):
    state = State(image="7", models=MODELS, saturation=64.0, patches=2)
    names: dict = {}
    *lines, last = explore.code(study, state).splitlines()
    exec("\n".join(lines), names)
    assert names["study"].settings == study.settings
    again = plots.rendered(eval(last, names), "png", dpi=60)
    assert again == plots.rendered(explore.figure(study, state), "png", dpi=60)
    assert again != plots.rendered(explore.figure(study, replace(state, saturation=2.0)), "png", dpi=60)


def test_a_row_names_every_setting(study):
    row = explore.row(study, State(image="7", blur=1.5))
    assert {field.name for field in fields(State)} <= row.keys()
    assert row["blur"] == 1.5
    assert row["models"] == "normal pgd-inf-0.1"


def test_recorded_knows_what_robust_accuracy_kept(study):
    state = State(eps=0.05, steps=3)
    model = study.models["spatial"]
    prints = {"spatial": explore.fingerprints(study)["spatial"]}
    assert explore.recorded(study, state, prints) == {"spatial": None}
    row = evaluate.robust_accuracy(model, study.test_images, attack=explore.attack(state), store=study.store)
    assert explore.recorded(study, state, prints)["spatial"].tolist() == row["survived"].tolist()

"""What a state shows is what the other rooms compute."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from atviz import attacks, distortions, evidence, saliency
from atviz.notebook import explore
from atviz.notebook.explore import State

MODELS = ("normal", "pgd-inf-0.1", "spatial")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "120"}, "test images 0 to 119"),
        ({"models": ("normal", "fgsm-0.1")}, "no network 'fgsm-0.1'"),
        ({"levels": {"patch_shuffle": 5}}, "cannot be cut into 5x5 patches; k can be 1, 2, 4, 7, 14, 28"),
        ({"levels": {"median_filter": 2.5}}, "times is 2.5; it must be a whole number"),
        ({"levels": {"random_modes": 1.5}}, "p is 1.5; a probability must be in"),
        ({"levels": {"stylize": 1.5}}, "alpha is 1.5"),
        ({"levels": {"reverse": 1.5}}, "reverse is 1.5"),
        ({"style": "40"}, "styles 0 to 39"),
        ({"image": "upload-0123456789ab"}, "not kept here"),
    ],
)
def test_what_the_study_does_not_have_is_refused(study, changes, said):
    with pytest.raises(ValueError, match=said):
        explore.explore(study, State(**changes))


def test_nothing_moved_is_the_image_itself(study, one):
    view = explore.explore(study, State(image="7", models=MODELS))
    x, y = one
    assert torch.equal(view.image, x)
    assert torch.equal(view.shown, x)
    assert view.label == int(y)
    for name in MODELS:
        assert torch.equal(view.maps[name], saliency.grad(study.models[name], x, y))
        np.testing.assert_allclose(view.probability[name], study.models[name](x).softmax(1)[0].detach(), rtol=1e-5)


def test_no_networks_named_are_baseline_and_subject(study):
    assert list(explore.explore(study, State()).maps) == ["normal", "pgd-inf-0.1"] == [study.baseline, study.subject]


def test_distortions_come_in_the_order_of_the_sliders(study, one):
    x, _ = one
    levels = {"stylize": 0.5, "saturate": 8.0, "gaussian_blur": 1.0, "median_filter": 1, "low_pass": 6.0, "high_pass": 1.0}
    levels |= {"random_modes": 0.1, "patch_shuffle": 2, "reverse": 0.25}
    assert list(levels) == [name for name in explore.rows() if name in levels]
    found = explore.explore(study, State(image="7", style="3", levels=levels)).shown
    want = distortions.saturate(study.stylizer.paint(x, torch.tensor([3]), alpha=0.5), 8.0)
    want = distortions.high_pass(
        distortions.low_pass(distortions.median_filter(distortions.gaussian_blur(want, 1.0)), 6.0), 1.0, keep_mean=True
    )
    for random, level in ((partial(distortions.random_modes, keep_mean=True), 0.1), (distortions.patch_shuffle, 2)):
        # the eighth image of a sweep, whose random numbers come after those of seven others
        want = random(want.expand(8, -1, -1, -1), level, generator=torch.Generator().manual_seed(0))[7:]
    want = 0.75 * want + 0.25 * distortions.reverse(want, mean=study.mean)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "level"), [("patch_shuffle", 4), ("random_modes", 0.3), ("stylize", 1.0)])
def test_an_image_is_distorted_as_the_sweep_distorts_it(study, name, level):
    whole = next(study.images.batches(120))[0]
    swept = evidence.find(name).at(level, seed=study.seed, material={"stylizer": study.stylizer})(whole)
    for i in (0, 7, 119):
        shown = explore.explore(study, State(image=str(i), levels={name: level})).shown[0]
        torch.testing.assert_close(shown, swept[i], rtol=0, atol=0 if name == "patch_shuffle" else 1e-5)


@pytest.mark.parametrize(("name", "level"), [("patch_shuffle", 4), ("random_modes", 0.3)])
def test_random_distortions_are_drawn_anew_and_again(study, name, level):
    again = [explore.explore(study, State(image="7", levels={name: level}, redraw=i)).shown for i in (0, 1, 0)]
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
    n, chunk = study.scale.smooth_copies, explore.CHUNK
    assert [view.copies for view in views] == list(range(chunk, n + 1, chunk))
    for name in MODELS:
        want = saliency.smooth_grad(study.models[name], *one, n=n)
        errors = [float((view.maps[name] - want).norm() / want.norm()) for view in views]
        assert errors[-1] < 1e-5
        assert errors[0] > 10 * errors[-1]
        coarse = saliency.smooth_grad(study.models[name], *one, n=chunk)
        torch.testing.assert_close(views[0].maps[name], coarse, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", explore.MAPS)
def test_every_method_of_the_panel_gives_a_map_of_the_image(study, method):
    *_, view = explore.refine(study, State(method=method))
    for heat in view.maps.values():
        assert heat.shape == view.image.shape
        assert heat.abs().max() > 0


def test_distortions_leave_the_range_and_it_is_said(study):
    view = explore.explore(study, State(image="7", levels={"brightness": 0.2}))
    outside = ((view.shown < -1e-6) | (view.shown > 1 + 1e-6)).float().mean()
    assert outside > 0.1
    assert view.outside == pytest.approx(float(outside))
    assert explore.explore(study, State(image="7")).outside == 0


def image_bytes(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array, **options).save(buffer, kind)
    return buffer.getvalue()


def test_an_upload_is_shown_without_a_true_class(study, monkeypatch, tmp_path):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    name, changes = explore.keep_upload(image_bytes(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)), study.images.shape)
    assert "gray made from color" in changes
    assert "70 × 50" in changes
    view = explore.explore(study, State(image=name, models=MODELS, levels={"patch_shuffle": 2}))
    assert view.image.shape == (1, 1, 28, 28)
    assert view.label is None
    likeliest = torch.tensor([int(view.probability["spatial"].argmax())])
    torch.testing.assert_close(view.maps["spatial"], saliency.grad(study.models["spatial"], view.shown, likeliest))
    assert "without a true class" in explore.caption(study, State(image=name), view)
    state = State(image=name, models=MODELS, eps=0.02, steps=2)
    assert explore.explore(study, state).label is None
    Image.new("L", (20, 20)).save(explore.uploads() / f"{name}.png")
    with pytest.raises(ValueError, match="of another size than this study's images"):
        explore.explore(study, state)

"""Sanity checks of maps: how alike the maps of trained, untrained and partly randomized networks are."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from atviz import models, saliency
from atviz.evidence import LIKENESS, Store, asked, cascade, dependence, likeness, pairs


@pytest.fixture
def quick(monkeypatch):
    """Quick stand-ins for the methods that take many passes."""
    cheap = {"Vanilla": saliency.METHODS["Vanilla"], "SmoothGrad": partial(saliency.smooth_grad, n=2, sigma=0.2, score="logit")}
    monkeypatch.setattr(saliency, "METHODS", cheap | {"Guided Backprop": saliency.guided_backprop})


def test_likeness_against_scipy():
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(3, 2, 12, 12, generator=draw)
    b = torch.stack([a[0], -a[1], a[2] + torch.randn(2, 12, 12, generator=draw)])
    found = dict(zip(LIKENESS, likeness(a, b).T, strict=True))
    for name, values in saliency.similarity(a, b).items():
        assert found[name] == pytest.approx(values.numpy())
    assert found["signed"] == pytest.approx([spearmanr(p.ravel(), q.ravel()).statistic for p, q in zip(a, b, strict=True)])
    # the sign is what tells them apart
    assert (found["rank"][1], found["signed"][1]) == pytest.approx((1, -1))


@pytest.mark.parametrize("method", ["Vanilla", "Guided Backprop", "SmoothGrad"])
def test_pairs_compare_the_maps_of_every_two_networks(tmp_path, trained, fashion, method, quick):
    *_, (_, untrained) = models.randomized(trained)
    networks, some, store = {"a": untrained, "b": trained, "c": trained}, fashion[:13], Store(tmp_path)
    x, y = some.x.float() / 255, some.y
    for _ in range(2):
        found = pairs(networks, some, method, batch_size=5, store=store)
        assert list(found) == ["a and b", "a and c", "b and c"]
        expected = likeness(*(saliency.METHODS[method](model, x, y) for model in (untrained, trained)))
        assert found["a and b"] == pytest.approx(expected, abs=2e-2)
        assert found["a and b"].mean(0) == pytest.approx(expected.mean(0), abs=2e-3)
        assert found["b and c"] == pytest.approx(np.ones((13, 3)))
        assert found["a and b"][:, 0].max() < 0.95
    assert (store.computed, store.read) == (1, 1)


def test_a_cascade_compares_each_copy_with_the_intact_network(tmp_path, trained, fashion, quick):
    some, store = fashion[:9], Store(tmp_path)
    x, y = some.x.float() / 255, some.y
    for _ in range(2):
        found = cascade(trained, some, "Guided Backprop", seed=3, batch_size=4, store=store)
    assert (store.computed, store.read) == (1, 1)
    assert list(found) == ["none", "fc", "layer3.0", "layer2.0", "layer1.0", "conv1"]
    assert found["none"] == pytest.approx(np.ones((9, 3)))
    intact = saliency.guided_backprop(trained, x, y)
    for name, copy in models.randomized(trained, seed=3):
        expected = likeness(intact, saliency.guided_backprop(copy, x, y))
        assert found[name].mean(0) == pytest.approx(expected.mean(0), abs=5e-3)
    assert found["fc"][:, 0].mean() > found["conv1"][:, 0].mean() + 0.1
    other = cascade(trained, some, "Guided Backprop", seed=4, store=store)
    assert store.computed == 2 and not np.allclose(other["conv1"], found["conv1"])


def test_dependence_is_the_cascades_end_for_each_draw(tmp_path, trained, fashion):
    some, store = fashion[:8], Store(tmp_path)
    for _ in range(2):
        found = dependence(trained, some, "Guided Backprop", draws=3, seed=1, store=store)
    assert found.shape == (3, 3) and (store.computed, store.read) == (1, 1)
    for draw, row in enumerate(found):
        assert row == pytest.approx(cascade(trained, some, "Guided Backprop", seed=1 + draw)["conv1"].mean(0), abs=1e-6)
    assert found[:, 0].std() > 0.01


def test_any_method_of_the_saliency_room_can_be_asked(trained, fashion):
    x, y = fashion.x[:5].float() / 255, fashion.y[:5]
    for name, expected in (("Grad", saliency.grad), ("Vanilla", saliency.METHODS["Vanilla"]), ("grad-cam", saliency.grad_cam)):
        assert torch.equal(asked(name)(trained, x, y), expected(trained, x, y))
    *_, (_, untrained) = models.randomized(trained)
    found = pairs({"a": trained, "b": untrained}, fashion[:5], "Input × Gradient")["a and b"]
    expected = likeness(*(saliency.attribute("InputXGradient", model, x, y) for model in (trained, untrained)))
    assert found == pytest.approx(expected, abs=1e-4)


def test_unknown_methods_and_too_few_draws_are_refused_before_any_work(fashion):
    for measure in (pairs, cascade, dependence):
        with pytest.raises(ValueError, match="unknown attribution method 'Vanila'; did you mean 'Vanilla'"):
            measure(None, fashion, "Vanila")
    with pytest.raises(ValueError, match="draws is 1; it must be at least 2"):
        dependence(None, fashion, "Vanilla", draws=1)


def test_images_that_do_not_fit_are_refused_before_any_work(fashion, unused):
    module = models.Network("net", unused, fashion.classes, (1, 32, 32)).module
    for measure in (lambda *args: pairs({"a": module}, *args[1:]), cascade, dependence):
        with pytest.raises(ValueError, match="28 × 28 pixels and the network takes 32 × 32; load the images with size=32"):
            measure(module, fashion, "Vanilla")


def test_networks_and_data_sets_of_torch_are_taken(trained, fashion):
    some = fashion[:6]
    x, y = next(some.batches(6))
    held = torch.utils.data.TensorDataset(x, y)
    network = models.Network("mine", trained, [], None)
    for found, expected in [
        (pairs({"a": network, "b": trained}, held, "Vanilla"), pairs({"a": trained, "b": trained}, some, "Vanilla")),
        (cascade(network, held, "Vanilla"), cascade(trained, some, "Vanilla")),
    ]:
        assert found.keys() == expected.keys() and all(np.allclose(found[name], expected[name], atol=1e-5) for name in found)
    assert np.allclose(dependence(network, held, "Vanilla", draws=2), dependence(trained, some, "Vanilla", draws=2), atol=1e-5)

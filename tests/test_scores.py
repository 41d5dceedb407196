"""Numbers of saliency maps over a set of images."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from atviz import distortions, models, saliency, scores
from atviz.records import Store


def test_saliency_scores_against_the_maps(tmp_path, trained, fashion):
    store, some = Store(tmp_path), fashion[:30]
    x, y = some.x.float() / 255, some.y
    leaf = x.clone().requires_grad_()
    log_p = trained(leaf).log_softmax(1).gather(1, y[:, None]).sum()
    (maps,) = torch.autograd.grad(log_p, leaf)
    for batch_size in (7, 100):
        found = scores.saliency_scores(trained, some, batch_size=batch_size)
        assert found.keys() == {"sparsity", "edges", "coarse", "bands"}
        assert found["coarse"] == pytest.approx(saliency.coarse_share(maps).numpy(), abs=1e-3)
        assert found["bands"] == pytest.approx(saliency.band_shares(maps, [2, 4, 8, float("inf")]).numpy(), abs=1e-3)
        assert found["sparsity"] == pytest.approx(saliency.gini(maps).numpy(), abs=1e-4)
        assert found["edges"] == pytest.approx(saliency.edge_agreement(maps, x).numpy(), abs=1e-3)
    first, again = (scores.saliency_scores(trained, some, store=store) for _ in range(2))
    assert (store.computed, store.read) == (1, 1)
    assert all((first[name] == again[name]).all() and len(first[name]) == 30 for name in first)


def test_stability_compares_each_map_with_that_of_the_distorted_image(tmp_path, trained, fashion):
    store, some, saturated = Store(tmp_path), fashion[:24], partial(distortions.saturate, level=1024)
    x, y = some.x.float() / 255, some.y
    expected = saliency.similarity(saliency.grad(trained, x, y), saliency.grad(trained, saturated(x), y))
    for _ in range(2):
        found = scores.stability(trained, some, saturated, batch_size=7, store=store)
        assert found["rank"] == pytest.approx(expected["rank"].numpy(), abs=1e-3)
        assert found["ssim"] == pytest.approx(expected["ssim"].numpy(), abs=1e-3)
    assert (store.computed, store.read) == (1, 1)
    same = scores.stability(trained, some, partial(distortions.saturate, level=2.0), store=store)
    assert same["rank"] == pytest.approx(1) and same["ssim"] == pytest.approx(1)
    scores.stability(trained, some, lambda x: 1 - x, store=store)
    assert store.computed == 2  # what is not known by name is not kept


def test_similarities_are_symmetric_means_over_the_images(trained, linear, fashion):
    some, other = fashion[:20], linear(1, 28, 10)
    found = scores.similarities({"a": trained, "b": other, "c": trained}, some, batch_size=6)
    x, y = some.x.float() / 255, some.y
    for measure, values in saliency.similarity(saliency.grad(trained, x, y), saliency.grad(other, x, y)).items():
        matrix = found[measure]
        assert matrix == pytest.approx(matrix.T) and matrix.diagonal() == pytest.approx([1, 1, 1])
        assert matrix[0, 2] == pytest.approx(1)
        assert matrix[0, 1] == pytest.approx(float(values.mean()), abs=1e-3)
        assert matrix[0, 1] < 0.9


def methods(monkeypatch):
    """Quick stand-ins for the methods that take many passes."""
    cheap = {"Vanilla": saliency.METHODS["Vanilla"], "SmoothGrad": partial(saliency.smooth_grad, n=2, sigma=0.2, score="logit")}
    monkeypatch.setattr(saliency, "METHODS", cheap | {"Guided Backprop": saliency.guided_backprop})


def test_likeness_against_scipy():
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(3, 2, 12, 12, generator=draw)
    b = torch.stack([a[0], -a[1], a[2] + torch.randn(2, 12, 12, generator=draw)])
    found = dict(zip(scores.LIKENESS, scores.likeness(a, b).T, strict=True))
    for name, values in saliency.similarity(a, b).items():
        assert found[name] == pytest.approx(values.numpy())
    assert found["signed"] == pytest.approx([spearmanr(p.ravel(), q.ravel()).statistic for p, q in zip(a, b, strict=True)])
    # the sign is what tells them apart
    assert (found["rank"][1], found["signed"][1]) == pytest.approx((1, -1))


@pytest.mark.parametrize("method", ["Vanilla", "Guided Backprop", "SmoothGrad"])
def test_pairs_compare_the_maps_of_every_two_networks(tmp_path, trained, fashion, method, monkeypatch):
    methods(monkeypatch)
    *_, (_, untrained) = models.randomized(trained)
    networks, some, store = {"a": untrained, "b": trained, "c": trained}, fashion[:13], Store(tmp_path)
    x, y = some.x.float() / 255, some.y
    for _ in range(2):
        found = scores.pairs(networks, some, method, batch_size=5, store=store)
        assert list(found) == ["a and b", "a and c", "b and c"]
        expected = scores.likeness(*(saliency.METHODS[method](model, x, y) for model in (untrained, trained)))
        assert found["a and b"] == pytest.approx(expected, abs=2e-2)
        assert found["a and b"].mean(0) == pytest.approx(expected.mean(0), abs=2e-3)
        assert found["b and c"] == pytest.approx(np.ones((13, 3)))
        assert found["a and b"][:, 0].max() < 0.95
    assert (store.computed, store.read) == (1, 1)


def test_a_cascade_compares_each_copy_with_the_intact_network(tmp_path, trained, fashion, monkeypatch):
    methods(monkeypatch)
    some, store = fashion[:9], Store(tmp_path)
    x, y = some.x.float() / 255, some.y
    for _ in range(2):
        found = scores.cascade(trained, some, "Guided Backprop", seed=3, batch_size=4, store=store)
    assert (store.computed, store.read) == (1, 1)
    assert list(found) == ["none", "fc", "layer3.0", "layer2.0", "layer1.0", "conv1"]
    assert found["none"] == pytest.approx(np.ones((9, 3)))
    intact = saliency.guided_backprop(trained, x, y)
    for name, copy in models.randomized(trained, seed=3):
        expected = scores.likeness(intact, saliency.guided_backprop(copy, x, y))
        assert found[name].mean(0) == pytest.approx(expected.mean(0), abs=5e-3)
    assert found["fc"][:, 0].mean() > found["conv1"][:, 0].mean() + 0.1
    other = scores.cascade(trained, some, "Guided Backprop", seed=4, store=store)
    assert store.computed == 2 and not np.allclose(other["conv1"], found["conv1"])


def test_dependence_is_the_cascades_end_for_each_draw(tmp_path, trained, fashion):
    some, store = fashion[:8], Store(tmp_path)
    for _ in range(2):
        found = scores.dependence(trained, some, "Guided Backprop", draws=3, seed=1, store=store)
    assert found.shape == (3, 3) and (store.computed, store.read) == (1, 1)
    for draw, row in enumerate(found):
        assert row == pytest.approx(scores.cascade(trained, some, "Guided Backprop", seed=1 + draw)["conv1"].mean(0), abs=1e-6)
    assert found[:, 0].std() > 0.01


def test_unknown_methods_and_too_few_draws_are_refused_before_any_work(fashion):
    for measure in (scores.pairs, scores.cascade, scores.dependence):
        with pytest.raises(ValueError, match="method is 'Grad'; it must be one of Vanilla, Loss, Guided Backprop"):
            measure(None, fashion, "Grad")
    with pytest.raises(ValueError, match="draws is 1; it must be at least 2"):
        scores.dependence(None, fashion, "Vanilla", draws=1)

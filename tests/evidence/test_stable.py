"""Output-side stability of maps: linear networks, whose maps do not move, and the formula by NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from atviz import saliency
from atviz.evidence import Store, output_stability, stable

NUMBERS = ("ros", "maps", "outputs", "ratio")


class Squares(nn.Module):
    """Logits (w · x)² · scale: the map of a class is 2 · scale · (w · x) · w, so that it moves as w · x does."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("weight", torch.randn(10, 1, 28, 28, generator=torch.Generator().manual_seed(0)) / 28)

    def forward(self, x):
        return self.scale * torch.einsum("nchw,kchw->nk", x, self.weight) ** 2


def decided(model, images):
    """The images with the class that the model gives them for their label."""
    with torch.no_grad():
        return type(images)(images.x, model(images.x.float() / 255).argmax(1), images.classes)


def test_the_maps_of_a_linear_network_do_not_move(linear, fashion):
    model = linear(1, 28, 10, scale=0.1)
    found = output_stability(model, decided(model, fashion[:20]), sd=0.01, method="Vanilla")
    kept = ~np.isnan(found["maps"])
    assert kept.sum() > 10 and set(found) == set(NUMBERS)
    assert found["maps"][kept] == pytest.approx(0, abs=1e-6)
    assert found["ratio"][kept].max() < 1e-3 and (found["outputs"][kept] > 0).all()


def test_numbers_are_those_of_the_formula(trained, fashion):
    some, sd = fashion[:30], 0.03
    x, y = some.x.float() / 255, some.y
    noise = torch.stack([stable._noise(image, 4) for image in x], 1)
    with torch.no_grad():
        logits = trained(x).double().numpy()
    e = saliency.grad(trained, x, y).abs().sum(1).flatten(1).double().numpy()
    rows = {name: [] for name in NUMBERS}
    for shown in (x + sd * noise).clamp(0, 1):
        with torch.no_grad():
            h = trained(shown).double().numpy()
        other = saliency.grad(trained, shown, y).abs().sum(1).flatten(1).double().numpy()
        p, q = (np.exp(v - v.max(1, keepdims=True)) / np.exp(v - v.max(1, keepdims=True)).sum(1, keepdims=True) for v in (logits, h))
        same = (logits.argmax(1) == y.numpy()) & (h.argmax(1) == y.numpy())
        whole, outputs = np.linalg.norm(e - other, axis=1) / np.linalg.norm(e, axis=1), np.linalg.norm(p - q, axis=1)
        pixelwise = np.linalg.norm((e - other) / np.where(e == 0, 1e-6, e), axis=1)
        values = (pixelwise / np.linalg.norm(logits - h, axis=1), whole, outputs, whole / np.maximum(outputs, 1e-6))
        for name, value in zip(NUMBERS, values, strict=True):
            rows[name].append(np.where(same, value, np.nan))
    found = output_stability(trained, some, sd=sd, seed=4)
    kept = ~np.isnan(found["ros"])
    assert 10 < kept.sum() < 30
    for name, reduce in zip(NUMBERS, (np.max, np.mean, np.mean, np.max), strict=True):
        assert found[name] == pytest.approx(reduce(rows[name], axis=0), rel=2e-2, nan_ok=True), name


def test_logits_twice_as_large_halve_the_relative_output_stability(fashion):
    images = decided(Squares(), fashion[:20])
    one, two = (output_stability(Squares(scale), images, sd=0.02, method="Vanilla") for scale in (1.0, 2.0))
    kept = ~np.isnan(one["ros"])
    assert kept.sum() > 10
    assert two["ros"][kept] == pytest.approx(one["ros"][kept] / 2, rel=1e-3)
    assert two["maps"][kept] == pytest.approx(one["maps"][kept], rel=1e-3)


def test_an_image_whose_class_changes_says_nothing(linear, fashion):
    model = linear(1, 28, 10)
    right = decided(model, fashion[:20])
    assert np.isnan(output_stability(model, type(right)(right.x, (right.y + 1) % 10, right.classes), sd=0.01)["ratio"]).all()
    far = output_stability(model, right, sd=1.0)
    assert 0 < np.isnan(far["ratio"]).sum() and (np.isnan(far["ros"]) == np.isnan(far["outputs"])).all()


def test_batches_and_order_change_nothing_and_the_store_keeps(trained, fashion, monkeypatch, tmp_path):
    some, store = fashion[:30], Store(tmp_path)
    expected = output_stability(trained, some, sd=0.02, store=store)
    again = output_stability(trained, some, sd=0.02, store=store)
    assert (store.computed, store.read) == (1, 1)
    assert all(np.array_equal(again[name], expected[name], equal_nan=True) for name in NUMBERS)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr("atviz.evidence.stable.BATCH", 7)
    found = output_stability(trained, some[order], sd=0.02)
    for name in NUMBERS:
        assert found[name] == pytest.approx(expected[name][order.numpy()], rel=2e-2, nan_ok=True), name


@pytest.mark.parametrize("sd", [0, -0.1, float("nan")])
def test_noise_that_is_none_is_refused(unused, fashion, sd):
    with pytest.raises(ValueError, match=f"sd is {sd}; it must be above 0"):
        output_stability(unused, fashion[:2], sd=sd)

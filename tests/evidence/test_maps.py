"""Numbers of saliency maps over a set of images: against the maps themselves."""

from functools import partial

import numpy as np
import pytest
import torch

from atviz import distortions, saliency
from atviz.evidence import Store, map_numbers, means, saliency_scores, similarities, stability


def test_saliency_scores_against_the_maps(tmp_path, trained, fashion, monkeypatch):
    store, some = Store(tmp_path), fashion[:30]
    x, y = some.x.float() / 255, some.y
    leaf = x.clone().requires_grad_()
    log_p = trained(leaf).log_softmax(1).gather(1, y[:, None]).sum()
    (maps,) = torch.autograd.grad(log_p, leaf)
    for size in (7, 100):
        monkeypatch.setattr("atviz.evidence.maps.BATCH", size)
        found = saliency_scores(trained, some, method="Grad")
        assert found.keys() == {"sparsity", "edges", "edges_object", "coarse", "bands"}
        assert found["coarse"] == pytest.approx(saliency.coarse_share(maps).numpy(), abs=1e-3)
        assert found["bands"] == pytest.approx(saliency.band_shares(maps, [2, 4, 8, float("inf")]).numpy(), abs=1e-3)
        assert found["sparsity"] == pytest.approx(saliency.gini(maps).numpy(), abs=1e-4)
        assert found["edges"] == pytest.approx(saliency.edge_agreement(maps, x).numpy(), abs=1e-3)
        assert found["edges_object"] == pytest.approx(saliency.edge_agreement(maps, x, blank=False).numpy(), abs=1e-3)
    first, again = (saliency_scores(trained, some, method="Grad", store=store) for _ in range(2))
    assert (store.computed, store.read) == (1, 1)
    assert all((first[name] == again[name]).all() and len(first[name]) == 30 for name in first)


def test_saliency_is_the_papers_smooth_grad_unless_another_method_is_named(tmp_path, trained, fashion):
    store, some = Store(tmp_path), fashion[:6]
    x, y = some.x.float() / 255, some.y
    smooth = saliency.smooth_grad(trained, x, y, n=7, sigma=0.1, score="log_prob")
    found = saliency_scores(trained, some, copies=7, store=store)
    assert found["sparsity"] == pytest.approx(saliency.gini(smooth).numpy(), abs=1e-5)
    vanilla = saliency_scores(trained, some, method="Vanilla", store=store)
    assert vanilla["sparsity"] == pytest.approx(saliency.gini(saliency.grad(trained, x, y, score="logit")).numpy(), abs=1e-5)
    saliency_scores(trained, some, copies=8, store=store)
    assert store.computed == 3  # each method and number of copies is a record of its own
    with pytest.raises(ValueError, match="unknown attribution method 'Gard'"):
        saliency_scores(trained, some, method="Gard")


def test_edges_of_the_object_leave_out_the_blank_ground():
    x = torch.zeros(1, 1, 12, 12)
    x[..., 4:8, 4:8] = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros_like(x)
    inside[..., 3:9, 3:9] = torch.rand(
        6, 6, generator=torch.Generator().manual_seed(1)
    )  # strong in the object, without regard to its edges
    assert saliency.edge_agreement(inside, x) > 0.6
    assert abs(saliency.edge_agreement(inside, x, blank=False)) < 0.4
    assert saliency.edge_agreement(inside, torch.zeros_like(x), blank=False) == 0


def test_stability_compares_each_map_with_that_of_the_distorted_image(tmp_path, trained, fashion):
    store, some, saturated = Store(tmp_path), fashion[:24], partial(distortions.saturate, level=1024)
    x, y = some.x.float() / 255, some.y
    expected = saliency.similarity(saliency.grad(trained, x, y), saliency.grad(trained, saturated(x), y))
    for _ in range(2):
        found = stability(trained, some, saturated, store=store)
        assert found["rank"] == pytest.approx(expected["rank"].numpy(), abs=1e-3)
        assert found["ssim"] == pytest.approx(expected["ssim"].numpy(), abs=1e-3)
    assert (store.computed, store.read) == (1, 1)
    same = stability(trained, some, partial(distortions.saturate, level=2.0), store=store)
    assert same["rank"] == pytest.approx(1) and same["ssim"] == pytest.approx(1)
    stability(trained, some, lambda x: 1 - x, store=store)
    assert store.computed == 2  # what is not known by name is not kept


def test_similarities_are_symmetric_and_image_by_image(trained, linear, fashion):
    some, other = fashion[:20], linear(1, 28, 10)
    found = similarities({"a": trained, "b": other, "c": trained}, some, method="Grad")
    x, y = some.x.float() / 255, some.y
    for measure, values in saliency.similarity(saliency.grad(trained, x, y), saliency.grad(other, x, y)).items():
        assert found[measure].shape == (20, 3, 3)
        assert found[measure][:, 0, 1] == pytest.approx(values.numpy(), abs=1e-3)
        matrix = found[measure].mean(0)
        assert matrix == pytest.approx(matrix.T) and matrix.diagonal() == pytest.approx([1, 1, 1])
        assert matrix[0, 2] == pytest.approx(1)
        assert matrix[0, 1] == pytest.approx(float(values.mean()), abs=1e-3)
        assert matrix[0, 1] < 0.9


def test_a_number_of_maps_needs_what_is_given():
    maps, x, mask = (torch.rand(4, channels, 12, 12, generator=torch.Generator().manual_seed(channels)) for channels in (3, 2, 1))
    found = map_numbers(maps, x=x, mask=mask[:, 0])
    regions = saliency.region_shares(maps, mask[:, 0])
    expected = {
        "sparsity": saliency.gini(maps), "edges": saliency.edge_agreement(maps, x), "coarse": saliency.coarse_share(maps),
        "edge": regions["edge"], "inside": regions["inside"],
    }  # fmt: skip
    assert found.keys() == expected.keys() and all(torch.equal(found[name], values) for name, values in expected.items())
    assert map_numbers(maps).keys() == {"sparsity", "coarse"}
    assert map_numbers(maps, x=x).keys() == {"sparsity", "coarse", "edges"}


def test_means_are_of_each_column_with_intervals():
    values = {"a": np.array([[0.0, 1], [1, 1], [2, 4]]), "b": np.zeros((2, 2))}
    rows = means(values, ["first", "second"], "band")
    assert rows.model.tolist() == ["a", "a", "b", "b"]
    assert rows.band.tolist() == ["first", "second"] * 2
    assert rows.value.tolist() == [1, 2, 0, 0]
    assert rows.ci_high[0] == pytest.approx(1 + 4.302653 / np.sqrt(3))  # t of two degrees of freedom
    assert rows.n.tolist() == [3, 3, 2, 2]

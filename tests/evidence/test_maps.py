"""Numbers of saliency maps over a set of images: against the maps themselves."""

from functools import partial

import numpy as np
import pytest
import torch

from atviz import distortions, saliency
from atviz.evidence import Store, map_numbers, means, saliency_scores, similarities, stability


def test_saliency_scores_against_the_maps(tmp_path, trained, fashion):
    store, some = Store(tmp_path), fashion[:30]
    x, y = some.x.float() / 255, some.y
    leaf = x.clone().requires_grad_()
    log_p = trained(leaf).log_softmax(1).gather(1, y[:, None]).sum()
    (maps,) = torch.autograd.grad(log_p, leaf)
    for batch_size in (7, 100):
        found = saliency_scores(trained, some, batch_size=batch_size)
        assert found.keys() == {"sparsity", "edges", "coarse", "bands"}
        assert found["coarse"] == pytest.approx(saliency.coarse_share(maps).numpy(), abs=1e-3)
        assert found["bands"] == pytest.approx(saliency.band_shares(maps, [2, 4, 8, float("inf")]).numpy(), abs=1e-3)
        assert found["sparsity"] == pytest.approx(saliency.gini(maps).numpy(), abs=1e-4)
        assert found["edges"] == pytest.approx(saliency.edge_agreement(maps, x).numpy(), abs=1e-3)
    first, again = (saliency_scores(trained, some, store=store) for _ in range(2))
    assert (store.computed, store.read) == (1, 1)
    assert all((first[name] == again[name]).all() and len(first[name]) == 30 for name in first)


def test_stability_compares_each_map_with_that_of_the_distorted_image(tmp_path, trained, fashion):
    store, some, saturated = Store(tmp_path), fashion[:24], partial(distortions.saturate, level=1024)
    x, y = some.x.float() / 255, some.y
    expected = saliency.similarity(saliency.grad(trained, x, y), saliency.grad(trained, saturated(x), y))
    for _ in range(2):
        found = stability(trained, some, saturated, batch_size=7, store=store)
        assert found["rank"] == pytest.approx(expected["rank"].numpy(), abs=1e-3)
        assert found["ssim"] == pytest.approx(expected["ssim"].numpy(), abs=1e-3)
    assert (store.computed, store.read) == (1, 1)
    same = stability(trained, some, partial(distortions.saturate, level=2.0), store=store)
    assert same["rank"] == pytest.approx(1) and same["ssim"] == pytest.approx(1)
    stability(trained, some, lambda x: 1 - x, store=store)
    assert store.computed == 2  # what is not known by name is not kept


def test_similarities_are_symmetric_means_over_the_images(trained, linear, fashion):
    some, other = fashion[:20], linear(1, 28, 10)
    found = similarities({"a": trained, "b": other, "c": trained}, some, batch_size=6)
    x, y = some.x.float() / 255, some.y
    for measure, values in saliency.similarity(saliency.grad(trained, x, y), saliency.grad(other, x, y)).items():
        matrix = found[measure]
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
    assert rows.ci_high[0] == pytest.approx(1 + 1.959964 / np.sqrt(3))
    assert rows.n.tolist() == [3, 3, 2, 2]

"""What the filters of each layer respond to: kept, the same for networks of one architecture, and means over filters."""

import numpy as np
import pytest
import torch

from atviz import models, saliency
from atviz.evidence import Features, Store, centroid_rows, deeper_half, layer_features

SHAPE = (1, 12, 12)


def small():
    torch.manual_seed(1)
    return models.build("small-w4", num_classes=3, in_channels=1, image_size=28, mean=[0.3], std=[0.35]).eval()


def test_layer_features_are_kept_and_are_those_of_maximize(tmp_path):
    model, store = small(), Store(tmp_path)
    found = layer_features(model, filters=6, shown=2, steps=3, shape=SHAPE, store=store)
    assert list(found) == saliency.convolutions(model)
    assert (store.computed, store.read) == (9, 0)
    again = layer_features(model, filters=6, shown=2, steps=3, shape=SHAPE, store=store)
    assert (store.computed, store.read) == (9, 9)
    for layer, f in found.items():
        channels = model.get_submodule(layer).out_channels
        assert len(set(f.filters)) == len(f.filters) == min(6, channels) and max(f.filters) < channels
        images = saliency.maximize(model, layer, f.filters, steps=3, shape=SHAPE)
        assert f.centroids == pytest.approx(saliency.spectral_centroid(images).numpy())
        assert f.images == pytest.approx(images[:2].numpy(), abs=0.5 / 255 + 1e-6)
        assert again[layer].filters == f.filters and (again[layer].centroids == f.centroids).all()
        assert torch.equal(again[layer].images, f.images)
    fewer = layer_features(model, filters=2, shown=2, steps=3, shape=SHAPE)
    assert all(fewer[layer].filters == f.filters[:2] for layer, f in found.items())
    other = layer_features(model, filters=6, shown=2, steps=3, seed=1, shape=SHAPE, store=store)
    assert store.computed == 18 and [f.filters for f in other.values()] != [f.filters for f in found.values()]


def test_rows_are_means_over_filters_and_the_deeper_half_is_the_last_layers():
    values = {"a": [0.0, 0.0], "b": [1.0, 3.0], "c": [5.0, 6.0, 10.0]}
    layers = {name: Features([], np.array(v), torch.empty(0)) for name, v in values.items()}
    rows = centroid_rows({"normal": layers, "other": {"a": layers["c"]}})
    assert rows.value.tolist() == pytest.approx([0, 2, 7, 7])
    assert rows.n.tolist() == [2, 2, 3, 3] and rows.flat.tolist() == [2, 0, 0, 0]
    assert rows.ci_high[1] - 2 == pytest.approx(12.706 * 2**0.5 / 2**0.5, rel=1e-3)  # t of one degree of freedom
    assert deeper_half(layers).tolist() == [1, 3, 5, 6, 10]
    assert deeper_half({k: layers[k] for k in "bc"}).tolist() == [5, 6, 10]


@pytest.mark.parametrize("wrong", [{"shown": 0}, {"filters": 0}])
def test_fewer_than_one_filter_is_refused(wrong):
    with pytest.raises(ValueError, match="both must be at least 1"):
        layer_features(small(), **wrong)

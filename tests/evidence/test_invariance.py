"""Every recorded number is the same for any batch size and any number of threads, and for any order of the images.

There are three exceptions. Distortions that draw random numbers, and the styles, draw image after image: an image has other numbers at another
place, and the order is not tested for them. Rounding differs between batch sizes, and may exchange two ranks of a map: a number of an
image may differ by 0.002. An attack in bfloat16 rounds so coarsely that an image may fall in one batch size and not in another; it is tested in
fp32.
"""

from functools import partial

import numpy as np
import pytest
import torch

from atviz import attacks, evidence
from atviz.evidence import instruments, maps
from atviz.evidence.instruments import MAPS, sliders

WAYS = {"batches of 1": {"batch": 1}, "batches of 7": {"batch": 7}, "two threads": {"threads": 2}, "another order": {"order": True}}
ORDER = torch.randperm(40, generator=torch.Generator().manual_seed(0))
every = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def few(fashion):
    return fashion[:40]


def changed(images, *, batch=None, threads=None, order=False):
    """The images, the batch size and the places of the images, as a way of `WAYS` says."""
    torch.set_num_threads(threads or 1)
    return images[ORDER] if order else images, batch or len(images), ORDER if order else slice(None)


@every
@pytest.mark.parametrize("name", [i.name for i in sliders()])
def test_predictions_under_every_distortion(trained, few, name, way):
    row = instruments.find(name)
    level = row.usable(few.shape)[len(row.usable(few.shape)) // 2]
    expected = evidence.outcomes({"": trained}, few, {name: [level]}, batch_size=len(few))
    images, batch, places = changed(few, **WAYS[way])
    found = evidence.outcomes({"": trained}, images, {name: [level]}, batch_size=batch)
    assert np.array_equal(found.clean[""], expected.clean[""][places])
    hits, known = found.distorted["", name, level], expected.distorted["", name, level]
    if way != "another order" or (row.draws is None and name != "stylize"):
        assert np.array_equal(hits, known[places])
    else:
        assert abs(hits.mean() - known.mean()) < 0.5


@every
def test_numbers_of_maps(trained, few, way, monkeypatch):
    expected = evidence.saliency_scores(trained, few, copies=4)
    maps._KEPT.clear()
    images, batch, places = changed(few, **WAYS[way])
    monkeypatch.setattr(maps, "BATCH", batch)
    found = evidence.saliency_scores(trained, images, copies=4)
    maps._KEPT.clear()
    assert found.keys() == expected.keys() and {row.number for row in instruments.named(MAPS).values() if not row.needs & {"mask"}} <= {
        *found
    }
    for name, values in found.items():
        # noise is drawn from an image's own pixels; one value of a rank may change its place by rounding
        assert np.allclose(values, expected[name][places], rtol=1e-4, atol=2e-3, equal_nan=True), name


@every
@pytest.mark.parametrize("name", ["pgd", "fgsm", "spatial"])
def test_robust_accuracy(trained, few, name, way):
    attack = {
        "pgd": partial(attacks.pgd, eps=0.05, step_size=0.02, steps=5), "fgsm": partial(attacks.fgsm, eps=0.03),
        "spatial": partial(attacks.spatial, steps=4),
    }[name]  # fmt: skip
    expected = evidence.robust_accuracy(trained, few, attack=attack, bf16=False, batch_size=len(few))["survived"]
    images, batch, places = changed(few, **WAYS[way])
    found = evidence.robust_accuracy(trained, images, attack=attack, bf16=False, batch_size=batch)["survived"]
    assert np.array_equal(found, expected[places])
    assert 0 < expected.sum() < len(few)

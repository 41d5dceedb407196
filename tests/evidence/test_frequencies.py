"""Frequency conflict: networks that see the low or the high frequencies alone, and the images against NumPy's own transform."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atviz.data import Images
from atviz.distortions import high_pass, low_pass
from atviz.evidence import Store, frequency_conflict
from atviz.evidence.frequencies import joined, partners

RADIUS, CLASSES, SIDE = 4, 4, 24


def gratings(frequency):
    """One for each class, in another direction, of so many cycles per image at least: (CLASSES, 1, SIDE, SIDE)."""
    place = torch.arange(SIDE) / SIDE
    directions = [(frequency, 0), (0, frequency), (frequency, frequency), (frequency, -frequency)]
    waves = [torch.sin(2 * math.pi * (v * place[:, None] + u * place)) for v, u in directions]
    return torch.stack(waves)[:, None]


LOW, HIGH = gratings(2), gratings(7)


@pytest.fixture(scope="module")
def drawn():
    """60 images of which a low and a high grating say the class, under a little noise."""
    y = torch.arange(60) % CLASSES
    x = 0.5 + 0.15 * LOW[y] + 0.15 * HIGH[y] + 0.02 * torch.randn(60, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return Images((x * 255).round().byte(), y, list("abcd"))


class Sees(nn.Module):
    """A network that sees what a filter leaves, and knows the class by one of the gratings."""

    def __init__(self, filtered, known):
        super().__init__()
        self.filtered, self.known = filtered, known

    def forward(self, x):
        return torch.einsum("nchw,kchw->nk", self.filtered(x, RADIUS), self.known)


@pytest.mark.parametrize(("filtered", "known", "low", "high"), [(low_pass, LOW, 1, 0), (high_pass, HIGH, 0, 1)], ids=["low", "high"])
def test_a_network_that_sees_half_of_the_frequencies_is_decided_by_them(drawn, filtered, known, low, high):
    found = frequency_conflict(Sees(filtered, known), drawn, radius=RADIUS)
    assert (found["low"], found["high"], found["low_bias"], found["n"]) == (low, high, low, 60)
    assert found["neither"] == pytest.approx(0)
    assert found["ci_low"] <= low <= found["ci_high"] and found["clipped"] == 0
    assert found["low_rank" if low else "high_rank"] == 1
    assert found["high_rank" if low else "low_rank"] < 0.6


def test_a_network_that_knows_other_classes_is_decided_by_neither(drawn):
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.tensor([0.0, 0, 0, 1, 2]).expand(len(x), -1)

    images = Images(drawn.x, drawn.y % 3, list("abcde"))
    found = frequency_conflict(Fixed(), images, radius=RADIUS)
    assert found["neither"] == 1 and math.isnan(found["low_bias"])


def test_images_are_joined_as_numpy_does(fashion):
    some = fashion[:12]
    found, classes, clipped = joined(some, 3, seed=5)
    other = partners(some.y, 5)
    assert torch.equal(classes, some.y[other]) and torch.equal(found.y, some.y)
    distance = np.hypot(*np.meshgrid(*[np.fft.fftfreq(28, 1 / 28)] * 2, indexing="ij"))
    spectra = np.fft.fft2(some.x.numpy() / 255)
    mixed = np.fft.ifft2(np.where(distance <= 3, spectra, spectra[other.numpy()])).real
    assert np.abs(found.x.numpy() / 255 - mixed.clip(0, 1)).max() <= 0.51 / 255
    assert clipped == pytest.approx(((mixed < -0.5 / 255) | (mixed > 1 + 0.5 / 255)).mean(), abs=1e-3) and clipped > 0.1


def test_a_radius_beyond_all_frequencies_leaves_the_images_as_they_are(fashion, trained, tmp_path):
    some, store = fashion[:40], Store(tmp_path)
    assert torch.equal(joined(some, 100)[0].x, some.x)
    found = frequency_conflict(trained, some, radius=100, store=store)
    with torch.no_grad():
        right = (trained(some.x.float() / 255).argmax(1) == some.y).float().mean()
    assert found["low"] == pytest.approx(float(right))
    assert frequency_conflict(trained, some, radius=100, store=store) == found and (store.computed, store.read) == (1, 1)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30).filter(lambda y: len(set(y)) > 1), st.integers(0, 100))
def test_partners_are_of_another_class(labels, seed):
    y = torch.tensor(labels)
    found = partners(y, seed)
    assert (y[found] != y).all()
    assert torch.equal(found, partners(y, seed))


def test_every_image_of_another_class_is_as_likely():
    y = torch.tensor([0, 1, 0, 2, 1, 0]).repeat(1)
    counts = np.zeros((6, 6))
    for seed in range(3000):
        counts[np.arange(6), partners(y, seed).numpy()] += 1
    allowed = (y[:, None] != y).numpy()
    expected = allowed / allowed.sum(1, keepdims=True)
    assert np.abs(counts / 3000 - expected).max() < 0.04
    assert (counts > 0).tolist() == allowed.tolist()


def test_what_cannot_be_joined_is_refused(fashion, unused):
    with pytest.raises(ValueError, match="all 2 images are of class 3"):
        frequency_conflict(unused, Images(fashion.x[:2], torch.tensor([3, 3]), fashion.classes), radius=4)
    with pytest.raises(ValueError, match="radius is -1"):
        frequency_conflict(unused, fashion[:9], radius=-1)

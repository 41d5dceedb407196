"""Constructed networks do not depend on what they cannot see."""

import pytest
import torch
from torch import nn

from atviz import distortions
from atviz.evidence import constructed


@pytest.fixture
def x():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_each_part_of_a_bag_of_features_sees_one_window(x):
    network = constructed.local(num_classes=8).eval()
    parts = network.network[:-1](network.normalize(x))  # evidence for each class at each place
    assert parts.shape[1] == 8
    x.requires_grad_()
    network.network[:-1](network.normalize(x))[0, :, 3, 5].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1 == constructed.WINDOW).all()


def test_the_logits_of_a_bag_of_features_are_means_over_the_windows(x):
    network = constructed.local(num_classes=8).eval()
    torch.testing.assert_close(network(x), network.network[:-1](network.normalize(x)).flatten(2).mean(2))
    rows = x.roll((0, 0, 6, 0), (0, 1, 2, 3))  # all windows but those across the seam are the same, at other places
    assert (network(rows) - network(x)).abs().max() < (network(x.flip(2)) - network(x)).abs().max()


def test_a_low_passed_network_sees_low_frequencies_alone(x):
    network = constructed.low_passed(nn.Sequential(nn.Flatten(), nn.Linear(3072, 8)))
    torch.testing.assert_close(network(distortions.low_pass(x, constructed.RADIUS)), network(x))
    assert (network(distortions.high_pass(x, constructed.RADIUS)) - network(torch.zeros_like(x))).abs().max() < 1e-5
    assert (network(x) - network.inner(x)).abs().max() > 0.01

"""Images, labels and models for attacks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F


@pytest.fixture
def batch(fashion):
    return fashion.x[:16].float() / 255, fashion.y[:16]


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def seeded():
    """seeded(seed): a generator."""
    return _seeded


@pytest.fixture
def images():
    """images(n, channels, side): random images with some pixels on the bounds."""
    return lambda n=6, channels=1, side=28: (torch.rand(n, channels, side, side, generator=_seeded()) * 1.4 - 0.2).clamp(0, 1)


@pytest.fixture
def loss():
    """loss(model, x, y): the cross-entropy of each image."""

    @torch.no_grad()
    def found(model, x, y):
        return F.cross_entropy(model(x), y, reduction="none")

    return found


@pytest.fixture
def as_model():
    """as_model(function): a model of any function of images."""

    class Function(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    return Function


@pytest.fixture
def unused(as_model):
    """A model that must not be called."""

    def fail(x):
        raise AssertionError("measured before it was refused")

    return as_model(fail)


@pytest.fixture
def size():
    """size(x_adv, x, norm): ‖x_adv − x‖ of each image, in double."""

    def found(x_adv, x, norm):
        delta = (x_adv.double() - x.double()).flatten(1)
        return delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)

    return found


@pytest.fixture
def fooled():
    """fooled(model, x, y): which images the model misclassifies."""

    @torch.no_grad()
    def found(model, x, y):
        return model(x).argmax(1) != y

    return found

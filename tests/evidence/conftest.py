"""Images, and models that say what they were asked."""

import pytest
import torch
from torch import nn

from atviz.data import shapetex


class _Counting(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, 0

    def forward(self, x):
        self.seen += len(x)
        return self.model(x)


class _Follows(nn.Module):
    def __init__(self, drawn, share):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(share))
        by_shape = torch.arange(len(drawn.shape)) < share * len(drawn.shape)
        labels = torch.where(by_shape, drawn.shape, drawn.texture)
        self.answers = {x.numpy().tobytes(): label for x, label in zip(drawn.images.x, labels, strict=True)}

    def forward(self, x):
        found = torch.stack([self.answers[image.numpy().tobytes()] for image in (x * 255).round().byte()])
        return nn.functional.one_hot(found, 8).float()


class _Unused(nn.Module):
    def forward(self, x):
        raise AssertionError("measured before it was refused")


@pytest.fixture
def images(fashion):
    return fashion[:150]


@pytest.fixture
def other(linear):
    """A second, worse model."""
    return linear(1, 28, 10, seed=3, scale=0.1)


@pytest.fixture
def counting():
    """counting(model): the model, with ``seen``, the number of images that it was given."""
    return _Counting


@pytest.fixture
def unused():
    """A model that must not be called."""
    return _Unused()


@pytest.fixture(scope="session")
def follows():
    """follows(drawn, share): a model that answers with the shape of a share of the drawn images, and with the texture of the others."""
    return _Follows


@pytest.fixture(scope="session")
def conflict():
    """200 drawn images whose shape and texture are of different classes."""
    return shapetex(200, cue="conflict", size=16)

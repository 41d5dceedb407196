"""Small backbones, the images of half of Fashion-MNIST at 16 pixels, and a fabric of one CPU."""

import pytest
import torch

from atviz import data, models, training


@pytest.fixture(scope="session")
def network():
    def make(seed, *, channels=1, classes=3):
        torch.manual_seed(seed)
        stats = dict(mean=[0.1 * seed] * channels, std=[0.5] * channels)
        return models.build("small-w4", num_classes=classes, in_channels=channels, image_size=16, **stats)

    return make


@pytest.fixture(scope="session")
def halves():
    """60 training and 50 test images of ``fashion-even``."""
    return data.load("fashion-even", "train", size=16, limit=60), data.load("fashion-even", "test", size=16, limit=50)


@pytest.fixture
def fabric():
    return training.make_fabric(accelerator="cpu", precision="32-true")

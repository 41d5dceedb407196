"""Random images, and AdaIN's networks in the published layout, with few channels and random weights."""

import pytest
import torch
from torch import nn

from atviz.distortions import initialize

VGG = [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512]
DEPTHS = {
    "relu3_1": (VGG[:7], [256, 128, "U", 128, 64, "U", 64, 3]),
    "relu4_1": (VGG[:12], [512, 256, "U", 256, 256, 256, 128, "U", 128, 64, "U", 64, 3]),
}


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def _images(n, c=3, h=28, w=28, seed=0, dtype=torch.float32):
    return torch.rand(n, c, h, w, generator=_seeded(seed), dtype=torch.float64).to(dtype)


def _encoder(plan=VGG, shrink=16):
    """The module list of the well-known port of VGG-19, channels divided: a 1×1 convolution, then (pad, convolution, ReLU) and max-pools."""
    layers, before = [nn.Conv2d(3, 3, 1)], 3
    for item in plan:
        if item == "M":
            layers.append(nn.MaxPool2d(2, 2, 0, ceil_mode=True))
        else:
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, item // shrink, 3), nn.ReLU()]
            before = item // shrink
    network = nn.Sequential(*layers)
    initialize(network)
    return network.eval()


def _decoder(plan, shrink=16):
    """Its decoder: ``U`` doubles; the last convolution has no ReLU."""
    layers, before = [], plan[0] // shrink
    for item in plan[1:]:
        if item == "U":
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        else:
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, item if item == 3 else item // shrink, 3), nn.ReLU()]
            before = item // shrink
    network = nn.Sequential(*layers[:-1])
    initialize(network)
    with torch.no_grad():  # pixels around the middle of [0, 1]
        network[-1].weight *= 0.1
        network[-1].bias.fill_(0.5)
    return network.eval()


@pytest.fixture(scope="session")
def seeded():
    """seeded(seed): a generator."""
    return _seeded


@pytest.fixture(scope="session")
def images():
    """images(n, c, h, w, seed, dtype): uniform in [0, 1]."""
    return _images


@pytest.fixture(scope="session")
def encoder():
    """encoder(plan): default the whole VGG-19."""
    return _encoder


@pytest.fixture(scope="session")
def decoder():
    """decoder(plan), the plan from the deepest layer on."""
    return _decoder


@pytest.fixture(params=DEPTHS)
def pair(request):
    """Encoder and decoder at both published depths."""
    plan, reverse = DEPTHS[request.param]
    return _encoder(plan), _decoder(reverse)


@pytest.fixture
def small_pair():
    """Encoder and decoder with one max-pool."""
    return _encoder([64, "M", 64]), _decoder([64, 64, "U", 3])

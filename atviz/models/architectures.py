"""Networks whose first layer normalizes: pixels in [0, 1] go in, logits come out."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from ..names import unknown
from .weights import fill


class Normalize(nn.Module):
    """(x − mean) / std per channel; ``mean`` and ``std`` are buffers, in [0, 1] units."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Standardize(nn.Module):
    """(x − mean) / max(std, 1/√d) of each image over its own d values, as tf.image.per_image_standardization."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        return (x - mean) / variance.clamp(min=1 / x[0].numel()).sqrt()


class ResNet(nn.Module):
    """He et al.'s residual network of any base width, with torchvision's blocks and parameter names.

    Stage i has ``blocks[i]`` blocks of ``width·2^i`` channels and, from the second on, halves the side. The small-image stem
    is one 3×3 convolution; the large one is ImageNet's 7×7, stride 2, with max-pooling.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], blocks: list[int], width: int, in_channels: int, num_classes: int, small_stem: bool
    ) -> None:
        super().__init__()
        stem = dict(kernel_size=3, padding=1) if small_stem else dict(kernel_size=7, stride=2, padding=3)
        self.conv1 = nn.Conv2d(in_channels, width, bias=False, **stem)  # type: ignore[arg-type]
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        channels = width
        self.stages = [f"layer{i + 1}" for i in range(len(blocks))]
        for i, (stage, count) in enumerate(zip(self.stages, blocks, strict=True)):
            layers: list[nn.Module] = []
            for j in range(count):
                stride, planes = (2 if i and not j else 1), width * 2**i
                shortcut = None
                if stride != 1 or channels != planes * block.expansion:
                    shortcut = nn.Sequential(conv1x1(channels, planes * block.expansion, stride), nn.BatchNorm2d(planes * block.expansion))
                layers.append(block(channels, planes, stride, shortcut))
                channels = planes * block.expansion
            self.add_module(stage, nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.apply(spread)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.fc(self.avgpool(x).flatten(1))


def spread(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class AlexNet(nn.Module):
    """AlexNet of any base width, each of its five convolutions followed by batch normalization and ReLU (Itazuri et al. 2019).

    Convolutions of 1, 3, 6, 4 and 4 times ``width`` channels and two fully connected layers of 64 times ``width``: at 64 they, their
    kernels, strides, pooling and dropout are those of torchvision's AlexNet. The small-image stem is one 3×3 convolution of stride 1;
    max-pooling then pads, so that 28 or 32 pixels leave a side of 4, to which larger images are averaged (the large stem: 6).
    The last layer is ``fc``, as a `ResNet`'s.
    """

    def __init__(self, width: int, in_channels: int, num_classes: int, small_stem: bool) -> None:
        super().__init__()
        first = (3, 1, 1) if small_stem else (11, 4, 2)
        layers: list[nn.Module] = []
        channels = in_channels
        # kernel, stride and padding of each convolution
        for i, (planes, shape) in enumerate([(1, first), (3, (5, 1, 2)), (6, (3, 1, 1)), (4, (3, 1, 1)), (4, (3, 1, 1))]):
            layers += [nn.Conv2d(channels, planes * width, *shape), nn.BatchNorm2d(planes * width), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, 2, int(small_stem))] if i in (0, 1, 4) else []
            channels = planes * width
        self.features = nn.Sequential(*layers)
        side, hidden = 4 if small_stem else 6, 64 * width
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(channels * side**2, hidden), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.fc = nn.Linear(hidden, num_classes)
        self.apply(spread)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.classifier(self.avgpool(self.features(x)).flatten(1)))


# name -> network of (width, in_channels, num_classes, small_stem), default base width
ARCHITECTURES: dict[str, tuple[Callable[[int, int, int, bool], nn.Module], int]] = {
    "small": (partial(ResNet, BasicBlock, [1, 1, 1]), 16),
    "resnet18": (partial(ResNet, BasicBlock, [2, 2, 2, 2]), 64),
    "resnet50": (partial(ResNet, Bottleneck, [3, 4, 6, 3]), 64),
    "resnet101": (partial(ResNet, Bottleneck, [3, 4, 23, 3]), 64),
    "alexnet_bn": (AlexNet, 64),
}


def parse(arch: str) -> tuple[Callable[[int, int, int, bool], nn.Module], int]:
    """How to make ``resnet18``, ``small-w32`` and the like, and the base width; ValueError for an unknown name."""
    match = re.fullmatch(r"(.+?)(?:-w([1-9]\d*))?", arch)
    name = match[1] if match else arch
    if not match or name not in ARCHITECTURES:
        hint = f"known are {', '.join(ARCHITECTURES)}, each also with a base width (resnet18-w16)"
        raise unknown("architecture", name, ARCHITECTURES, hint=hint)
    make, width = ARCHITECTURES[name]
    return make, int(match[2] or width)


def build(
    arch: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    small_stem: bool | None = None,
    standardize: bool = False,
) -> nn.Module:
    """Build a network that takes x (N, in_channels, H, W) in [0, 1] and returns logits (N, num_classes).

    Args:
        arch: ``small`` (three residual blocks, base width 16), ``resnet18``, ``resnet50``, ``resnet101``, ``alexnet_bn``; ``-wN`` sets
            the base width.
        image_size: up to 64 pixels the stem is one 3×3 convolution of stride 1 (of a ResNet without pooling), unless ``small_stem`` says otherwise.
        mean, std: the normalizing layer's, per channel, in [0, 1] units; default 0 and 1.
        weights: a safetensors file or state_dict to start from, or ``imagenet`` for torchvision's. A last layer made for
            another number of classes is left out, so that a new head is fitted.
        standardize: the first layer is `Standardize`, which has no use for ``mean`` and ``std``.

    Raises:
        ValueError: an unknown architecture, a mean or std of the wrong length or beside ``standardize``, or weights that do not fit.
        OSError: ImageNet weights that could not be downloaded.
    """
    make, width = parse(arch)
    if standardize and (mean is not None or std is not None):
        raise ValueError("mean and std are given, but standardize takes those of each image; give one or the other")
    mean, std = [0.0] * in_channels if mean is None else mean, [1.0] * in_channels if std is None else std
    if len(mean) != in_channels or len(std) != in_channels:
        raise ValueError(f"mean has {len(mean)} and std {len(std)} values for {in_channels} channels")
    stem = image_size <= 64 if small_stem is None else small_stem
    network = make(width, in_channels, num_classes, stem)
    model = nn.Sequential(OrderedDict(normalize=Standardize() if standardize else Normalize(mean, std), network=network))
    if weights is not None:
        fill(model, arch, weights)
    return model

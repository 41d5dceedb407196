"""Networks that cannot use a cue, by how they are made: what they see is known without training."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from .. import distortions, models

RADIUS = 4  # cycles per image that a network sees behind `LowPassed`
WINDOW = 9  # pixels: the side of what each part of a network by `local` sees


class LowPassed(nn.Module):
    """A first layer that removes the frequencies above `RADIUS` cycles per image: (N, C, H, W) → (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return distortions.low_pass(x, RADIUS)


class Average(nn.Module):
    """The mean over positions: (N, C, H, W) → (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def local(*, num_classes: int, in_channels: int = 3, mean: Any = None, std: Any = None, width: int = 32) -> nn.Module:
    """A bag of local features: logits (N, num_classes) are means over windows of 9 × 9 pixels, each of which is judged by itself.

    Where the windows lie changes nothing, so that it cannot see how parts are arranged.

    Source: Brendel & Bethge 2019 (BagNet), here at the scale of images of 32 pixels.
    """
    layers: list[nn.Module] = []
    widths = (in_channels, width, 2 * width, 2 * width, 2 * width)
    for i, (side, stride) in enumerate(((3, 1), (3, 2), (3, 1), (1, 1))):  # windows of 3, 5, 9 and 9 pixels
        layers += [nn.Conv2d(widths[i], widths[i + 1], side, stride, bias=False), nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
    normalize = models.Normalize([0.0] * in_channels if mean is None else mean, [1.0] * in_channels if std is None else std)
    head = [nn.Conv2d(widths[-1], num_classes, 1), Average()]
    return nn.Sequential(OrderedDict(normalize=normalize, network=nn.Sequential(*layers, *head)))


def low_passed(network: nn.Module) -> nn.Module:
    """The network behind `LowPassed`: nothing that it does depends on a frequency above `RADIUS`."""
    return nn.Sequential(OrderedDict(low_pass=LowPassed(), inner=network))

"""Late fusion: one or two pre-trained networks, joined before one new linear layer (Itazuri et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .. import models
from ..data import Images

JOINS = ("features", "logits")


class Fusion(nn.Module):
    """One or two pre-trained networks, the backbones, side by side before one new linear layer, the head.

    ``join="features"`` gives the head the input of each backbone's last layer; ``join="logits"`` gives the head each backbone's
    logits. ``frozen`` backbones stay in eval mode and get no gradient. The paper says neither which of the two is joined nor whether
    the backbones are frozen. The backbones are copies, and each keeps its own normalizing layer.

    Takes x (N, C, H, W) in [0, 1] to logits (N, num_classes).

    Raises:
        ValueError: no or more than two backbones, twice the same one, backbones for different numbers of channels, or one whose last
            layer is not a linear one named ``network.fc`` as in `models.build`; an unknown ``join``.
    """

    def __init__(self, backbones: Sequence[nn.Module], num_classes: int, *, join: str = "features", frozen: bool = False) -> None:
        super().__init__()
        check_join(join)
        if len(backbones) not in (1, 2):
            raise ValueError(f"there are {len(backbones)} backbones; one or two can be joined")
        if len({models.fingerprint(backbone) for backbone in backbones}) < len(backbones):
            raise ValueError("the two backbones are the same network; a pair needs two that were trained from different seeds")
        if len({channels(backbone) for backbone in backbones}) > 1:
            raise ValueError(
                f"the backbones take images of {channels(backbones[0])} and {channels(backbones[1])} channels; they must take the same"
            )
        self.frozen = frozen
        self.backbones = nn.ModuleList(map(deepcopy, backbones))
        width = 0
        for backbone in self.backbones:
            last = getattr(getattr(backbone, "network", None), "fc", None)
            if not isinstance(last, nn.Linear):
                raise ValueError(
                    f"a backbone's last layer, network.fc, is {type(last).__name__}; it must be Linear, as models.build makes it"
                )
            width += last.in_features if join == "features" else last.out_features
            if join == "features":
                backbone.network.fc = nn.Identity()  # type: ignore[union-attr]
        self.backbones.requires_grad_(not frozen)
        self.head = nn.Linear(width, num_classes, device=next(self.backbones.parameters()).device)
        self.train()

    def train(self, mode: bool = True) -> Fusion:
        super().train(mode)
        if self.frozen:
            self.backbones.eval()
        return self

    def joined(self, x: Tensor) -> Tensor:
        """What the head gets: (N, sum of the backbones' widths)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return torch.cat([backbone(x) for backbone in self.backbones], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.joined(x))


def check_join(join: str) -> None:
    """ValueError unless ``join`` is one of `JOINS`."""
    if join not in JOINS:
        raise ValueError(f"join is {join!r}; it must be {' or '.join(JOINS)}")


def channels(model: nn.Module) -> int:
    """The number of channels of the images that a network takes."""
    return next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))


class Features(Images):
    """What a frozen fusion joins, in place of images: ``x`` is (N, width) float32."""

    def __post_init__(self) -> None:
        pass

    def _shown(self, x: Tensor, *_: Any) -> Tensor:
        return x


def features(fusion: Fusion, images: Images) -> Features:
    """What the head of a fusion gets of each image, computed once, in eval mode and fp32."""
    device = fusion.head.weight.device
    with models.evaluating(fusion), torch.no_grad():
        x = torch.cat([fusion.joined(x) for x, _ in images.batches(500, device=device)])
    return Features(x, images.y.to(device), images.classes, images.name)


def recolored(images: Images, channels: int) -> Images:
    """Images for a network of 1 or 3 channels: gray is repeated, color becomes its luma, 0.299 R + 0.587 G + 0.114 B."""
    have = images.x.shape[1]
    if have == channels:
        return images
    if {have, channels} != {1, 3}:
        raise ValueError(f"{images.name} has {have} channels and the network takes {channels}; only 1 and 3 can be brought to each other")
    if images.x.is_meta:
        raise ValueError(f"{images.name} is too large to be held in memory, and is not brought from {have} to {channels} channels there")
    from torchvision.transforms.v2 import functional as F

    return replace(images, x=images.x.expand(-1, 3, -1, -1) if channels == 3 else F.rgb_to_grayscale(images.x))

"""A pickle that would run code, and a small network."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn


class Bomb:
    """Its pickle makes a folder where it is read without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    return Bomb(tmp_path / "went off")


class Small(nn.Module):
    """A convolution, batch normalization, dropout and a linear layer, with a normalizer and a constant that is no buffer."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4]).view(1, 1, 1, 1))
        self.scale = torch.full((3, 1, 1), 4.0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv((x - self.mean) * self.scale)).relu()
        return self.fc(self.drop(x.mean((2, 3))))


@pytest.fixture
def small() -> nn.Module:
    return Small().eval()

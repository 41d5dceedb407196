"""What is measured on: test images and the two networks of the zoo for a data set."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from atviz import data, models
from atviz.data import Images
from atviz.training import eval_eps


@dataclass
class Subject:
    """Images of a data set, and its normally and adversarially trained networks in the zoo."""

    dataset: str
    test: Images
    networks: dict[str, nn.Module]
    arch: str
    eps: float

    def shape(self, count: int) -> str:
        return f"{count} × {' × '.join(map(str, self.test.shape))}, {self.arch}"


def subject_of(dataset: str) -> Subject:
    """The zoo's networks of a data set with its test images."""
    zoo = models.checkpoints.zoo(dataset)
    eps = eval_eps(dataset)
    robust = max((name for name in zoo if name.startswith("pgd-inf")), key=lambda name: float(name.rpartition("-")[2]))
    networks = {"normal": models.load(zoo["normal"]).module, f"robust ({robust})": models.load(zoo[robust]).module}
    arch = models.checkpoints.read_card(zoo["normal"])["model"]["arch"]
    return Subject(dataset, data.load(dataset, "test"), networks, arch, eps)

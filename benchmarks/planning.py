"""Hours of a big study: operations that a training needs, counted, divided by what a device does of them each second.

The rate of a GPU is not measured here. It is taken from a published training of ResNet-50 on ImageNet in mixed precision on A100 GPUs:
2,470 images per second on one, 16,621 on eight (NVIDIA DeepLearningExamples, PyTorch ResNet50 v1.5, container 21.03).
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from atviz import models, saliency

from .maps import network
from .measure import best_of

ONE, EIGHT = 2470, 16_621  # images per second of ResNet-50 training, above
BETWEEN_NODES = 0.9  # assumed: what is left of the rate when nodes of eight work together
NARROW = 0.5  # assumed: a small network at 32 pixels keeps a GPU half as busy
DEVICES = (1, 8, 64)


@dataclass
class Job:
    """One network of a study: the passes of its training follow from the steps of its attack."""

    name: str
    arch: str
    classes: int
    side: int
    images: int
    epochs: int
    steps: int
    command: str

    @property
    def passes(self) -> float:
        """Forward passes that one image costs in an epoch: 2 for each gradient of the input (forward, and backward without weights), 3 for the
        step of training."""
        return 2 * self.steps + 3


CIFAR = "--dataset cifar10 --profile full --arch resnet18"
TINY = "--dataset tiny-imagenet:PATH --profile full --arch resnet18 --size 224 --weights imagenet"
IMAGENET = "--dataset imagenet:PATH --profile full --arch resnet50 --size 224"
JOBS = [
    Job("CIFAR-10, normal", "resnet18", 10, 32, 50_000, 30, 0, f"atviz train normal {CIFAR}"),
    Job("CIFAR-10, PGD-7", "resnet18", 10, 32, 50_000, 30, 7, f"atviz train pgd-inf-8 {CIFAR} --train-steps 7"),
    Job("Tiny ImageNet at 224, PGD-20, fine-tuned", "resnet18", 200, 224, 100_000, 21, 20, f"atviz train pgd-inf-8 {TINY}"),
    Job("ImageNet, FGSM", "resnet50", 1000, 224, 1_281_167, 90, 1, f"atviz train fgsm-0.005 {IMAGENET} --preset itazuri"),
    Job("ImageNet, PGD-7", "resnet50", 1000, 224, 1_281_167, 90, 7, f"atviz train pgd-inf-4 {IMAGENET} --epochs 90 --train-steps 7"),
]


def forward_flops(arch: str, side: int, classes: int) -> int:
    """Operations of one image's forward pass; a multiplication and an addition count as two."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        models.build(arch, num_classes=classes, image_size=side).eval()(torch.empty(1, 3, side, side))
    return counter.get_total_flops()


def rate(devices: int) -> float:
    """Operations per second of so many A100 GPUs on ResNet-50."""
    images = ONE if devices == 1 else EIGHT * devices / 8 * (1 if devices == 8 else BETWEEN_NODES)
    return images * 3 * forward_flops("resnet50", 224, 1000)


def own_rate() -> float:
    """Operations per second of this machine in the gradients of an attack on resnet18 at 32 pixels, measured now."""
    net, x = network("resnet18", 32), torch.rand(32, 3, 32, 32)
    y = torch.zeros(len(x), dtype=torch.int64)
    return 2 * len(x) * forward_flops("resnet18", 32, 10) / best_of(lambda: saliency.grad(net, x, y))


def hours() -> pd.DataFrame:
    """One row per job: operations, hours on this machine, and on 1, 8 and 64 GPUs."""
    rows, cpu_rate = [], own_rate()
    for job in JOBS:
        flops = job.passes * forward_flops(job.arch, job.side, job.classes) * job.images * job.epochs
        busy = NARROW if job.side == 32 else 1
        row = {
            "network": f"{job.name}, {job.arch}, {job.epochs} epochs",
            "PFLOP": flops / 1e15,
            "this machine (h)": flops / cpu_rate / 3600,
        }
        row |= {f"{n} GPU (h)": flops / rate(n) / busy / 3600 for n in DEVICES}
        rows.append(
            row
            | {"images/s on 1 GPU": rate(1) * busy / (job.passes * forward_flops(job.arch, job.side, job.classes)), "command": job.command}
        )
    return pd.DataFrame(rows)

"""What a measurement applies to: filters to convolutional networks, methods to networks that they read correctly."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from atviz import models
from atviz.evidence import Study, applicable, convolutional, usable
from atviz.models import Network, Networks


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, x):
        return self.head(x.flatten(1).relu())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: models.build("small-w4", num_classes=3), True),
        (lambda: models.build("alexnet_bn-w1", num_classes=3), True),
        (lambda: get_model("convnext_tiny"), True),
        (lambda: get_model("vit_b_32"), False),
        (lambda: nn.Linear(3, 3), False),
    ],
    ids=["resnet", "alexnet", "convnext", "vit", "linear"],
)
def test_a_convolutional_network_has_windows_that_overlap(make, expected):
    with torch.device("meta"):
        module = make()
    assert convolutional(module) == expected


def study_of(images, **modules):
    networks = [Network(name, module, images.classes, tuple(images.shape)) for name, module in modules.items()]
    return Study(Networks.of(networks, baseline=networks[0].name, subject=networks[1].name if networks[1:] else None), images)


def test_networks_without_filters_are_left_out_and_named(trained, fashion):
    study = study_of(fashion[:20], plain=Functional(), conv=trained, other=Functional())
    kept, sentence = applicable(study)
    assert list(kept.models) == ["conv"] and kept.alone
    assert sentence == "Left out: plain and other have no convolution whose windows overlap, so that there are no filters to look at."
    same, nothing = applicable(kept)
    assert same is kept and nothing == ""
    with pytest.raises(ValueError, match="plain has no convolution whose windows overlap"):
        applicable(replace(study, networks=Networks.of([study.networks["plain"]], baseline="plain")))


def test_methods_that_refuse_a_network_are_left_out_with_the_reason(trained, fashion):
    x, y = next(fashion[:2].batches(2))
    asked = ["Vanilla", "Guided Backprop", "Saliency"]
    assert usable(asked, {"net": trained}, x, y) == (asked, "")
    kept, sentence = usable(asked, {"net": trained, "mine": Functional()}, x, y)
    assert kept == ["Vanilla", "Saliency"]
    assert sentence == "Left out: Guided Backprop (guided backpropagation needs nn.ReLU modules, and Functional has none)."

import copy
import warnings

import pytest
import torch
from torch import nn

from atviz.attacks import warn_if_masked
from atviz.models import build


class Softmax(nn.Sequential):
    def __init__(self, model):
        super().__init__(model, nn.Softmax(1))


class Rounded(nn.Sequential):
    def forward(self, x):
        return super().forward((x * 4).round() / 4)


class Noisy(nn.Sequential):
    def forward(self, x):
        return super().forward(x + 0.3 * torch.randn_like(x))


class Saturated(nn.Sequential):
    def forward(self, x):
        return 1e4 * super().forward(x)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (Softmax, "softmax"),
        (Rounded, "gradient of 16 of 16 images is exactly zero"),
        (Noisy, "changes from call to call"),
        (Saturated, "exactly zero"),
    ],
)
def test_masked_gradients_are_warned_of(trained, batch, mask, sentence):
    with pytest.warns(UserWarning, match=f"may be false: .*{sentence}"):
        warn_if_masked(mask(trained), *batch)


def test_every_reason_is_named(trained, batch):
    with pytest.warns(UserWarning, match="softmax.*; .*changes from call to call"):
        warn_if_masked(Softmax(Noisy(trained)), *batch)


@pytest.mark.parametrize("training", [False, True])
def test_normal_model_raises_no_warning(trained, batch, training):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_masked(copy.deepcopy(trained).train(training), *batch)  # dropout and batch norm are off while it looks
        warn_if_masked(nn.Sequential(trained, nn.Dropout()).train(training), *batch)
        warn_if_masked(build("small-w4", num_classes=10, in_channels=1), *batch)

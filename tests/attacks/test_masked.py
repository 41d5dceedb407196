import copy
import warnings

import pytest
import torch
from torch import nn

from atviz.attacks import signs_of_masking, warn_if_masked
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


class Certain(nn.Sequential):
    def forward(self, x):
        return 100 * super().forward(x).softmax(1)


class Defending(nn.Sequential):
    """Changes an image so that its likeliest class becomes likelier, then classifies it."""

    def forward(self, x):
        with torch.enable_grad():
            changed = x.detach().clone().requires_grad_()
            loss = super().forward(changed).amax(1).sum()
            self.go_up(changed, loss)
        return super().forward(x + 0.01 * changed.grad)

    def go_up(self, x, loss):
        loss.backward(inputs=[x])


class DefendingByGrad(Defending):
    def go_up(self, x, loss):
        (x.grad,) = torch.autograd.grad(loss, x)


class DefendingByFunction(nn.Sequential):
    def forward(self, x):
        return super().forward(x + 0.01 * torch.func.grad(lambda z: super(DefendingByFunction, self).forward(z).amax(1).sum())(x.detach()))


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (Certain, r"its output is a probability \(a softmax\) times 100, not logits"),
        (Defending, "it computes gradients in its forward pass"),
        (DefendingByGrad, "it computes gradients in its forward pass"),
        (DefendingByFunction, "it computes gradients in its forward pass"),
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


def test_what_square_finds_and_too_few_classes_are_named(trained, batch, linear, images):
    few = signs_of_masking(linear(1, 28, 3), *images_of(images(10)), targeted=True)
    assert few == ["it has 3 classes, and the targeted DLR loss needs 4"]
    assert signs_of_masking(linear(1, 28, 3), *images_of(images(10))) == signs_of_masking(trained, *batch, targeted=True) == []
    assert signs_of_masking(trained, *batch, by_square=1) == []  # may be chance
    (found,) = signs_of_masking(trained, *batch, by_square=2)
    assert found == "the Square attack, without gradients, misled it on 2 of 16 images that gradient attacks left"


def images_of(x):
    return x, torch.arange(len(x)) % 3


@pytest.mark.parametrize("training", [False, True])
def test_normal_model_raises_no_warning(trained, batch, training):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_masked(copy.deepcopy(trained).train(training), *batch)  # dropout and batch norm are off while it looks
        warn_if_masked(nn.Sequential(trained, nn.Dropout()).train(training), *batch)
        warn_if_masked(build("small-w4", num_classes=10, in_channels=1), *batch)

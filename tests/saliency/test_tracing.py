"""DeepLIFT and LRP on the copies that they work on: complete, by their closed forms, or refused in a sentence."""

import random
import warnings

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr._utils.lrp_rules import GammaRule
from torch import nn
from torch.nn import functional as F

from atviz import models, saliency
from atviz.saliency.attributions import BY_NAME

ARCHITECTURES = [
    ("small-w4", 16),
    ("resnet18-w4", 16),
    ("resnet50-w4", 16),
    ("alexnet_bn-w2", 28),
    ("resnet18-w4", 96),
    ("alexnet_bn-w2", 96),
]


def build(arch, side):
    """A network with biases, running statistics and a last layer that are not those of the start."""
    torch.manual_seed(3)
    model = models.build(arch, num_classes=3, image_size=side, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
    return model.eval()


def batch(side, n=2):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(4)), torch.arange(n) % 3


def rise(model, x, y, base):
    with torch.no_grad():
        return (model(x) - model(base.expand_as(x[:1]))).gather(1, y[:, None])[:, 0]


class Concatenated(nn.Module):
    """Functional ReLUs, a ReLU in place that is used twice, pooling right after a ReLU, an addition beside a ReLU, and a concatenation."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(k, 4, 3, padding=1) for k in (3, 4, 8))
        self.relu, self.pool, self.mean, self.fc = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x):
        x = self.pool(self.relu(self.a(x)))
        x = self.b(x)
        x = F.relu(x + self.b(F.relu(x)))
        x = self.relu(self.c(torch.cat([x, self.b(x).relu()], 1)))
        return self.fc(self.mean(x).flatten(1))


class Untraceable(nn.Module):
    """Asks for a value, which torch.fx cannot know."""

    def __init__(self, relu):
        super().__init__()
        self.layer, self.relu, self.fc = nn.Linear(192, 32), relu, nn.Linear(32, 3)

    def forward(self, x):
        x = x if x.sum() > -1 else -x
        return self.fc(self.relu(self.layer(x.flatten(1))))


@pytest.fixture
def concatenated():
    torch.manual_seed(0)
    return Concatenated().eval()


@pytest.mark.parametrize(("arch", "side"), ARCHITECTURES)
def test_deep_lift_is_complete_on_every_architecture(arch, side):
    model, (x, y) = build(arch, side), batch(side)
    expected = rise(model, x, y, model.normalize.mean)
    maps = saliency.attribute("DeepLift", model, x, y)
    assert maps.sum((1, 2, 3)).tolist() == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-5)


def test_deep_lift_is_complete_where_captums_own_is_not(concatenated):
    """Captum loses what overlapping windows share, and what a functional ReLU does."""
    x, y = batch(12)
    expected = rise(concatenated, x, y, torch.zeros(3, 1, 1))
    assert saliency.attribute("DeepLift", concatenated, x, y).sum((1, 2, 3)).tolist() == pytest.approx(
        expected.tolist(), rel=1e-4, abs=1e-6
    )
    layers = [nn.Conv2d(3, 6, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3)]
    pooled = nn.Sequential(*layers).eval()
    expected = rise(pooled, x, y, torch.zeros(3, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum.attr.DeepLift(pooled).attribute(x.clone(), target=y).sum((1, 2, 3))
    assert (theirs - expected).abs().max() > 0.01 * expected.abs().max()
    assert saliency.attribute("DeepLift", pooled, x, y).sum((1, 2, 3)).tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("arch", "side"), ARCHITECTURES)
def test_lrp_with_the_epsilon_rule_is_the_normalized_image_times_its_gradient(arch, side):
    model, (x, y) = build(arch, side).double(), batch(side)
    x = x.double()
    expected = (x - model.normalize.mean) * saliency.grad(model, x, y, score="logit")
    found = saliency.attribute("LRP", model, x, y)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_lrp_sees_additions_concatenations_and_functional_relus(concatenated):
    model, (x, y) = concatenated.double(), batch(12)
    expected = x.double() * saliency.grad(model, x.double(), y, score="logit")
    assert (saliency.attribute("LRP", model, x.double(), y) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_rule_of_the_users_own_is_used_and_stays(concatenated):
    x, y = batch(12)
    plain = saliency.attribute("LRP", concatenated, x, y)
    concatenated.a.rule = rule = GammaRule(1.0)
    before = concatenated.a.weight.clone()
    assert not torch.allclose(saliency.attribute("LRP", concatenated, x, y), plain)
    assert concatenated.a.rule is rule and torch.equal(concatenated.a.weight, before)


def curved():
    return [nn.Flatten(), nn.Linear(192, 8), nn.GELU(), nn.Linear(8, 3)]


@pytest.mark.parametrize(
    ("method", "layers", "said"),
    [
        ("DeepLift", curved, "DeepLift would be wrong on this network"),
        ("DeepLiftShap", curved, "DeepLiftShap would be wrong"),
        ("LRP", curved, "LRP has no rule for a layer of Sequential"),
        ("DeepLift", lambda: [Untraceable(F.relu)], "DeepLift would be wrong on this network"),
        ("LRP", lambda: [Untraceable(nn.ReLU())], "torch.fx cannot trace Sequential"),
    ],
)
def test_a_network_that_it_would_be_wrong_on_is_refused(method, layers, said):
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(*layers()).eval(), batch(8)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.bias.data.normal_(std=2)  # units that change sides between black and the image
    with pytest.raises(ValueError, match=said) as caught:
        saliency.attribute(method, model, x, y)
    assert "\n" not in str(caught.value)


def test_lrp_refuses_a_call_that_it_does_not_see():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(192, 3)

        def forward(self, x):
            return self.fc((x * x).flatten(1))

    with pytest.raises(ValueError, match="LRP has no rule for the call of mul in Product"):
        saliency.attribute("LRP", Product(), *batch(8))


def test_deep_lift_goes_without_a_trace_where_it_is_complete():
    torch.manual_seed(0)
    model, (x, y) = Untraceable(nn.ReLU(inplace=True)).eval(), batch(8)
    expected = rise(model, x, y, torch.zeros(3, 1, 1))
    assert saliency.attribute("DeepLift", model, x, y).sum((1, 2, 3)).tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


# the maps of logits = W·x + b from black, pixel by pixel, or summed over patches
PATCHED = {"FeatureAblation": 8, "ShapleyValueSampling": 4, "ShapleyValues": 2, "KernelShap": 4, "Lime": 4}
PIXELS = ["InputXGradient", "IntegratedGradients", "DeepLift"]
WEIGHTS = ["Saliency", "NoiseTunnel", "Vanilla", "SmoothGrad", "Integrated"]


@pytest.mark.parametrize("method", [*PATCHED, *PIXELS, *WEIGHTS])
def test_a_linear_network_has_closed_forms(method, linear):
    model, (x, y) = linear(3, 16, 3), batch(16)
    weight = model.weight.detach()[y]
    expected = weight if method in WEIGHTS else weight * x
    if method in PATCHED:
        side = 16 // PATCHED[method]
        expected = F.avg_pool2d(expected.sum(1, keepdim=True), side, divisor_override=1)
        expected = expected.repeat_interleave(side, 2).repeat_interleave(side, 3).expand_as(x)
    torch.testing.assert_close(saliency.attribute(method, model, x, y), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["Deconvolution", "GuidedGradCam"])
def test_what_is_composed_here_is_captums(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 3)).eval()
    x, y = batch(15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "Deconvolution":
            theirs = captum.attr.Deconvolution(model).attribute(x.clone(), target=y)
        else:
            theirs = captum.attr.GuidedGradCam(model, model[3]).attribute(x.clone(), target=y, interpolate_mode="bilinear")
    torch.testing.assert_close(saliency.attribute(name, model, x, y), theirs.detach(), rtol=1e-4, atol=1e-7)


def test_captums_guided_backprop_misses_a_functional_relu():
    """Why `guided_backprop` is atviz's own: it refuses what captum gets wrong in silence."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.module, self.last = first, nn.ReLU(), last

        def forward(self, x):
            return self.last(F.relu(self.first(self.module(x))).flatten(1))

    x, y = batch(8)
    right = saliency.guided_backprop(nn.Sequential(nn.ReLU(), first, nn.ReLU(), nn.Flatten(), last), x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = captum.attr.GuidedBackprop(Functional()).attribute(x.clone(), target=y)
    assert (wrong - right).abs().max() > 0.1 * right.abs().max()
    with pytest.raises(ValueError, match="would miss the call of relu"):
        saliency.guided_backprop(Functional(), x, y)


@pytest.mark.parametrize("name", BY_NAME)
def test_no_hook_and_no_global_number_is_left_also_after_a_failure(name, mixed, untouched):
    x, y = torch.rand(2, 1, 12, 12), torch.tensor([0, 2])

    def fail(module, inputs, output):
        raise RuntimeError("inside the model")

    handle = mixed[0].network.layer2.register_forward_hook(fail)
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    with untouched(mixed), pytest.raises((RuntimeError, ValueError), match="inside the model"):
        saliency.attribute(name, mixed, x, y)
    handle.remove()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # noqa: NPY002
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or "forward" in vars(m) for m in mixed.modules())

"""Guided Backprop and Integrated Gradients: captum's own, linear models, and models that would be got wrong in silence."""

import warnings

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atviz import models, saliency


def network(*, inplace=False):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(inplace), nn.Conv2d(6, 6, 3), nn.ReLU(inplace), nn.Flatten(), nn.Linear(6 * 16, 4)]
    return nn.Sequential(*layers).eval()


class Shared(nn.Module):
    """The layers of `network`, but one ReLU module for both places."""

    def __init__(self, layers, *, inplace):
        super().__init__()
        self.layers, self.relu = nn.ModuleList([layers[0], layers[2], layers[5]]), nn.ReLU(inplace)

    def forward(self, x):
        return self.layers[2](self.relu(self.layers[1](self.relu(self.layers[0](x)))).flatten(1))


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(1)
    return torch.rand(5, 3, 8, 8, generator=draw), torch.tensor([0, 1, 2, 3, 1])


@pytest.fixture
def captums(batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return captum.attr.GuidedBackprop(network()).attribute(batch[0].clone(), target=batch[1])


@pytest.mark.parametrize("inplace", [False, True])
def test_guided_backprop_is_captums_also_in_place_and_with_one_module_for_all(batch, captums, inplace):
    for model in (network(inplace=inplace), Shared(network(), inplace=inplace)):
        torch.testing.assert_close(saliency.guided_backprop(model, *batch), captums)


def test_guided_backprop_by_hand():
    # x = (1, 2) → relu(x1 − x2) = 0, relu(x1 + x2) = 3 → −5·first + 2·second: only the active unit with a positive gradient passes
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        model[3].weight.copy_(torch.tensor([[-5.0, 2.0]]))
        x = torch.tensor([[0.5, 1.0]]).view(1, 2, 1, 1)
        assert saliency.guided_backprop(model, x, torch.tensor([0])).flatten().tolist() == [2.0, 2.0]
        model[3].weight.copy_(torch.tensor([[5.0, -2.0]]))  # the active unit's gradient is negative: nothing passes
        assert saliency.guided_backprop(model, x, torch.tensor([0])).flatten().tolist() == [0.0, 0.0]


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.module, self.linear, self.function = nn.ReLU(), nn.Linear(192, 4), function

    def forward(self, x):
        return self.linear(self.function(self.module(x)).flatten(1))


@pytest.mark.parametrize(
    "function", [F.relu, torch.relu, lambda t: t.relu(), lambda t: F.relu(t, inplace=True), lambda t: t.clone().relu_()]
)
def test_a_functional_relu_is_refused_by_name(batch, function):
    model = Functional(function)
    with pytest.raises(ValueError, match=r"would miss the call of relu_?; make it an nn.ReLU module"):
        saliency.guided_backprop(model, *batch)
    assert "forward" not in vars(model.module)
    model(batch[0])  # the rule is lifted again


def test_a_model_without_relu_is_refused(batch):
    with pytest.raises(ValueError, match="needs nn.ReLU modules, and Sequential has none"):
        saliency.guided_backprop(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), *batch)


@pytest.mark.parametrize("method", [saliency.guided_backprop, saliency.integrated_gradients])
def test_the_model_is_left_bit_identical(batch, method):
    model = models.build("small-w4", num_classes=4, image_size=8)
    model.network.layer1.train(False)
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    before = model.eval()(batch[0])
    model.train()
    model.network.layer1.train(False)
    method(model, *batch)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks or "forward" in vars(m) for m in model.modules())
    assert torch.equal(model.eval()(batch[0]), before)


def test_a_relu_that_has_a_forward_of_its_own_keeps_it(batch):
    model = models.build("small-w4", num_classes=4, image_size=8).eval()
    relu = next(m for m in model.modules() if isinstance(m, nn.ReLU))
    plain = saliency.guided_backprop(model, *batch)
    relu.forward = own = lambda x: x.clamp(min=0)
    assert torch.equal(saliency.guided_backprop(model, *batch), plain)
    assert relu.forward is own


@pytest.mark.parametrize("method", saliency.METHODS)
def test_the_model_is_left_alone_when_it_fails(batch, method, untouched):
    model = models.build("small-w4", num_classes=4, image_size=8).train()
    model.network.layer1.train(False)

    def fail(module, inputs, output):
        raise RuntimeError("inside the model")

    handle = model.network.layer2.register_forward_hook(fail)
    with untouched(model), pytest.raises(RuntimeError, match="inside the model"):
        saliency.METHODS[method](model, *batch)
    handle.remove()
    assert not any(m._forward_hooks or m._backward_hooks or "forward" in vars(m) for m in model.modules())
    alike = models.build("small-w4", num_classes=4, image_size=8)
    alike.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(batch[0]), alike.eval()(batch[0]))


def test_integrated_gradients_is_captums_left_riemann_sum_without_the_factor(batch):
    model, base = network(), torch.rand(1, 3, 8, 8)
    explainer = captum.attr.IntegratedGradients(model, multiply_by_inputs=False)
    expected = explainer.attribute(batch[0], baselines=base.expand(5, -1, -1, -1), target=batch[1], n_steps=50, method="riemann_left")
    torch.testing.assert_close(saliency.integrated_gradients(model, *batch, baseline=base), expected.float(), rtol=1e-4, atol=1e-6)


def test_integrated_gradients_of_a_linear_model_are_its_weights(linear):
    model, x = linear(3, 8, 4), torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(saliency.integrated_gradients(model, x, torch.arange(4), steps=7), model.weight.detach())


def test_the_baseline_is_zero_in_the_normalized_space(batch):
    seen = []
    model = models.build("small-w4", num_classes=4, image_size=8, mean=[0.2, 0.4, 0.6], std=[0.1, 0.2, 0.3])
    model.normalize.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    saliency.integrated_gradients(model, *batch, steps=3)
    # captum asks for all steps of the batch at once, the first step of every image first
    assert seen[0][: len(batch[0])].abs().max() == pytest.approx(0, abs=1e-6)
    assert sum(map(len, seen)) == 3 * len(batch[0])


def test_no_steps_are_refused(batch):
    with pytest.raises(ValueError, match="steps is 0"):
        saliency.integrated_gradients(network(), *batch, steps=0)

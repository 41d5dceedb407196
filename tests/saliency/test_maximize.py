"""First-layer filters, maximized features and their scale: against closed forms, a plain ascent, and sinusoids."""

import numpy as np
import pytest
import torch
from torch import nn

from atviz import models, saliency

SHAPE = (1, 28, 28)


def small(arch="small-w4", **changes):
    torch.manual_seed(1)
    return models.build(arch, **{"num_classes": 3, "in_channels": 1, "image_size": 28, "mean": [0.3], "std": [0.35]} | changes).eval()


class Backward(nn.Module):
    """Registers its convolutions in another order than it calls them, one of them twice and one not at all."""

    def __init__(self):
        super().__init__()
        self.last, self.unused, self.twice, self.first = (nn.Conv2d(i, 4, 3, padding=1) for i in (4, 4, 4, 3))
        self.fc = nn.Linear(4 * 64, 2)

    def forward(self, x):
        x = self.twice(self.twice(self.first(x)).relu()).relu()
        return self.fc(self.last(x).flatten(1))


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_convolutions_come_in_the_order_of_the_forward_pass():
    assert saliency.convolutions(Backward(), shape=(3, 8, 8)) == ["first", "twice", "last"]
    names = saliency.convolutions(small())
    assert names[:3] == ["network.conv1", "network.layer1.0.conv1", "network.layer1.0.conv2"]
    assert names[-1] == "network.layer3.0.downsample.0" and len(names) == 9


def test_first_layer_is_a_copy_of_the_filters():
    model = small(in_channels=3, mean=None, std=None)
    found = saliency.first_layer(model)
    assert torch.equal(found, model.network.conv1.weight)
    found.zero_()
    assert model.network.conv1.weight.abs().min() > 0
    backward = Backward()
    assert torch.equal(saliency.first_layer(backward, shape=(3, 8, 8)), backward.first.weight)


def test_effective_filters_are_those_of_the_fused_layer_and_forget_the_scale_of_the_weights():
    model = small()
    conv, bn = model.network.conv1, model.network.bn1
    with torch.no_grad():
        bn.weight.copy_(torch.tensor([1.5, -0.5, 2.0, 0.1]))
        bn.running_var.copy_(torch.tensor([4.0, 0.25, 9.0, 1.0]))
    before = saliency.effective_first_layer(model)
    assert before.abs() == pytest.approx(nn.utils.fuse_conv_bn_eval(conv, bn).weight.detach().abs().numpy(), rel=1e-5)
    with torch.no_grad():
        conv.weight.mul_(3)
        bn.running_var.mul_(9)
    assert saliency.effective_first_layer(model) == pytest.approx(before.numpy(), rel=1e-4)
    assert saliency.first_layer(model) == pytest.approx(
        3 * before.numpy() / torch.tensor([0.75, 1, 2 / 3, 0.1])[:, None, None, None].numpy(), rel=1e-4
    )
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    assert torch.equal(saliency.effective_first_layer(plain), plain[0].weight)


def test_the_start_is_faint_noise_around_the_mean_in_normalized_space():
    model = small()
    start = saliency.maximize(model, "network.conv1", range(4), steps=0, shape=SHAPE)
    z = (start - 0.3) / 0.35
    assert start.shape == (4, *SHAPE)
    assert 0.0099 < z.abs().max() <= 0.01 * (1 + 1e-4)
    assert z.std() == pytest.approx(0.01 / 3**0.5, rel=0.03)
    assert z.mean() == pytest.approx(0, abs=3 * 0.01 / 3**0.5 / z.numel() ** 0.5)


def test_a_linear_filter_moves_every_pixel_by_one_step_of_adam_and_a_relu_in_place_does_not_hide_it():
    conv = nn.Conv2d(1, 3, 1, bias=False)
    conv.weight.data = torch.tensor([-0.5, 2.0, 0.1]).view(3, 1, 1, 1)
    for mean, std, model in ((0.4, 0.2, nn.Sequential(models.Normalize([0.4], [0.2]), conv, nn.ReLU(inplace=True))), (0.5, 0.25, conv)):
        start = saliency.maximize(model, conv, [0, 1, 2], steps=0, shape=(1, 6, 7))
        found = saliency.maximize(model, conv, [0, 1, 2], steps=8, shape=(1, 6, 7))
        z = (start - mean) / std + 0.1 * 8 * conv.weight.detach().sign()
        assert found == pytest.approx((mean + std * z).numpy(), abs=1e-4)
        assert saliency.maximize(model, conv, 0, steps=60, shape=(1, 6, 7)).abs().max() == 0  # clamped


@pytest.mark.parametrize("layer", ["network.layer1.0.conv2", "network.layer3.0.downsample.0"])
def test_maximize_against_an_ascent_of_what_follows_the_normalizing_layer(layer):
    model = small(in_channels=3, mean=[0.3, 0.5, 0.6], std=[0.2, 0.25, 0.3]).double()
    mean, std = model.normalize.mean, model.normalize.std
    z = ((saliency.maximize(model, layer, 2, steps=0, shape=(3, 20, 24), seed=3) - mean) / std)[None].requires_grad_()
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, args, output: seen.append(output))
    adam = torch.optim.Adam([z], lr=0.1, weight_decay=1e-6)
    for _ in range(12):
        adam.zero_grad()
        model.network(z)
        (-seen.pop()[0, 2].sum()).backward()
        adam.step()
    handle.remove()
    expected = (mean + std * z.detach()[0]).clamp(0, 1)
    assert saliency.maximize(model, layer, 2, steps=12, shape=(3, 20, 24), seed=3) == pytest.approx(expected.numpy(), abs=1e-6)


def test_a_convolution_called_twice_counts_twice():
    model = Backward().double()
    start = saliency.maximize(model, "twice", 1, steps=0, shape=(3, 8, 8))
    z = ((start - 0.5) / 0.25)[None].requires_grad_()
    adam = torch.optim.Adam([z], lr=0.1, weight_decay=1e-6)
    for _ in range(5):
        once = model.twice(model.first(0.5 + 0.25 * z))
        (z.grad,) = torch.autograd.grad(-(once[0, 1].sum() + model.twice(once.relu())[0, 1].sum()), z)
        adam.step()
    expected = (0.5 + 0.25 * z.detach()[0]).clamp(0, 1)
    assert saliency.maximize(model, model.twice, 1, steps=5, shape=(3, 8, 8)) == pytest.approx(expected.numpy(), abs=1e-9)


def test_a_batch_is_its_filters_one_by_one(trained):
    model = trained.double()
    layer = "network.layer2.0.conv1"
    together = saliency.maximize(model, layer, [5, 0, 7], steps=15, shape=SHAPE)
    assert together.shape == (3, *SHAPE)
    for i, index in enumerate((5, 0, 7)):
        assert saliency.maximize(model, layer, index, steps=15, shape=SHAPE) == pytest.approx(together[i].numpy(), abs=1e-6)
    assert len({tuple(image.flatten().tolist()) for image in together}) == 3
    other = saliency.maximize(model, layer, 5, steps=15, shape=SHAPE, seed=1)
    assert (other - together[0]).abs().max() > 0.01


def test_every_filter_rises(trained):
    for layer in saliency.convolutions(trained):
        seen = []
        handle = trained.get_submodule(layer).register_forward_hook(lambda module, args, output, seen=seen: seen.append(output.sum((2, 3))))
        sums = []
        for steps in (0, 30):
            images = saliency.maximize(trained, layer, range(4), steps=steps, shape=SHAPE)
            assert 0 <= images.min() <= images.max() <= 1
            trained(images)
            sums.append(seen.pop().diagonal())
        handle.remove()
        assert (sums[1] > sums[0]).all(), layer


def test_the_model_is_left_as_it_was_also_after_an_exception(mixed, untouched, monkeypatch):
    layer = "0.network.layer2.0.conv2"
    with untouched(mixed), torch.no_grad():
        saliency.maximize(mixed, layer, [0, 1], steps=2)
        saliency.effective_first_layer(mixed)
        assert not torch.is_grad_enabled()
    assert hooks(mixed) == 0
    calls = []

    def broken(x):
        calls.append(x)
        if len(calls) > 3:
            raise RuntimeError("broken")
        return x

    with untouched(mixed), monkeypatch.context() as patch:
        patch.setattr(mixed[1], "forward", broken)
        with pytest.raises(RuntimeError, match="broken"):
            saliency.maximize(mixed, layer, 0, steps=9)
    assert len(calls) == 4 and hooks(mixed) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("network.conv9", 0), r"'network.conv9'; it must be a convolution of the network: network.conv1, "),
        (("network.bn1", 0), "'network.bn1'; it must be a convolution"),
        ((nn.Conv2d(1, 1, 1), 0), "it must be a convolution of the network"),
        (("network.conv1", 4), "filter is 4; network.conv1 has filters 0 to 3"),
        (("network.conv1", [1, -1]), "filter is -1"),
        (("network.conv1", []), r"filter is \[\]"),
    ],
)
def test_what_cannot_be_maximized_is_said_in_one_sentence(arguments, said):
    with pytest.raises(ValueError, match=said):
        saliency.maximize(small(), *arguments)


def test_other_wrong_input_is_refused():
    with pytest.raises(ValueError, match="steps is -1"):
        saliency.maximize(small(), "network.conv1", 0, steps=-1)
    with pytest.raises(ValueError, match="unused is not called"):
        saliency.maximize(Backward(), "unused", 0, shape=(3, 8, 8))
    with pytest.raises(ValueError, match=r"does not take an image of shape \(3, 9, 9\)"):
        saliency.convolutions(Backward(), shape=(3, 9, 9))
    with pytest.raises(ValueError, match=r"shape is \(28, 28\); it must be"):
        saliency.first_layer(small(), shape=(28, 28))
    with pytest.raises(ValueError, match="Linear has no convolution"):
        saliency.convolutions(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"not \(3, 3\)"):
        saliency.spectral_centroid(torch.rand(3, 3))


def test_centroid_of_sinusoids_is_their_frequency():
    v, u = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")

    def wave(a, b, phase=0.4):
        return torch.cos(2 * torch.pi * (a * v / 24 + b * u / 32) + phase)

    one = torch.stack([wave(3, 4), wave(-6, 8), wave(0, 16, 0), torch.full_like(v, 0.7)])[:, None] + 0.3
    assert saliency.spectral_centroid(one).tolist() == pytest.approx([5, 10, 16, 0], abs=1e-5)
    # energies 4 : 1, and the channels' means do not count
    mixed = torch.stack([2 * wave(3, 4), wave(0, 12) + 7])[None]
    assert saliency.spectral_centroid(mixed).tolist() == pytest.approx([(4 * 5 + 12) / 5], abs=1e-5)
    assert saliency.spectral_centroid(5 * one + 2).tolist() == pytest.approx([5, 10, 16, 0], abs=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (17, 40)])
def test_centroid_of_white_noise_is_the_mean_radius_of_all_modes(size):
    h, w = size
    radii = [np.hypot(min(v, h - v), min(u, w - u)) for v in range(h) for u in range(w) if v or u]
    assert saliency.white_noise_centroid(h, w) == pytest.approx(np.mean(radii), rel=1e-6)
    drawn = saliency.spectral_centroid(torch.rand(400, 1, h, w))
    assert float(drawn.mean()) == pytest.approx(np.mean(radii), abs=4 * float(drawn.std()) / 20)
    assert float(drawn.std()) < 0.05 * np.mean(radii)

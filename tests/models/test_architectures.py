"""Architectures: shapes, the normalizing first layer, and torchvision's networks as the reference."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from atviz import models


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("arch", "channels", "size", "classes"),
    [
        ("small", 1, 28, 10),
        ("small-w4", 3, 17, 2),
        ("small-w4", 1, 8, 1),
        ("small-w4", 2, 96, 5),
        ("resnet18-w16", 3, 32, 10),
        ("resnet18-w4", 1, 64, 7),
        ("resnet50-w4", 3, 32, 10),
        ("resnet101-w2", 3, 65, 4),
        ("alexnet_bn-w2", 1, 28, 10),
        ("alexnet_bn-w2", 3, 32, 2),
        ("alexnet_bn-w2", 3, 64, 6),
        ("alexnet_bn-w2", 3, 224, 5),
    ],
)
def test_logits_have_one_column_per_class(arch, channels, size, classes):
    model = models.build(arch, num_classes=classes, in_channels=channels, image_size=size).eval()
    logits = model(image(3, channels, size, size))
    assert logits.shape == (3, classes) and logits.isfinite().all()
    assert not torch.allclose(logits[0], logits[1])  # the logits depend on the image


@pytest.mark.parametrize(("arch", "side"), [("resnet18", 64), ("resnet50", 224), ("resnet101", 64)])
def test_large_network_is_torchvisions(arch, side, monkeypatch):
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda tensor, **options: tensor)  # slow, and overwritten below
    oracle = torchvision.models.get_model(arch, num_classes=11).eval()
    for name, buffer in oracle.named_buffers():  # fresh statistics would hide a swapped batch norm
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    model = models.build(arch, num_classes=11, small_stem=False, mean=mean, std=std).eval()
    assert list(model.network.state_dict()) == list(oracle.state_dict())
    model.network.load_state_dict(oracle.state_dict())
    x = image(2, 3, side, side)
    normalized = torchvision.transforms.functional.normalize(x, mean, std)
    torch.testing.assert_close(model(x), oracle(normalized))


def test_alexnet_is_torchvisions_with_batch_normalization():
    oracle = torchvision.models.alexnet(num_classes=11).eval()
    layers = [[layer, nn.BatchNorm2d(layer.out_channels)] if isinstance(layer, nn.Conv2d) else [layer] for layer in oracle.features]
    oracle.features = nn.Sequential(*[layer for pair in layers for layer in pair]).eval()
    for norm in [layer for layer in oracle.features if isinstance(layer, nn.BatchNorm2d)]:
        for tensor in [*norm.parameters(), norm.running_mean, norm.running_var]:
            nn.init.uniform_(tensor, 0.5, 1.5)
    model = models.build("alexnet_bn", num_classes=11, image_size=224).eval()
    # 61.1 million parameters with 1,000 classes, and two for each channel that is normalized
    known = 61_100_840 + 2 * (64 + 192 + 384 + 256 + 256) - 4097 * (1000 - 11)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in oracle.parameters()) == known
    model.network.load_state_dict({name.replace("classifier.6", "fc"): tensor for name, tensor in oracle.state_dict().items()})
    x = image(2, 3, 224, 224)
    torch.testing.assert_close(model(x), oracle(x))


def test_small_alexnet_keeps_the_side_until_it_pools():
    model = models.build("alexnet_bn-w4", num_classes=3, in_channels=1, image_size=28).network
    sides = [x.shape[-1] for x in passed(model.features, image(1, 1, 28, 28), nn.Conv2d)]
    assert sides == [28, 14, 7, 7, 7]
    assert model.features(image(1, 1, 28, 28)).shape == (1, 16, 4, 4)
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [256, 256, 3]


def passed(layers, x, kind):
    for layer in layers:
        x = layer(x)
        if isinstance(layer, kind):
            yield x


def test_base_width_scales_every_layer():
    wide, narrow = (models.build(f"resnet18-w{w}", num_classes=3, in_channels=1) for w in (16, 8))
    assert [m.out_channels for m in wide.modules() if isinstance(m, nn.Conv2d)] == [
        2 * m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)
    ]
    assert wide.network.conv1.out_channels == 16
    assert models.build("resnet18", num_classes=3).network.conv1.out_channels == 64


def sides(model, x):
    """The side after the stem and after each of the first three stages."""
    found = {}
    for name in ["conv1", "layer1", "layer2", "layer3"]:
        model.network.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: found.update({name: o.shape[-1]}))
    model.eval()(x)
    return list(found.values())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(image_size=32), [32, 32, 16, 8]),
        (dict(image_size=64), [32, 32, 16, 8]),
        (dict(image_size=65), [16, 8, 4, 2]),
        (dict(image_size=224, small_stem=True), [32, 32, 16, 8]),
        (dict(image_size=32, small_stem=False), [16, 8, 4, 2]),
    ],
)
def test_small_image_stem_keeps_the_side(options, expected):
    model = models.build("resnet18-w4", num_classes=2, **options)
    assert sides(model, image(1, 3, 32, 32)) == expected
    pools = [m for m in model.modules() if isinstance(m, nn.MaxPool2d)]
    assert bool(pools) == (expected[0] == 16)


def test_normalization_is_the_first_layer():
    mean, std = [0.2, 0.5], [0.25, 2.0]
    model = models.build("small-w4", num_classes=3, in_channels=2, mean=mean, std=std).eval()
    x = image(2, 2, 16, 16)
    by_hand = (x - torch.tensor(mean).view(1, 2, 1, 1)) / torch.tensor(std).view(1, 2, 1, 1)
    torch.testing.assert_close(next(model.children())(x), by_hand)
    torch.testing.assert_close(model(x), model.network(by_hand))
    assert {"normalize.mean", "normalize.std"} <= model.state_dict().keys()  # they travel with the weights
    assert not {"normalize.mean", "normalize.std"} & dict(model.named_parameters()).keys()  # and are not trained


@pytest.mark.parametrize(
    ("arch", "hint"),
    [("resnet81", "resnet18"), ("resnet-18", "resnet18"), ("smal", "small"), ("resnet18-w0", "resnet18"), ("vit", "known are")],
)
def test_unknown_architecture_is_refused_with_the_nearest(arch, hint):
    with pytest.raises(ValueError, match="unknown architecture") as error:
        models.build(arch, num_classes=2)
    assert repr(arch) in str(error.value) and hint in str(error.value)


@pytest.mark.parametrize("stats", [dict(mean=[0.5]), dict(std=[0.5] * 4), dict(mean=[0.5] * 3, std=[])])
def test_statistics_of_other_channels_are_refused(stats):
    with pytest.raises(ValueError, match="for 3 channels"):
        models.build("small-w4", num_classes=2, **stats)


def test_standardize_is_tensorflows_formula():
    x = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    x[1] = 0.3  # its standard deviation is 0, so 1/√d is used
    x[2] = 0.5 + (x[2] - 0.5) * 1e-3
    d = x.numpy().astype(np.float64).reshape(4, -1)
    expected = (d - d.mean(1, keepdims=True)) / np.maximum(d.std(1, keepdims=True), 1 / np.sqrt(d.shape[1]))
    found = models.Standardize()(x)
    np.testing.assert_allclose(found.numpy().reshape(4, -1), expected, atol=1e-5)
    x.requires_grad_()
    assert torch.autograd.grad(models.Standardize()(x).square().sum(), x)[0].isfinite().all()


def test_a_standardizing_network_sees_neither_brightness_nor_contrast():
    model = models.build("small-w4", num_classes=5, standardize=True).eval()
    x = 0.2 + 0.3 * torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(model(1.5 * x + 0.1), model(x), atol=1e-4, rtol=1e-3)
    assert not any(name.startswith("normalize") for name in model.state_dict())
    with pytest.raises(ValueError, match="mean and std are given, but standardize"):
        models.build("small-w4", num_classes=5, standardize=True, mean=[0.5] * 3)

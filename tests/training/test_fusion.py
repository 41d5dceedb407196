"""Fusion: what is frozen stays as it was, and what is joined is what the definition says."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from atviz import data, models, training
from atviz.training.fusion import features

QUICK = replace(training.RECIPE, epochs=2, batch_size=20, lr=0.05, milestones=(1,))


@pytest.fixture
def pair(network):
    return [network(1), network(2)]


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(before, after):
    return {name: torch.equal(before[name], after[name]) for name in before}


@pytest.mark.parametrize("join", training.JOINS)
def test_a_fusion_is_one_linear_layer_over_the_backbones_outputs(pair, join):
    fusion = training.Fusion(pair, 5, join=join).eval()
    x = torch.rand(4, 1, 16, 16)
    seen = []
    for backbone in pair:
        handle = backbone.network.fc.register_forward_hook(lambda _, given, out: seen.append(given[0] if join == "features" else out))
        backbone.eval()(x)
        handle.remove()
    both = torch.cat(seen, 1)
    assert both.shape[1] == (32 if join == "features" else 6)
    assert torch.allclose(fusion(x), both @ fusion.head.weight.T + fusion.head.bias, atol=1e-5)
    assert fusion(x).shape == (4, 5)


def test_each_backbone_keeps_its_own_normalizing_layer_and_the_given_ones_stay_whole(pair):
    before = [state(backbone) for backbone in pair]
    fusion = training.Fusion(pair, 5)
    assert [float(backbone.normalize.mean) for backbone in fusion.backbones] == pytest.approx([0.1, 0.2])
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(1)
    assert all(all(same(b, backbone.state_dict()).values()) for b, backbone in zip(before, pair, strict=True))
    assert isinstance(pair[0].network.fc, nn.Linear)


def test_gradient_reaches_both_backbones_unless_they_are_frozen(pair):
    x, y = torch.rand(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    for frozen in (False, True):
        fusion = training.Fusion(pair, 3, frozen=frozen).train()
        nn.functional.cross_entropy(fusion(x), y).backward()
        for backbone in fusion.backbones:
            grads = [parameter.grad for parameter in backbone.parameters()]
            assert all(grad is None for grad in grads) if frozen else all(grad is not None and grad.abs().sum() > 0 for grad in grads)
        assert fusion.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("frozen", [False, True])
def test_what_fitting_changes(pair, halves, fabric, frozen):
    fusion = training.Fusion(pair, 5, frozen=frozen)
    before = state(fusion)
    training.fit(fusion, QUICK, *halves, fabric=fabric)
    changed = {name for name, equal in same(before, fusion.state_dict()).items() if not equal}
    heads = {"head.weight", "head.bias"}
    assert changed == heads if frozen else changed == {name for name in before if "normalize" not in name}


@pytest.mark.parametrize("join", training.JOINS)
def test_features_computed_once_train_the_head_that_images_do(pair, halves, fabric, join):
    shown, test = halves
    torch.manual_seed(5)
    slow = training.Fusion(pair, 5, join=join, frozen=True)
    torch.manual_seed(5)
    fast = training.Fusion(pair, 5, join=join, frozen=True)
    start = state(fast.head)
    a = training.fit(slow, QUICK, shown, test, seed=3, fabric=fabric)
    b = training.fit(fast.head, QUICK, features(fast, shown), features(fast, test), seed=3, fabric=fabric)
    assert not torch.allclose(start["weight"], fast.head.weight, atol=1e-3)
    assert torch.allclose(slow.head.weight, fast.head.weight, atol=1e-4)
    assert [row["loss"] for row in a["history"]] == pytest.approx([row["loss"] for row in b["history"]], rel=1e-4)
    hits = [models.predict(slow, test.batches(50)), models.predict(fast.head, features(fast, test).batches(7))]
    assert torch.equal(*hits)


@pytest.mark.parametrize(
    ("backbones", "options", "said"),
    [
        (lambda network: [], {}, "there are 0 backbones; one or two"),
        (lambda network: [network(1), network(2), network(3)], {}, "there are 3 backbones"),
        (lambda network: [network(1), network(1)], {}, "the two backbones are the same network"),
        (lambda network: [network(1), network(2, channels=3)], {}, "images of 1 and 3 channels"),
        (lambda network: [nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())], {}, "network.fc, is NoneType; it must be Linear"),
        (lambda network: [network(1)], {"join": "images"}, "join is 'images'; it must be features or logits"),
    ],
)
def test_what_cannot_be_joined_is_refused(backbones, options, said, network):
    with pytest.raises(ValueError, match=said):
        training.Fusion(backbones(network), 3, **options)


def test_gray_images_for_color_networks_and_the_reverse(halves, fabric, network):
    gray = halves[0]
    color = training.recolored(gray, 3)
    assert torch.equal(color.x, gray.x.repeat(1, 3, 1, 1))
    assert (training.recolored(color, 1).x.int() - gray.x.int()).abs().max() <= 1  # the luma's weights sum to 0.9999
    red = data.Images(torch.tensor([200, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), torch.tensor([0]), ["red"])
    assert training.recolored(red, 1).x.item() == pytest.approx(0.299 * 200, abs=1)
    with pytest.raises(ValueError, match="has 1 channels and the network takes 4; only 1 and 3"):
        training.recolored(gray, 4)
    colored = {"STD": [network(1, channels=3), network(2, channels=3)]}
    assert training.transfer(colored, *halves, QUICK, runs=1, fabric=fabric).outcomes["STD"].shape == (1, 50)

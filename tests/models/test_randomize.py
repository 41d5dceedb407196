"""Cascading randomization: one more layer is drawn anew in each copy, from the last layer down."""

import itertools

import pytest
import torch
from torch import nn

from atviz import models


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def changed(a, b):
    """The parameters and buffers in which two models differ."""
    return {name for name, tensor in a.state_dict().items() if not torch.equal(tensor, b.state_dict()[name])}


PLAIN = nn.Sequential(
    nn.BatchNorm2d(1, affine=False), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False),
    nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3),
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (models.build("small-w4", num_classes=3), ["fc", "layer3.0", "layer2.0", "layer1.0", "conv1"]),
        (
            models.build("resnet50-w2", num_classes=3),
            ["fc", *(f"layer{i}.{j}" for i, n in ((4, 3), (3, 6), (2, 4), (1, 3)) for j in reversed(range(n))), "conv1"],
        ),
        (PLAIN, ["10", "8", "4", "1", "0"]),
    ],
)
def test_each_copy_has_one_more_layer_drawn_anew_from_the_last_down(model, layers, untouched):
    for tensor in [*model.eval().parameters(), *model.buffers()]:
        tensor.data = tensor.data + 3
    with untouched(model):
        copies = list(models.randomized(model, seed=1))
    assert [name for name, _ in copies] == layers
    before = set()
    for name, copy in copies:
        new = changed(copy, model) - before
        inside = f"network.{name}." if hasattr(model, "network") else f"{name}."
        norm = {"network.conv1.": "network.bn1.", "1.": "2.", "4.": "5."}.get(inside, inside)
        # the layer with its batch norms, to the last tensor, and nothing below it; what was drawn above stays
        assert new == {
            key for key in model.state_dict() if key.startswith((inside, norm)) and not key.endswith(("normalize.mean", "normalize.std"))
        }
        assert not copy.training
        before |= new
    assert not any(changed(a, b) & changed(model, a) for (_, a), (_, b) in itertools.pairwise(copies))


def test_the_seed_alone_decides_what_is_drawn(mixed):
    runs = []
    for seed, noise in ((0, 1), (0, 2), (5, 1)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        *_, (_, last) = models.randomized(mixed[0], seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        runs.append(models.fingerprint(last))
    assert runs[0] == runs[1] != runs[2]


def test_the_last_copy_is_an_untrained_network():
    model, x = models.build("small", num_classes=10, mean=[0.2, 0.3, 0.4], std=[0.2, 0.3, 0.4]), image(4, 3, 16, 16)
    with torch.no_grad():
        for tensor in [*model.network.parameters(), *model.network.buffers()]:
            tensor.copy_(7 * torch.rand(tensor.shape) + 3)
    *_, (_, last) = models.randomized(model.eval())
    for conv in (m for m in last.modules() if isinstance(m, nn.Conv2d)):
        fan_out = conv.out_channels * conv.kernel_size[0] ** 2  # He et al. (2015), not PyTorch's own
        assert conv.weight.detach().std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
    fresh, drawn = models.build("small", num_classes=10).state_dict(), last.state_dict()
    norms = [name for name in fresh if "bn" in name or "downsample.1" in name]
    assert norms and all(torch.equal(fresh[name], drawn[name]) for name in norms)
    # without batch norms and biases the network is positively homogeneous in what comes after the normalization
    mean = last.normalize.mean
    gray, near = last(mean.expand_as(x)), last(mean + 0.3 * (x - mean))
    torch.testing.assert_close(near - gray, 0.3 * (last(x) - gray), rtol=1e-4, atol=1e-6)


def test_parameters_without_an_initialization_are_drawn_at_the_size_that_they_have(linear):
    model = linear(1, 8, 200, scale=3.0)
    ((name, drawn),) = models.randomized(model)
    assert name == "" and changed(model, drawn) == {"weight", "bias"}
    assert drawn.weight.std().item() == pytest.approx(model.weight.std().item(), rel=0.05)
    with pytest.raises(ValueError, match="Flatten has no layers"):
        next(models.randomized(nn.Flatten()))


class EncoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mlp_block = nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 4))
        self.blocks, self.head = nn.Sequential(EncoderBlock(), EncoderBlock()), nn.Linear(4, 2)


def test_a_transformers_block_is_drawn_as_one_layer():
    assert [name for name, _ in models.randomized(Transformer())] == ["head", "blocks.1", "blocks.0", ""]

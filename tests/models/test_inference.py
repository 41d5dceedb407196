"""Using a network: its fingerprint, its mode, and checks of pixels."""

import pytest
import torch
from torch import nn

from atviz import models
from atviz.models import inference


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


class Stated(nn.Linear):
    """A layer with further state, as quantized layers have it."""

    scale = 1.0

    def get_extra_state(self):
        return {"scale": self.scale}

    def set_extra_state(self, state):
        self.scale = state["scale"]


def test_a_fingerprint_counts_what_is_no_tensor_and_what_tells_apart_the_same_weights():
    a, b = Stated(2, 2), Stated(2, 2)
    b.load_state_dict(a.state_dict())
    assert models.fingerprint(a) == models.fingerprint(b)
    b.scale = 2.0
    assert models.fingerprint(a) != models.fingerprint(b)
    before = models.fingerprint(a)
    a.identity = "other code"
    assert models.fingerprint(a) != before


def test_fingerprint_is_of_the_values():
    torch.manual_seed(3)
    one = models.build("small-w4", num_classes=5)
    torch.manual_seed(3)
    other = models.build("small-w4", num_classes=5)
    assert one is not other and models.fingerprint(one) == models.fingerprint(other)
    other.train().to(memory_format=torch.channels_last)  # neither mode nor layout in memory is a value
    next(other.parameters()).requires_grad_(False)
    assert models.fingerprint(one) == models.fingerprint(other)


def test_fingerprint_changes_with_any_value():
    model = models.build("small-w4", num_classes=5)
    found = {models.fingerprint(model)}
    tensors = list(model.state_dict().values())
    for tensor in tensors:
        last = tensor.view(-1)[-1]
        before = last.clone()
        # the smallest change there is
        last.copy_(last + 1 if tensor.dtype == torch.int64 else torch.nextafter(last, last + 1))
        found.add(models.fingerprint(model))
        last.copy_(before)
    assert len(found) == len(tensors) + 1
    assert models.fingerprint(model) in found


def test_fingerprint_sees_names_shapes_and_types():
    def holding(**tensors):
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return module

    zeros = torch.zeros(4)
    variants = [
        holding(a=zeros), holding(b=zeros), holding(a=zeros.view(2, 2)), holding(a=zeros.double()), holding(a=zeros[:2].double()),
        holding(a=zeros, b=zeros), holding(a=torch.zeros(8)), holding(a=zeros.int()), holding(a=-zeros), holding(a=zeros.bfloat16()), holding(a=zeros.bool()),
    ]  # fmt: skip
    assert len({models.fingerprint(m) for m in variants}) == len(variants)


def in_mixed_modes():
    model = nn.Sequential(models.build("small-w4", num_classes=5), nn.Dropout()).train()
    model[0].network.bn1.eval()  # as when fine-tuning with frozen batch norm
    model[0].network.layer2.eval()
    return model


def flags(model):
    return {name: module.training for name, module in model.named_modules()}


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_evaluating_restores_every_mode(error):
    model = in_mixed_modes()
    before = flags(model)
    assert set(before.values()) == {True, False}
    try:
        with models.evaluating(model) as same:
            assert same is model and not any(flags(model).values())
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt) as raised:
        assert isinstance(raised, error)
    assert flags(model) == before


@pytest.mark.parametrize(
    ("x", "accepted"),
    [
        (torch.rand(2, 3, 4, 4), True),
        (torch.rand(2, 3, 4, 4).double(), True),
        (torch.rand(2, 3, 4, 4).bfloat16(), True),
        (torch.empty(0, 3, 4, 4), True),
        (torch.full((1, 1, 2, 2), 1 + 9e-7), True),
        (torch.full((1, 1, 2, 2), -9e-7), True),
        (torch.full((1, 1, 2, 2), 1 + 2e-6), False),
        (torch.full((1, 1, 2, 2), -2e-6), False),
        (torch.full((1, 1, 2, 2), float("nan")), False),
        (torch.full((1, 1, 2, 2), float("inf")), False),
        (torch.ones(1, 1, 2, 2, dtype=torch.uint8), False),
        (torch.ones(1, 1, 2, 2, dtype=torch.int64), False),
        (torch.rand(3, 4, 4), False),
        (torch.rand(1, 2, 3, 4, 4), False),
    ],
)
def test_pixels_are_floats_in_the_unit_range(x, accepted):
    if accepted:
        models.check_pixels(x)
    else:
        with pytest.raises(ValueError, match="pixels run from|x must be"):
            models.check_pixels(x)


def test_one_wild_pixel_among_many_is_seen():
    x = torch.rand(4, 3, 8, 8)
    x[2, 1, 3, 5] = 1.1
    with pytest.raises(ValueError, match=r"to 1\.1"):
        models.check_pixels(x)


@pytest.mark.parametrize("faster", [True, False])
def test_fast_autocast_is_bfloat16_only_where_that_is_faster(monkeypatch, faster):
    monkeypatch.setattr(inference, "bf16_is_faster", lambda device: faster)
    with models.fast_autocast(torch.device("cpu")):
        out = torch.ones(2, 2) @ torch.ones(2, 2)
    assert out.dtype == (torch.bfloat16 if faster else torch.float32)


@pytest.mark.parametrize(
    ("arch", "device", "expected"),
    [
        ("small", "cpu", torch.channels_last),
        ("small-w8", "cpu", torch.contiguous_format),
        ("small-w8", "meta", torch.channels_last),
        ("alexnet_bn-w4", "cpu", torch.channels_last),  # no strided 1×1 convolution
    ],
)
def test_narrow_strided_convolutions_are_not_trained_channels_last_on_the_cpu(arch, device, expected):
    assert models.memory_format(models.build(arch, num_classes=2), torch.device(device)) is expected


def test_gradients_in_the_format_for_training_are_those_of_contiguous_weights():
    x, found = image(20, 4, 16, 16), []
    for last in (False, True):
        torch.manual_seed(0)
        conv = nn.Sequential(nn.Conv2d(4, 8, 1, 2, bias=False))
        conv.to(memory_format=models.memory_format(conv, torch.device("cpu")) if last else torch.contiguous_format)
        conv(x).square().sum().backward()
        found.append(conv[0].weight.grad)
    torch.testing.assert_close(*found)

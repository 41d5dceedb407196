import hashlib
import itertools
import pickle
import shutil
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
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
def test_logits_have_a_column_a_class(arch, channels, size, classes):
    model = models.build(arch, num_classes=classes, in_channels=channels, image_size=size).eval()
    logits = model(image(3, channels, size, size))
    assert logits.shape == (3, classes) and logits.isfinite().all()
    assert not torch.allclose(logits[0], logits[1])  # the images are looked at


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
    """Side of what goes in and out of each stage."""
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
    x[1] = 0.3  # its deviation is nothing: 1/√d stands in its place
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


# --- weights


def test_where_weights_come_from_is_told_by_content(tmp_path):
    paths = [write(tmp_path / f"{i}.safetensors", models.build("small-w4", num_classes=5).state_dict()) for i in range(2)]
    for path in paths:
        assert models.origin("small-w4", path) == {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    # torchvision checks its files by the digits in their names
    assert models.origin("resnet18", "imagenet") == {"file": "resnet18-f37072fd.pth", "sha256": "f37072fd"}
    with pytest.raises(ValueError, match="no ImageNet weights for 'small'"):
        models.origin("small", "imagenet")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        models.origin("small", tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("arch", ["small-w4", "alexnet_bn-w1"])
@pytest.mark.parametrize("small_stem", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_the_stem_is_read_off_the_weights(tmp_path, arch, small_stem, whole):
    model = models.build(arch, num_classes=5, small_stem=small_stem)
    path = write(tmp_path / "w.safetensors", (model if whole else model.network).state_dict())
    assert models.has_small_stem(path) == small_stem
    assert not models.has_small_stem("imagenet")


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash\nvalue")])
def test_imagenet_weights_that_cannot_be_had_name_the_option(monkeypatch, error):
    class Fake:
        def get_state_dict(self, **_):
            raise error

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda arch: {"IMAGENET1K_V1": Fake()})
    with pytest.raises(OSError, match="weights of resnet18 could not be downloaded.*--weights PATH.*--weights none") as found:
        models.build("resnet18", num_classes=7, weights="imagenet")
    assert "\n" not in str(found.value)


def write(path, state):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("whole", [True, False], ids=["whole model", "bare network"])
def test_weights_come_back_from_a_file(tmp_path, suffix, prefix, whole):
    source = models.build("small-w4", num_classes=5, mean=[0.1, 0.2, 0.3])
    state = (source if whole else source.network).state_dict()
    path = write(tmp_path / f"w{suffix}", {prefix + name: t for name, t in state.items()})
    model = models.build("small-w4", num_classes=5, mean=[0.1, 0.2, 0.3], weights=path)
    assert models.fingerprint(model) == models.fingerprint(source)


def test_checkpoint_with_a_state_dict_inside(tmp_path):
    source = models.build("small-w4", num_classes=5)
    path = write(tmp_path / "w.pth", {"epoch": 3, "state_dict": source.state_dict()})
    assert models.fingerprint(models.build("small-w4", num_classes=5, weights=path)) == models.fingerprint(source)


def test_half_precision_weights_become_single(tmp_path):
    source = models.build("small-w4", num_classes=5).half()
    model = models.build("small-w4", num_classes=5, weights=write(tmp_path / "w.safetensors", source.state_dict()))
    for name, tensor in model.network.state_dict().items():
        assert tensor.dtype == (torch.int64 if name.endswith("tracked") else torch.float32)
        assert torch.equal(tensor.half(), source.network.state_dict()[name].half())


@pytest.mark.parametrize("arch", ["small-w4", "alexnet_bn-w1"])
def test_other_number_of_classes_keeps_the_new_head(tmp_path, arch):
    source = models.build(arch, num_classes=5)
    path = write(tmp_path / "w.safetensors", source.network.state_dict())
    torch.manual_seed(7)
    fresh = models.build(arch, num_classes=3)
    torch.manual_seed(7)
    model = models.build(arch, num_classes=3, weights=path)
    assert torch.equal(model.network.fc.weight, fresh.network.fc.weight) and torch.equal(model.network.fc.bias, fresh.network.fc.bias)
    own, given = model.network.state_dict(), source.network.state_dict()
    assert all(torch.equal(own[name], given[name]) for name in own if not name.startswith("fc."))


def test_imagenet_weights_are_torchvisions(monkeypatch):
    state = torchvision.models.resnet18(num_classes=1000).state_dict()

    class Fake:
        def get_state_dict(self, *, progress, check_hash):
            assert check_hash
            return state

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda arch: {"IMAGENET1K_V1": Fake()})
    model = models.build("resnet18", num_classes=7, image_size=224, weights="imagenet")
    assert torch.equal(model.network.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert model.network.fc.out_features == 7
    with pytest.raises(ValueError, match="no ImageNet weights for 'small'.*resnet18"):
        models.build("small", num_classes=7, weights="imagenet")


def lacking(state):
    state.pop("layer2.0.bn1.bias")


def misshapen(state):
    state["layer1.0.conv1.weight"] = torch.zeros(1)


def headless(state):
    del state["fc.weight"], state["fc.bias"]


def extended(state):
    state["layer9.weight"] = torch.zeros(1)


@pytest.mark.parametrize("change", [lacking, misshapen, headless, extended])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_that_do_not_fit_are_refused(tmp_path, change, suffix):
    state = models.build("small-w4", num_classes=5).network.state_dict()
    change(state)
    path = write(tmp_path / f"wrong{suffix}", state)
    with pytest.raises(ValueError, match=r"wrong.* does not fit small-w4: .*(no place|missing)"):
        models.build("small-w4", num_classes=5, weights=path)


@pytest.mark.parametrize("arch", ["small-w8", "resnet18-w4", "resnet50-w4", "alexnet_bn-w1"])
def test_weights_of_another_architecture_are_refused(tmp_path, arch):
    path = write(tmp_path / "w.pth", models.build(arch, num_classes=5).state_dict())
    with pytest.raises(ValueError, match="does not fit small-w4"):
        models.build("small-w4", num_classes=5, weights=path)


@pytest.mark.parametrize(
    "what", [torch.zeros(2), [torch.zeros(2)], {}, {"model": {}}, {"state_dict": 3}], ids=["tensor", "list", "empty", "nested", "number"]
)
def test_file_of_something_else_is_refused_with_a_sentence(tmp_path, what):
    path = write(tmp_path / "w.pth", what)
    with pytest.raises(ValueError, match="w.pth"):
        models.build("small-w4", num_classes=5, weights=path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"hello, world", b"\0" * 100], ids=["empty", "text", "zeros"])
def test_file_that_holds_no_weights_is_refused_with_a_sentence(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken"):
        models.build("small-w4", num_classes=5, weights=path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        models.build("small-w4", num_classes=5, weights=tmp_path / "nowhere.pth")


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.mark))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_malicious_pickle_is_refused(tmp_path, zipped):
    mark, path = tmp_path / "went off", tmp_path / "w.pth"
    torch.save({"state_dict": Bomb(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        models.build("small-w4", num_classes=5, weights=path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the bomb is a live one
    assert mark.exists()


# --- fingerprint


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


# --- modes, prediction, pixels


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("inside the model")


def mixed():
    model = nn.Sequential(models.build("small-w4", num_classes=5), nn.Dropout()).train()
    model[0].network.bn1.eval()  # as when fine-tuning with frozen batch norm
    model[0].network.layer2.eval()
    return model


def flags(model):
    return {name: module.training for name, module in model.named_modules()}


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_evaluating_restores_every_mode(error):
    model = mixed()
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


def test_predict_against_a_plain_loop():
    model = mixed()
    before, x = flags(model), image(23, 3, 16, 16)
    state = models.fingerprint(model)
    found = models.predict(model, ((part, torch.zeros(len(part))) for part in x.split(5)), topk=3)
    assert flags(model) == before and models.fingerprint(model) == state
    logits = model.eval()(x)
    naive = torch.tensor([sorted(range(5), key=lambda c: -row[c])[:3] for row in logits.tolist()])
    assert found.dtype == torch.int64 and torch.equal(found, naive)


def test_predict_judges_in_fp32_and_leaves_gradients_on():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            seen.append((out.dtype, torch.is_grad_enabled()))
            return out

    def batches():
        assert torch.is_grad_enabled()  # an attack may run here
        yield torch.ones(2, 4), torch.zeros(2)

    with torch.autocast("cpu", torch.bfloat16):
        models.predict(Spy(4, 2), batches())
    assert seen == [(torch.float32, False)]


def test_predict_of_nothing_is_empty():
    assert models.predict(nn.Linear(4, 2), [], topk=2).shape == (0, 2)


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
    monkeypatch.setattr(models, "bf16_is_faster", lambda device: faster)
    with models.fast_autocast(torch.device("cpu")):
        out = torch.ones(2, 2) @ torch.ones(2, 2)
    assert out.dtype == (torch.bfloat16 if faster else torch.float32)


# --- cascading randomization


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


def test_layers_that_cannot_be_drawn_anew_are_refused(linear):
    with pytest.raises(ValueError, match=r"the model, a Linear, has parameters but no reset_parameters"):
        next(models.randomized(linear(1, 8, 2)))
    with pytest.raises(ValueError, match="Flatten has no layers"):
        next(models.randomized(nn.Flatten()))

"""Weights from files: what fits is loaded, what does not is refused in a sentence, and nothing is unpickled."""

import argparse
import hashlib
import os
import pickle
import shutil
import threading
import warnings
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from atviz import models
from atviz.models.weights import last_layer, load_into, read_network, read_state, tensors_only


def write(path, state):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def test_origin_is_the_files_name_and_hash(tmp_path):
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
def test_the_kind_of_stem_is_read_from_the_weights(tmp_path, arch, small_stem, whole):
    model = models.build(arch, num_classes=5, small_stem=small_stem)
    path = write(tmp_path / "w.safetensors", (model if whole else model.network).state_dict())
    assert models.has_small_stem(path) == small_stem
    assert not models.has_small_stem("imagenet")


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash\nvalue")])
def test_imagenet_weights_that_cannot_be_downloaded_name_the_options(monkeypatch, error):
    class Fake:
        def get_state_dict(self, **_):
            raise error

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda arch: {"IMAGENET1K_V1": Fake()})
    with pytest.raises(OSError, match="weights of resnet18 could not be downloaded.*--weights PATH.*--weights none") as found:
        models.build("resnet18", num_classes=7, weights="imagenet")
    assert "\n" not in str(found.value)


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
    torch.load(path, weights_only=False)  # the pickle does run code when it is loaded without care
    assert mark.exists()


# --- the layouts of other people's checkpoints


@pytest.fixture
def source():
    return models.build("small-w4", num_classes=5, in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])


def named(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def layouts(source):
    bare, whole = source.network.state_dict(), source.state_dict()
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    worse = {name: tensor + 1 for name, tensor in bare.items()}
    robust = named(bare, "module.model.") | {
        "module.normalizer.new_mean": mean.view(3, 1, 1),
        "module.normalizer.new_std": std.view(3, 1, 1),
    }
    robust |= named(named(bare, "model."), "module.attacker.") | {
        "module.attacker.normalize.new_mean": mean,
        "module.attacker.normalize.new_std": std,
    }
    return {
        "bare": (bare, False),
        "whole": (whole, True),
        "data parallel": (named(bare, "module."), False),
        "compiled data parallel": (named(whole, "module._orig_mod."), True),
        "lightning": ({"state_dict": named(bare, "model."), "epoch": 3, "optimizer_states": []}, False),
        "sequential": (named(bare, "1.") | {"0.mean": mean, "0.std": std}, True),
        "compiled inside": (named(bare, "model._orig_mod."), False),
        "buffers of the network": ({"net": named(bare, "model.") | {"mu": mean.view(1, 3, 1, 1), "sigma": std.view(1, 3, 1, 1)}}, True),
        "the package robustness": ({"model": robust, "epoch": 3, "optimizer": {"state": {}}}, True),
        "averaged beside others": ({"state_dict": worse, "state_dict_ema": bare, "args": {"lr": 0.1}}, False),
        "averaged alone": ({"ema": bare, "model": None}, False),
        "swa": (named(bare, "module.") | {"n_averaged": torch.tensor(3)}, False),
        "counted operations": (bare | {"total_ops": torch.zeros(1), "layer1.0.total_params": torch.zeros(1)}, False),
    }


@pytest.mark.parametrize("layout", layouts(models.build("small-w4", num_classes=2)))
def test_weights_are_read_from_every_layout(tmp_path, source, layout):
    content, normalized = layouts(source)[layout]
    found = read_network(write(tmp_path / "w.pth", content))
    own = source.network.state_dict()
    assert found.state.keys() == own.keys() and all(torch.equal(found.state[name], own[name]) for name in own)
    wanted = ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]) if normalized else (None, None)
    assert (found.mean, found.std) == tuple(pytest.approx(values) if values else None for values in wanted)


def test_names_that_only_begin_like_a_wrapper_are_kept(tmp_path):
    state = {
        "network.0.weight": torch.zeros(2, 2),
        "head.weight": torch.zeros(2, 2),
        "stem.running_mean": torch.zeros(2),
        "stem.mean": torch.zeros(2),
    }
    found = read_network(write(tmp_path / "w.pth", state))
    assert (found.state.keys(), found.mean, found.std) == (state.keys(), None, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([torch.zeros(2)], "it is a list"),
        ({"a": torch.zeros(2), "lr": 0.1}, "lr is a float"),
        ({"state_dict": {"a": 3}}, "state_dict is a dict"),
        (argparse.Namespace(lr=0.1), "it holds argparse.Namespace, a Python object, which could run code; where you trust the file, load it once"),
        (nn.Linear(2, 2), "it holds torch.nn.modules.linear.Linear, a Python object"),
    ],
)  # fmt: skip
def test_a_file_of_more_than_tensors_is_refused_with_what_it_holds(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read_state(write(tmp_path / "w.pth", content))
    assert "\n" not in str(error.value)


def test_a_torchscript_file_is_refused_with_what_to_do(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="it is a TorchScript program; export the network with torch.export.save"):
        read_state(tmp_path / "w.pt")


def test_a_misfit_says_what_shape_it_has_and_must_have(source):
    state = source.network.state_dict() | {"fc.weight": torch.zeros(9, 16)}
    with pytest.raises(
        ValueError, match=r"w.pth does not fit small-w4: fc.weight has no place in it as \(9, 16\), which must be \(5, 16\)"
    ):
        load_into(source.network, state, "w.pth", "small-w4")


def test_torch_unpickles_tensors_alone_whatever_a_library_asks_for(tmp_path, monkeypatch, bomb):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": bomb}, path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with tensors_only(), tensors_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=False)
    assert not bomb.mark.exists() and os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    torch.load(path, weights_only=False)
    assert bomb.mark.exists()


def test_two_threads_do_not_take_the_care_from_each_other():
    first_is_in, second_may_leave, seen = threading.Event(), threading.Event(), []

    def first():
        with tensors_only():
            first_is_in.set()
            second_may_leave.wait(0.2)

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait()
    with tensors_only():
        thread.join()
        seen.append(os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD"))
    assert seen == ["1"] and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ({"conv1.weight": (4, 3, 3, 3), "fc.weight": (5, 4), "fc.bias": (5,)}, "fc.weight"),
        ({"fc.weight": (5, 4), "fc.bias": (5,), "mlp.weight": (4, 4), "mlp.bias": (4,)}, "fc.weight"),  # as a safetensors file sorts them
        ({"a.weight": (4, 4), "a.bias": (4,), "head.weight": (5, 4), "head.bias": (5,), "embed.weight": (9, 4)}, "head.weight"),
        ({"conv.weight": (4, 3, 3, 3), "classifier.weight": (5, 4, 1, 1), "classifier.bias": (5,)}, "classifier.weight"),
        ({"conv.weight": (4, 3, 3, 3), "bn.weight": (4,)}, None),
    ],
)
def test_the_last_layer_is_found(shapes, wanted):
    assert last_layer({name: torch.zeros(shape) for name, shape in shapes.items()}) == wanted

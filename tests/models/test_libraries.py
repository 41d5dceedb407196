"""Networks of torchvision, timm and RobustBench: their own logits, their downloads, and what they must not do."""

import hashlib
import sys

import pytest
import torch
import torchvision
from safetensors.torch import save
from torch import nn
from torchvision.transforms import functional as F

from atviz import models
from atviz.models import libraries
from atviz.models.libraries import quiet

with quiet():  # the libraries' deprecations are theirs
    import timm

    with libraries._autoattack():
        import robustbench.utils


@pytest.fixture
def pictures():
    """Ten PIL images of 64 × 64 pixels, and the same as x in [0, 1]."""
    pixels = torch.randint(0, 256, (10, 3, 64, 64), dtype=torch.uint8)
    return [F.to_pil_image(image) for image in pixels], pixels.float() / 255


def refused(reference, message, kind=ValueError):
    with pytest.raises(kind, match=message) as error:
        models.load(reference)
    assert "\n" not in str(error.value)


def same(ours, theirs):
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert theirs.std() > 1e-3


# --- torchvision


def test_torchvision_gives_the_logits_of_its_own_preprocessing(tmp_path, pictures):
    images, x = pictures
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=1000).eval()
    preset = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.transforms(crop_size=64, resize_size=64)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = models.load(f"torchvision:shufflenet_v2_x0_5?weights={tmp_path}/w.pth", size=64)
    same(found.module(x), network(torch.stack([preset(image) for image in images])))
    assert (found.name, found.shape, found.card["size"], found.card["weights"]) == ("shufflenet_v2_x0_5", (3, 64, 64), 224, "w.pth")


def test_random_weights_are_the_same_in_each_process_and_leave_the_random_numbers():
    state = torch.get_rng_state()
    first = models.load("torchvision:resnet18?weights=none")
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert models.load("a=torchvision:resnet18?weights=none").card["sha256"] == first.card["sha256"]
    assert first.card["weights"] == "random" and first.classes == [] and first.card["trained"] == ""


@pytest.mark.parametrize("layout", ["bare", "wrapped", "normalized", "safetensors"])
def test_a_file_says_how_many_classes_there_are_and_may_hold_a_normalizer(tmp_path, layout):
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=7).eval()
    state = network.state_dict()
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    path = tmp_path / f"w.{'safetensors' if layout == 'safetensors' else 'pth'}"
    if layout == "safetensors":
        path.write_bytes(save(state))
    else:
        prefix = {"bare": "", "wrapped": "module.model.", "normalized": "module.1."}[layout]
        beside = {"module.0.mean": mean, "module.0.std": std} if layout == "normalized" else {}
        torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()} | beside}, path)
    found = models.load(f"torchvision:shufflenet_v2_x0_5?weights={path}")
    if layout != "normalized":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = torch.rand(10, 3, 64, 64)
    same(found.module(x), network((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)))


@pytest.fixture
def published(loopback, monkeypatch, tmp_path):
    """``published(content)``: the best weights of shufflenet_v2_x0_5 are this file on loopback; returns their hash."""
    weights = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def publish(content, digest=None):
        name = f"w-{digest or hashlib.sha256(content).hexdigest()[:8]}.pth"
        loopback.files[name] = content
        changed = type(weights.value)(loopback.url + name, weights.value.transforms, weights.value.meta)
        monkeypatch.setattr(weights, "_value_", changed)
        return name

    return publish


def saved(content, path):
    torch.save(content, path)
    return path.read_bytes()


def test_torchvisions_weights_are_downloaded_and_checked(published, tmp_path, loopback):
    network = torchvision.models.shufflenet_v2_x0_5().eval()
    name = published(saved(network.state_dict(), tmp_path / "w.pth"))
    found = models.load("torchvision:shufflenet_v2_x0_5")
    x = torch.rand(2, 3, 64, 64)
    preset = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms(crop_size=64, resize_size=64)
    same(found.module(x), network(preset(x)))
    assert found.classes == models.imagenet_names() and found.shape == (3, 224, 224)
    assert (found.card["weights"], found.card["trained"]) == ("IMAGENET1K_V1", "normally")
    models.load("torchvision:shufflenet_v2_x0_5/IMAGENET1K_V1")
    assert loopback.asked == [f"/{name}"]  # once


def test_a_download_that_fails_says_so(published, tmp_path, loopback):
    name = published(b"hello", digest="0" * 8)
    refused("torchvision:shufflenet_v2_x0_5", "the weights of torchvision's shufflenet_v2_x0_5 arrived damaged: invalid hash", OSError)
    del loopback.files[name]
    refused("torchvision:shufflenet_v2_x0_5", "the weights of torchvision's shufflenet_v2_x0_5 could not be downloaded: .*404", OSError)


def test_torchvisions_download_runs_no_code(published, tmp_path, bomb):
    published(saved({"a": bomb}, tmp_path / "w.pth"))
    refused("torchvision:shufflenet_v2_x0_5", "could not be loaded: it holds posix.mkdir, a Python object, which could run code")
    assert not bomb.mark.exists()


@pytest.mark.parametrize("library", ["torchvision:shufflenet_v2_x0_5", "timm:test_vit", "robustbench:Wong2020Fast"])
def test_a_file_for_a_librarys_network_runs_no_code_and_must_fit(tmp_path, bomb, library):
    torch.save({"state_dict": bomb}, tmp_path / "bomb.pth")
    refused(f"{library}?weights={tmp_path}/bomb.pth", "it holds posix.mkdir, a Python object, which could run code")
    assert not bomb.mark.exists()
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "other.pth")
    refused(f"{library}?weights={tmp_path}/other.pth", "other.pth does not fit .*: a.weight has no place in it|model.a.weight has no place")
    refused(f"{library}?weights={tmp_path}/nowhere.pth", "there are no weights at .*nowhere.pth", FileNotFoundError)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("torchvision:resnet17", "unknown network of torchvision 'resnet17'; did you mean 'resnet1"),
        ("torchvision:fcn_resnet50", "unknown network of torchvision 'fcn_resnet50'"),
        ("torchvision:resnet18/IMAGENET1K_V2", "unknown weights of torchvision's resnet18 'IMAGENET1K_V2'; did you mean 'IMAGENET1K_V1'"),
        ("torchvision:resnet18/IMAGENET1K_V1?weights=none", "names weights twice; leave weights=none or /IMAGENET1K_V1 out"),
        ("torchvision:vgg16/IMAGENET1K_FEATURES", "has no last layer, so it gives no classes"),
        ("timm:resnet_17", "unknown network of timm 'resnet_17'; did you mean"),
        ("timm:resnet18.a9_in1k", "unknown weights of timm's resnet18 'a9_in1k'; did you mean 'a"),
        ("timm:hf-hub:me/net", "unknown network of timm 'hf-hub:me/net'"),
        ("timm:vit_tiny_patch16_224?weights=none&mean=0.5,0.5", "mean of vit_tiny_patch16_224 has 2 values"),
        ("hub:resnet18", "hub:resnet18 must be hub:OWNER/NAME or hub:OWNER/NAME@REVISION"),
        ("hub:me/../net", "hub:me/../net must be"),
        ("hub:me/net?weights=none", "hub:me/net has weights of its own; leave weights=none out"),
        ("robustbench:Standart", "unknown network of RobustBench 'Standart'; did you mean 'Standard'"),
        ("robustbench:L3/Standard", "unknown threat model of RobustBench 'L3'; did you mean 'L2'"),
    ],
)  # fmt: skip
def test_what_a_library_does_not_have_is_refused(reference, message):
    refused(reference, message)


@pytest.mark.parametrize(
    ("name", "reference", "extra"),
    [
        ("timm", "timm:resnet18", "outside"),
        ("timm", "hub:a/b", "outside"),
        ("huggingface_hub", "hub:a/b", "outside"),
        ("robustbench", "robustbench:Standard", "robustbench"),
    ],
)
def test_a_library_that_is_missing_is_named_with_what_installs_it(monkeypatch, name, reference, extra):
    monkeypatch.setitem(sys.modules, name, None)
    refused(reference, rf"{name} could not be imported .*; pip install 'atviz\[{extra}\]'", ImportError)


# --- timm


def test_timm_gives_the_logits_of_its_own_preprocessing(tmp_path, pictures):
    images, x = pictures
    with quiet():
        network = timm.create_model("vit_tiny_patch16_224", img_size=64).eval()
    nn.init.normal_(network.head.weight)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = models.load(f"timm:vit_tiny_patch16_224?size=64&weights={tmp_path}/w.pth")
    config = timm.data.resolve_model_data_config(network) | {"input_size": (3, 64, 64), "crop_pct": 1.0}
    transform = timm.data.create_transform(**config)
    same(found.module(x), network(torch.stack([transform(image) for image in images])))
    assert found.shape == (3, 64, 64) and found.card["mean"] == [0.5, 0.5, 0.5] and found.classes == []


def test_a_gray_network_of_timm_needs_a_mean_of_its_own(tmp_path):
    with quiet():
        network = timm.create_model("test_vit", in_chans=1, num_classes=4).eval()
    nn.init.normal_(network.head.weight)
    (tmp_path / "w.safetensors").write_bytes(save(network.state_dict()))
    refused(
        f"timm:test_vit?weights={tmp_path}/w.safetensors",
        r"mean of test_vit has 3 values and the network takes images of 1 channel; .*mean=0.5&std=0.25",
    )
    found = models.load(f"timm:test_vit?weights={tmp_path}/w.safetensors&mean=0.5&std=0.25")
    x = torch.rand(10, 1, 160, 160)
    same(found.module(x), network((x - 0.5) / 0.25))
    assert found.shape == (1, 160, 160)


def test_timm_without_weights_says_what_to_name():
    refused("timm:seresnet18", "timm has no weights of seresnet18; name a file with .weights=FILE, or .weights=none")


def test_labels_are_used_where_there_is_one_for_each_class():
    synsets = timm.data.ImageNetInfo("imagenet-1k").label_names()
    assert libraries._labels(["a", "b"], 2) == libraries._labels({"1": "b", "0": "a"}, 2) == ["a", "b"]
    assert libraries._labels(None, 2) == libraries._labels(["a"], 2) == libraries._labels({"a": "x", "b": "y"}, 2) == []
    assert libraries._labels(synsets, 1000) == models.imagenet_names()


# --- RobustBench


def test_robustbench_gives_the_logits_of_its_own_network(tmp_path, pictures, monkeypatch):
    x = pictures[1][:, :, :32, :32]
    with quiet():
        network = robustbench.utils.all_models[robustbench.utils.BenchmarkDataset.cifar_10][robustbench.utils.ThreatModel.Linf][
            "Wong2020Fast"
        ]["model"]()
    torch.save(network.eval().state_dict(), tmp_path / "w.pt")
    found = models.load(f"robustbench:Wong2020Fast?weights={tmp_path}/w.pt")
    same(found.module(x), network(x))
    assert (found.name, found.shape, found.classes[0]) == ("Wong2020Fast", (3, 32, 32), "airplane")
    assert (found.card["trained"], found.card["threat model"], found.card["mean"]) == ("adversarially", "Linf", None)
    bare = {f"module.{name}": tensor for name, tensor in network.state_dict().items() if name not in ("mu", "sigma")}
    torch.save({"state_dict": bare}, tmp_path / "bare.pt")  # the normalizer is RobustBench's own
    same(models.load(f"robustbench:Linf/Wong2020Fast?weights={tmp_path}/bare.pt").module(x), network(x))

    # a file that is there already is not downloaded
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    place = tmp_path / "data" / "downloads" / "robustbench" / "cifar10" / "Linf"
    place.mkdir(parents=True)
    torch.save(bare, place / "Wong2020Fast.pt")
    same(models.load("robustbench:Wong2020Fast", dataset="cifar10").module(x), network(x))


def test_robustbenchs_download_that_fails_or_would_run_code_is_refused(tmp_path, monkeypatch, bomb):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    monkeypatch.setattr(robustbench.utils.gdown, "download", lambda **_: None)
    refused("robustbench:Wong2020Fast", "RobustBench's Wong2020Fast could not be downloaded", OSError)
    monkeypatch.setattr(robustbench.utils.gdown, "download", lambda id, output: torch.save({"state_dict": bomb}, output))
    refused("robustbench:Wong2020Fast", "RobustBench's Wong2020Fast could not be loaded: it holds posix.mkdir")
    assert not bomb.mark.exists()


def test_the_data_set_chooses_among_robustbenchs_networks_of_one_name(monkeypatch):
    asked = []
    monkeypatch.setattr(
        robustbench.utils, "load_model", lambda name, **where: asked.append((where["dataset"], where["threat_model"])) or nn.Flatten()
    )
    for reference, dataset in [
        ("Standard", "cifar10"),
        ("L2/Standard", None),
        ("Hendrycks2020AugMix_WRN", "folder:data/cifar100"),
        ("corruptions/Standard", None),
    ]:
        found = models.load(f"robustbench:{reference}", dataset=dataset)
        assert found.card["trained"] == "normally"
    assert asked == [("cifar10", "Linf"), ("cifar10", "L2"), ("cifar100", "corruptions"), ("cifar10", "corruptions")]
    assert len(found.classes) == 10 and not [name for name in sys.modules if name.partition(".")[0] == "autoattack"]

"""References: one argument names any network, and what cannot be one is refused in a sentence."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from atviz import models, shipped
from atviz.models import checkpoints
from atviz.models.outside import Options
from atviz.models.references import Reference, check_names, split


@pytest.fixture
def folder(tmp_path):
    shape = {"arch": "small-w4", "num_classes": 2, "in_channels": 1, "image_size": 16, "mean": [0.3], "std": [0.4]}
    network = models.build(**shape)
    checkpoints.save(tmp_path / "mine", network.state_dict(), {"model": shape, "recipe": {"name": "fgsm-8"}, "classes": ["bag", "boot"]})
    return tmp_path / "mine"


# --- recipes and folders


def test_a_folder_gives_the_network_that_was_saved(folder):
    state, card = checkpoints.read(folder)
    found = models.load(folder)
    assert (found.name, found.classes, found.shape, found.role) == ("fgsm-8", ["bag", "boot"], (1, 16, 16), "other")
    assert found.card == card and not found.module.training
    assert {name: t.tolist() for name, t in found.module.state_dict().items()} == {name: t.tolist() for name, t in state.items()}
    assert models.fingerprint(models.load(str(folder)).module) == models.fingerprint(found.module)
    assert models.load(folder, dataset="fashion").name == "fgsm-8"  # a folder comes before a recipe's name


def test_a_name_in_front_names_the_network(folder, monkeypatch):
    assert models.load(f"mine={folder}").name == "mine"
    assert models.load("std=normal", dataset="fashion").name == "std"
    monkeypatch.setenv("HOME", str(folder.parent))
    assert models.load("~/mine").name == "fgsm-8" and models.load(f" a = {folder} ").name == "a"
    assert Reference.of("~/mine").resolved.place == str(folder) and Reference.of("~/mine").is_file


@pytest.mark.parametrize(
    ("name", "dataset", "shape", "first"),
    [("normal", "fashion", (1, 28, 28), "T-shirt"), ("pgd-inf-8", "cifar10", (3, 32, 32), "airplane")],
)
def test_a_recipe_with_a_data_set_gives_the_network_that_ships(name, dataset, shape, first):
    found = models.load(name, dataset=dataset)
    assert (found.name, found.shape, found.classes[0], len(found.classes)) == (name, shape, first, 10)
    logits = found.module(torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 10) and {p.dtype for p in found.module.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("reference", "dataset", "error", "message"),
    [
        ("nowhere", None, FileNotFoundError, "there is no checkpoint in nowhere"),
        ("./nets/nowhere", "fashion", FileNotFoundError, "there is no checkpoint in nets/nowhere"),
        (r"C:\nets\mine", "fashion", FileNotFoundError, r"there is no checkpoint in C:\\nets\\mine"),
        ("nrmal", "fashion", ValueError, "unknown network of fashion 'nrmal'; did you mean 'normal'"),
        ("normal", "svhn", ValueError, "unknown network of svhn 'normal'; the zoo holds no networks of svhn"),
        (shipped("checkpoints", "adain-small"), None, ValueError, "holds no classifier; its card says it is adain"),
        ("resnet18:nowhere.pth", None, FileNotFoundError, "there are no weights at nowhere.pth"),
        ("program:nowhere.pt2", None, FileNotFoundError, "there is no program at nowhere.pt2"),
    ],
)
def test_what_is_no_network_is_refused(reference, dataset, error, message):
    with pytest.raises(error, match=message):
        models.load(reference, dataset=dataset)


# --- the parts of a reference


@pytest.mark.parametrize(
    ("text", "name", "scheme", "place"),
    [
        ("normal", "normal", "", "normal"),
        ("a=pgd-inf-8", "a", "", "pgd-inf-8"),
        ("nets/mine", "mine", "", "nets/mine"),
        ("resnet18-w16:nets/best.one.pth", "best.one", "resnet18-w16", "nets/best.one.pth"),
        ("resnet18:/nets/a=b.pth", "a=b", "resnet18", "/nets/a=b.pth"),
        (r"resnet50:C:\nets\best.safetensors", "best", "resnet50", r"C:\nets\best.safetensors"),
        ("resnet18:my nets/best one.pth", "best one", "resnet18", "my nets/best one.pth"),
        ("torchvision:resnet50/IMAGENET1K_V2", "resnet50", "torchvision", "resnet50/IMAGENET1K_V2"),
        ("timm:resnet50.a1_in1k", "resnet50.a1_in1k", "timm", "resnet50.a1_in1k"),
        ("hub:timm/vit.augreg@v1.0", "vit.augreg", "hub", "timm/vit.augreg@v1.0"),
        ("robustbench:Linf/Standard", "Standard", "robustbench", "Linf/Standard"),
        ("program:nets/net.pt2", "net", "program", "nets/net.pt2"),
        ("python:nets.mine:make", "make", "python", "nets.mine:make"),
        (r"python:C:\nets\mine.py:make", "make", "python", r"C:\nets\mine.py:make"),
    ],
)
def test_a_reference_is_taken_apart_and_written_again(text, name, scheme, place):
    asked = Reference.of(text)
    assert (asked.name, asked.scheme, asked.place, asked.title) == (name, scheme, place, text)
    assert asked.named == text.startswith("a=") and asked.options == Options()
    assert asked.is_recipe == (scheme == "")  # no such folder is there


def test_options_are_read_as_they_are_written():
    asked = Reference.of("a=timm:vit?mean=0.5,0.25,1e-05&std=1&size=224&weights=/my nets/50%+1.pth&trained=normally")
    assert asked.options == Options((0.5, 0.25, 1e-5), (1.0,), 224, "/my nets/50%+1.pth", "normally")
    assert asked.title == "a=timm:vit?mean=0.5,0.25,1e-05&std=1&size=224&weights=/my nets/50%+1.pth&trained=normally"


numbers = st.lists(st.floats(1e-9, 1), min_size=1, max_size=3).map(tuple)


@given(
    mean=numbers | st.none(), std=numbers | st.none(), size=st.integers(1, 999) | st.none(), other=st.sampled_from(["normal", "b=hub:a/b"])
)
def test_a_title_gives_the_same_reference_also_in_a_list(mean, std, size, other):
    asked = Reference("a", "timm", "vit", Options(mean, std, size), named=True)
    assert Reference.of(asked.title) == asked
    assert split(f"{other}, {asked.title},{other}") == [other, asked.title, other]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my net=normal", "network 'my net=normal' has a space in its name 'my net'; a name is one word, such as mine=normal"),
        ("tim:vit", "unknown way to name a network 'tim:'; did you mean 'timm:'"),
        ("https://a.b/c.pth", "unknown way to name a network 'https:'; (did you mean|known are)"),
        ("resnet18-w0:a.pth", "unknown way to name a network 'resnet18-w0:'; did you mean 'resnet18:'"),
        ("torchvision:", "network 'torchvision:' names nothing; it must be a recipe"),
        ("", "network '' names nothing"),
        ("a=timm:vit?size=224?size=3", "has options that cannot be read; write them as"),
        ("timm:vit?size", r"has options that cannot be read; write them as \?mean=0.5,0.5,0.5&size=224"),
        ("timm:vit?size=", "size has no value"),
        ("timm:vit?size=1&size=2", "has the option size twice; give it once"),
        ("timm:vit?sise=1", "unknown option of a network 'sise'; did you mean 'size'"),
        ("normal?size=3", "network 'normal.size=3' has options, but a recipe or a checkpoint's folder takes none"),
    ],
)
def test_a_reference_that_cannot_be_is_refused_in_a_sentence(text, message):
    with pytest.raises(ValueError, match=message) as error:
        Reference.of(text)
    assert "\n" not in str(error.value)


def test_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for text, wanted in [
        ("a=resnet18:w.pth", f"a=resnet18:{tmp_path}/w.pth"),
        ("program:../x.pt2", f"program:{tmp_path.parent}/x.pt2"),
        ("python:mine.py:make", f"python:{tmp_path}/mine.py:make"),
        ("torchvision:resnet18?weights=~/w.pth", f"torchvision:resnet18?weights={tmp_path}/me/w.pth"),
        ("python:mine:make", "python:mine:make"),
        ("timm:vit?weights=none", "timm:vit?weights=none"),
        ("normal", "normal"),
        ("hub:a/b", "hub:a/b"),
        ("resnet18:~nobody_at_all/w.pth", f"resnet18:{tmp_path}/~nobody_at_all/w.pth"),
    ]:
        assert Reference.of(text).resolved.title == wanted
        assert Reference.of(wanted).resolved.title == wanted


def test_two_networks_of_one_name_are_refused():
    check_names([Reference.of(text) for text in ("normal", "a=normal", "timm:vit")])
    with pytest.raises(ValueError, match="two networks are named vit; give one of them a name of its own, such as mine=hub:me/vit"):
        check_names([Reference.of("timm:vit"), Reference.of("hub:me/vit")])


# --- one of the architectures, with the weights of a file


def test_an_architecture_with_a_file_gives_the_same_logits(tmp_path):
    source = models.build("resnet18-w4", num_classes=7, in_channels=3, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7]).eval()
    x = torch.rand(10, 3, 32, 32)
    torch.save(source.state_dict(), tmp_path / "whole.pth")
    save_file(source.network.state_dict(), tmp_path / "bare.safetensors")
    whole = models.load(f"resnet18-w4:{tmp_path}/whole.pth")
    bare = models.load(f"mine=resnet18-w4:{tmp_path}/bare.safetensors?mean=0.1,0.2,0.3&std=0.5,0.6,0.7&trained=adversarially")
    for network in (whole, bare):
        torch.testing.assert_close(network.module(x), source(x), atol=1e-4, rtol=0)
    assert (whole.name, whole.shape, bare.name) == ("whole", (3, 32, 32), "mine")
    assert whole.card["reference"] == f"resnet18-w4:{tmp_path}/whole.pth" and bare.card["trained"] == "adversarially"
    shutil.copy(tmp_path / "whole.pth", tmp_path / "again.pth")
    assert models.fingerprint(models.load(Path(f"resnet18-w4:{tmp_path}/again.pth")).module) == models.fingerprint(whole.module)
    assert models.load(f"resnet18-w4:{tmp_path}/whole.pth", size=48).shape == (3, 48, 48)

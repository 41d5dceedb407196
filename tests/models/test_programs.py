"""Networks of files and of code: an architecture with weights, exported programs, and the caller's own Python."""

import copy
import sys
import textwrap

import pytest
import torch
from torch import nn

from atviz import models
from atviz.models import programs

AUTO = torch.export.Dim.AUTO


def export(module, path, example=None, **dynamic):
    example = torch.rand(2, 3, 16, 16) if example is None else example
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=dynamic or {"x": {0: AUTO}}), path)
    return f"program:{path}"


def refused(reference, message, kind=ValueError):
    with pytest.raises(kind, match=message) as error:
        models.load(reference)
    assert "\n" not in str(error.value)


# --- one of the architectures, with the weights of a file


@pytest.mark.parametrize(
    ("arch", "classes", "channels", "small_stem", "shape"),
    [("small-w4", 5, 1, True, (1, 32, 32)), ("resnet18-w4", 5, 3, False, (3, 224, 224)), ("alexnet_bn-w1", 1000, 3, True, (3, 32, 32))],
)
def test_classes_channels_and_stem_are_read_from_the_weights(tmp_path, arch, classes, channels, small_stem, shape):
    source = models.build(arch, num_classes=classes, in_channels=channels, small_stem=small_stem).eval()
    torch.save(source.network.state_dict(), tmp_path / "w.pth")
    found = models.load(f"{arch}:{tmp_path}/w.pth?mean=0&std=1")
    x = torch.rand(2, channels, 64, 64)
    torch.testing.assert_close(found.module(x), source(x))
    assert found.shape == shape and found.classes == (models.imagenet_names() if classes == 1000 else [])
    assert found.card["normalized"] == "by the reference" and found.card["weights"] == "w.pth"


def test_weights_of_imagenet_are_normalized_as_torchvisions_and_others_must_say(tmp_path):
    for classes in (1000, 5):
        torch.save(models.build("small-w4", num_classes=classes).network.state_dict(), tmp_path / f"{classes}.pth")
    card = models.load(f"small-w4:{tmp_path}/1000.pth").card
    assert card["mean"] == [0.485, 0.456, 0.406] and card["normalized"].endswith("(assumed)")
    message = r"5.pth holds no mean and standard deviation; give those .*: small-w4:5.pth\?mean=0.5&std=0.25"
    refused(f"small-w4:{tmp_path}/5.pth", message)
    refused(f"small-w4:{tmp_path}/5.pth?mean=0.5", message)


def test_half_precision_weights_give_a_single_precision_network(tmp_path):
    source = models.build("small-w4", num_classes=5, mean=[0.5] * 3).half()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    found = models.load(f"small-w4:{tmp_path}/w.pth")
    assert {parameter.dtype for parameter in found.module.parameters()} == {torch.float32} and found.card["mean"] == [0.5] * 3


@pytest.mark.parametrize(
    ("arch", "change", "message"),
    [
        ("resnet18", lambda state: None, "holds no weights of resnet18: its first convolution has 4 channels; name it resnet18-w4"),
        ("resnet50-w4", lambda state: None, "does not fit resnet50-w4: "),
        ("small-w4", lambda state: state.pop("conv1.weight"), "holds no weights of small-w4: it has no first convolution or no last layer"),
        ("small-w4", lambda state: state.update({"fc.weight": torch.zeros(3, 9)}), r"fc.weight has no place in it as \(3, 9\), which must be \(3, 16\)"),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused(tmp_path, arch, change, message):
    state = models.build("small-w4", num_classes=5).network.state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    refused(f"{arch}:{tmp_path}/w.pth?mean=0&std=1", message)


def test_a_checkpoint_that_would_run_code_does_not(tmp_path, bomb):
    torch.save({"state_dict": bomb}, tmp_path / "w.pth")
    refused(f"resnet18:{tmp_path}/w.pth", "it holds posix.mkdir, a Python object, which could run code")
    assert not bomb.mark.exists()


# --- exported programs


def test_a_program_gives_the_same_logits_and_gradients(small, tmp_path):
    found = models.load(export(small, tmp_path / "net.pt2"))
    assert (found.name, found.shape, found.classes) == ("net", (3, 16, 16), [])
    for count in (1, 2, 10):
        x, x_too = (torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(count)).requires_grad_() for _ in range(2))
        ours, theirs = found.module(x), small(x_too)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
        (ours[:, 0].exp().sum() + theirs[:, 0].exp().sum()).backward()
        torch.testing.assert_close(x.grad, x_too.grad)
    trained = [parameter.grad for parameter in found.module.parameters()]
    assert len(trained) == 6 and all(gradient is not None for gradient in trained)


def test_a_program_is_used_as_any_network(small, tmp_path, untouched):
    module = models.load(export(small, tmp_path / "net.pt2") + "?mean=0.5&std=0.25").module
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(module(x), small((x - 0.5) / 0.25), atol=1e-4, rtol=0)
    module.train()
    with untouched(module), models.evaluating(module):
        assert not module.training
    twin = copy.deepcopy(module)
    assert torch.equal(twin.eval()(x), module(x)) and models.fingerprint(twin) == models.fingerprint(module)
    assert {"network.graph.scale", "network.graph.mean"} <= module.state_dict().keys()  # constants move with it
    folder = models.fitted(models.load(f"program:{tmp_path}/net.pt2"), shown(5))
    assert folder.classes == list("abcde") and models.known_of(copy.deepcopy(folder.module)).classes == list("abcde")


def shown(count):
    from atviz.data import Images

    return Images(torch.zeros(count, 3, 16, 16, dtype=torch.uint8), torch.arange(count), list("abcde")[:count], "letters")


def test_two_programs_have_their_own_fingerprints(small, tmp_path):
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.small = small

        def forward(self, x):
            return 2 * small(x)

    found = [models.load(export(module, tmp_path / f"{i}.pt2")).module for i, module in enumerate([small, Doubled().eval()])]
    assert models.fingerprint(found[0]) != models.fingerprint(found[1])


def test_a_program_for_images_of_any_size_has_no_shape_and_checks_the_size(small, tmp_path):
    found = models.load(export(small, tmp_path / "net.pt2", x={0: AUTO, 2: AUTO, 3: AUTO}))
    x = torch.rand(3, 3, 21, 33)
    torch.testing.assert_close(found.module(x), small(x), atol=1e-4, rtol=0)
    assert found.shape is None and models.load(f"program:{tmp_path}/net.pt2?size=64").shape == (3, 64, 64)


class Two(nn.Module):
    def forward(self, x, y):
        return x.mean((2, 3)) + y


def test_a_program_that_is_no_network_is_refused(small, tmp_path):
    refused(
        export(small, tmp_path / "1.pt2", x=None),
        r"exported for batches of 2; export it with dynamic_shapes=\{'x': \{0: torch.export.Dim.AUTO",
    )
    refused(export(small, tmp_path / "2.pt2", torch.rand(2, 3, 16, 24)), "takes images of 16 × 24 pixels; they must be square")
    refused(
        export(nn.Linear(4, 2), tmp_path / "3.pt2", torch.rand(2, 4), input={0: AUTO}),
        "takes 1 inputs, the first of 2 dimensions; it must take",
    )
    torch.export.save(torch.export.export(Two(), (torch.rand(2, 3, 4, 4), torch.rand(3))), tmp_path / "4.pt2")
    refused(f"program:{tmp_path}/4.pt2", "takes 2 inputs")
    refused(f"program:{tmp_path}/2.pt2?weights=none", "holds its weights; leave weights=none out")


def test_a_program_exported_in_training_mode_is_refused(small, tmp_path):
    refused(export(small.train(), tmp_path / "1.pt2"), "was exported in training mode; call eval")
    small.norm.eval()
    refused(export(small, tmp_path / "2.pt2"), "was exported in training mode; call eval")  # dropout alone


# --- the caller's own code


@pytest.fixture
def code(tmp_path):
    """``code(text, name)``: the path of a Python file."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, classes=3):
            super().__init__()
            self.fc = nn.Linear(3, classes)

        def forward(self, x):
            return self.fc(x.mean((2, 3)))

    def make():
        return Net().train()
    """


def test_a_function_of_a_file_makes_the_network(code):
    path = code(NET)
    found = models.load(f"python:{path}:make?size=8&trained=normally")
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(found.module(x), found.module.fc(x.mean((2, 3)))) and not found.module.training
    assert (found.name, found.shape, found.card["library"], found.card["architecture"]) == ("make", (3, 8, 8), "mine.py:make", "Net")
    assert models.load(f"python:{path}:Net").card["architecture"] == "Net"  # a class is called, too
    assert torch.equal(copy.deepcopy(found.module)(x), found.module(x))


def test_half_precision_code_becomes_single(code):
    path = code(NET + "\n    def half():\n        return Net().half()\n")
    assert models.load(f"python:{path}:half").module(torch.rand(2, 3, 8, 8)).dtype == torch.float32


def test_a_function_of_a_module_in_the_working_directory_makes_the_network(code, monkeypatch, tmp_path):
    code(NET, "my_nets/__init__.py")
    code("from . import make as inner\n\ndef make():\n    return inner()\n", "my_nets/deep.py")
    monkeypatch.chdir(tmp_path)
    try:
        assert models.load("python:my_nets:make").card["architecture"] == "Net"
        assert models.load("a=python:my_nets.deep:make").name == "a"
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_nets"]:
            del sys.modules[name]
    elsewhere = models.Reference.of("python:my_nets.deep:make").resolved
    assert elsewhere.place == f"{tmp_path}/my_nets/deep.py:make"
    monkeypatch.chdir("/")
    assert models.load(elsewhere).card["architecture"] == "Net"  # a file in a package is imported as a part of it
    refused("python:my_nets:make", "there is no module 'my_nets' that Python could import from here; name its file", ImportError)


def test_each_file_imports_its_own_neighbors(code, tmp_path):
    for folder, classes in (("a", 4), ("b", 6)):
        code(NET, f"{folder}/layers.py")
        code(f"from layers import Net\n\ndef make():\n    return Net({classes})\n", f"{folder}/mine.py")
    found = {folder: models.load(f"python:{tmp_path}/{folder}/mine.py:make").module for folder in "ab"}
    assert {folder: module.fc.out_features for folder, module in found.items()} == {"a": 4, "b": 6}
    (tmp_path / "b" / "layers.py").write_text((tmp_path / "b" / "layers.py").read_text().replace("(2, 3)", "(-1, -2)"))
    assert "layers" not in sys.modules and str(tmp_path / "a") not in sys.path


def test_other_code_has_another_fingerprint(code):
    prints = []
    for power in (1, 2):
        text = f"from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x.mean((2, 3)) ** {power}\n"
        prints.append(models.fingerprint(models.load(f"python:{code(text, f'{power}/mine.py')}:Net").module))
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:\n", r"mine.py raised SyntaxError: .* \(mine.py, line 1\)"),
        ("import nowhere_at_all\n", r"mine.py raised ModuleNotFoundError: No module named 'nowhere_at_all' \(mine.py, line 1\)"),
        (
            "\nfrom . import layers\n",
            r"raised ImportError: .*; import the files beside it by their names alone, or put .* \(mine.py, line 2\)",
        ),
        ("import sys\nsys.exit('usage: mine')\n", r"mine.py raised SystemExit: usage: mine \(mine.py, line 2\)"),
        ("x = 1\n", "mine.py has no function 'make'"),
        ("make = 3\n", "mine.py has no function 'make'"),
        ("def make():\n    return 1 / 0\n", r"mine.py:make raised ZeroDivisionError: division by zero \(mine.py, line 2\)"),
        ("def make(path):\n    pass\n", r"mine.py:make raised TypeError: make\(\) missing 1 required positional argument: 'path'$"),
        ("def make():\n    open('/nowhere/w.pth')\n", r"mine.py:make raised FileNotFoundError: .*'/nowhere/w.pth' \(mine.py, line 2\)"),
        ("def make():\n    pass\n", "returned a value of type NoneType; it must return a torch.nn.Module that is ready to use"),
        ("from torch import nn\ndef make():\n    return nn.ReLU\n", "returned the class ReLU; it must return"),
    ],
)
def test_code_that_makes_no_network_is_refused(code, text, message):
    modules = set(sys.modules)
    refused(f"python:{code(text)}:make", message)
    assert {name for name in set(sys.modules) - modules if "layers" in name or "nowhere" in name} == set()


@pytest.mark.parametrize(
    ("reference", "message", "kind"),
    [
        ("python:make", "python:make must be python:module:function or python:FILE.py:function", ValueError),
        ("python:mine.py", "python:mine.py must be", ValueError),
        ("python:mine:a.b", "python:mine:a.b must be", ValueError),
        ("python:/nowhere/mine.py:make", "there is no file /nowhere/mine.py", FileNotFoundError),
        ("python:os.nowhere:make", "there is no module 'os.nowhere' that Python could import", ImportError),
        ("python:nowhere_at_all:make", "there is no module 'nowhere_at_all'", ImportError),
        ("python:math:sqrt?weights=none", "loads its weights itself; leave weights=none out", ValueError),
        ("python:math:sqrt", "python:math:sqrt raised TypeError", ValueError),
    ],
)
def test_a_place_that_names_no_function_is_refused(reference, message, kind):
    refused(reference, message, kind)


def test_a_path_is_told_from_a_module():
    assert all(map(programs.is_path, ["mine.py:make", "./mine:make", r"C:\nets\mine.py:make"]))
    assert not any(map(programs.is_path, ["mine:make", "nets.mine:make"]))

"""Networks of files and of code: weights of one of atviz's architectures, programs of `torch.export`, and the caller's own Python."""

from __future__ import annotations

import copy
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, util
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from .architectures import build, parse
from .archives import checked
from .classes import imagenet_names
from .inference import memory_format
from .outside import IMAGENET, Found, Options
from .weights import file_digest, first_convolution, last_layer, load_into, read_network, tensors_only


def own_architecture(arch: str, path: Path, options: Options) -> Found:
    """One of the `ARCHITECTURES` with the weights of a file: classes, channels and stem are read from them, a normalizer inside is used.

    Raises:
        ValueError: weights that do not fit, or neither a normalizer in the file nor ``mean`` and ``std``, but for 1,000 classes: then
            ImageNet's.
    """
    if options.weights is not None:
        raise ValueError(f"{arch}:{path} names its weights; leave weights={options.weights} out")
    found = read_network(path)
    stem, head = first_convolution(found.state), last_layer(found.state)
    if stem is None or head is None:
        raise ValueError(f"{path} holds no weights of {arch}: it has no first convolution or no last layer by the names of torchvision")
    classes, channels, small = len(found.state[head]), stem.shape[1], stem.shape[-1] == 3
    name, width = arch.partition("-w")[0], parse(arch)[1]
    if len(stem) != width:
        raise ValueError(f"{path} holds no weights of {arch}: its first convolution has {len(stem)} channels; name it {name}-w{len(stem)}")
    model: Any = build(arch, num_classes=classes, in_channels=channels, small_stem=small)
    load_into(model.network, found.state, str(path), arch)
    mean, std, normalized = found.mean, found.std, "by the file"
    if mean is None and (options.mean is None or options.std is None):
        if classes != 1000 or channels != 3:
            raise ValueError(
                f"{path} holds no mean and standard deviation; give those that the network was trained with: "
                f"{arch}:{path.name}?mean=0.5&std=0.25 (0 and 1 where it takes pixels as they are)"
            )
        mean, std, normalized = IMAGENET["mean"], IMAGENET["std"], "as torchvision's networks of ImageNet (assumed)"
    card = {"library": path.name, "architecture": arch, "license": "not stated", "weights": path.name, "weights_sha256": file_digest(path),
            "normalized": "by the reference" if options.mean else normalized}  # fmt: skip
    known = imagenet_names() if classes == 1000 else []
    network = model.network.to(memory_format=memory_format(model.network, torch.device("cpu")))
    return Found(network, f"{arch}", mean, std, 32 if small else 224, channels, known, card)


class Program(nn.Module):
    """An exported program as a module. It has no modes: its layers were fixed when it was exported."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = copy.deepcopy(graph)  # a copy holds constants as buffers, as its own copies will: they move and count with it

    def forward(self, x: Tensor) -> Tensor:
        return self.graph(x)

    def train(self, mode: bool = True) -> Self:
        self.training = mode  # the graph itself refuses
        return self


def program(place: str, options: Options, dataset: str) -> Found:
    """A program saved by `torch.export.save`. It is looked through first: one that holds more than tensors and a graph is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no program, a program that holds Python objects or calls what is no operation, one for batches of one size, or one
            that was exported in training mode.
    """
    path = Path(place).expanduser()
    if options.weights is not None:
        raise ValueError(f"program:{path} holds its weights; leave weights={options.weights} out")
    if not path.is_file():
        raise FileNotFoundError(f"there is no program at {path}; torch.export.save writes one")
    archive = checked(path)
    try:
        with tensors_only():
            exported = torch.export.load(archive)
        module = exported.module()
    except Exception as error:  # whatever torch raises
        raise ValueError(f"{path} could not be loaded as a program of torch.export: {' '.join(str(error).split())[:300]}") from error
    channels, side = _image_of(exported, path)
    if exported.graph_signature.buffers_to_mutate or any(map(_drops, exported.graph.nodes)):
        raise ValueError(f"{path} was exported in training mode; call eval() on the network and export it again")
    digest = file_digest(path)
    card = {"library": f"torch.export, {path.name}", "architecture": "exported program", "license": "not stated", "weights": path.name,
            "weights_sha256": digest}  # fmt: skip
    return Found(Program(module), f"program {digest}", None, None, side, channels or 3, [], card)


def _drops(node: Any) -> bool:
    """Whether a node is dropout that draws."""
    return "dropout" in str(node.target) and any(argument is True for argument in (*node.args, *node.kwargs.values()))


def _image_of(exported: Any, path: Path) -> tuple[int | None, int | None]:
    """(channels, side) of a program's input; None for what is free."""
    user = exported.graph_signature.user_inputs
    value = next((node.meta["val"] for node in exported.graph.nodes if node.name in user[:1]), None)
    sizes = [size if isinstance(size, int) else None for size in getattr(value, "shape", ())]
    if len(user) != 1 or len(sizes) != 4:
        raise ValueError(
            f"{path} takes {len(user)} inputs, the first of {len(sizes)} dimensions; it must take one batch of images (N, C, H, W)"
        )
    if sizes[0] is not None:
        raise ValueError(
            f"{path} was exported for batches of {sizes[0]}; export it with dynamic_shapes={{'x': {{0: torch.export.Dim.AUTO}}}}, where x "
            "is the name of its argument, and an example of two images"
        )
    if None not in sizes[2:] and sizes[2] != sizes[3]:
        raise ValueError(f"{path} takes images of {sizes[2]} × {sizes[3]} pixels; they must be square")
    return sizes[1], sizes[3]


def is_path(place: str) -> bool:
    """Whether the module of ``python:`` is a file."""
    module = place.rpartition(":")[0]
    return module.endswith(".py") or "/" in module or "\\" in module


def located(place: str) -> str:
    """The same place with an absolute path, where the module is a file or lies in the working directory."""
    where, _, function = place.rpartition(":")
    path = Path(where).expanduser() if is_path(place) else Path(*where.split(".")).with_suffix(".py")
    return f"{path.resolve()}:{function}" if is_path(place) or path.is_file() else place


def python(place: str, options: Options, dataset: str) -> Found:
    """``module:function`` or ``FILE.py:function``: calls the function, without arguments, for a module from pixels in [0, 1] to logits.

    A file in a package is imported as a part of it. The network comes to the CPU, in single precision where it has half. The fingerprint
    covers this file and the weights, but not what the file imports.

    Raises:
        FileNotFoundError, ImportError: no such file or module.
        ValueError: no such function, an error of its own, or an answer that is no `nn.Module`.
    """
    where, colon, function = place.rpartition(":")
    if not colon or not where or not function.isidentifier():
        raise ValueError(f"python:{place} must be python:module:function or python:FILE.py:function")
    if options.weights is not None:
        raise ValueError(f"python:{place} loads its weights itself; leave weights={options.weights} out")
    path = Path(where).expanduser().resolve() if is_path(place) else None
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    root, name = _package(path) if path else (Path.cwd(), where)
    with _importing(root, name.partition(".")[0] if "." in name else "", forget=path is not None):
        source = _ran(Path(where).name, lambda: _module(path, name) if path else _imported(where))
        make = getattr(source, function, None)
        if not callable(make):
            raise ValueError(f"{where} has no function {function!r}")
        module = _ran(f"python:{place}", make)
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else f"a value of type {type(module).__name__}"
        raise ValueError(f"python:{place} returned {what}; it must return a torch.nn.Module that is ready to use")
    halves = any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in module.parameters())
    module = module.cpu().float() if halves else module.cpu()
    file = Path(getattr(source, "__file__", None) or "")
    digest = file_digest(file) if file.is_file() else ""
    card = {"library": f"{Path(where).name}:{function}", "architecture": type(module).__name__, "license": "the caller's own",
            "code_sha256": digest}  # fmt: skip
    return Found(module, f"python {file.name or where}:{function} {digest}", card=card)


def _package(path: Path) -> tuple[Path, str]:
    """The folder that a file's imports start from, and the file's name there: of a file in a package the dotted one."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts, folder = [folder.name, *parts], folder.parent
    own = f"atviz_network_{re.sub(r'[^0-9A-Za-z]', '_', str(path))}"
    return folder, ".".join(parts) if len(parts) > 1 else own


def _module(path: Path, name: str) -> Any:
    if "." in name:
        return import_module(name)
    spec = util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file; its name must end in .py")
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # what its classes are found by when they are pickled
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and imports what is not
        raise Missing(f"there is no module {name!r} that Python could import from here; name its file: python:FILE.py:function") from error


class Missing(ImportError):
    """There is no such module."""


def _ran(name: str, run: Callable[[], Any]) -> Any:
    """What code that is not ours returns; ValueError, with its line, for whatever it raises."""
    try:
        return run()
    except Missing:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:200]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__ and frame.filename[0] != "<"]
        file, line = (frames[-1].filename, frames[-1].lineno) if frames else ("", None)
        if isinstance(error, SyntaxError):
            said, file, line = error.msg, error.filename or "", error.lineno
        elif "relative import" in said:
            said += "; import the files beside it by their names alone, or put an __init__.py into the folder"
        at = f" ({Path(file).name}, line {line})" if file else ""
        raise ValueError(f"{name} raised {type(error).__name__}: {said}{at}") from error


@contextmanager
def _importing(folder: Path, package: str, *, forget: bool) -> Iterator[None]:
    """While this lasts, the modules in a folder can be imported. ``forget`` drops them afterwards: another folder may have others of their
    names. Of a file in a package these are the package's, of another file those that lie beside it."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before if forget else ():
            top = name.partition(".")[0]
            beside = (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
            if top not in before and (top == package if package else beside):
                del sys.modules[name]

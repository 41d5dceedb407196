"""Networks of torchvision, timm, the Hugging Face hub and RobustBench, with the preprocessing that each library records for them.

A library is imported when it is named. Its weights are read with nothing unpickled beyond tensors.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import home
from ..names import unknown
from .classes import CIFAR10, CIFAR100, imagenet_ids, imagenet_names
from .outside import Found, Options
from .weights import file_digest, last_layer, load_into, read_network, read_state, refused, tensors_only

NORMS = ("Linf", "L2", "corruptions")
ZOOS = ("cifar10", "cifar100", "imagenet")  # data sets of RobustBench


def torchvision(place: str, options: Options, dataset: str) -> Found:
    """``NAME`` or ``NAME/WEIGHTS``; mean, std and size of the preset of these weights, or of the network's best ones."""
    import torchvision as library
    from torchvision.models import get_model, get_model_weights, list_models

    name, _, wanted = place.partition("/")
    if name not in (known := list_models(module=library.models)):
        raise unknown("network of torchvision", name, known, hint="`torchvision.models.list_models()` lists them")
    published = get_model_weights(name)
    if wanted and wanted not in published.__members__:
        raise unknown(f"weights of torchvision's {name}", wanted, published.__members__)
    if wanted and options.weights is not None:
        raise ValueError(f"torchvision:{place} names weights twice; leave weights={options.weights} or /{wanted} out")
    weights: Any = published[wanted] if wanted else published.DEFAULT
    preset, classes = weights.transforms(), []
    own = Own(mean=list(preset.mean), std=list(preset.std))
    if options.weights is None:
        if not weights.meta["categories"]:
            raise ValueError(
                f"torchvision:{place} has no last layer, so it gives no classes; it must be one of the network's other weights"
            )
        with reachable(f"the weights of torchvision's {name}"), tensors_only(), quiet():
            own.module = get_model(name, weights=weights)
        own.said, classes = {"weights": weights.name, "trained": "normally"}, list(weights.meta["categories"])
    else:
        own.fill(options.weights, name, lambda num_classes=1000, **_: get_model(name, weights=None, num_classes=num_classes))
        if hasattr(own.module, "transform_input"):
            own.module.transform_input = True  # as with all of its weights
    release = f"torchvision {version('torchvision').partition('+')[0]}"
    card = own.said | {"library": release, "architecture": name, "license": "BSD-3-Clause (code); the weights' own"}
    side = preset.crop_size[0] if isinstance(preset.crop_size, list | tuple) else preset.crop_size
    return Found(own.module, f"{release} {name}", own.mean, own.std, side, 3, classes, card)


def timm(place: str, options: Options, dataset: str) -> Found:
    """``NAME`` or ``NAME.TAG``; mean, std and size of timm's data config."""
    library = imported("timm", "outside")
    name, _, tag = place.partition(".")
    if not library.is_model(name):
        raise unknown("network of timm", name, library.list_models(), hint="`timm.list_models()` lists them")
    known = [known.partition(".")[2] for known in library.list_pretrained(f"{name}.*")]
    if tag and tag not in known:
        raise unknown(f"weights of timm's {name}", tag, known, hint=f"it has {', '.join(known)}" if known else "it has none")
    return _of_timm(library, place, place, options)


def hub(place: str, options: Options, dataset: str) -> Found:
    """``OWNER/NAME`` or ``OWNER/NAME@REVISION`` in timm's layout."""
    library = imported("timm", "outside")
    imported("huggingface_hub", "outside")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", place):
        raise ValueError(f"hub:{place} must be hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    if options.weights is not None:
        raise ValueError(f"hub:{place} has weights of its own; leave weights={options.weights} out")
    return _of_timm(library, f"hf-hub:{place}", place, options)


def _of_timm(library: Any, name: str, place: str, options: Options) -> Found:
    own = Own()
    with reachable(place), tensors_only(), quiet():
        try:
            if options.weights is None:
                own.module, own.said = library.create_model(name, pretrained=True), {"weights": "pretrained", "trained": "normally"}
            else:
                fixed = library.get_pretrained_cfg(place.partition(".")[0]).fixed_input_size and options.size
                size = {"img_size": options.size} if fixed else {}
                own.fill(options.weights, place, lambda **made: library.create_model(name, pretrained=False, **size, **made))
        except KeyError as error:
            raise ValueError(
                f"{place} is not in timm's layout: its config.json has no {error}; save the network with timm.models.push_to_hf_hub, or write "
                "a function that makes it and name it python:FILE.py:function"
            ) from error
        except RuntimeError as error:
            if "No pretrained weights" in str(error):
                raise ValueError(f"timm has no weights of {place}; name a file with ?weights=FILE, or ?weights=none") from error
            raise
    config = library.data.resolve_model_data_config(own.module)
    known = getattr(own.module, "pretrained_cfg", {}) or {}
    classes = _labels(known.get("label_names"), getattr(own.module, "num_classes", 0)) if options.weights is None else []
    subset = library.data.infer_imagenet_subset(own.module) if options.weights is None and not classes else None
    if subset:
        classes = _labels(library.data.ImageNetInfo(subset).label_names(), own.module.num_classes)
    card = own.said | {
        "library": f"timm {library.__version__}", "architecture": known.get("architecture") or place,
        "license": known.get("license") or "not stated",
    }  # fmt: skip
    channels, side = own.channels or config["input_size"][0], config["input_size"][-1]
    mean, std = own.mean or config["mean"], own.std or config["std"]
    return Found(own.module, f"timm {library.__version__} {place}", mean, std, side, channels, classes, card)


def _labels(names: Any, count: int) -> list[str]:
    """The names of the classes in a config of timm, a list or number → name; [] where they are not one for each class."""
    if isinstance(names, dict):
        names = [names[place] for place in sorted(names, key=int)] if all(str(place).isdecimal() for place in names) else []
    found = [str(name) for name in names or []]
    return [] if len(found) != count else imagenet_names() if found == imagenet_ids() else found


@dataclass
class Own:
    """A network of a library, and what its weights say: of the library's own, or of a file."""

    module: Any = field(default_factory=nn.Identity)
    mean: list[float] | None = None
    std: list[float] | None = None
    channels: int | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def fill(self, weights: str, name: str, make: Callable[..., nn.Module]) -> None:
        """Make the network with random weights, or with those of a file, for as many classes and channels as they were made for."""
        with drawn():
            self.module = make()
        self.said = {"weights": "random", "trained": ""}
        if weights == "none":
            return
        path = Path(weights).expanduser()
        given = read_state(path)
        if set(given) != set(self.module.state_dict()):  # names of a wrapper, or a normalizer beside them
            given, mean, std = read_network(path)
            self.mean, self.std = mean or self.mean, std or self.std
        made = _made_for(given, self.module.state_dict())
        if made:
            self.module = make(**made)
        self.channels = made.get("in_chans")
        load_into(self.module, given, str(path), name)
        self.said = {"weights": path.name, "weights_sha256": file_digest(path), "trained": ""}


def _made_for(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of classes and of channels that weights were made for, where it is not that of a network with the same layers."""
    found, head = {}, last_layer(own)
    for name, tensor in given.items():
        there, here = tensor.shape, own[name].shape if name in own else tensor.shape
        axes = [axis for axis, pair in enumerate(zip(there, here, strict=False)) if pair[0] != pair[1]]
        if len(there) == len(here) and axes == [0] and head and here[0] == len(own[head]):
            found["num_classes"] = there[0]
        elif len(there) == len(here) == 4 and axes == [1] and here[1] == 3:
            found["in_chans"] = there[1]
    return found


def robustbench(place: str, options: Options, dataset: str) -> Found:
    """``NAME`` or ``THREAT/NAME`` of RobustBench's model zoo. Where several of its data sets have the name: that of ``dataset``, else the first."""
    with _autoattack(), quiet():
        imported("robustbench", "robustbench")
        utils = import_module("robustbench.utils")
    threat, _, name = place.rpartition("/")
    zoos = {
        (kind.value, norm.value): held for kind, norms in utils.all_models.items() for norm, held in norms.items() if norm.value in NORMS
    }  # fmt: skip
    if threat and threat not in (threats := list(dict.fromkeys(norm for _, norm in zoos))):
        raise unknown("threat model of RobustBench", threat, threats)
    kind, _, folder = dataset.partition(":")
    kind = Path(folder).name if kind == "folder" else kind
    order = sorted(zoos, key=lambda key: (key[0] != kind, ZOOS.index(key[0]), NORMS.index(key[1])))
    place_of = next((key for key in order if name in zoos[key] and threat in ("", key[1])), None)
    if place_of is None:
        names = sorted({known for (_, norm), held in zoos.items() if threat in ("", norm) for known in held})
        raise unknown("network of RobustBench", name, names, hint="robustbench.github.io lists them")
    kind, norm = place_of
    held = zoos[place_of][name]
    with reachable(f"RobustBench's {name}"), tensors_only(), quiet(), drawn():
        if options.weights is None:
            try:
                module = utils.load_model(name, model_dir=home() / "data" / "downloads" / "robustbench", dataset=kind, threat_model=norm)
            except FileNotFoundError as error:  # gdown writes nothing where it could not download
                raise OSError(str(error)) from error
            said = {"weights": f"{kind}/{norm}/{name}", "trained": _training(name, norm)}
        else:
            module, said = held["model"](), {"weights": "random", "trained": ""}
    if options.weights not in (None, "none"):
        path = Path(options.weights or "").expanduser()
        load_into(module, _as_saved(module, path), str(path), name)
        said = {"weights": path.name, "weights_sha256": file_digest(path), "trained": _training(name, norm)}
    card = said | {"library": f"RobustBench {version('robustbench')}", "architecture": type(module).__name__, "threat model": norm,
                   "license": "of its authors; robustbench.github.io links to them"}  # fmt: skip
    identity = f"robustbench {version('robustbench')} {kind}/{norm}/{name}"
    classes = {"cifar10": CIFAR10, "cifar100": CIFAR100}.get(kind) or imagenet_names()
    crop = re.search(r"Crop(\d+)", held.get("preprocessing") or "") if kind == "imagenet" else None
    return Found(module, identity, None, None, int(crop[1]) if crop else 224 if kind == "imagenet" else 32, 3, list(classes), card)


def _as_saved(module: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors of a file under the module's own names: RobustBench wraps some networks in a normalizer, as ``model.``.

    A mean and a standard deviation that the file does not hold are the library's.
    """
    own, given = module.state_dict(), read_state(path)
    if not set(given) <= set(own):
        given = read_network(path).state
    named = {name if name in own else f"model.{name}": tensor for name, tensor in given.items()}
    return {name: tensor for name, tensor in own.items() if name.rpartition(".")[2] in ("mu", "sigma", "mean", "std")} | named


def _training(name: str, norm: str) -> str:
    return "normally" if "Standard" in name or norm == "corruptions" else "adversarially"


@contextmanager
def _autoattack() -> Iterator[None]:
    """While this lasts, ``autoattack`` is what RobustBench imports by this name and the package index calls pyautoattack."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "autoattack"}
    for name in before:
        del sys.modules[name]
    try:
        for name in ("", ".state"):
            sys.modules[f"autoattack{name}"] = import_module(f"pyautoattack{name}")
    except ImportError:
        pass  # RobustBench is missing, too: its own import says so
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "autoattack"]:
            del sys.modules[name]
        sys.modules.update(before)


def imported(name: str, extra: str) -> Any:
    """A library of an extra; ImportError with the command that installs it."""
    try:
        with quiet():
            return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} could not be imported ({error}); pip install 'atviz[{extra}]'") from error


@contextmanager
def reachable(what: str) -> Iterator[None]:
    """Whatever a library raises for a download that failed becomes one OSError, and a file of more than tensors a ValueError."""
    try:
        yield
    except Exception as error:
        if type(error) in (ValueError, ImportError, FileNotFoundError):
            raise
        said = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | AssertionError) else f"{error}"
        said = " ".join(said.split())[:300]
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, OSError) or kinds & {"HTTPError", "RequestException", "HfHubHTTPError", "FileURLRetrievalError"}:
            raise OSError(f"{what} could not be downloaded: {said}") from error
        if isinstance(error, RuntimeError) and "hash" in str(error):
            raise OSError(f"{what} arrived damaged: {said}") from error
        raise ValueError(f"{what} could not be loaded: {refused(error) or said}") from error


@contextmanager
def drawn() -> Iterator[None]:
    """While this lasts, random weights are drawn from seed 0: the same network in each process. Afterwards the random numbers go on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Other people's warnings are theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

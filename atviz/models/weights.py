"""Weights from files: safetensors or state dicts of tensors, and torchvision's of ImageNet. Nothing but tensors is ever unpickled."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PRETRAINED = ("resnet18", "resnet50", "resnet101")  # torchvision has ImageNet weights of these
# where training scripts keep a state dict among other things; averaged weights first: they are what such scripts evaluate
WRAPPED = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net", "network", "ema")
PREFIXES = ("module.", "model.", "_orig_mod.", "network.", "net.", "1.")  # of wrappers: data parallel, compiled, a normalizer in front
NORMALIZER = re.compile(r"(?P<where>.*?)(?P<new>(?:new_)?)(?P<what>mean|mu)")  # the package robustness calls them new_mean and new_std
COPIES = re.compile(r"(?:module\.)?attacker\.")  # of the same weights, in checkpoints of the package robustness
COUNTERS = ("n_averaged", "total_ops", "total_params")  # of averaged weights, and of a counter of operations
GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # what torch names where it would have to import something
_ALONE = threading.RLock()  # two threads must not take the environment's variables from each other


class FromFile(NamedTuple):
    """The weights of a network's file, under the network's own names, and the mean and standard deviation of a normalizer beside them."""

    state: dict[str, Tensor]
    mean: list[float] | None
    std: list[float] | None


def fill(model: nn.Sequential, arch: str, weights: str | Path) -> None:
    state = _imagenet(arch) if str(weights) == "imagenet" else read_state(Path(weights))
    # a bare network's parameters, or those of a whole model with its normalizing layer
    target: Any = model if any(name.startswith("network.") for name in state) else model.network
    own = target.state_dict()
    head = {name for name in state if name.split(".")[-2:-1] == ["fc"] and name in own and own[name].shape != state[name].shape}
    load_into(target, {name: tensor for name, tensor in state.items() if name not in head}, f"{weights}", arch, without=head)


def load_into(
    network: nn.Module, state: Mapping[str, Tensor], source: str, arch: str, *, without: set[str] | frozenset[str] = frozenset()
) -> None:
    """Load a state that must have a tensor for each of the network's, but for those of ``without``; ValueError that names the first misfit."""
    own = network.state_dict()
    wrong = [name for name in state if name not in own or own[name].shape != state[name].shape]
    absent = [name for name in own if name not in state and name not in without and not name.endswith("num_batches_tracked")]
    if wrong or absent:
        there, here = (tuple(held[wrong[0]].shape) if wrong and wrong[0] in held else None for held in (state, own))
        shapes = f" as {there}, which must be {here}" if here is not None else ""
        what = f"{wrong[0]} has no place in it{shapes}" if wrong else f"{absent[0]} is missing"
        raise ValueError(f"{source} does not fit {arch}: {what} ({len(wrong)} tensors too many or misshapen, {len(absent)} missing)")
    network.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()}, strict=False)


def _published(arch: str) -> Any:
    from torchvision.models import get_model_weights

    if arch not in PRETRAINED:
        raise ValueError(f"there are no ImageNet weights for {arch!r}; there are for resnet18, resnet50 and resnet101")
    return get_model_weights(arch)["IMAGENET1K_V1"]


def _imagenet(arch: str) -> dict[str, Tensor]:
    published = _published(arch)
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # a server that cannot be reached; a wrong checksum
        reason = " ".join(str(error).split())
        raise OSError(
            f"the ImageNet weights of {arch} could not be downloaded ({reason}); name a file of them (--weights PATH) or train from "
            "scratch (--weights none)"
        ) from error


def origin(arch: str, weights: str | Path) -> dict[str, str]:
    """Name and SHA-256 of the file of ``weights``: ``file`` and ``sha256``; FileNotFoundError where there is none.

    Of ``imagenet`` it is the first eight digits, which the name of torchvision's file carries: nothing is downloaded for it.
    """
    if str(weights) != "imagenet":
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"there are no weights at {path}")
        return {"file": path.name, "sha256": file_digest(path)}
    file = _published(arch).url.rpartition("/")[2]
    return {"file": file, "sha256": Path(file).stem.rpartition("-")[2]}


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_small_stem(weights: str | Path) -> bool:
    """Whether weights are those of a network with the 3×3 stem."""
    if str(weights) == "imagenet":
        return False
    stem = first_convolution(read_network(Path(weights)).state)
    return stem is not None and stem.shape[-1] == 3


def first_convolution(state: Mapping[str, Tensor]) -> Tensor | None:
    """The weights of the first convolution of one of the `ARCHITECTURES`, (K, C, h, w)."""
    return next((state[name] for name in ("conv1.weight", "features.0.weight") if name in state and state[name].ndim == 4), None)


def read_network(path: Path) -> FromFile:
    """The weights of a file under the network's own names, and those of a normalizer beside them.

    A prefix that all names share is a wrapper's and left out. A normalizer is a pair of a mean and a standard deviation, with a value for
    each channel.

    Raises as `read_state`.
    """
    state = {name: tensor for name, tensor in read_state(path).items() if not COPIES.match(name) and name.split(".")[-1] not in COUNTERS}
    given: dict[str, list[float] | None] = {"mean": None, "std": None}
    for name in [*state]:
        found = NORMALIZER.fullmatch(name)
        if not found or (found["where"] and not found["where"].endswith(".")):
            continue
        beside = f"{found['where']}{found['new']}{'std' if found['what'] == 'mean' else 'sigma'}"
        if beside in state and 1 <= state[name].numel() == state[beside].numel() <= 4:
            given = {what: [float(v) for v in state.pop(key).flatten()] for what, key in (("mean", name), ("std", beside))}
            break
    return FromFile(bare(state), given["mean"], given["std"])


def bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the prefixes of wrappers, which all names share."""
    while shared := next((prefix for prefix in PREFIXES if state and all(name.startswith(prefix) for name in state)), None):
        state = {name.removeprefix(shared): tensor for name, tensor in state.items()}
    return state


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a state_dict saved by torch, without ``module.`` and ``_orig_mod.`` prefixes.

    Of a checkpoint that holds averaged weights (EMA) beside others, the averaged ones. Nothing but tensors is ever unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is neither; what would have to be unpickled is named, with how to convert the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            with tensors_only():
                state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, Mapping):
                raise TypeError(f"it is a {type(state).__name__}")
            state = next((held for key in WRAPPED if _tensors(held := state.get(key))), state)
        tensors = {re.sub(r"^(?:module\.|_orig_mod\.)+", "", str(name)): tensor for name, tensor in state.items()}
        other = next((name for name, tensor in tensors.items() if not isinstance(tensor, Tensor)), None)
        if other is not None:
            raise TypeError(f"{other} is a {type(tensors[other]).__name__}")
    except Exception as error:  # each format has errors of its own, of every kind
        reason = refused(error) or " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(
            f"{path} holds no weights: it is neither a safetensors file nor a state_dict of tensors alone ({reason})"
        ) from error
    return tensors


def _tensors(found: Any) -> bool:
    return isinstance(found, Mapping) and bool(found) and all(isinstance(tensor, Tensor) for tensor in found.values())


def refused(error: BaseException) -> str:
    """Why torch did not unpickle a file, and how to convert it; "" for an error of another kind."""
    text = str(error)
    if "TorchScript" in text:
        return "it is a TorchScript program; export the network with torch.export.save and name it program:FILE.pt2"
    if found := GLOBAL.search(text):
        return (
            f"it holds {found[1]}, a Python object, which could run code; where you trust the file, load it once with torch.load(FILE, "
            "weights_only=False) and write its state_dict with safetensors.torch.save_file"
        )
    return "its pickle cannot be read as tensors" if "Weights only load failed" in text else ""


@contextmanager
def tensors_only() -> Iterator[None]:
    """While this lasts, `torch.load` unpickles tensors alone, also where a library asks it for more. One thread at a time."""
    names = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with _ALONE:
        before = {name: os.environ.pop(name, None) for name in names}
        os.environ[names[0]] = "1"
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def last_layer(state: Mapping[str, Tensor]) -> str | None:
    """The name of the last linear layer's weights, or of the last 1×1 convolution's, (classes, …); None where there is neither.

    The last in the order of ``state``, but that ``fc`` goes before all others: a safetensors file keeps no order.
    """
    found = [name for name, tensor in state.items() if name.endswith("weight") and (tensor.ndim == 2 or tensor.shape[2:] == (1, 1))]
    linear = [name for name in found if state[name].ndim == 2 and f"{name.removesuffix('weight')}bias" in state]
    if "fc.weight" in linear or not found:
        return "fc.weight" if found else None
    return (linear or found)[-1]

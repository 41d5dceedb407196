"""Weights from files: safetensors or state dicts of tensors, and torchvision's of ImageNet. Nothing but tensors is ever unpickled."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PRETRAINED = ("resnet18", "resnet50", "resnet101")  # torchvision has ImageNet weights of these


def fill(model: nn.Sequential, arch: str, weights: str | Path) -> None:
    state = _imagenet(arch) if str(weights) == "imagenet" else read_state(Path(weights))
    # a bare network's parameters, or those of a whole model with its normalizing layer
    target: Any = model if any(name.startswith("network.") for name in state) else model.network
    own = target.state_dict()
    head = {name for name in state if name.split(".")[-2:-1] == ["fc"] and name in own and own[name].shape != state[name].shape}
    wrong = [name for name in state if name not in head and (name not in own or own[name].shape != state[name].shape)]
    absent = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if wrong or absent:
        what = f"{wrong[0]} has no place in" if wrong else f"{absent[0]} is missing for"
        raise ValueError(
            f"{weights} does not fit {arch}: {what} it ({len(wrong)} such tensors too many or misshapen, {len(absent)} missing)"
        )
    target.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items() if name not in head}, strict=False)


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
        with path.open("rb") as file:
            return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    file = _published(arch).url.rpartition("/")[2]
    return {"file": file, "sha256": Path(file).stem.rpartition("-")[2]}


def has_small_stem(weights: str | Path) -> bool:
    """Whether weights are those of a network with the 3×3 stem."""
    if str(weights) == "imagenet":
        return False
    state = {name.removeprefix("network."): tensor for name, tensor in read_state(Path(weights)).items()}
    stem = next((state[name] for name in ("conv1.weight", "features.0.weight") if name in state), None)
    return stem is not None and stem.shape[-1] == 3


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a state_dict saved by torch, without ``module.`` and ``_orig_mod.`` prefixes.

    Nothing but tensors is ever unpickled.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
        tensors = {re.sub(r"^(?:module\.|_orig_mod\.)+", "", name): tensor for name, tensor in state.items()}
        if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise TypeError("not all of its values are tensors")
    except Exception as error:  # each format has errors of its own, of every kind
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise ValueError(
            f"{path} holds no weights: it is neither a safetensors file nor a state_dict of tensors alone ({reason})"
        ) from error
    return tensors

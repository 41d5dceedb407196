"""Sets of small images that are read whole: the embedded part of Fashion-MNIST, and torchvision's."""

from __future__ import annotations

import hashlib
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import shipped

FASHION_SHA256 = "793867a0b4a240eeb9e8fcdb917182b81adf669974c7efdb67edbf078d2d5673"
FASHION_CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]

Whole = tuple[Tensor, Tensor, list[str]]  # (N, C, H, W) uint8, (N,) int64, class names


def fashion(name: str, split: str, root: Path, *, keep: slice = slice(None)) -> Whole:
    """The embedded part of Fashion-MNIST; ``keep`` says which of its ten classes.

    Raises:
        ValueError: the file is damaged.
    """
    path = shipped("data", "fashion", "fashion.npz")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != FASHION_SHA256:
        raise ValueError(f"{path} is damaged: its SHA-256 is {found}, not {FASHION_SHA256}")
    with np.load(path) as arrays:
        x, y = arrays[f"{split}_x"], arrays[f"{split}_y"]
    labels = np.arange(len(FASHION_CLASSES))[keep]
    kept = np.isin(y, labels)
    classes = [FASHION_CLASSES[label] for label in labels]
    return torch.from_numpy(x[kept])[:, None], torch.from_numpy(np.searchsorted(labels, y[kept])), classes


def from_torchvision(dataset: str, name: str, split: str, root: Path) -> Whole:
    """A data set of torchvision, by the name of its class, from ``root``; downloaded where it is missing.

    Raises:
        OSError: files that are missing or damaged and could not be downloaded.
    """
    from torchvision import datasets

    kind = getattr(datasets, dataset)
    which = {"split": split} if "split" in signature(kind).parameters else {"train": split == "train"}
    try:
        try:
            source = kind(root, **which, download=True)
        except RuntimeError:
            # torchvision does not notice that an earlier unpacking was interrupted: remove what its archives can give again
            unpacked = [path.with_suffix("") for path in (root / dataset / "raw").glob("*-ubyte.gz") if path.with_suffix("").is_file()]
            if not unpacked:
                raise
            for path in unpacked:
                path.unlink()
            source = kind(root, **which, download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong checksum is a RuntimeError
        reason = " ".join(str(error).split())
        raise OSError(
            f"{name} is not complete in {root} and could not be downloaded ({reason}); put its files there or name their folder as root"
        ) from error
    x = torch.as_tensor(source.data)
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2) if x.shape[-1] == 3 else x
    y = torch.as_tensor(source.targets if hasattr(source, "targets") else source.labels).long()
    classes = source.classes if hasattr(source, "classes") else map(str, range(10))  # SVHN has digits and names no classes
    return x.contiguous(), y, list(classes)

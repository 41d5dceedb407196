"""Any folder of images: with a training and a test split, with one of them, or with classes alone, of which a test split is drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from .folders import Listing, check_root, class_folders, images_below, list_classes

# in any case; of several folders of a split, the first one here is read
NAMES = {"train": ["train", "training"], "test": ["test", "val", "validation", "valid", "testing"]}
TEST_SHARE = 0.2  # of each class, where a folder has no test split


def list_any(root: Path, split: str) -> Listing:
    """The image files of one split of any folder, their labels, and the classes of all splits. Images lie below class folders, at any depth.

    Folders of a split are named as in `NAMES`. Where there is no test split, a fifth of each class is drawn from the training split, or
    from ``root/<class>``: by `numpy.random.default_rng` of 0 over the sorted names, the same on every machine. Of two or more images at
    least one goes to each side, and a single one to training. Where there is only a test split, it is the test split.

    Raises:
        FileNotFoundError: ``root`` is not a folder, or training images are asked for where there is only a test split.
        ValueError: no images, a class without images, one folder that classes seem to lie in, or Tiny ImageNet as it is packed.
    """
    check_root(root)
    layout = _layout(root)
    if split == "train" and layout.test and not layout.train:
        only = layout.test[0].name
        raise FileNotFoundError(
            f"{root} has only a test split (its folder {only}); images to train on must lie in {root / 'train'}/<class>/"
        )
    here = layout.test[0] if split == "test" and layout.test else layout.train[0] if layout.train else root
    files, labels, classes = list_classes(here, [*layout.train, *layout.test] or [root])
    if here == root:
        _refuse_wrapper(root)
    present = set(labels.tolist())
    _refuse_empty(root, layout, [name for label, name in enumerate(classes) if label not in present])
    if layout.test:
        return files, labels, classes
    names = [normalize("NFC", str(file)[len(str(here)) + 1 :].replace(os.sep, "/")) for file in files]
    chosen = np.flatnonzero(_drawn(names, labels) == (split == "test")).tolist()
    if not chosen:
        raise ValueError(f"{here} has a single image of each class, and so none to test on; it must have two or more of some class")
    return [files[i] for i in chosen], labels[chosen], classes


def note(root: Path) -> str:
    """How `list_any` makes a test split that ``root`` does not have, in one sentence; "" for a folder that has one."""
    layout = _layout(root)
    if layout.test:
        return ""
    name = Path(os.path.abspath(root)).name
    return f"{name} has no {'test folder' if layout.train else 'train and test folders'}: a fifth of each class, drawn by seed 0, is the test set"


class _Layout(NamedTuple):
    """The folders of each split, the one that is read first; none where the classes lie in the folder itself."""

    train: list[Path]
    test: list[Path]


def _layout(root: Path) -> _Layout:
    folders = class_folders(root)
    layout = _Layout(*([Path(path) for word in NAMES[split] for path in _called(word, folders)] for split in _Layout._fields))
    if not layout.test and len(folders) > 1 and not any(class_folders(path) for path in layout.train):
        return _Layout([], [])  # beside "bus" and "car", "train" is a class
    return layout


def _called(word: str, folders: dict[str, list[str]]) -> list[str]:
    """The paths of folders that are called so in any case, "train" before "Train"."""
    return [path for name in sorted(folders, reverse=True) if name.lower() == word for path in folders[name]]


def _drawn(names: list[str], labels: np.ndarray) -> np.ndarray:
    """Which images are drawn to be tested on: (N,) bool."""
    test = np.zeros(len(names), dtype=bool)
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: names[i])
        count = max(1, round(TEST_SHARE * len(members))) if len(members) > 1 else 0
        test[[members[i] for i in np.random.default_rng(0).permutation(len(members))[:count]]] = True
    return test


def _refuse_wrapper(root: Path) -> None:
    """An archive is often unpacked to one folder more: all images would be of one class."""
    paths = [path for paths in class_folders(root).values() for path in paths]
    if len(paths) == 1 and all(os.path.dirname(file) != paths[0] for file in images_below(paths[0])):
        raise ValueError(f"{root} holds one folder, and so one class, whose images lie in folders of their own; write folder:{paths[0]}")


def _refuse_empty(root: Path, layout: _Layout, missing: list[str]) -> None:
    """Refuse classes that have no images in any split; ``missing`` are those that have none in the split that is read."""
    splits = [class_folders(path) for path in [*layout.train, *layout.test] or [root]]
    empty = [name for name in missing if not any(next(images_below(path), None) for split in splits for path in split.get(name, ()))]
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise ValueError(f"{root} has folders without images: {', '.join(empty[:5])}{more}; remove them, or each would be a class")

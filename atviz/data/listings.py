"""How each published data set lists its images: one function per data set, from its folder and a split to files, labels and classes.

Every function raises FileNotFoundError for a list that is missing and ValueError for a list that is damaged.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np

from .folders import Listing

CALTECH_TEST_SHARE = 0.2


def tiny_imagenet(root: Path, split: str) -> Listing:
    """Tiny ImageNet. "test" is its validation set, because the labels of its test set are not public.

    Classes are the WordNet ids in wnids.txt that have a training folder, sorted. Each is named by its first word in words.txt.
    """
    wnids = sorted(wnid for (wnid,) in _rows(root / "wnids.txt", 1) if (root / "train" / wnid).is_dir())
    words = {wnid: text.split(",")[0] for wnid, text in _rows(root / "words.txt", 2, "\t")}
    if split == "train":
        found = [(path, wnid) for wnid in wnids for path in sorted((root / "train" / wnid / "images").glob("*.JPEG"))]
    else:
        rows = _rows(root / "val" / "val_annotations.txt", 2, "\t")
        found = [(root / "val" / "images" / file, wnid) for file, wnid in rows]
    return _numbered(found, wnids, [words.get(wnid, wnid) for wnid in wnids])


def caltech256(root: Path, split: str) -> Listing:
    """Caltech-256 with its clutter class. "test" is a fifth of each class: the images whose names have the lowest SHA-256.

    The split is therefore the same on every machine.
    """
    found = []
    folders = sorted(folder for folder in root.glob("[0-9][0-9][0-9].*") if folder.is_dir())
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".jpg")
        drawn = sorted(files, key=lambda path: hashlib.sha256(f"{path.parent.name}/{path.name}".encode()).digest())
        test = set(drawn[: round(CALTECH_TEST_SHARE * len(files))])
        found += [(path, folder.name) for path in files if (path in test) == (split == "test")]
    return _numbered(found, [folder.name for folder in folders], [folder.name.partition(".")[2] for folder in folders])


def food101(root: Path, split: str) -> Listing:
    """Food-101, by the lists in its folder meta."""
    rows = [name for (name,) in _rows(root / "meta" / f"{split}.txt", 1)]
    classes = sorted(name for (name,) in _rows(root / "meta" / "classes.txt", 1))
    return _numbered([(root / "images" / f"{name}.jpg", name.partition("/")[0]) for name in rows], classes, [_plain(c) for c in classes])


def flowers102(root: Path, split: str) -> Listing:
    """Flowers-102. "train" is its training and its validation set (2,040 images), "test" its test set (6,149)."""
    from torchvision.datasets import Flowers102

    chosen = np.concatenate(_mat(root / "setid.mat", *(("trnid", "valid") if split == "train" else ("tstid",))))
    (labels,) = _mat(root / "imagelabels.mat", "labels")
    files = [root / "jpg" / f"image_{i:05d}.jpg" for i in chosen]
    return files, labels[chosen - 1].astype(np.int64) - 1, list(Flowers102.classes)


def stanford_dogs(root: Path, split: str) -> Listing:
    """Stanford Dogs, by train_list.mat and test_list.mat, which lie beside Images or in a folder lists."""
    lists = root / "lists" if (root / "lists").is_dir() else root
    classes = sorted(folder.name for folder in (root / "Images").iterdir() if folder.is_dir())
    rows = [str(cell.item()) for cell in _mat(lists / f"{split}_list.mat", "file_list")[0]]
    found = [(root / "Images" / row, row.partition("/")[0]) for row in rows]
    return _numbered(found, classes, [_plain(name.partition("-")[2]) for name in classes])


def cub200(root: Path, split: str) -> Listing:
    """CUB-200-2011, by images.txt, image_class_labels.txt, train_test_split.txt and classes.txt."""
    files, labels, in_train = (dict(_rows(root / f"{stem}.txt", 2, " ")) for stem in ("images", "image_class_labels", "train_test_split"))
    if not files.keys() == labels.keys() == in_train.keys():
        raise ValueError(f"images.txt, image_class_labels.txt and train_test_split.txt in {root} do not list the same images")
    classes = dict(_rows(root / "classes.txt", 2, " "))
    wanted = "1" if split == "train" else "0"
    found = [(root / "images" / file, labels[i]) for i, file in files.items() if in_train[i] == wanted]
    return _numbered(found, list(classes), [_plain(name.partition(".")[2]) for name in classes.values()])


def _numbered(found: list[tuple[Path, str]], keys: list[str], names: list[str]) -> Listing:
    """Number the class of each file by its place in ``keys``. Files of other classes are left out: the copy lacks these classes."""
    number = {key: i for i, key in enumerate(keys)}
    kept = [(path, number[key]) for path, key in found if key in number]
    return [path for path, _ in kept], np.array([label for _, label in kept], dtype=np.int64), names


def _rows(path: Path, columns: int, separator: str | None = None) -> list[list[str]]:
    """The first ``columns`` columns of each line of a list."""
    _require(path)
    rows = []
    for i, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if not line.strip():
            continue
        row = [part.strip() for part in (line.split(separator) if columns > 1 else [line])]
        if len(row) < columns or not all(row[:columns]):
            raise ValueError(f"line {i + 1} of {path} is {line!r}; it must have {columns} column{'s' * (columns > 1)}")
        rows.append(row[:columns])
    return rows


def _mat(path: Path, *names: str) -> list[np.ndarray]:
    """Variables of a MATLAB file, each as (N,)."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    _require(path)
    try:
        found = loadmat(path)
        return [found[name].ravel() for name in names]
    # NotImplementedError is SciPy's for files of MATLAB 7.3, which it does not read
    except (MatReadError, OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or not the MATLAB file that is wanted ({error})") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: without it the images have no labels")


def _plain(name: str) -> str:
    return name.replace("_", " ")

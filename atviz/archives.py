"""Data sets as their authors pack them: found on this machine or downloaded and verified, unpacked, and listed."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# files, labels (N,) int64 and class names of one split, "train" or "test"
Listing = tuple[list[Path], np.ndarray, list[str]]
CALTECH_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Archive:
    """``folder`` is what the archive unpacks to; a folder is a copy where the pattern ``mark`` finds something in it. ``files`` are
    URLs and MD5 sums of what a download fetches."""

    folder: str
    mark: str
    files: Mapping[str, str]
    listing: Callable[[Path, str], Listing]
    size: int | None = None  # side at which the images, which differ in size, are shown by default


def locate(name: str, downloads: Path, *, root: Path | None = None, fetch: bool = True) -> Path:
    """The folder of a copy of an archive: in ``root`` (it, its parent, or the archive file), else in ``downloads``.

    What is in neither is downloaded, where ``fetch`` allows it, into ``root`` or, without one, ``downloads``.

    Raises:
        FileNotFoundError: ``root`` holds no copy, and none may be fetched.
        ValueError: an archive file that is damaged.
        OSError: a download that failed, or that is not the archive its authors published.
    """
    archive = ARCHIVES[name]
    if root is not None and root.is_file():
        info = root.stat()
        key = hashlib.sha256(f"{root.resolve()} {info.st_size} {info.st_mtime_ns}".encode()).hexdigest()[:10]
        target = downloads / f"{name}-{key}"
        if not target.is_dir():
            _unpack([root], target)
        return _require(name, target)
    into = root if root is not None else downloads
    found = _find(archive, into, name)
    if found:
        return found
    if not fetch:
        return _require(name, into)
    _unpack([_download(name, url, md5, into) for url, md5 in archive.files.items()], into / name)
    return _require(name, into)


def _find(archive: Archive, root: Path, name: str) -> Path | None:
    places = [root, *(root / part for part in (archive.folder, name, f"{name}/{archive.folder}") if part)]
    return next((place for place in places if place.is_dir() and next(place.glob(archive.mark), None)), None)


def _require(name: str, root: Path) -> Path:
    found = _find(ARCHIVES[name], root, name)
    if found is None:
        what = "is not there" if not root.exists() else f"holds no {name}: {ARCHIVES[name].mark} is missing"
        raise FileNotFoundError(f"{root} {what}; name the unpacked folder, its parent, or the archive file")
    return found


def _download(name: str, url: str, md5: str, into: Path) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", fname=url.rpartition("/")[2], path=into / "packed" / name))
    except (OSError, ValueError) as error:  # a server's refusal is an OSError; a wrong checksum a ValueError
        reason = " ".join(str(error).split())
        raise OSError(
            f"{name} is not in {into} and could not be downloaded ({reason}); "
            f"fetch {url} some other way and write {name}:PATH, PATH being the archive or its unpacked folder"
        ) from error


def _unpack(packed: list[Path], target: Path) -> None:
    """Unpack archives, and copy files that are none, into ``target``, complete or not at all."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in packed:
        try:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as zipped:
                    zipped.extractall(partial)
            elif path.suffix == ".mat":
                shutil.copy(path, partial)
            else:
                with tarfile.open(path) as tar:
                    tar.extractall(partial, filter="data")
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            shutil.rmtree(partial)
            raise ValueError(f"{path} is damaged or no archive ({error}); fetch it again") from error
    partial.rename(target)


def list_images(name: str, root: Path, split: str) -> Listing:
    """The images of a split in a copy of an archive, as `locate` finds it.

    Raises:
        FileNotFoundError: a list that is missing. The images themselves are not looked at.
        ValueError: a list that is damaged, or names no image.
    """
    files, labels, classes = ARCHIVES[name].listing(root, split)
    if not files:
        raise ValueError(f"{root} has no images of {name}'s split {split}")
    return files, labels, classes


def tiny_imagenet(root: Path, split: str) -> Listing:
    """Tiny ImageNet; "test" is its validation set, as the test set's labels are not public.

    Classes are the WordNet ids of wnids.txt that have a training folder, sorted, as folders of classes are everywhere; each is
    named by its first word in words.txt.
    """
    wnids = sorted(wnid for (wnid,) in _rows(root / "wnids.txt", 1) if (root / "train" / wnid).is_dir())
    words = {wnid: text.split(",")[0] for wnid, text in _rows(root / "words.txt", 2, "\t")}
    names = [words.get(wnid, wnid) for wnid in wnids]
    if split == "train":
        found = [(path, wnid) for wnid in wnids for path in sorted((root / "train" / wnid / "images").glob("*.JPEG"))]
    else:
        rows = _rows(root / "val" / "val_annotations.txt", 2, "\t")
        found = [(root / "val" / "images" / file, wnid) for file, wnid in rows]
    return _numbered(found, wnids, names)


def caltech256(root: Path, split: str) -> Listing:
    """Caltech-256 with its clutter class. Of each class the fifth whose names have the lowest SHA-256 is held out as "test": the
    same images on any machine."""
    folders = sorted(folder for folder in root.glob("[0-9][0-9][0-9].*") if folder.is_dir())
    found = []
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".jpg")
        drawn = sorted(files, key=lambda path: hashlib.sha256(f"{path.parent.name}/{path.name}".encode()).digest())
        test = set(drawn[: round(CALTECH_TEST_SHARE * len(files))])
        found += [(path, folder.name) for path in files if (path in test) == (split == "test")]
    classes = [folder.name for folder in folders]
    return _numbered(found, classes, [name.partition(".")[2] for name in classes])


def food101(root: Path, split: str) -> Listing:
    """Food-101, by the lists in its folder meta."""
    rows = [name for (name,) in _rows(root / "meta" / f"{split}.txt", 1)]
    classes = sorted(name for (name,) in _rows(root / "meta" / "classes.txt", 1))
    return _numbered([(root / "images" / f"{name}.jpg", name.partition("/")[0]) for name in rows], classes, [_plain(c) for c in classes])


def flowers102(root: Path, split: str) -> Listing:
    """Flowers-102; "train" is its training and its validation set (2,040 images), "test" its test set (6,149)."""
    from torchvision.datasets import Flowers102

    chosen = np.concatenate(_mat(root / "setid.mat", *(("trnid", "valid") if split == "train" else ("tstid",))))
    (labels,) = _mat(root / "imagelabels.mat", "labels")
    files = [root / "jpg" / f"image_{i:05d}.jpg" for i in chosen]
    return files, labels[chosen - 1].astype(np.int64) - 1, list(Flowers102.classes)


def stanford_dogs(root: Path, split: str) -> Listing:
    """Stanford Dogs, by train_list.mat and test_list.mat, beside Images or in a folder lists."""
    lists = root / "lists" if (root / "lists").is_dir() else root
    classes = sorted(folder.name for folder in (root / "Images").iterdir() if folder.is_dir())
    rows = [str(cell.item()) for cell in _mat(lists / f"{split}_list.mat", "file_list")[0]]
    return _numbered(
        [(root / "Images" / row, row.partition("/")[0]) for row in rows], classes, [_plain(c.partition("-")[2]) for c in classes]
    )


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
    """Files whose class is one of ``keys``, numbered in their order: a partial copy's lists name classes that it lacks."""
    number = {key: i for i, key in enumerate(keys)}
    kept = [(path, number[key]) for path, key in found if key in number]
    return [path for path, _ in kept], np.array([label for _, label in kept], dtype=np.int64), names


def _rows(path: Path, columns: int, separator: str | None = None) -> list[list[str]]:
    """The first ``columns`` columns of each line of a list; FileNotFoundError where it is missing, ValueError for a line that is shorter."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: without it the images have no labels")
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

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: without it the images have no labels")
    try:
        found = loadmat(path)
        return [found[name].ravel() for name in names]
    except (MatReadError, OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or not the MATLAB file that is wanted ({error})") from error


def _plain(name: str) -> str:
    return name.replace("_", " ")


_DOGS, _FLOWERS = "http://vision.stanford.edu/aditya86/ImageNetDogs/", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
ARCHIVES = {
    "tiny-imagenet": Archive(
        "tiny-imagenet-200", "train",
        {"http://cs231n.stanford.edu/tiny-imagenet-200.zip": "90528d7ca1a48142e341f4ef8d21d0de"}, tiny_imagenet,
    ),
    "caltech256": Archive(
        "256_ObjectCategories", "[0-9][0-9][0-9].*",
        {"https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar": "67b4f42ca05d46448c6bb8ecd2220f6d"}, caltech256, 224,
    ),
    "food101": Archive(
        "food-101", "meta", {"http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz": "85eeb15f3717b99a5da872d97d918f87"}, food101, 224
    ),
    "flowers102": Archive(
        "flowers-102", "jpg",
        {f"{_FLOWERS}102flowers.tgz": "52808999861908f626f3c1f4e79d11fa", f"{_FLOWERS}imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
         f"{_FLOWERS}setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c"}, flowers102, 224,
    ),
    "stanford-dogs": Archive(
        "", "Images",
        {f"{_DOGS}images.tar": "1bb1f2a596ae7057f99d7d75860002ef", f"{_DOGS}lists.tar": "edbb9f16854ec66506b5f09b583e0656"}, stanford_dogs, 224,
    ),
    "cub200": Archive(
        "CUB_200_2011", "images.txt",
        {"https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz": "97eceeb196236b17998738112f37df78"}, cub200, 224,
    ),
}  # fmt: skip

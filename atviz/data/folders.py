"""Folders of image files: every file decoded to RGB in parallel, or refused by name; the result is cached."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from .. import disk
from .decode import attempt

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPARE = 0.01  # share of a set's files that may be unreadable; they are left out and named
SPLIT_FOLDERS = {"train": ["train"], "test": ["test", "val"]}

# files, labels (N,) int64 and class names of one split
Listing = tuple[Sequence[Path | str], np.ndarray, list[str]]


def list_folder(root: Path, split: str, folders: Mapping[str, Sequence[str]] = SPLIT_FOLDERS) -> Listing:
    """Every image file below ``root/<split>/<class>``, its label, and the classes of all splits; ``folders`` names the folders of a split.

    Raises:
        FileNotFoundError: ``root`` is not a folder, or has no folder of that split.
        ValueError: no images, or Tiny ImageNet in the layout of its archive, whose test images lie in no class folder.
    """
    check_root(root)
    here = next((root / name for name in folders[split] if (root / name).is_dir()), None)
    if here is None:
        wanted, has = " or ".join(folders[split]), ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(f"{root} has no folder {wanted} (it has {has})")
    return list_classes(here, [root / name for names in folders.values() for name in names if (root / name).is_dir()])


def check_root(root: Path) -> None:
    """FileNotFoundError unless ``root`` is a folder; ValueError for Tiny ImageNet in the layout of its archive."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not a folder; folder:PATH wants images in PATH/<class>/, or in PATH/train/<class>/ and PATH/test/<class>/"
        )
    if any((root / name).is_file() for name in ("wnids.txt", "val/val_annotations.txt")):
        raise ValueError(
            f"{root} is Tiny ImageNet in the layout of its archive, whose test and val folders are flat; its name is tiny-imagenet:{root}"
        )


def list_classes(here: Path, splits: Sequence[Path]) -> Listing:
    """Every image file below ``here/<class>``, at any depth, and the classes of all ``splits``, sorted; ValueError for no images."""
    found = class_folders(here)
    classes = sorted({name for folder in splits for name in class_folders(folder)})
    files: list[str] = []  # a Path for each would take as long as to read the cache of their pixels
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = sorted(file for folder in found.get(name, ()) for file in images_below(folder))
        files += inside
        labels += [label] * len(inside)
    if not files:
        raise ValueError(f"{here} holds no images; they must lie in {here}/<class>/ and end in {', '.join(sorted(SUFFIXES))}")
    return files, np.array(labels, dtype=np.int64), classes


def class_folders(root: Path | str) -> dict[str, list[str]]:
    """Name → paths of the folders in ``root``, hidden ones left out.

    Names are in Unicode's form NFC: macOS writes "é" as two characters where others write one, which would be two classes.
    """
    found: dict[str, list[str]] = {}
    for entry in _visible(root):
        if _is_folder(entry):
            found.setdefault(normalize("NFC", entry.name), []).append(entry.path)
    return found


def images_below(folder: str) -> Iterator[str]:
    """The paths of all image files in a folder and in the folders inside it, in no order; hidden ones are left out.

    Links to folders are followed, but no folder is read twice, and none that ``folder`` itself lies in.
    """
    above = {*Path(os.path.abspath(folder)).parents, *Path(folder).resolve().parents}
    seen, waiting = {_identity(place) for place in above}, [folder]
    while waiting:
        here = waiting.pop()
        if (place := _identity(here)) in seen:
            continue
        seen.add(place)
        inside = []
        for entry in _visible(here):
            if _is_folder(entry):
                inside.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield entry.path
        waiting += sorted(inside, reverse=True)  # of two links to a folder always the same one counts


def _visible(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, without hidden files and without what macOS adds to archives."""
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # DirEntry.is_dir raises for a link to itself; for what is no link, it need not ask the disk
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _identity(folder: Path | str) -> tuple[int, int]:
    info = os.stat(folder)
    return info.st_dev, info.st_ino


class Decoded(NamedTuple):
    """Image files as (N, 3, H, W) uint8. ``left_out`` are those that cannot be read, by their place in the list: what is wrong with each."""

    pixels: np.ndarray
    left_out: dict[int, str]


def read_files(files: Sequence[Path | str], *, size: int | None, cache: Path, name: str) -> Decoded:
    """`decode_all` of files, without the few that cannot be read (at most `SPARE` of all).

    The result is kept in the folder ``cache``, under ``name`` and the files' paths, sizes and times, with a checksum. What was damaged
    there is decoded again.
    """
    key = hashlib.sha256(repr((size, [(os.path.abspath(path), *stamp(path)) for path in files])).encode()).hexdigest()[:20]
    cached = cache / f"{name}-{key}.pixels"
    if (kept := _kept(cached)) is not None:
        return kept
    decoded = decode_all(files, size, spare=SPARE)
    head = {"crc32": zlib.crc32(decoded.pixels.data), "left_out": decoded.left_out}
    with disk.replacing(cached) as partial, partial.open("wb") as file:
        file.write(json.dumps(head).encode() + b"\n")
        np.save(file, decoded.pixels)
    return decoded


def _kept(cached: Path) -> Decoded | None:
    """What the cache holds; None where it holds nothing, or something that was cut or changed."""
    try:
        with cached.open("rb") as file:
            head = json.loads(file.readline())
            found = Decoded(np.load(file, allow_pickle=False), {int(place): str(why) for place, why in head["left_out"].items()})
        return found if zlib.crc32(found.pixels.data) == head["crc32"] else None
    except Exception:  # NumPy has many for a damaged file
        return None


def examined(cache: Path) -> tuple[int, list[Path]]:
    """How many files of the cache are whole, and those that are not."""
    bad = [path for path in sorted(cache.glob("*.pixels")) if _kept(path) is None]
    return len(list(cache.glob("*.pixels"))) - len(bad), bad


def stamp(path: Path | str) -> tuple[int, int]:
    """Size in bytes and time of a file; zeros for a file that is not there, which `decode_all` names."""
    try:
        info = os.stat(path)
        return info.st_size, info.st_mtime_ns
    except OSError:
        return 0, 0


def decode_all(paths: Sequence[Path | str], size: int | None, *, spare: float = 0.0) -> Decoded:
    """All files as (N, 3, H, W) uint8, without those that cannot be read.

    Raises:
        ValueError: a larger share of files than ``spare`` that cannot be read, by name, or images of several sizes where ``size`` is None.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        decoding = pool.map(lambda path: attempt(path, size), paths)
        decoded = list(tqdm(decoding, total=len(paths), desc="decoding", unit=" images", leave=False))
    left_out = {place: why for place, why in enumerate(decoded) if isinstance(why, str)}
    if len(left_out) <= spare * len(decoded):
        decoded = [image for image in decoded if not isinstance(image, str)]
    images = readable(decoded)
    height, width = images[0].shape[:2]
    pixels = np.empty((len(images), 3, height, width), dtype=np.uint8)  # np.stack and a transpose would hold the set twice more
    for i, image in enumerate(images):
        pixels[i] = image.transpose(2, 0, 1)
    return Decoded(pixels, left_out)


def readable(decoded: Sequence[np.ndarray | str], *, of: int | None = None, then: str = "") -> list[np.ndarray]:
    """The images among what `attempt` returned for ``of`` files (default: so many as there are); raises as `decode_all`.

    ``then`` ends the sentence of the error.
    """
    broken = [d for d in decoded if isinstance(d, str)]
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise ValueError(
            f"{len(broken)} of {of or len(decoded)} image files cannot be read; remove or replace {'; '.join(broken[:5])}{more}{then}"
        )
    images = [d for d in decoded if isinstance(d, np.ndarray)]
    shapes = Counter(image.shape[:2] for image in images)
    if len(shapes) > 1:
        common = ", ".join(f"{w}x{h}" for (h, w), _ in shapes.most_common(3))
        raise ValueError(f"the images have {len(shapes)} sizes ({common} the most common); give size= to bring them to one square")
    return images

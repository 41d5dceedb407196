"""Folders of image files: every file decoded to RGB in parallel, or refused by name; the result is cached."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .decode import attempt

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLIT_FOLDERS = {"train": ["train"], "test": ["test", "val"]}

# files, labels (N,) int64 and class names of one split
Listing = tuple[Sequence[Path | str], np.ndarray, list[str]]


def list_folder(root: Path, split: str, folders: Mapping[str, Sequence[str]] = SPLIT_FOLDERS) -> Listing:
    """Every image file in ``root/<split>/<class>``, its label, and the classes of all splits; ``folders`` names the folders of a split.

    Raises:
        FileNotFoundError: ``root`` is not a folder, or has no folder of that split.
        ValueError: no images, or Tiny ImageNet in the layout of its archive, whose test images lie in no class folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; folder:PATH wants images in PATH/train/<class>/ and PATH/test/<class>/")
    here = next((root / name for name in folders[split] if (root / name).is_dir()), None)
    if here is None:
        wanted, has = " or ".join(folders[split]), ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(f"{root} has no folder {wanted} (it has {has})")
    if any((root / name).is_file() for name in ("wnids.txt", "val/val_annotations.txt")):
        raise ValueError(
            f"{root} is Tiny ImageNet in the layout of its archive, whose test and val folders are flat; its name is tiny-imagenet:{root}"
        )
    splits = [root / name for names in folders.values() for name in names if (root / name).is_dir()]
    classes = sorted({entry.name for folder in splits for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")})
    files: list[str] = []  # a Path for each would take as long as to read the cache of their pixels
    labels: list[int] = []
    for label, name in enumerate(classes):
        entries: Iterable[os.DirEntry[str]] = os.scandir(here / name) if (here / name).is_dir() else []
        found = sorted(e.path for e in entries if os.path.splitext(e.name)[1].lower() in SUFFIXES)
        files += found
        labels += [label] * len(found)
    if not files:
        raise ValueError(f"{here} holds no images; they must lie in {here}/<class>/ and end in {', '.join(sorted(SUFFIXES))}")
    return files, np.array(labels, dtype=np.int64), classes


def read_files(files: Sequence[Path | str], *, size: int | None, cache: Path, name: str) -> np.ndarray:
    """`decode_all` of files. The result is kept in the folder ``cache``, under ``name`` and the files' paths, sizes and times."""
    key = hashlib.sha256(repr((size, [(os.path.abspath(path), *stamp(path)) for path in files])).encode()).hexdigest()[:20]
    cached = cache / f"{name}-{key}.npy"
    if cached.is_file():
        return np.load(cached)
    pixels = decode_all(files, size)
    cache.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}.npy")
    np.save(partial, pixels)
    partial.replace(cached)
    return pixels


def stamp(path: Path | str) -> tuple[int, int]:
    """Size in bytes and time of a file; zeros for a missing file, which `decode_all` names."""
    try:
        info = os.stat(path)
        return info.st_size, info.st_mtime_ns
    except FileNotFoundError:
        return 0, 0


def decode_all(paths: Sequence[Path | str], size: int | None) -> np.ndarray:
    """All files as (N, 3, H, W) uint8.

    Raises:
        ValueError: files that cannot be read, by name, or images of several sizes where ``size`` is None.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        decoding = pool.map(lambda path: attempt(path, size), paths)
        images = readable(list(tqdm(decoding, total=len(paths), desc="decoding", unit=" images", leave=False)))
    height, width = images[0].shape[:2]
    pixels = np.empty((len(images), 3, height, width), dtype=np.uint8)  # np.stack and a transpose would hold the set twice more
    for i, image in enumerate(images):
        pixels[i] = image.transpose(2, 0, 1)
    return pixels


def readable(decoded: Sequence[np.ndarray | str], *, of: int | None = None) -> list[np.ndarray]:
    """The images among what `attempt` returned for ``of`` files (default: so many as there are); raises as `decode_all`."""
    broken = [d for d in decoded if isinstance(d, str)]
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise ValueError(
            f"{len(broken)} of {of or len(decoded)} image files cannot be read; remove or replace {'; '.join(broken[:5])}{more}"
        )
    images = [d for d in decoded if isinstance(d, np.ndarray)]
    shapes = Counter(image.shape[:2] for image in images)
    if len(shapes) > 1:
        common = ", ".join(f"{w}x{h}" for (h, w), _ in shapes.most_common(3))
        raise ValueError(f"the images have {len(shapes)} sizes ({common} the most common); give size= to bring them to one square")
    return images

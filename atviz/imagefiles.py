"""Folders of image files: every file decoded to RGB in parallel, or refused by name; the result cached."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLIT_FOLDERS = {"train": ["train"], "test": ["test", "val"]}
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels


def read_files(files: Sequence[Path], *, size: int | None, cache: Path, name: str) -> np.ndarray:
    """`decode_all` of files, kept in ``cache``, a folder, under ``name`` and the files' paths, sizes and times."""
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


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; zeros for one that is missing, which `decode_all` names."""
    try:
        info = os.stat(path)
        return info.st_size, info.st_mtime_ns
    except FileNotFoundError:
        return 0, 0


def list_folder(root: Path, split: str, folders: Mapping[str, Sequence[str]] = SPLIT_FOLDERS) -> tuple[list[Path], np.ndarray, list[str]]:
    """Every image file in ``root/<split>/<class>``, its label, and the classes of all splits; ``folders`` names those of a split."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; folder:PATH wants images in PATH/train/<class>/ and PATH/test/<class>/")
    here = next((root / name for name in folders[split] if (root / name).is_dir()), None)
    if here is None:
        wanted = " or ".join(folders[split])
        raise FileNotFoundError(
            f"{root} has no folder {wanted} (it has {', '.join(sorted(p.name for p in root.iterdir())[:8]) or 'nothing'})"
        )
    if any((root / name).is_file() for name in ("wnids.txt", "val/val_annotations.txt")):
        raise ValueError(
            f"{root} is Tiny ImageNet in its archive's own layout, whose test and val folders are flat; its name is tiny-imagenet:{root}"
        )
    splits = [root / name for names in folders.values() for name in names if (root / name).is_dir()]
    classes = sorted({entry.name for folder in splits for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")})
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        entries: Iterable[os.DirEntry[str]] = os.scandir(here / name) if (here / name).is_dir() else []
        found = sorted(e.path for e in entries if Path(e.name).suffix.lower() in SUFFIXES)
        files += map(Path, found)
        labels += [label] * len(found)
    if not files:
        raise ValueError(f"{here} holds no images; they must lie in {here}/<class>/ and end in {', '.join(sorted(SUFFIXES))}")
    return files, np.array(labels, dtype=np.int64), classes


def decode_all(paths: Sequence[Path], size: int | None) -> np.ndarray:
    """All files as (N, 3, H, W) uint8; ValueError that names those that cannot be read, or images that are not of one size."""

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        decoded = list(
            tqdm(pool.map(lambda path: attempt(path, size), paths), total=len(paths), desc="decoding", unit=" images", leave=False)
        )
    images = readable(decoded)
    height, width = images[0].shape[:2]
    pixels = np.empty((len(images), 3, height, width), dtype=np.uint8)  # not stacked and then turned: that would hold the set twice more
    for i, image in enumerate(images):
        pixels[i] = image.transpose(2, 0, 1)
    return pixels


def size_of(path: Path) -> tuple[int, ...]:
    """The sides of an image, from the file's head alone; () where it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ()


def attempt(path: Path, size: int | None) -> np.ndarray | str:
    """`decode`, or what is wrong with the file, after its name."""
    try:
        return decode(path, size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow raises all of them on damaged files
        return f"{path} ({'not an image' if isinstance(error, UnidentifiedImageError) else error})"


def readable(decoded: Sequence[np.ndarray | str]) -> list[np.ndarray]:
    """Images from `attempt`; ValueError that names the files that could not be read, or says that the images are not of one size."""
    broken = [d for d in decoded if isinstance(d, str)]
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise ValueError(f"{len(broken)} of {len(decoded)} image files cannot be read; remove or replace {'; '.join(broken[:5])}{more}")
    images = [d for d in decoded if isinstance(d, np.ndarray)]
    shapes = Counter(image.shape[:2] for image in images)
    if len(shapes) > 1:
        common = ", ".join(f"{w}x{h}" for (h, w), _ in shapes.most_common(3))
        raise ValueError(f"the images have {len(shapes)} sizes ({common} the most common); give size= to bring them to one square")
    return images


def decode(path: Path, size: int | None = None) -> np.ndarray:
    """One image file as (H, W, 3) uint8, turned as its EXIF data says.

    16-bit gray is scaled to 8 bits, transparency composited on white, gray and CMYK turned into RGB.

    Raises:
        ValueError: an empty file, or floating-point pixels, whose range is unknown.
        OSError: a file that is damaged or no image.
    """
    if path.stat().st_size == 0:
        raise ValueError("empty file")
    with Image.open(path) as opened:
        image = _rgb(opened)
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


MOST_BYTES, MOST_PIXELS = 8 * 2**20, 50_000_000  # of an upload: what a notebook's connection carries, and what is decoded in a second


def decode_upload(content: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """An image file's bytes as pixels of a shape, (C, H, W) uint8, decoded as by `decode`, and a sentence that says what was changed.

    Its center is cut to the shape's proportions and brought to its size; for one channel it is turned gray (Rec. 601).

    Raises:
        ValueError: in one sentence, bytes that are no image, damaged, too many, or an image of too many pixels.
    """
    if not content:
        raise ValueError("the file is empty; choose an image")
    if len(content) > MOST_BYTES:
        raise ValueError(f"the file has {len(content) / 2**20:.1f} MiB; it must have at most {MOST_BYTES // 2**20}")
    channels, height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit and of odd metadata
            with Image.open(BytesIO(content)) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ValueError(f"{opened.width} × {opened.height} pixels; at most {MOST_PIXELS // 10**6} million are taken")
                was, transparent = opened.size, opened.has_transparency_data
                image = _rgb(opened)
    except UnidentifiedImageError as error:
        raise ValueError("the file is not an image; PNG, JPEG, WebP, GIF, BMP and TIFF can be read") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the image cannot be used: {' '.join(str(error).split())}") from error
    rgb = np.asarray(image)
    gray = bool((rgb == rgb[..., :1]).all())
    changes = [f"brought from {was[0]} × {was[1]} to {width} × {height} pixels"] if was != (width, height) else []
    changes += ["transparency shown on white"] if transparent else []
    changes += (
        ["gray made from color"] if channels == 1 and not gray else ["gray repeated in three channels"] if channels == 3 and gray else []
    )
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image.convert("L"))[None] if channels == 1 else np.asarray(image).transpose(2, 0, 1)
    return pixels, "; ".join(changes) or "taken as it is"


def _rgb(opened: Image.Image) -> Image.Image:
    opened.load()
    image = ImageOps.exif_transpose(opened)
    if image.mode == "F":
        raise ValueError("floating-point pixels, of unknown range")
    if image.mode.startswith("I"):  # Pillow's own conversion would clip 16 bits at 255
        wide, hidden = np.asarray(image, dtype=np.float64), image.info.get("transparency")
        image = Image.fromarray(np.round(wide.clip(0, 65535) / 257).astype(np.uint8))
        if isinstance(hidden, int):  # this one value is transparent
            image.putalpha(Image.fromarray(np.where(wide == hidden, 0, 255).astype(np.uint8)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    return image.convert("RGB")

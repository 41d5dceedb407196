"""One image file turned into pixels, or refused in one sentence."""

from __future__ import annotations

import math
import os
import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
MOST_BYTES, MOST_PIXELS = 8 * 2**20, 50_000_000  # of an upload: what a notebook's connection carries, and what is decoded in a second
DAMAGED = (
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    OSError,
    ValueError,
    SyntaxError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # what Pillow raises on damaged files


def decode(path: Path | str, size: int | None = None) -> np.ndarray:
    """One image file as (H, W, 3) uint8, turned as its EXIF data says. With ``size``: its center, as a square of that side.

    16-bit gray is scaled to 8 bits, transparent pixels are composited on white, gray and CMYK become RGB.

    Raises:
        ValueError: an empty file, floating-point pixels, whose range is unknown, or more than ``PIL.Image.MAX_IMAGE_PIXELS``.
        OSError: a file that is damaged or not an image.
    """
    if os.stat(path).st_size == 0:
        raise ValueError("empty file")
    with Image.open(path) as opened:
        if opened.width * opened.height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"{opened.width} × {opened.height} pixels, more than Pillow's limit")
        image = to_rgb(opened)
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def attempt(path: Path | str, size: int | None) -> np.ndarray | str:
    """`decode`, or the name of the file and what is wrong with it."""
    try:
        return decode(path, size)
    except DAMAGED as error:
        return f"{path} ({'not an image' if isinstance(error, UnidentifiedImageError) else error})"


def size_of(path: Path | str) -> tuple[int, ...]:
    """Width and height of an image, read from the head of its file; () where they cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except DAMAGED:
        return ()


def decode_upload(content: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """The bytes of an image file as pixels of ``shape``, (C, H, W) uint8, and a sentence that says what was changed.

    The file is decoded as by `decode`. The center is cut to the proportions of ``shape`` and brought to its size. With one channel the
    image is turned gray (Rec. 601).

    Raises:
        ValueError: in one sentence: no image, a damaged one, too many bytes, or too many pixels.
    """
    if not content:
        raise ValueError("the file is empty; choose an image")
    if len(content) > MOST_BYTES:
        raise ValueError(f"the file has {len(content) / 2**20:.1f} MiB; it must have at most {MOST_BYTES // 2**20}")
    channels, height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of its own limit and of odd metadata
            with Image.open(BytesIO(content)) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ValueError(f"{opened.width} × {opened.height} pixels; at most {MOST_PIXELS // 10**6} million are taken")
                was, transparent = opened.size, opened.has_transparency_data
                image = to_rgb(opened)
    except UnidentifiedImageError as error:
        raise ValueError("the file is not an image; PNG, JPEG, WebP, GIF, BMP and TIFF can be read") from error
    except DAMAGED as error:
        raise ValueError(f"the image cannot be used: {' '.join(str(error).split())}") from error
    rgb = np.asarray(image)
    gray = bool((rgb == rgb[..., :1]).all())
    changes = {
        f"brought from {was[0]} × {was[1]} to {width} × {height} pixels": was != (width, height),
        "transparency shown on white": transparent,
        "gray made from color": channels == 1 and not gray,
        "gray repeated in three channels": channels == 3 and gray,
    }
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image.convert("L"))[None] if channels == 1 else np.asarray(image).transpose(2, 0, 1)
    return pixels, "; ".join(change for change, made in changes.items() if made) or "taken as it is"


def to_rgb(opened: Image.Image) -> Image.Image:
    """An image of any mode as RGB, as `decode` describes; ValueError for floating-point pixels."""
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

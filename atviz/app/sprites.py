"""Sprite sheets: many small pictures in one WebP file, no larger than a page can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LIMIT = 1_500_000  # bytes of all sheets of a page; in base64 they are a third more
LONGEST = 16_383  # pixels that WebP allows for a side
SIDES, QUALITIES = (96, 64, 48, 32), (None, 90, 75, 50)  # tried in turn until the sheets fit; None: without loss


@dataclass(frozen=True)
class Sheets:
    """Sheets by name as WebP files, the (height, width) of a picture in them, and how they were packed."""

    files: dict[str, bytes]
    size: tuple[int, int]
    quality: int | None  # of WebP; None: without loss


def pack(frames: Mapping[str, Sequence[Sequence[Tensor]]], *, limit: int = LIMIT) -> Sheets:
    """Pictures (1, C, H, W), clipped to [0, 1], in rows and columns of one sheet for each name, in at most ``limit`` bytes.

    Pictures of at most 96 pixels keep their size where the sheets fit. Others are made smaller by the mean over areas; then the sheets lose
    quality, and then the pictures become smaller again. All pictures have one size.

    Raises:
        ValueError: the smallest pictures of the lowest quality do not fit.
    """
    first = next(iter(frames.values()))[0][0]
    height, width = first.shape[-2:]
    columns = max(len(row) for rows in frames.values() for row in rows)
    sides = [min(max(height, width), SIDES[0]), *(side for side in SIDES[1:] if side < max(height, width))]
    for side in sides:
        scale = side / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        if size[1] * columns > LONGEST:
            continue
        arrays = {name: _sheet(rows, size) for name, rows in frames.items()}
        for quality in QUALITIES:
            files = {name: _webp(array, quality) for name, array in arrays.items()}
            if sum(map(len, files.values())) <= limit:
                return Sheets(files, size, quality)
    raise ValueError(f"{columns} columns of pictures do not fit into {limit:,} bytes; there must be fewer")


def _sheet(rows: Sequence[Sequence[Tensor]], size: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.concatenate([_pixels(picture, size) for picture in row], axis=1) for row in rows])


def _pixels(picture: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A picture as (H, W, 3) uint8."""
    x = picture.detach().float().clamp(0, 1).cpu()
    if tuple(x.shape[-2:]) != size:
        x = torch.nn.functional.interpolate(x, size, mode="area")
    pixels = (x[0].numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]


def _webp(array: np.ndarray, quality: int | None) -> bytes:
    buffer = BytesIO()
    how = {"lossless": True, "quality": 80} if quality is None else {"quality": quality}
    Image.fromarray(array).save(buffer, "WEBP", method=4, **how)
    return buffer.getvalue()

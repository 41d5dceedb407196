"""Data sets larger than memory: image files that workers decode batch by batch."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .augment import DRAWS, Augmentation, Part, crop_boxes, find_augmentation, resized_crop_flip
from .decode import attempt
from .folders import SPARE, readable, stamp
from .images import Images, shares
from .unreadable import examine

STATS_IMAGES = 1000  # the mean and standard deviation of the channels are taken over so many
MAX_WORKERS = 16
CHUNK, AHEAD = 32, 2  # a worker decodes so many images at a time, and so many chunks before they are asked for


def default_workers() -> int:
    """One worker per core that this process may use, at most `MAX_WORKERS`; 0 on a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS) if cores > 1 else 0


@dataclass(frozen=True)
class Streamed(Images):
    """`Images` whose pixels stay in their files. ``x`` has the shape of the pixels, but lies on the device "meta" and holds none.

    `batches` decodes in ``workers`` processes (0: in this one); the number of workers does not change what it yields.
    ``resized-crop-flip`` cuts its crop from the whole image of the file, by a seed that the generator draws for each image. Every other
    augmentation sees what `Images` would hold: the center square, brought to the side of ``x``.

    Memory, with b = 3 · side² bytes for an image as it is decoded: a batch takes 13 · b · batch bytes (as bytes, as float32 before and
    after the division by 255, and the one before it, which the caller still holds), and each worker 128 · b (`AHEAD` chunks of `CHUNK`
    images, twice while they are sent) and about 45 MB of its own. Paths, labels and their order take some 250 bytes for each image of
    the set; nothing else grows with it. Each process of a training has its own workers.

    Raises:
        ValueError: a batch has files that cannot be read; the error names them. `examine` finds all of them, and later loads leave them
            out.
    """

    files: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    workers: int = field(default_factory=default_workers)

    def examine(self) -> None:
        """Decode every file once, and remember those that cannot be read: later loads leave them out, up to 1 % of all.

        Raises:
            ValueError: more cannot be read; the error names them.
        """
        found = list(examine(self.files.tolist(), self.x.shape[-1]).values())
        if len(found) > SPARE * len(self):
            readable(found, of=len(self))

    def _part(self, index: slice | Tensor) -> Self:
        files = self.files[index.cpu().numpy() if isinstance(index, Tensor) else index]
        return replace(self, x=self.x.new_empty(len(files), *self.x.shape[1:]), y=self.y[index], files=files)

    def to(self, device: torch.device | str) -> Self:
        return replace(self, y=self.y.to(device))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, side, labels, and of every file its folder's name, its own name and its size in bytes; not of pixels."""
        sha = hashlib.sha256(f"streamed {tuple(self.x.shape)} side {self.side}".encode())
        for path in self.files:
            sha.update(f"{'/'.join(path.split(os.sep)[-2:])} {stamp(path)[0]}\n".encode())
        sha.update(self.y.cpu().contiguous().numpy().data)
        return sha.hexdigest()

    def channel_stats(self) -> tuple[list[float], list[float]]:
        """`Images.channel_stats` of a fixed sample of `STATS_IMAGES` images, which are decoded once."""
        return self._stats

    @cached_property
    def _stats(self) -> tuple[list[float], list[float]]:
        few = self.sample(min(STATS_IMAGES, len(self)))
        (x,) = few._decoded([torch.arange(len(few))], None)
        return Images(x, few.y, few.classes).channel_stats()

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: str | Augmentation | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Images.batches`; the default ``device`` is that of the labels. Only the images of the ``share`` are decoded."""
        augment, seeds = find_augmentation(augment), None
        before, after = shares(share, augment)
        order = self._order(batch_size, shuffle, generator)
        if augment is resized_crop_flip:
            augment, seeds = None, torch.randint(2**62, (len(self),), generator=generator)
        for whole, x in zip(order, self._decoded([whole[before] for whole in order], seeds), strict=True):
            y = self.y[whole[before].to(self.y.device)].to(device or self.y.device)
            x, y = self._shown(x.to(y.device), augment, generator, Part(len(whole), before))[after], y[after]
            if len(y):
                yield x, y

    def _decoded(self, order: list[Tensor], seeds: Tensor | None) -> Iterator[Tensor]:
        """The images of each entry of ``order``, (n, 3, H, W) uint8."""
        side = self.x.shape[-1] if seeds is None else self.shape[-1]
        parts = [index.split(CHUNK) if len(index) else () for index in order]
        chunks = sum(map(len, parts))
        with warnings.catch_warnings():
            # more workers than cores are the user's choice; the second warning is about the fork by which workers start on Linux
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            loader: DataLoader[Any] = DataLoader(
                _Files(self.files, self.x.shape[-1], self.shape[-1]),
                batch_sampler=_listed(parts, seeds),
                num_workers=(workers := min(self.workers, chunks) if chunks > 1 else 0),
                prefetch_factor=AHEAD if workers else None,
                collate_fn=_together,
                generator=torch.Generator(),  # the loader must not draw from the global generator
            )
            decoded = iter(loader)
        for index, part in zip(order, parts, strict=True):
            # contiguous as in `Images`: the layout changes the last digits of a convolution
            pixels, broken, done = np.empty((len(index), 3, side, side), dtype=np.uint8), [], 0
            for _ in part:
                found = next(decoded)
                if isinstance(found, np.ndarray):
                    pixels[done : done + len(found)] = found
                else:
                    broken += [image for image in found if isinstance(image, str)]
                done += len(found)
            if broken:
                readable(broken, of=len(index), then="; or run atviz data check, which finds all such files, and they are left out")
            yield torch.from_numpy(pixels)


class _Files(Dataset):
    """(index, None) → the image as (3, H, W) uint8; (index, seed) → a random crop of it. An unreadable file gives a sentence instead."""

    def __init__(self, files: np.ndarray, held: int, side: int) -> None:
        self.files, self.held, self.side = files, held, side

    def __getitem__(self, item: tuple[int, int | None]) -> np.ndarray | str:
        index, seed = item
        image = attempt(self.files[index], self.held if seed is None else None)
        if isinstance(image, str):
            return image
        if seed is not None:
            draws = torch.rand(1, DRAWS, generator=torch.Generator().manual_seed(seed))
            top, left, height, width, mirrored = crop_boxes(draws, *image.shape[:2])[:, 0].int().tolist()
            crop = Image.fromarray(image[top : top + height, left : left + width])
            image = np.asarray(crop.resize((self.side, self.side), Image.Resampling.BILINEAR))[:, :: -1 if mirrored else 1]
        return image.transpose(2, 0, 1)


def _listed(parts: Iterable[Iterable[Tensor]], seeds: Tensor | None) -> Iterator[list[tuple[int, int | None]]]:
    """What `_Files` is asked for, chunk by chunk; made on the way, because a list of all would be as long as the set."""
    for chunk in chain.from_iterable(parts):
        yield list(zip(chunk.tolist(), [None] * len(chunk) if seeds is None else seeds[chunk].tolist(), strict=True))


def _together(images: list[np.ndarray | str]) -> np.ndarray | list[np.ndarray | str]:
    """One NumPy array, because it goes through a pipe; tensors would need shared memory, and containers have little of it."""
    return images if any(isinstance(image, str) for image in images) else np.stack(images)


def stream(
    files: Sequence[Path | str], y: Tensor, classes: list[str], name: str, *, held: int, side: int | None, note: str = ""
) -> Streamed:
    """Stream files as squares of side ``held``; batches show them at ``side``."""
    x = torch.empty(len(files), 3, held, held, dtype=torch.uint8, device="meta")
    return Streamed(x, y, classes, name, side, note, np.array([str(path) for path in files], dtype=object))

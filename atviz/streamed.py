"""Data sets larger than memory: image files that workers decode, batch by batch."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .augment import DRAWS, Augmentation, crop_boxes, find_augmentation, resized_crop_flip
from .data import Images
from .imagefiles import attempt, readable, stamp

STATS_IMAGES = 1000  # behind the channels' mean and standard deviation
MAX_WORKERS = 16


def default_workers() -> int:
    """As many as there are cores for this process, at most `MAX_WORKERS`; none, where there is but one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS) if cores > 1 else 0


@dataclass(frozen=True)
class Streamed(Images):
    """`Images` whose pixels stay in their files: ``x`` has their shape, but lies on the device "meta" and holds none.

    `batches` decodes in ``workers`` processes (0: in this one); what it yields does not depend on their number. The crops of
    ``resized-crop-flip`` are cut from the file's whole image, each by a seed that the generator draws for it; every other
    augmentation sees what `Images` would hold: the center square, brought to the side of ``x``.

    Raises:
        ValueError: when a batch has files that cannot be read; it names them.
    """

    files: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    workers: int = field(default_factory=default_workers)

    def __getitem__(self, index: slice | Tensor) -> Self:
        files = self.files[index.cpu().numpy() if isinstance(index, Tensor) else index]
        return replace(self, x=self.x.new_empty(len(files), *self.x.shape[1:]), y=self.y[index], files=files)

    def to(self, device: torch.device | str) -> Self:
        return replace(self, y=self.y.to(device))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, side, labels, and the name, with its folder's, and size in bytes of every file: not over pixels."""
        sha = hashlib.sha256(f"streamed {tuple(self.x.shape)} side {self.side}".encode())
        for path in self.files:
            sha.update(f"{'/'.join(path.split(os.sep)[-2:])} {stamp(path)[0]}\n".encode())
        sha.update(self.y.cpu().contiguous().numpy().data)
        return sha.hexdigest()

    def channel_stats(self) -> tuple[list[float], list[float]]:
        """`Images.channel_stats` of a sample, always the same, of `STATS_IMAGES` images."""
        few = self.sample(min(STATS_IMAGES, len(self)))
        x = torch.cat([x for x, _ in few._decoded(torch.arange(len(few)).split(100), None)])
        return Images(x, few.y, few.classes).channel_stats()

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: str | Augmentation | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Images.batches`; ``device`` is by default that of the labels."""
        augment, seeds = find_augmentation(augment), None
        order = self._order(batch_size, shuffle, generator)
        if augment is resized_crop_flip:
            augment, seeds = None, torch.randint(2**62, (len(self),), generator=generator).tolist()
        for x, y in self._decoded(order, seeds):
            yield self._shown(x.to(device or y.device), augment, generator), y.to(device or y.device)

    def _decoded(self, order: Sequence[Tensor], seeds: list[int] | None) -> Iterator[tuple[Tensor, Tensor]]:
        with warnings.catch_warnings():
            # who sets more workers than there are cores means it; and from Python 3.12 on, of the fork by which workers start on Linux
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            loader: DataLoader[Any] = DataLoader(
                _Files(self.files, self.x.shape[-1], self.shape[-1]),
                batch_sampler=[[(i, seeds and seeds[i]) for i in index.tolist()] for index in order],
                num_workers=min(self.workers, len(order)) if len(order) > 1 else 0,
                collate_fn=_together,
                generator=torch.Generator(),  # not the global one, whose numbers are for others to draw
            )
            batches = iter(loader)
        for index, found in zip(order, batches, strict=True):
            yield torch.from_numpy(found if isinstance(found, np.ndarray) else np.stack(readable(found))), self.y[index.to(self.y.device)]


class _Files(Dataset):
    """(index, None) → the file's image as (3, H, W) uint8, or the sentence that refuses it; (index, seed) → its random crop."""

    def __init__(self, files: np.ndarray, held: int, side: int) -> None:
        self.files, self.held, self.side = files, held, side

    def __getitem__(self, item: tuple[int, int | None]) -> np.ndarray | str:
        index, seed = item
        image = attempt(Path(self.files[index]), self.held if seed is None else None)
        if isinstance(image, str):
            return image
        if seed is not None:
            draws = torch.rand(1, DRAWS, generator=torch.Generator().manual_seed(seed))
            top, left, height, width, mirrored = crop_boxes(draws, *image.shape[:2])[:, 0].int().tolist()
            crop = Image.fromarray(image[top : top + height, left : left + width])
            image = np.asarray(crop.resize((self.side, self.side), Image.Resampling.BILINEAR))[:, :: -1 if mirrored else 1]
        return image.transpose(2, 0, 1)


def _together(images: list[np.ndarray | str]) -> np.ndarray | list[np.ndarray | str]:
    """One array, which goes through a pipe: tensors would need shared memory, of which a container has little."""
    return images if any(isinstance(image, str) for image in images) else np.stack(images)


def stream(files: list[Path], y: Tensor, classes: list[str], name: str, *, held: int, side: int | None) -> Streamed:
    """Stream files as squares: each brought to ``held``, and cropped to ``side`` as batches."""
    x = torch.empty(len(files), 3, held, held, dtype=torch.uint8, device="meta")
    return Streamed(x, y, classes, name, side, np.array([str(path) for path in files], dtype=object))

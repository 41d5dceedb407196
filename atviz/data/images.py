"""Images with labels: uint8 pixels on a device, cut into batches and augmented there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self, overload

import numpy as np
import torch
from torch import Tensor

from .augment import AUGMENTATIONS, Augmentation, Part, find_augmentation, random_crop, resized_crop_flip

EACH = 100  # images that are made ready at once where they are asked for one by one


@dataclass(frozen=True)
class Images:
    """A labeled set of images of one size.

    ``images[3]`` is one image with its label, as `batches` yields them: (C, H, W) float32 in [0, 1] and an int. Iterating gives such pairs.
    A slice, a mask or a tensor of indices gives the set of these images.

    ``x`` is (N, C, H, W) uint8 and ``y`` (N,) int64, with values below ``len(classes)``. Without ``side``, `batches` yields the pixels
    as they are held. With ``side`` it yields squares of that side: smaller images are enlarged (bilinear), larger ones cropped.

    ``note`` says in one sentence what was decided when the set was made, such as how its test images were drawn; it is "" where nothing
    was, stays with every part of the set, and is not in the digest.
    """

    x: Tensor
    y: Tensor
    classes: list[str]
    name: str = "images"
    side: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.x.dtype != torch.uint8 or self.x.ndim != 4:
            raise ValueError(f"x must be (N, C, H, W) uint8, not {tuple(self.x.shape)} {self.x.dtype}")
        if self.y.dtype != torch.int64 or self.y.shape != self.x.shape[:1]:
            raise ValueError(f"y must be ({len(self.x)},) int64, not {tuple(self.y.shape)} {self.y.dtype}")
        if len(self.y) and not 0 <= int(self.y.min()) <= int(self.y.max()) < len(self.classes):
            raise ValueError(f"labels run from {self.y.min()} to {self.y.max()}, but there are {len(self.classes)} classes")
        if self.side is not None and not (self.side >= 1 and self.x.shape[2] == self.x.shape[3]):
            raise ValueError(f"side is {self.side} for images of {tuple(self.x.shape[2:])}; it must be at least 1, and they must be square")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as `batches` yields it."""
        c, h, w = self.x.shape[1:]
        return (c, h, w) if self.side is None else (c, self.side, self.side)

    def __len__(self) -> int:
        return len(self.y)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, int]: ...

    @overload
    def __getitem__(self, index: slice | Tensor) -> Self: ...

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, int] | Self:
        if isinstance(index, slice | Tensor | np.ndarray | list):
            return self._part(index)
        if not isinstance(index, int | np.integer):
            raise TypeError(f"an index of images is of type {type(index).__name__}; it must be an int, a slice or a tensor of indices")
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no image {index} in {self.name}; its {len(self)} images are numbered from 0")
        place = int(index) % len(self)
        x, y = next(self._part(slice(place, place + 1)).batches(1))
        return x[0], int(y)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for x, y in self.batches(EACH):
            yield from zip(x, y.tolist(), strict=True)

    def _part(self, index: slice | Tensor) -> Self:
        return replace(self, x=self.x[index], y=self.y[index])

    def to(self, device: torch.device | str) -> Self:
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, side, pixels and labels. It stands for the images in the key of every result."""
        sha = hashlib.sha256(str(tuple(self.x.shape)).encode())
        if self.side is not None and self.shape != self.x.shape[1:]:
            sha.update(f"side {self.side}".encode())
        sha.update(self.x.cpu().contiguous().numpy().data)
        sha.update(self.y.cpu().contiguous().numpy().data)
        return sha.hexdigest()

    def channel_stats(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over all pixels of ``x``, in [0, 1]. ``side`` changes neither."""
        counts = torch.stack([torch.bincount(c.flatten().long(), minlength=256) for c in self.x.transpose(0, 1)])
        values = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        weights = counts.double() / counts.sum(1, keepdim=True)
        mean = weights @ values
        std = (weights @ values**2 - mean**2).clamp(min=0).sqrt()
        return mean.tolist(), std.clamp(min=1e-6).tolist()

    def sample(self, n: int, *, seed: int = 0) -> Self:
        """Draw ``n`` images by ``seed``, stratified by class; they keep the order of the set.

        >>> images = Images(torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1, 1]), ["cat", "dog"])
        >>> images.sample(3).y
        tensor([0, 0, 1])
        """
        return self[stratified(self.y, n, seed)]

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
        """Yield ``x``, (n, C, H, W) float32 in [0, 1], and ``y``, on ``device`` (default: where the images are).

        ``augment`` is a name of `AUGMENTATIONS` or a function ``(x uint8, generator) -> x uint8``. Images larger than ``side`` are cropped:
        at the center without an augmentation, else at a random place for each image. ``resized-crop-flip`` takes its crop from the
        whole image and brings it to ``side``.

        ``share`` is (rank, world): only every ``world``-th image of each batch, from image ``rank`` on, for one of ``world`` processes.
        Each image is augmented as in the whole batch. Where a share of the last batch is empty, it is left out. A function of one's own
        gets the whole batch, and the share is cut from what it returns.

        >>> images = Images(torch.full((5, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(5), list("abcde"))
        >>> [(tuple(x.shape), float(x.max()), y.tolist()) for x, y in images.batches(3)]
        [((3, 1, 2, 2), 1.0, [0, 1, 2]), ((2, 1, 2, 2), 1.0, [3, 4])]
        """
        augment = find_augmentation(augment)
        before, after = shares(share, augment)
        for whole in self._order(batch_size, shuffle, generator):
            index = whole[before]
            x, y = self.x[index.to(self.x.device)], self.y[index.to(self.y.device)]
            if device is not None:
                x, y = x.to(device), y.to(device)
            x, y = self._shown(x, augment, generator, Part(len(whole), before))[after], y[after]
            if len(y):
                yield x, y

    def _order(self, batch_size: int, shuffle: bool, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        return (torch.randperm(len(self), generator=generator) if shuffle else torch.arange(len(self))).split(batch_size)

    def _shown(self, x: Tensor, augment: Augmentation | None, generator: torch.Generator | None, part: Part) -> Tensor:
        if augment is resized_crop_flip:
            x = resized_crop_flip(x, generator, self.side, part=part)
        else:
            if self.side is not None and self.side < x.shape[-1]:
                edge = (x.shape[-1] - self.side) // 2
                middle = slice(edge, edge + self.side)
                x = x[:, :, middle, middle] if augment is None else random_crop(x, self.side, generator, part=part)
            if augment is not None:
                x = augment(x, generator, part=part) if augment in AUGMENTATIONS.values() else augment(x, generator)
        x = x.float() / 255
        if self.side is not None and self.side > x.shape[-1]:
            x = torch.nn.functional.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        return x


def shares(share: tuple[int, int], augment: Augmentation | None) -> tuple[slice, slice]:
    """Where `Images.batches` cuts a share from a batch: before its images are augmented, and after.

    ValueError for a rank that is not one of ``world``.
    """
    rank, world = share
    if not 0 <= rank < world:
        raise ValueError(f"share is {share}; the rank must be at least 0 and below the number of processes")
    cut, everything = slice(rank, None, world), slice(None)
    # a function of one's own may look at the whole batch, and draws as it likes
    return (cut, everything) if augment is None or augment in AUGMENTATIONS.values() else (everything, cut)


def stratified(y: Tensor, n: int, seed: int) -> Tensor:
    """Draw ``n`` of the labels ``y``; return their indices, sorted. The count of each class is proportional to its share, to within one.

    Raises:
        ValueError: ``n`` is below 1 or above the number of labels.
    """
    if not 1 <= n <= len(y):
        raise ValueError(f"cannot take {n} images of {len(y)}")
    rng = np.random.default_rng(seed)
    labels = y.cpu().numpy()
    classes, counts = np.unique(labels, return_counts=True)
    quota = counts * n / len(labels)
    share = quota.astype(int)
    share[np.argsort(share - quota, kind="stable")[: n - share.sum()]] += 1  # the largest remainders
    chosen = [rng.choice(np.flatnonzero(labels == c), k, replace=False) for c, k in zip(classes, share, strict=True)]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def resized(images: Images, size: int) -> Images:
    """The shorter side of every image brought to ``size``, and the center square cut out."""
    from torchvision.transforms.v2 import functional as F

    return replace(images, x=F.center_crop(F.resize(images.x, [size], antialias=True), [size, size]))


def brought_to(images: Images, size: int | None) -> Images:
    """As `resized`, but images that are smaller than ``size`` stay as they are: `Images.batches` enlarges them.

    100,000 images enlarged to 224 pixels would take 15 GB.
    """
    if size is not None and size > min(images.x.shape[2:]):
        return replace(images, side=size)
    return resized(images, size) if size else images

"""Data sets: uint8 images that live on the device, or stream from files, cut into batches and augmented there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from . import home, shipped
from .archives import ARCHIVES, list_images, locate
from .augment import Augmentation, find_augmentation, random_crop, resized_crop_flip
from .imagefiles import list_folder, read_files, size_of
from .imagenet import imagenet

FASHION_SHA256 = "793867a0b4a240eeb9e8fcdb917182b81adf669974c7efdb67edbf078d2d5673"
FASHION_CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
# name -> which of its classes
EMBEDDED = {"fashion": slice(None), "fashion-odd": slice(1, None, 2), "fashion-even": slice(0, None, 2)}
# name -> class of torchvision.datasets
TORCHVISION = {"fashion-full": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN", "stl10": "STL10"}
SYNTHETIC = {"shapetex": "both", "shapetex-shape": "shape", "shapetex-texture": "texture", "shapetex-conflict": "conflict"}  # name -> cue
SYNTHETIC_SIZES = {"train": 4000, "test": 2000}
NAMES = [*EMBEDDED, *TORCHVISION, *ARCHIVES, "imagenet", *SYNTHETIC, "folder:PATH"]
IMAGENET_SIZE = 224
STREAMED_ABOVE = 8 * 2**30  # bytes of pixels; archives and folders that have more are not held in memory


@dataclass(frozen=True)
class Images:
    """A labeled set of images, all of one size.

    ``x`` is (N, C, H, W) uint8, ``y`` (N,) int64 with values below ``len(classes)``. ``batches`` yields the pixels as they are held
    or, where ``side`` is given, squares of that side: smaller images enlarged (bilinear), larger ones cropped.
    """

    x: Tensor
    y: Tensor
    classes: list[str]
    name: str = "images"
    side: int | None = None

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

    def __getitem__(self, index: slice | Tensor) -> Self:
        return replace(self, x=self.x[index], y=self.y[index])

    def to(self, device: torch.device | str) -> Self:
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shape, pixels, side and labels: what a result's key says of its data."""
        sha = hashlib.sha256(str(tuple(self.x.shape)).encode())
        if self.side is not None and self.shape != self.x.shape[1:]:
            sha.update(f"side {self.side}".encode())
        sha.update(self.x.cpu().contiguous().numpy().data)
        sha.update(self.y.cpu().contiguous().numpy().data)
        return sha.hexdigest()

    def channel_stats(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over all pixels of ``x``, as held: neither enlarged nor cropped; in [0, 1]."""
        counts = torch.stack([torch.bincount(c.flatten().long(), minlength=256) for c in self.x.transpose(0, 1)])
        values = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        weights = counts.double() / counts.sum(1, keepdim=True)
        mean = weights @ values
        std = (weights @ values**2 - mean**2).clamp(min=0).sqrt()
        return mean.tolist(), std.clamp(min=1e-6).tolist()

    def sample(self, n: int, *, seed: int = 0) -> Self:
        """``n`` images, as many of each class as possible, drawn by ``seed``, in the set's own order."""
        return self[stratified(self.y, n, seed)]

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: str | Augmentation | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``x`` (float32 in [0, 1]) and ``y``, on ``device`` (default: where the images are).

        ``augment`` is a name of `augment.AUGMENTATIONS` or a function ``(x uint8, generator) -> x uint8`` that draws for each image. Images
        larger than ``side`` are cropped at a place of each one's own where they are augmented, at the center where they are not;
        ``resized-crop-flip`` brings its crop of the whole image to that side.
        """
        augment = find_augmentation(augment)
        for index in self._order(batch_size, shuffle, generator):
            x, y = self.x[index.to(self.x.device)], self.y[index.to(self.y.device)]
            if device is not None:
                x, y = x.to(device), y.to(device)
            yield self._shown(x, augment, generator), y

    def _order(self, batch_size: int, shuffle: bool, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        return (torch.randperm(len(self), generator=generator) if shuffle else torch.arange(len(self))).split(batch_size)

    def _shown(self, x: Tensor, augment: Augmentation | None, generator: torch.Generator | None) -> Tensor:
        if augment is resized_crop_flip:
            x = resized_crop_flip(x, generator, self.side)
        else:
            if self.side is not None and self.side < x.shape[-1]:
                edge = (x.shape[-1] - self.side) // 2
                middle = slice(edge, edge + self.side)
                x = x[:, :, middle, middle] if augment is None else random_crop(x, self.side, generator)
            if augment is not None:
                x = augment(x, generator)
        x = x.float() / 255
        if self.side is not None and self.side > x.shape[-1]:
            x = torch.nn.functional.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        return x


def stratified(y: Tensor, n: int, seed: int) -> Tensor:
    """Sorted indices of ``n`` labels, each class's count proportional to its share, to within one."""
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


def load(
    name: str, split: str = "train", *, root: str | Path | None = None, size: int | None = None, limit: int | None = None, seed: int = 0
) -> Images:
    """Load one split of a data set.

    Args:
        name: ``fashion`` (embedded: 10,000 + 2,000 images of Fashion-MNIST), ``fashion-odd`` and ``fashion-even`` (its images of
            trousers, dresses, sandals, sneakers and boots, and those of T-shirts, pullovers, coats, shirts and bags: labels that are
            odd and even in it, and 0 to 4 here), ``fashion-full``, ``cifar10``, ``cifar100``, ``svhn``, ``stl10`` (torchvision's,
            downloaded when missing), ``tiny-imagenet``, ``caltech256``, ``food101``, ``flowers102``, ``stanford-dogs``, ``cub200`` (as
            packed by their authors, downloaded when missing; `archives` says how each is split; ``tiny-imagenet:PATH`` and the like for
            a copy in ``PATH``, which is never downloaded to), ``folder:PATH`` for images in ``PATH/<split>/<class>/*``,
            ``imagenet`` (`imagenet.imagenet`; never downloaded, ``imagenet:PATH`` for a copy in ``PATH``), or ``shapetex``,
            ``shapetex-shape``, ``shapetex-texture``, ``shapetex-conflict`` (`synthetic.shapetex`: 4,000 + 2,000 drawn by ``seed``).
        split: ``train`` or ``test``.
        root: where a local copy lies or a download goes; default ``data/downloads``.
        size: resize the shorter side to this and crop the center square. Images of ``caltech256``, the archives after it and
            ``imagenet``, by default of size 224, are held larger by a seventh and cropped as batches, at random in training (256 and 224:
            Zhang & Zhu 2019). Smaller images of torchvision's sets and ``tiny-imagenet`` are held as they are and enlarged as batches.
        limit: that many images, stratified by class, drawn by ``seed``.

    Returns:
        The images in memory; `streamed.Streamed` for ``imagenet``, and for archives and folders of more than `STREAMED_ABOVE` bytes.

    Raises:
        ValueError: an unknown name or split, or files that cannot be read as images.
        FileNotFoundError: a folder that is not there, or an archive's list of its images.
        OSError: a download that failed.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    if size is not None and size < 1:
        raise ValueError(f"size is {size}; it must be at least 1 pixel")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1 image")
    check_name(name)
    if name.partition(":")[0] in ("folder", "imagenet", *ARCHIVES):
        return _from_files(name, split, root, size, limit, seed)
    if name in SYNTHETIC:
        from .synthetic import shapetex

        # the two splits must have no image in common, whatever the seed
        n = min(limit or SYNTHETIC_SIZES[split], SYNTHETIC_SIZES[split])
        images = shapetex(n, cue=SYNTHETIC[name], seed=2 * seed + (split == "test"), size=size or 32).images
        return replace(images, name=name)
    images = _embedded(name, split) if name in EMBEDDED else _torchvision(name, split, Path(root) if root else _downloads())
    if limit:
        images = images.sample(min(limit, len(images)), seed=seed)
    return _resized(images, size) if size and name in EMBEDDED else _brought_to(images, size)


def check_name(name: str) -> None:
    """Raise ValueError, with the nearest right name, unless `load` knows ``name``."""
    base, _, path = name.partition(":")
    if name in NAMES or (path and base in ("folder", "imagenet", *ARCHIVES)):
        return
    near = get_close_matches(name, NAMES, 1, 0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}"
    raise ValueError(f"unknown data set {name!r}; {hint}")


def _downloads() -> Path:
    return home() / "data" / "downloads"


def _from_files(name: str, split: str, root: str | Path | None, size: int | None, limit: int | None, seed: int) -> Images:
    base, _, path = name.partition(":")
    copy = path or root
    given = Path(copy).expanduser() if copy else None
    default = None
    if base == "folder":
        files, labels, classes = list_folder(Path(path).expanduser(), split)
    elif base == "imagenet":
        files, labels, classes = imagenet(given or _downloads() / base, split)
        default = IMAGENET_SIZE
    else:
        files, labels, classes = list_images(base, locate(base, _downloads(), root=given, fetch=not path), split)
        default = ARCHIVES[base].size
    # the limit is applied before any file is decoded
    chosen = stratified(torch.from_numpy(labels), min(limit, len(labels)), seed).numpy() if limit else np.arange(len(labels))
    files, y = [files[i] for i in chosen], torch.from_numpy(labels[chosen])
    # a card says which images they were by their digest, not by a path of this machine
    short = Path(path).name if base == "folder" else base
    title = f"folder:{short}" if base == "folder" else base
    side = default and (size or default)
    held = round(side * 8 / 7) if side else size if base == "folder" else None
    shape = (held, held) if held else size_of(files[0])
    if base == "imagenet" or (len(set(shape)) == 1 and 3 * len(files) * math.prod(shape) > STREAMED_ABOVE):
        from .streamed import stream

        return stream(files, y, classes, title, held=shape[0], side=side or size)
    pixels = read_files(files, size=held, cache=home() / "data" / "cache", name=f"{short}-{split}")
    images = Images(torch.from_numpy(pixels), y, classes, title, side)
    return images if side or base == "folder" else _brought_to(images, size)


def _embedded(name: str, split: str) -> Images:
    path = shipped("data", "fashion", "fashion.npz")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != FASHION_SHA256:
        raise ValueError(f"{path} is damaged: its SHA-256 is {found}, not {FASHION_SHA256}")
    with np.load(path) as arrays:
        x, y = arrays[f"{split}_x"], arrays[f"{split}_y"]
    labels = np.arange(len(FASHION_CLASSES))[EMBEDDED[name]]
    held = np.isin(y, labels)
    classes = [FASHION_CLASSES[label] for label in labels]
    return Images(torch.from_numpy(x[held])[:, None], torch.from_numpy(np.searchsorted(labels, y[held])), classes, name)


def _torchvision(name: str, split: str, root: Path) -> Images:
    from torchvision import datasets

    dataset = getattr(datasets, TORCHVISION[name])
    which: dict[str, Any] = {"split": split} if name in ("svhn", "stl10") else {"train": split == "train"}
    try:
        try:
            source = dataset(root, **which, download=True)
        except RuntimeError:
            # torchvision does not see that an earlier unpacking was interrupted: unpack again what came from an archive
            unpacked = [
                path.with_suffix("") for path in (root / dataset.__name__ / "raw").glob("*-ubyte.gz") if path.with_suffix("").is_file()
            ]
            if not unpacked:
                raise
            for path in unpacked:
                path.unlink()
            source = dataset(root, **which, download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong checksum is a RuntimeError
        reason = " ".join(str(error).split())
        raise OSError(
            f"{name} is not complete in {root} and could not be downloaded ({reason}); put its files there or name their folder as root"
        ) from error
    x = torch.as_tensor(source.data)
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2) if x.shape[-1] == 3 else x
    y = torch.as_tensor(source.targets if hasattr(source, "targets") else source.labels).long()
    return Images(x.contiguous(), y, list(map(str, range(10))) if name == "svhn" else list(source.classes), name)


def _brought_to(images: Images, size: int | None) -> Images:
    """Smaller images are enlarged batch by batch: 100,000 of them at 224 pixels would take 15 GB."""
    if size is not None and size > min(images.x.shape[2:]):
        return replace(images, side=size)
    return _resized(images, size) if size else images


def _resized(images: Images, size: int) -> Images:
    from torchvision.transforms.v2 import functional as F

    return replace(images, x=F.center_crop(F.resize(images.x, [size], antialias=True), [size, size]))

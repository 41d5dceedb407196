"""Images from elsewhere: a torch Dataset, such as torchvision's, or a DataLoader, read into `Images`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, Subset, SubsetRandomSampler
from torch.utils.data.dataloader import default_collate

from .bars import progress
from .decode import to_rgb
from .images import Images

AnyImages = Images | Dataset[Any] | DataLoader[Any]
BLOCK = 256  # images that are put together at a time
NOTED = 0.1  # of a level of 255: half precision moves the pixels of a file by less


def as_images(images: AnyImages, *, classes: Sequence[str] | None = None) -> Images:
    """The same images as `Images`, in memory and in the order of their data set; `Images` are returned as they are.

    >>> pairs = torch.utils.data.TensorDataset(torch.ones(2, 1, 4, 4), torch.tensor([0, 1]))
    >>> found = as_images(pairs, classes=["cat", "dog"])
    >>> found.shape, found.classes, found.name
    ((1, 4, 4), ['cat', 'dog'], 'tensordataset')

    Args:
        images: a data set of (image, label). An image is a PIL image or a tensor (C, H, W), uint8 or floating-point in [0, 1]; the
            latter are rounded to 1/255, and the ``note`` of the images says so where it changes them. A label is one integer. Of a
            DataLoader the data set is read in order, each image once, whether or not the loader shuffles or drops the last batch; of a
            sampler of one's own, or of an `IterableDataset`, what the loader yields.
        classes: their names; default: the data set's ``classes``, else "0" to the highest label.

    Raises:
        TypeError: what is neither; items that are no such pairs.
        ValueError: no images, images of several sizes, pixels outside [0, 1] (normalization is the first layer of a network), or labels
            that the classes do not have.
    """
    if isinstance(images, Images):
        return images if classes is None else replace(images, classes=list(classes))
    if not isinstance(images, Dataset | DataLoader):
        raise TypeError(
            f"images is of type {type(images).__name__}; it must be Images of atviz.data.load, a torch Dataset of (image, label), or a DataLoader of one"
        )
    source = images.dataset if isinstance(images, DataLoader) else images
    name = _name(source)
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
        x, y, lost = _held(_items(images), len(source) if hasattr(source, "__len__") else 0, name)
    found = list(classes) if classes is not None else _classes(source) or [str(label) for label in range(int(y.max()) + 1)]
    note = f"the pixels of {name} are rounded to 1/255, by at most {lost / 255:.1g}" if lost > NOTED else ""
    return Images(x, y, found, name, note=note)


def _items(source: Dataset[Any] | DataLoader[Any]) -> Iterator[Any]:
    if isinstance(source, DataLoader):
        with warnings.catch_warnings():
            # more workers than cores are the user's choice; the second warning is about the fork by which workers start on Linux
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            loader = _in_order(source)
            batches = iter(loader)
        for batch in batches:
            yield from batch if loader.collate_fn is list else _taken_apart(batch)
    elif isinstance(source, IterableDataset):
        yield from source
    else:
        yield from (source[i] for i in range(len(source)))  # type: ignore[arg-type]


def _in_order(loader: DataLoader[Any]) -> DataLoader[Any]:
    """A loader of the same images in the order of the data set; the loader itself where its order is its own."""
    data, sampler = loader.dataset, loader.sampler
    shuffled = isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == len(data)  # type: ignore[arg-type]
    own = isinstance(data, IterableDataset) or (loader.batch_size is None and loader.batch_sampler is not None)
    if own or not (shuffled or isinstance(sampler, SequentialSampler | SubsetRandomSampler)):
        return loader
    chosen = Subset(data, sorted(sampler.indices)) if isinstance(sampler, SubsetRandomSampler) else data
    return DataLoader(
        chosen,
        batch_size=loader.batch_size,
        # the usual collate refuses PIL images, and images of several sizes in words that do not help
        collate_fn=list if loader.collate_fn is default_collate else loader.collate_fn,
        num_workers=loader.num_workers,
        prefetch_factor=loader.prefetch_factor,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
    )


def _taken_apart(batch: Any) -> Iterable[Any]:
    """The pairs of a collated batch; what is a single pair, or no batch, is left to `_pair`."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        x, y = batch
        if (isinstance(x, Tensor) and x.ndim == 4) or isinstance(x, tuple | list):
            if len(x) != len(y):
                raise ValueError(f"a batch has {len(x)} images and {len(y)} labels; it must have as many of both")
            return zip(x, y, strict=True)
    return [batch]


def _held(items: Iterable[Any], total: int, name: str) -> tuple[Tensor, Tensor, float]:
    """Pixels (N, C, H, W) uint8, labels (N,), and the most that a pixel was rounded by, in levels of 255."""
    blocks: list[Tensor] = []
    part: list[Tensor] = []
    labels: list[int] = []
    lost = 0.0
    with progress(total, f"reading {name}") as bar:
        for item in items:
            image, label = _pair(item, f"item {len(labels)} of {name}")
            pixels, off = _pixels(image, f"image {len(labels)} of {name}")
            before = part[-1] if part else blocks[-1][-1] if blocks else pixels
            _check_alike(pixels, before, f"image {len(labels)} of {name}")
            if part and (len(part) == BLOCK or len(pixels) != len(before)):
                blocks.append(torch.stack(part))
                part = []
            part.append(pixels)
            labels.append(label)
            lost = max(lost, off)
            bar.update()
    if not labels:
        raise ValueError(f"{name} holds no images")
    blocks, part = [*blocks, torch.stack(part)], []
    x = torch.empty(len(labels), max(block.shape[1] for block in blocks), *blocks[0].shape[2:], dtype=torch.uint8)
    done = 0
    while blocks:  # each is let go when it is copied: the images are not held twice
        block = blocks.pop(0)
        x[done : done + len(block)] = block  # gray images beside colored ones become gray in three channels
        done += len(block)
    return x, torch.tensor(labels), lost


def _pair(item: Any, where: str) -> tuple[Any, int]:
    if not (isinstance(item, tuple | list) and len(item) == 2):
        what = f"a {type(item).__name__}" + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
        raise TypeError(f"{where} is {what}; it must be a pair of an image and its label")
    image, label = item
    if isinstance(label, Tensor | np.ndarray | np.generic) and np.prod(label.shape) == 1:
        label = label.item()
    if not isinstance(label, int):
        what = f"shape {tuple(label.shape)}" if hasattr(label, "shape") else type(label).__name__
        raise TypeError(f"{where} has a label of {what}; it must be one integer")
    if label < 0:
        raise ValueError(f"{where} has the label {label}; it must be 0 or higher")
    return image, int(label)


def _pixels(image: Any, where: str) -> tuple[Tensor, float]:
    """One image as (C, H, W) uint8, and the most that a pixel was rounded by, in levels of 255."""
    if isinstance(image, Image.Image):
        array = np.array(image if image.mode in ("L", "RGB") else to_rgb(image))
        return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1), 0.0
    if not isinstance(image, Tensor):
        raise TypeError(f"{where} is of type {type(image).__name__}; it must be a PIL image or a tensor (C, H, W)")
    x = image.detach().as_subclass(Tensor).cpu()
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or (x.shape[-1] in (1, 3) and x.shape[0] not in (1, 3)):
        raise ValueError(f"{where} has the shape {tuple(image.shape)}; it must be (C, H, W)")
    if x.dtype == torch.uint8:
        return x, 0.0
    if not x.is_floating_point():
        raise ValueError(f"{where} is {x.dtype}; it must be uint8, or floating-point in [0, 1]")
    low, high = x.aminmax()
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"{where} has pixels from {low:.4g} to {high:.4g}; they must be in [0, 1]: leave normalization out of its transform, because "
            "it is the first layer of a network"
        )
    levels = x.double() * 255
    rounded = levels.round()
    return rounded.clamp(0, 255).byte(), float((levels - rounded).abs().max())


def _check_alike(x: Tensor, before: Tensor, where: str) -> None:
    if x.shape[1:] != before.shape[1:]:
        (height, width), (was_high, was_wide) = x.shape[1:], before.shape[1:]
        side = min(was_high, was_wide)
        raise ValueError(
            f"{where} is {width}x{height} pixels and the image before it {was_wide}x{was_high}; give the data set a transform that brings all "
            f"to one size, such as torchvision's Compose([Resize({side}), CenterCrop({side})])"
        )
    if len(x) != len(before) and {len(x), len(before)} != {1, 3}:
        raise ValueError(f"{where} has {len(x)} channels and the image before it {len(before)}; all must have as many")


def _name(source: Any) -> str:
    """The class of a data set, in lower case; for a part of one, of the whole."""
    if isinstance(source, Images):
        return source.name
    return _name(source.dataset) if isinstance(source, Subset) else type(source).__name__.lower()


def _classes(source: Any) -> list[str] | None:
    """The names of the classes, where a data set has them, or those that it is made of."""
    found = getattr(source, "classes", None)
    if isinstance(found, list | tuple) and found:
        return [str(name[0] if isinstance(name, tuple) else name) for name in found]  # torchvision's ImageNet has tuples of synonyms
    if hasattr(source, "dataset"):
        return _classes(source.dataset)
    parts = [_classes(part) for part in getattr(source, "datasets", ())]
    return parts[0] if parts and all(part == parts[0] for part in parts) else None

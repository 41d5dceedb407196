"""Which images fit a network: those of its classes, in their order, in its channels and at its size."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from torch import nn

from ..data import Images
from .inference import answered


class Known(NamedTuple):
    """What a network was made for: the names of its classes in the order of its logits, and (channels, height, width) of its images.

    It is the plain attribute ``known`` of a module, set by `Network`. Copies of the module keep it; its state does not hold it. A
    ``shape`` of None is unknown.
    """

    classes: list[str]
    shape: tuple[int, int, int] | None


def known_of(model: nn.Module) -> Known | None:
    """What is recorded on a module; None for a module that nothing is known of."""
    known = getattr(model, "known", None)
    return known if isinstance(known, Known) else None


def check_fits(model: nn.Module, images: Images) -> None:
    """ValueError, in one sentence that says what would be right, unless a network fits these images.

    What is recorded of the network as `Known` must be equal. Where nothing is recorded, or no shape, one image is passed through the
    network: it must take the image and answer with one value per class. The network is left as it was, and the global random numbers,
    too. A set without images is not checked.
    """
    if not len(images):
        return
    known = known_of(model)
    if known is not None:
        _same_classes(known.classes, images)
    if known is not None and known.shape is not None:
        _same_shape(known.shape, images)
    else:
        _takes(model, images)


def _same_classes(known: list[str], images: Images) -> None:
    found = list(images.classes)
    if found != known:
        places = enumerate(zip_longest(map(repr, found), map(repr, known), fillvalue="none"))
        place, (here, there) = next((i, pair) for i, pair in places if len(set(pair)) > 1)
        raise ValueError(
            f"{images.name} has {len(found)} classes and the network {len(known)}, and class {place} is {here} in {images.name} and {there} "
            "for the network; the images must have the network's classes in the network's order"
        )


def _same_shape(known: tuple[int, int, int], images: Images) -> None:
    channels, height, width = images.shape
    if channels != known[0]:
        raise ValueError(f"the images of {images.name} have {_channels(channels)}; the network takes images of {_channels(known[0])}")
    side = known[2]
    # a model card holds the width alone: of a network for a square, the height may be another
    if width != side or known[1] not in (height, side):
        raise ValueError(
            f"the images of {images.name} are {height} × {width} pixels and the network takes {known[1]} × {side}; load the images with "
            f"size={side}, or in the notebooks size = {side}"
        )


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}"


def _takes(model: nn.Module, images: Images) -> None:
    found, wanted = (
        answered(model, next(iter(images[:1].batches(1)))[0]),
        len(images.classes),
    )  # a slice: streamed images would start their workers
    if found != wanted:
        raise ValueError(
            f"the network answers an image of {images.name} with values of shape {(1, found)}; it must be {(1, wanted)}, a value for each of {wanted} classes"
        )

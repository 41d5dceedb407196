"""The three kinds of data sets, by how they are loaded: `Held` whole, `Listed` as files, `Drawn` by a seed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import home
from ..names import unknown
from .archives import downloads
from .decode import size_of
from .folders import Listing, read_files
from .images import Images, brought_to, resized, stratified
from .shapetex import shapetex
from .small import Whole
from .streamed import stream
from .unreadable import remembered
from .world import WORLDS, World

DRAWN_SIZES = {"train": 4000, "test": 2000}  # images of the drawn sets
NAMED = 5  # files that a sentence names
STREAMED_ABOVE = 8 * 2**30  # bytes of pixels; larger sets of files are not held in memory
# values of a row's ``augment``: any augmentation suits the images; any but crops, as they are cropped already
ANY, NO_CROPS = "any", "any but crops"


@dataclass(frozen=True)
class Request:
    """What `load` was asked for. ``given`` is the place of a local copy, if the caller named one."""

    name: str
    split: str
    given: Path | None
    may_download: bool
    size: int | None
    limit: int | None
    seed: int


@dataclass(frozen=True)
class Held:
    """A row for small images that are read whole. With ``resizes``, they are also enlarged when they are loaded, not as batches."""

    read: Callable[[str, str, Path], Whole]
    augment: str | None = ANY
    resizes: bool = False

    def images(self, asked: Request) -> Images:
        images = Images(*self.read(asked.name, asked.split, asked.given or downloads()), asked.name)
        if asked.limit:
            images = images.sample(min(asked.limit, len(images)), seed=asked.seed)
        return resized(images, asked.size) if asked.size and self.resizes else brought_to(images, asked.size)


@dataclass(frozen=True)
class Listed:
    """A row for image files, which are listed first and then decoded or streamed; it also takes ``name:PATH``.

    ``find`` gets the name, the split, where a copy lies and whether it may be downloaded. Where ``size`` is set, the images have several
    sizes and are shown at this side unless `load` is asked for another. Images that are all ``small`` are held as they are.
    """

    find: Callable[[str, str, Path | None, bool], Listing]
    size: int | None = None
    augment: str | None = ANY
    small: bool = False
    always_streamed: bool = False
    note: Callable[[Path], str] = lambda folder: ""  # what the images' ``note`` says of the folder of a copy

    def images(self, asked: Request) -> Images:
        files, labels, classes = self.find(asked.name, asked.split, asked.given, asked.may_download)
        note = self.note(asked.given) if asked.given else ""
        y = torch.from_numpy(labels)
        # the limit is applied before any file is decoded
        chosen = stratified(y, min(asked.limit, len(y)), asked.seed) if asked.limit else torch.arange(len(y))
        files, y = [files[i] for i in chosen.tolist()], y[chosen]
        side = self.size and (asked.size or self.size)
        held = round(side * 8 / 7) if side else None if self.small else asked.size
        shape = (held, held) if held else size_of(files[0])
        streamed = self.always_streamed or (len(set(shape)) == 1 and 3 * len(files) * math.prod(shape) > STREAMED_ABOVE)
        if streamed:
            left_out = remembered(files)
        else:
            short = asked.name.rpartition(":")[2]
            pixels, left_out = read_files(files, size=held, cache=home() / "data" / "cache", name=f"{short}-{asked.split}")
        if left_out:
            said = _left_out([files[place] for place in left_out], asked.split)
            kept = [place for place in range(len(files)) if place not in left_out]
            files, y = [files[place] for place in kept], y[kept]
            warnings.warn(f"{asked.name}: {said}", stacklevel=3)
            note = "; ".join(filter(None, (note, said)))
        if streamed:
            return stream(files, y, classes, asked.name, held=shape[0], side=side or asked.size, note=note)
        images = Images(torch.from_numpy(pixels), y, classes, asked.name, side, note)
        return brought_to(images, asked.size) if self.small else images


def _left_out(files: Sequence[Path | str], split: str) -> str:
    """Which files are left out, in a sentence that names them without the path of this machine."""
    named = ["/".join(Path(file).parts[-2:]) for file in files[:NAMED]]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    many = f"{len(files)} {split} image files cannot be read and are" if len(files) > 1 else f"1 {split} image file cannot be read and is"
    return f"{many} left out: {', '.join(named)}{more}"


@dataclass(frozen=True)
class Drawn:
    """A row for images drawn by `shapetex`, in the world of ``name:WORLD`` or of ``name:WORLD/SHARE``.

    They are never augmented: a mirrored texture is of another class.
    """

    cue: str
    augment: str | None = None

    def images(self, asked: Request) -> Images:
        n = min(asked.limit or DRAWN_SIZES[asked.split], DRAWN_SIZES[asked.split])
        # even seeds for training, odd ones for testing: the two splits have no image in common
        world, share = drawing(asked.name)
        seed = 2 * asked.seed + (asked.split == "test")
        drawn = shapetex(n, cue=self.cue, seed=seed, size=asked.size or 32, world=world, share=share)
        return replace(drawn.images, name=asked.name)


def drawing(name: str) -> tuple[World, float]:
    """The world and the share of a drawn set's name; ValueError, with the nearest known one, for an unknown world, or a share that is none.

    >>> drawing("shapetex-shape:inside/0.25")[1], drawing("shapetex")[0] == World()
    (0.25, True)
    """
    place, slash, text = name.partition(":")[2].partition("/")
    if place and place not in WORLDS:
        raise unknown("world", place, WORLDS)
    try:
        share = float(text) if slash else 1.0
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(f"data set {name!r} has the share {text!r}; it must be a number from 0 to 1")
    return WORLDS[place] if place else World(), share

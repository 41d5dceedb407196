"""Every data set by its name: one row each in `SOURCES`, and `load`, which reads the rows."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ..names import unknown
from . import layouts
from .archives import Archive
from .imagenet import imagenet
from .images import Images
from .kinds import ANY, NO_CROPS, Drawn, Held, Listed, Request, drawing
from .listings import caltech256, cub200, flowers102, food101, stanford_dogs, tiny_imagenet
from .small import fashion, from_torchvision

_OXFORD, _STANFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", "http://vision.stanford.edu/aditya86/ImageNetDogs/"
_photographs = partial(Listed, size=224, augment=NO_CROPS)
SOURCES: dict[str, Held | Listed | Drawn] = {
    # 10,000 + 2,000 images of Fashion-MNIST that come with atviz; its five classes with odd labels, and the five with even labels
    "fashion": Held(fashion, augment="flip", resizes=True),
    "fashion-odd": Held(partial(fashion, keep=slice(1, None, 2)), augment="flip", resizes=True),
    "fashion-even": Held(partial(fashion, keep=slice(0, None, 2)), augment="flip", resizes=True),
    # torchvision's, by the name of the class there
    "fashion-full": Held(partial(from_torchvision, "FashionMNIST"), augment="flip"),
    "cifar10": Held(partial(from_torchvision, "CIFAR10")),
    "cifar100": Held(partial(from_torchvision, "CIFAR100")),
    "svhn": Held(partial(from_torchvision, "SVHN"), augment=None),  # a mirrored digit is another digit, or none
    "stl10": Held(partial(from_torchvision, "STL10")),
    # as their authors pack them: the folder, what a copy must hold, URLs with MD5 sums, the listing
    "tiny-imagenet": Listed(
        Archive("tiny-imagenet-200", "train", {"http://cs231n.stanford.edu/tiny-imagenet-200.zip": "90528d7ca1a48142e341f4ef8d21d0de"}, tiny_imagenet),
        small=True, augment=NO_CROPS,
    ),
    "caltech256": _photographs(Archive("256_ObjectCategories", "[0-9][0-9][0-9].*", {
        "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar": "67b4f42ca05d46448c6bb8ecd2220f6d"}, caltech256)),
    "food101": _photographs(Archive("food-101", "meta", {
        "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz": "85eeb15f3717b99a5da872d97d918f87"}, food101)),
    "flowers102": _photographs(Archive("flowers-102", "jpg", {
        f"{_OXFORD}102flowers.tgz": "52808999861908f626f3c1f4e79d11fa", f"{_OXFORD}imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
        f"{_OXFORD}setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c"}, flowers102)),
    "stanford-dogs": _photographs(Archive("", "Images", {
        f"{_STANFORD}images.tar": "1bb1f2a596ae7057f99d7d75860002ef", f"{_STANFORD}lists.tar": "edbb9f16854ec66506b5f09b583e0656"}, stanford_dogs)),
    "cub200": _photographs(Archive("CUB_200_2011", "images.txt", {
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz": "97eceeb196236b17998738112f37df78"}, cub200)),
    "imagenet": Listed(imagenet, size=224, augment="resized-crop-flip", always_streamed=True),
    "shapetex": Drawn("both"),
    "shapetex-shape": Drawn("shape"),
    "shapetex-texture": Drawn("texture"),
    "shapetex-conflict": Drawn("conflict"),
    "folder": Listed(lambda name, split, given, may_download: layouts.list_any(given or Path(), split), note=layouts.note),
}  # fmt: skip
NAMES = [name if name != "folder" else "folder:PATH" for name in SOURCES]


def load(
    name: str, split: str = "train", *, root: str | Path | None = None, size: int | None = None, limit: int | None = None, seed: int = 0
) -> Images:
    """Load one split of a data set.

    >>> images = load("fashion", "test", limit=20)
    >>> images.x.shape, images.classes[:3]
    (torch.Size([20, 1, 28, 28]), ['T-shirt', 'trouser', 'pullover'])

    Args:
        name: one of `NAMES`. ``fashion`` and the ``shapetex`` images need no files; ``shapetex:WORLD`` and the like name one of `WORLDS`,
            and ``shapetex-shape:WORLD/0.25`` the share of images whose other cue is random. ``folder:PATH`` takes images below
            ``PATH/train/<class>`` and ``PATH/test/<class>``, or below ``PATH/<class>``: then a test split is drawn as `layouts.list_any`
            says, and the images' ``note`` says so. ``imagenet`` must lie on this machine. The others are downloaded where they are
            missing; ``caltech256:PATH`` and the like (``imagenet:PATH``, too) name a copy in ``PATH``, which is never downloaded to.
        split: ``train`` or ``test``.
        root: where a local copy lies or a download goes; default ``data/downloads``.
        size: bring the shorter side to this and crop the center square. Images with a default size (224) are held larger by a seventh
            and cropped as batches, at random in training (256 and 224: Zhang & Zhu 2019). Smaller images of torchvision's sets and of
            ``tiny-imagenet`` are held as they are and enlarged as batches.
        limit: at most that many images, stratified by class.
        seed: draws the images of ``limit`` and of the ``shapetex`` worlds.

    Returns:
        The images in memory; `Streamed` for ``imagenet``, and for image files of more than `STREAMED_ABOVE` bytes of pixels.

    Raises:
        ValueError: an unknown name or split, a size or limit below 1, or files that cannot be read as images.
        FileNotFoundError: a folder that is not there, a folder without training images, or a missing list of images.
        OSError: a download that failed.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    if size is not None and size < 1:
        raise ValueError(f"size is {size}; it must be at least 1 pixel")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1 image")
    check_name(name)
    base, _, path = name.partition(":")
    copy = path or root
    given = Path(copy).expanduser() if copy else None
    # cards hold this name, so it has no path of this machine; the digest tells folders of one name apart
    short = f"folder:{Path(os.path.abspath(path)).name}" if base == "folder" else base
    if isinstance(SOURCES[base], Drawn):
        short, given = name, None
    return SOURCES[base].images(Request(short, split, given, may_download=not path, size=size, limit=limit, seed=seed))


def check_name(name: str) -> None:
    """Raise ValueError, with the nearest known name, unless `load` knows ``name``."""
    base, _, path = name.partition(":")
    if path and isinstance(SOURCES.get(base), Drawn):
        drawing(name)
    elif name not in NAMES and not (path and isinstance(SOURCES.get(base), Listed)):
        raise unknown("data set", name, NAMES)


def augmentation(name: str, usual: str | None = "crop-flip") -> str | None:
    """The augmentation of a data set's training images: ``usual``, unless its row says otherwise.

    >>> augmentation("cifar10"), augmentation("fashion"), augmentation("svhn")
    ('crop-flip', 'flip', None)
    """
    check_name(name)
    augment = SOURCES[name.partition(":")[0]].augment
    # images that are held larger than they are shown are cropped anyway
    return {ANY: usual, NO_CROPS: "flip" if usual == "crop-flip" else usual}.get(augment or "", augment)

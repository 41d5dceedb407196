"""ImageNet (ILSVRC 2012): files, labels and readable class names of a copy on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .archives import downloads
from .folders import Listing, list_folder

PACKED = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
FOLDERS = {"train": ["train"], "test": ["val", "test"]}  # the published test images have no labels


def imagenet(name: str, split: str, given: Path | None, may_download: bool) -> Listing:
    """Files, labels (N,) int64 and class names of a split; "test" is the validation set. Nothing is downloaded.

    ``given`` (default ``data/downloads/imagenet``) holds the layout of torchvision (its meta.bin, or the published archives, which are
    then unpacked there), or just ``train/<class>/`` and ``val/<class>/``. Classes have the numbers that torchvision gives them, by
    their sorted WordNet ids, and the name of their first synonym. Plain folders that are not all 1,000 classes are named as they are.

    Raises:
        FileNotFoundError: there is no such copy; the error says in one sentence which files to get.
    """
    root = given or downloads() / name
    if not any((root / file).is_file() for file in ("meta.bin", PACKED[0])):
        if any((root / folder).is_dir() for folder in FOLDERS[split]):
            files, labels, classes = list_folder(root, split, FOLDERS)
            return files, labels, _categories() if len(classes) == len(_categories()) else classes
        raise FileNotFoundError(_wanted(root, f"{root} holds neither {PACKED[0]} nor a folder {FOLDERS[split][0]}"))
    from torchvision.datasets import ImageNet

    try:
        source = ImageNet(root, "train" if split == "train" else "val")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise FileNotFoundError(_wanted(root, " ".join(str(error).split()))) from error
    return [Path(path) for path, _ in source.samples], np.array(source.targets, dtype=np.int64), [names[0] for names in source.classes]


def _categories() -> list[str]:
    from torchvision.models import get_model_weights

    return list(get_model_weights("resnet18")["IMAGENET1K_V1"].meta["categories"])


def _wanted(root: Path, reason: str) -> str:
    return (
        f"imagenet is not complete ({reason}); it is not free to download: put {PACKED[0]}, {PACKED[1]} and {PACKED[2]}, which "
        f"image-net.org gives to those who register, into {root}, or name a folder with train/<class>/ and val/<class>/ as imagenet:PATH"
    )

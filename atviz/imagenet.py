"""ImageNet (ILSVRC 2012): files, labels and readable class names of a copy on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .imagefiles import list_folder

ARCHIVES = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
FOLDERS = {"train": ["train"], "test": ["val", "test"]}  # the published test images have no labels


def imagenet(root: Path, split: str) -> tuple[list[Path], np.ndarray, list[str]]:
    """Files, labels (N,) int64 and class names of a split; "test" is the validation set.

    ``root`` holds torchvision's layout (its meta.bin, or the published archives, which are then unpacked there), or just
    ``train/<class>/`` and ``val/<class>/``. Classes are numbered as torchvision's, by their sorted WordNet ids, and named by the first
    synonym; without the development kit's list, and where they are not all 1,000, by their folders.

    Raises:
        FileNotFoundError: no such copy, in one sentence that says which files to get.
    """
    if not any((root / name).is_file() for name in ("meta.bin", ARCHIVES[0])):
        if any((root / name).is_dir() for name in FOLDERS[split]):
            files, labels, classes = list_folder(root, split, FOLDERS)
            return files, labels, _categories() if len(classes) == len(_categories()) else classes
        raise FileNotFoundError(_wanted(root, f"{root} holds neither {ARCHIVES[0]} nor a folder {FOLDERS[split][0]}"))
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
        f"imagenet is not complete ({reason}); it is not free to download: put {ARCHIVES[0]}, {ARCHIVES[1]} and {ARCHIVES[2]}, which "
        f"image-net.org gives to those who register, into {root}, or name a folder with train/<class>/ and val/<class>/ as imagenet:PATH"
    )

"""Geirhos et al.'s cue-conflict images, and how a network of ImageNet's 1,000 classes decides among their 16 categories."""

from __future__ import annotations

import re
import shutil
import urllib.request
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from . import home
from .data import Images
from .imagefiles import decode_all

COMMIT = "ef10e3ed6e41da1af0f0f8e0dfcea40ed838ee25"
ARCHIVE = f"https://github.com/rgeirhos/texture-vs-shape/archive/{COMMIT}.zip"
FOLDER = "stimuli/style-transfer-preprocessed-512"
PER_CATEGORY = 80  # images whose shape is of one category


def _runs(*ends: tuple[int, int]) -> list[int]:
    return [i for first, last in ends for i in range(first, last + 1)]


# category -> its classes among ImageNet's 1,000 (ILSVRC 2012, by sorted WordNet id), from Geirhos et al.'s human_categories.py
# (github.com/bethgelab/model-vs-human). A few dogs and birds that are hard to name are left out there.
CATEGORIES: dict[str, list[int]] = {
    "airplane": [404],
    "bear": _runs((294, 297)),
    "bicycle": [444, 671],
    "bird": _runs((8, 8), (10, 16), (18, 20), (22, 24), (80, 83), (87, 96), (98, 100), (127, 133), (135, 145)),
    "boat": [472, 554, 625, 814, 914],
    "bottle": [440, 720, 737, 898, 899, 901, 907],
    "car": [436, 511, 817],
    "cat": _runs((281, 286)),
    "chair": [423, 559, 765, 857],
    "clock": [409, 530, 892],
    "dog": _runs((152, 191), (193, 203), (205, 226), (228, 241), (243, 250), (252, 257), (259, 259), (261, 263), (265, 268)),
    "elephant": [385, 386],
    "keyboard": [508, 878],
    "knife": [499],
    "oven": [766],
    "truck": [555, 569, 656, 675, 717, 734, 864, 867],
}


def load(folder: str | Path, *, size: int = 224) -> tuple[Images, Tensor, Tensor]:
    """The images of ``<shape>/<shape><i>-<texture><j>.png``, whose own label is the shape's, and (N,) labels of shape and of texture.

    Labels number `CATEGORIES`. Pairs of the same category are kept; `evaluate.cue_conflict` leaves them out.

    Raises:
        FileNotFoundError: a folder that is not there, or without one of the 16 folders.
        ValueError: a file whose name does not say shape and texture, or whose shape is not its folder's; files that are no images.
    """
    folder = Path(folder).expanduser()
    missing = [name for name in CATEGORIES if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"{folder} has no folder {missing[0]}; it must have one for each of {', '.join(CATEGORIES)}")
    paths = [path for name in CATEGORIES for path in sorted((folder / name).glob("*.png"))]
    names, shape, texture = list(CATEGORIES), [], []
    for path in paths:
        found = re.fullmatch(r"([a-z]+)\d+-([a-z]+)\d+", path.stem)
        if not found or found[1] != path.parent.name or found[2] not in CATEGORIES:
            raise ValueError(f"{path} must be named {path.parent.name}<number>-<category>N.png, with one of the 16 categories")
        shape.append(names.index(found[1]))
        texture.append(names.index(found[2]))
    if not paths:
        raise ValueError(f"{folder} holds no PNG files")
    shapes, textures = torch.tensor(shape), torch.tensor(texture)
    return Images(torch.from_numpy(decode_all(paths, size)), shapes, names, "cue-conflict"), shapes, textures


class Categories(nn.Module):
    """A network of ImageNet's 1,000 classes as one of the 16 categories: (N, 16), the mean probability over each category's classes.

    The likeliest category is Geirhos et al.'s decision, so that this stands wherever a classifier does:
    ``evaluate.cue_conflict(Categories(network), images, shape=shape, texture=texture)``.

    Source: Geirhos et al. 2019 and its `probabilities_to_decision.py`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of ``x``, (N, 3, H, W) in [0, 1]; ValueError for a network of any other number of classes."""
        logits = self.network(x)
        if logits.shape[1] != 1000:
            raise ValueError(f"the network has {logits.shape[1]} classes; the categories are made of ImageNet's 1,000")
        probability = logits.float().softmax(1)
        return torch.stack([probability[:, members].mean(1) for members in CATEGORIES.values()], 1)


def fetch(root: str | Path | None = None, *, url: str = ARCHIVE) -> Path:
    """The folder of the published images: ``root`` (default ``data/downloads/cue-conflict``), downloaded where it is not there.

    No checksum has been published. The archive is the authors' repository at a fixed commit, and is held to 16 folders of 80 images.

    Raises:
        OSError: a download that failed, or is not complete; nothing is left in ``root``.
    """
    target = Path(root).expanduser() if root else home() / "data" / "downloads" / "cue-conflict"
    if target.is_dir():
        return target
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        archive = partial / "archive.zip"
        with urllib.request.urlopen(url) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
        with zipfile.ZipFile(archive) as packed:
            wanted = [name for name in packed.namelist() if re.search(rf"(^|/){FOLDER}/[a-z]+/[\w-]+\.png$", name)]
            for name in wanted:
                path = partial / "images" / Path(name).parent.name / Path(name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(packed.read(name))
        counts = {name: len(list((partial / "images" / name).glob("*.png"))) for name in CATEGORIES}
        wrong = [f"{count} of {name}" for name, count in counts.items() if count != PER_CATEGORY]
        if wrong:
            raise OSError(f"it has {', '.join(wrong)}, where there must be {PER_CATEGORY}")
        (partial / "images").rename(target)
    except (OSError, zipfile.BadZipFile) as error:
        raise OSError(f"the cue-conflict images could not be fetched from {url} ({error}); put them into {target}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target

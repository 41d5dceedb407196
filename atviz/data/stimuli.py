"""Geirhos et al.'s cue-conflict images, and ImageNet's classes that belong to their 16 categories."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from .. import disk
from .archives import downloads, retrieve
from .folders import decode_all
from .images import Images

COMMIT = "ef10e3ed6e41da1af0f0f8e0dfcea40ed838ee25"
ARCHIVE = f"https://github.com/rgeirhos/texture-vs-shape/archive/{COMMIT}.zip"
FOLDER = "stimuli/style-transfer-preprocessed-512"
PER_CATEGORY = 80  # images whose shape is of one category


def _runs(*ends: tuple[int, int]) -> list[int]:
    return [i for first, last in ends for i in range(first, last + 1)]


# category -> its classes among ImageNet's 1,000 (ILSVRC 2012, by sorted WordNet id), from Geirhos et al.'s human_categories.py
# (github.com/bethgelab/model-vs-human), which leaves out a few dogs and birds that are hard to name
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


def load_stimuli(folder: str | Path, *, size: int = 224) -> tuple[Images, Tensor, Tensor]:
    """The images of ``<shape>/<shape><i>-<texture><j>.png``, their labels of shape, (N,), and their labels of texture, (N,).

    A label is the place of a category in `CATEGORIES`; the images have the labels of shape. Pairs of one category are kept;
    `evidence.cue_conflict` leaves them out.

    Raises:
        FileNotFoundError: a folder that is not there, or lacks one of the 16 folders.
        ValueError: a file whose name does not say shape and texture, or whose shape is not that of its folder; files that are no images.
    """
    folder = Path(folder).expanduser()
    names = list(CATEGORIES)
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"{folder} has no folder {missing[0]}; it must have one for each of {', '.join(names)}")
    paths = [path for name in names for path in sorted((folder / name).glob("*.png"))]
    shape, texture = [], []
    for path in paths:
        found = re.fullmatch(r"([a-z]+)\d+-([a-z]+)\d+", path.stem)
        if not found or found[1] != path.parent.name or found[2] not in CATEGORIES:
            raise ValueError(f"{path} must be named {path.parent.name}<number>-<category>N.png, with one of the 16 categories")
        shape.append(names.index(found[1]))
        texture.append(names.index(found[2]))
    if not paths:
        raise ValueError(f"{folder} holds no PNG files")
    shapes, textures = torch.tensor(shape), torch.tensor(texture)
    return Images(torch.from_numpy(decode_all(paths, size).pixels), shapes, names, "cue-conflict"), shapes, textures


def fetch_stimuli(root: str | Path | None = None, *, url: str = ARCHIVE) -> Path:
    """The folder of the published images: ``root`` (default ``data/downloads/cue-conflict``). They are downloaded if it is not there.

    No checksum has been published. The archive is the authors' repository at a fixed commit; it must hold 16 folders of 80 images.

    Raises:
        OSError: a download that failed or is not complete; nothing is left in ``root``.
    """
    target = Path(root).expanduser() if root else downloads() / "cue-conflict"
    if target.is_dir():
        return target
    try:
        with disk.replacing_folder(target, flushed=False) as partial:
            archive = retrieve(url, partial)
            with zipfile.ZipFile(archive) as packed:
                for name in packed.namelist():
                    if re.search(rf"(^|/){FOLDER}/[a-z]+/[\w-]+\.png$", name):
                        path = partial / Path(name).parent.name / Path(name).name
                        path.parent.mkdir(exist_ok=True)
                        path.write_bytes(packed.read(name))
            archive.unlink()
            counts = {name: len(list((partial / name).glob("*.png"))) for name in CATEGORIES}
            wrong = [f"{count} of {name}" for name, count in counts.items() if count != PER_CATEGORY]
            if wrong:
                raise OSError(f"it has {', '.join(wrong)}, where there must be {PER_CATEGORY}")
    except (OSError, zipfile.BadZipFile) as error:
        raise OSError(f"the cue-conflict images could not be fetched from {url} ({error}); put them into {target}") from error
    return target

"""Looks whether what atviz needs is there and whole, and says what to do about what is not."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from .. import __version__, disk, home, shipped
from . import clean

LEAST_ROOM = 2 * 2**30  # bytes: a run with its caches
EXTRAS = {"ray": "cluster", "timm": "outside", "huggingface_hub": "outside", "robustbench": "robustbench"}
DIGEST = "06bbb82e2c5e41a3a534e6a818199950ffe6d5dc8c414e4358a38b8ea0f80e70"  # of the embedded test images


@dataclass(frozen=True)
class Line:
    """What was looked at, what was found, and what to do: "" where nothing has to be done."""

    what: str
    found: str
    todo: str = ""


def examine() -> Iterator[Line]:
    """Every line of the report, one after the other. A checkpoint that a killed process had moved aside is moved back; nothing else changes."""
    yield Line("atviz", f"{__version__}, Python {platform.python_version()}, {platform.system()}")
    yield _torch()
    yield _device()
    missing = [f"{name} (pip install 'atviz[{extra}]')" for name, extra in EXTRAS.items() if find_spec(name) is None]
    yield Line("extras", f"missing: {', '.join(missing)}; needed only where they are named" if missing else "all are installed")
    yield _home()
    yield _left()
    yield _images()
    yield _checkpoints("zoo and controls", shipped("checkpoints"), "install atviz again")
    if (home() / "checkpoints" / "local").is_dir():
        yield _checkpoints("trained here", home() / "checkpoints" / "local", "delete it, and it is trained again")
    yield _records()
    yield _cache()


def _torch() -> Line:
    wanted = next((text for text in requires("torchvision") or [] if text.startswith("torch")), "")
    try:
        found, beside = version("torch"), version("torchvision")
    except PackageNotFoundError as error:
        return Line("torch", f"{error.name} is not installed", "pip install torch torchvision")
    exact = wanted.partition("==")[2].strip("() ")
    good = not exact or found.partition("+")[0] == exact
    return Line(
        "torch",
        f"{found} with torchvision {beside}",
        "" if good else f"this torchvision belongs to torch {exact}: pip install torch=={exact}",
    )


def _device() -> Line:
    import torch

    from ..models import bf16_is_faster
    from ..training.trainer import best_device
    from .local import cores

    device = best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {cores()} cores"
    return Line("device", f"{name}; trainings, attacks and maps in {'bfloat16' if bf16_is_faster(device) else '32 bits'}")


def _home() -> Line:
    place = home()
    room = shutil.disk_usage(place if place.is_dir() else place.parent).free
    found = f"{place}, {room / 2**30:.1f} GiB free"
    if not os.access(place, os.W_OK):
        return Line("home", found, "it cannot be written to; set ATVIZ_HOME to a folder of yours")
    return Line("home", found, "" if room >= LEAST_ROOM else "make room: a run needs about 2 GiB")


def _images() -> Line:
    from .. import data

    try:
        images = data.load("fashion", "test")
    except (OSError, ValueError) as error:
        return Line("embedded images", str(error), "install atviz again")
    whole = images.digest == DIGEST
    return Line(
        "embedded images",
        f"{len(images)} test images" + ("" if whole else ", and they are not those that ship"),
        "" if whole else "install atviz again",
    )


def _checkpoints(what: str, place: Path, todo: str) -> Line:
    from ..models import checkpoints

    good, bad = 0, []
    for folder in sorted(path for path in place.rglob("*") if path.is_dir() and checkpoints.exists(path)):
        if disk.BESIDE.fullmatch(folder.name):
            continue
        try:
            checkpoints.read(folder)
            good += 1
        except (OSError, ValueError) as error:
            bad.append(str(error))
    return Line(what, "; ".join([f"{good} whole checkpoints", *bad]), todo if bad else "")


def _records() -> Line:
    from ..evidence import store_of_home

    return Line("records", _counted(*store_of_home().examined(), "they are measured again"))


def _cache() -> Line:
    from ..data.folders import examined

    return Line("decoded images", _counted(*examined(home() / "data" / "cache"), "they are decoded again"))


def _counted(good: int, bad: list[Path], then: str) -> str:
    return f"{good} whole" + (f", {len(bad)} damaged, such as {bad[0].name}; {then}" if bad else "")


def _left() -> Line:
    clean.settle()  # what was moved aside may be the only copy
    left = clean.leftovers()
    if not left:
        return Line("interrupted writes", "none left")
    return Line(
        "interrupted writes", f"{len(left)} left, such as {left[0]}", "`atviz clean leftovers --yes` frees them; nothing needs them"
    )

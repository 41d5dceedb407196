"""Folders of images beside torchvision's ImageFolder with a DataLoader: PNG files in memory, and a streamed tree of JPEG files."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from atviz import data, evidence

from .maps import network


def make_tree(folder: Path, count: int, side: int, suffix: str, classes: int = 10) -> Path:
    """``count`` images in ``folder/{train,test}/<class>``: blurred noise, so that their files are of an ordinary size."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    bases = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]

    def write(k: int) -> None:
        place = folder / "train" / f"class{k % classes}"
        place.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 32, (side, side, 3), dtype=np.uint8)
        Image.fromarray(np.clip(bases[k % 64].astype(int) + noise, 0, 255).astype(np.uint8)).save(place / f"{k}{suffix}", quality=85)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(count)))
    (folder / "test" / "class0").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "train" / "class0" / f"0{suffix}", folder / "test" / "class0")
    return folder


def by_torchvision(folder: Path, size: int | None = None) -> int:
    """All images once, as a training reads them: ImageFolder, workers, batches of 128."""
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    if size:
        steps[1:1] = [v2.Resize(size), v2.CenterCrop(size)]
    loader = DataLoader(ImageFolder(str(folder), v2.Compose(steps)), batch_size=128, num_workers=os.cpu_count() or 1)
    return sum(len(y) for _, y in loader)


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def png(count: int) -> pd.DataFrame:
    """``count`` PNG files of 32 × 32 pixels: first load, second load, and one pass of the peer."""
    with tempfile.TemporaryDirectory() as place:
        make_tree(Path(place), count, 32, ".png")
        os.environ["ATVIZ_HOME"], before = place, os.environ.get("ATVIZ_HOME")
        try:
            name = f"folder:{place}"
            load = lambda: data.load(name, "train")
            peer = lambda: by_torchvision(Path(place) / "train")
            first = seconds(load)
            turns = [(seconds(load), seconds(peer)) for _ in range(3)]
            x = data.load(name, "train").x
            assert len(x) == count and peer() == count
        finally:
            os.environ.pop("ATVIZ_HOME")
            if before:
                os.environ["ATVIZ_HOME"] = before
    second, other = (float(np.median([turn[k] for turn in turns])) for k in (0, 1))
    ratios = [b / a for a, b in turns]
    row = {"files": f"{count} PNG, 32 px", "first load (s)": first, "second load (s)": second, "ImageFolder, one pass (s)": other}
    return pd.DataFrame([row | {"ImageFolder / first": other / first, "ImageFolder / second": float(np.median(ratios))}]).round(3)


def peak() -> float:
    """The most memory that this process has held, and the most that one of its workers has, in MiB (on Linux)."""
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def streamed(count: int, side: int = 256, size: int = 224) -> pd.DataFrame:
    """A tree of JPEG files larger than may lie in memory: one pass, and a sweep of two networks over three levels."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        make_tree(Path(place), count, side, ".jpg")
        from atviz.data.folders import list_folder
        from atviz.data.streamed import stream

        files, y, classes = list_folder(Path(place), "train")
        images = stream(files, torch.from_numpy(y), classes, "tree", held=size, side=None)
        before = peak()
        ours, peer = [], []
        for _ in range(3):
            ours.append(seconds(lambda: [None for _ in images.batches(128)]))
            peer.append(seconds(lambda: by_torchvision(Path(place) / "train", size)))
        rows.append(
            {
                "work": "one pass",
                "images/s": count / np.median(ours),
                "ImageFolder, images/s": count / np.median(peer),
                "peak (MiB)": peak() - before,
            }
        )
        nets = {name: network("small-w4", size) for name in ("one", "two")}
        few = images[: max(256, count // 50)]
        one = seconds(lambda: [None for _ in few.batches(100)])
        took = seconds(lambda: evidence.outcomes(nets, few, {"saturate": [4, 16, 1024]}))
        rows.append(
            {
                "work": f"sweep of {len(few)} images, 2 networks, clean and 3 levels",
                "images/s": len(few) / took,
                "decoded once takes (s)": one,
                "all takes (s)": took,
            }
        )
    return pd.DataFrame(rows).round(2)

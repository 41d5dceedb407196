"""What ships of the controls: networks in 16 bits, the verdicts on the instruments, and the records of the notebook."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import data, disk, home, models
from ..data import shapetex
from . import across, crossed, reliability
from .accuracy import accuracy
from .controls import IMAGES, NORM, SALIENCY, Control, grid, poles, readings, region_table, truth
from .dosed import dose_curves
from .heat import fourier_heat
from .records import Store


def ship() -> Path:
    """Train the grid where it is missing, store it in 16 bits in ``checkpoints/controls``, and write what it says of the instruments.

    Each card's accuracy is that of the stored weights. ``verdicts.json``, which `findings` reads, is of the full profile's images;
    ``records`` are those of the quick profile, which the notebook then need not measure.
    """
    folder, store = home() / "checkpoints" / "controls", Store(home() / "results" / "records")
    for n in grid():
        if not models.checkpoints.exists(folder / n.label):
            models.checkpoints.save(folder / n.label, *_halved(n))
    networks = grid()
    agree, conflict = (shapetex(IMAGES["full"], cue=cue, seed=1) for cue in ("both", "conflict"))
    bias = truth(networks, conflict, store=store)
    saliency_images, copies = SALIENCY["full"]
    read = readings(networks, agree, saliency_images=saliency_images, copies=copies, store=store)
    record = {
        "command": "atviz controls", "images": IMAGES["full"], "networks": len(networks), "biases": bias.round(4).to_dict("records"),
        "instruments": {row["instrument"]: row for row in reliability.reliability(bias, read).round(4).to_dict("records")},
    }  # fmt: skip
    disk.write_json(folder / "verdicts.json", record)
    mark_worlds(folder / "verdicts.json")
    keep_records(networks, folder / "records")
    return folder


def mark_worlds(path: Path) -> None:
    """Write beside each verdict of a ``verdicts.json`` what the worlds say of the instrument: ``worlds``, from `across.overall`."""
    rows, read = (crossed.rows(table) for table in (crossed.CROSSED, crossed.READINGS))
    record = disk.read_json(path)
    for row in across.overall(across.by_seed(rows, read)).to_dict("records") if len(rows) and len(read) else []:
        record["instruments"].setdefault(row["instrument"], {})["worlds"] = {
            name: row[name] for name in ("verdict", "reliable_in", "worlds")
        }
    disk.write_json(path, record)


def keep_records(networks: list[Control], folder: Path, profile: str = "quick") -> None:
    """Measure anew what takes long in the notebook of the controls in a profile, and keep it in a folder in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    store, n, (few, copies) = Store(folder), IMAGES[profile], SALIENCY[profile]
    agree, conflict = (shapetex(n, cue=cue, seed=1) for cue in ("both", "conflict"))
    readings(networks, agree, saliency_images=few, copies=copies, store=store)
    region_table(networks, conflict, n=few, copies=copies, store=store)
    compared = poles(networks)
    dose_curves(compared, agree.images, store=store)
    for models_of in compared.values():
        fourier_heat(models_of[0], agree.images[:few], norm=NORM, store=store)


def _halved(network: Control) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State of a network with its floating-point numbers in 16 bits, and its card with the accuracy that these have."""
    state = models.halve(network.model)
    card, of = network.card, network.card["data"]
    test = data.load(of["name"], "test", limit=of["test"])
    return state, card | {"metrics": card["metrics"] | {"clean": accuracy(network.model, test)["top1"]}, "stored": "float16"}

"""A checkpoint is a folder: ``weights.safetensors`` and ``card.json``, what is known of it. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import home, shipped

WEIGHTS, CARD = "weights.safetensors", "card.json"


def save(folder: Path, state: dict[str, Tensor], card: dict[str, Any]) -> dict[str, Any]:
    """Write ``state`` and ``card`` (plus the weights' SHA-256) as ``folder``, complete or not at all; return the card."""
    from safetensors.torch import save_file

    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")  # another process may write the same network
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial / WEIGHTS)
    card = card | {"sha256": _sha256(partial / WEIGHTS)}
    (partial / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return card


def exists(folder: Path) -> bool:
    return (folder / CARD).is_file()


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a checkpoint; FileNotFoundError where there is none, ValueError where it is no card."""
    if not exists(folder):
        raise FileNotFoundError(f"there is no checkpoint in {folder} (no {CARD}); `atviz train` makes one")
    try:
        card = json.loads((folder / CARD).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / CARD} is no JSON ({error})") from error
    kinds = {"model": dict, "recipe": dict, "sha256": str}
    if not isinstance(card, dict) or not all(isinstance(card.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"{folder / CARD} is not a checkpoint's card: it must have model, recipe and sha256")
    return card


def zoo(dataset: str) -> dict[str, Path]:
    """The networks that ship with atviz for a data set, or were put beside them by `atviz train --zoo`: recipe → folder.

    A folder of images counts as the data set that it is named after.
    """
    kind, _, path = dataset.partition(":")
    name = Path(path).name if kind == "folder" else kind
    folders = [*shipped("checkpoints", "zoo").glob("*"), *(home() / "checkpoints" / "zoo").glob("*")]
    cards = {folder: read_card(folder) for folder in sorted(folders) if exists(folder)}
    return {card["recipe"]["name"]: folder for folder, card in cards.items() if card["data"]["name"].split(":", 1)[-1] == name}


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and card of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the weights are not those the card was written for.
    """
    from safetensors.torch import load_file

    card = read_card(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} has a card but no {WEIGHTS}")
    found = _sha256(weights)
    if found != card["sha256"]:
        raise ValueError(
            f"{weights} is not what its card describes: SHA-256 {found[:12]}…, not {card['sha256'][:12]}…; train it again or fetch it again"
        )
    return load_file(weights), card


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

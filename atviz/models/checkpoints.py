"""A checkpoint is a folder: ``weights.safetensors`` and ``card.json``, what is known of it. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from .. import disk, home, shipped
from .weights import file_digest, read_state

WEIGHTS, CARD = "weights.safetensors", "card.json"
SCHEMA = Path(__file__).with_name("card.schema.json")


def save(folder: Path, state: dict[str, Tensor], card: dict[str, Any]) -> dict[str, Any]:
    """Write ``state`` and ``card`` (plus the weights' SHA-256) as ``folder``, complete or not at all; return the card.

    A checkpoint that lies there stays until the new one is complete.
    """
    from safetensors.torch import save_file

    with disk.replacing_folder(folder) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial / WEIGHTS)
        card = card | {"sha256": file_digest(partial / WEIGHTS)}
        disk.write_json(partial / CARD, card)
    return card


def exists(folder: Path) -> bool:
    return (disk.settled(folder) / CARD).is_file()


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a checkpoint; FileNotFoundError where there is none, ValueError where it is no card."""
    if not exists(folder):
        raise FileNotFoundError(f"there is no checkpoint in {folder} (no {CARD}); `atviz train` makes one")
    return disk.read_json(folder / CARD, SCHEMA, "a checkpoint's card")


def zoo(dataset: str) -> dict[str, Path]:
    """The networks that ship with atviz for a data set, or were put beside them by `atviz train --zoo`: recipe → folder.

    A folder of images counts as the data set that it is named after.
    """
    kind, _, path = dataset.partition(":")
    name = Path(path).name if kind == "folder" else kind
    folders = [*shipped("checkpoints", "zoo").glob("*"), *(home() / "checkpoints" / "zoo").glob("*")]
    whole = [folder for folder in sorted(folders) if exists(folder) and not disk.BESIDE.fullmatch(folder.name)]
    cards = {folder: read_card(folder) for folder in whole}
    return {
        card["recipe"]["name"]: folder for folder, card in cards.items() if card.get("data", {}).get("name", "").split(":", 1)[-1] == name
    }


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and card of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the weights are not those the card was written for, or no weights.
    """

    card = read_card(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} has a card but no {WEIGHTS}")
    found = file_digest(weights)
    if found != card["sha256"]:
        raise ValueError(
            f"{weights} is not what its card describes: SHA-256 {found[:12]}…, not {card['sha256'][:12]}…; train it again or fetch it again"
        )
    return read_state(weights), card

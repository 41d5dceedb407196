"""One argument names a network: a checkpoint's folder, or a recipe whose network ships for a data set."""

from __future__ import annotations

from pathlib import Path

import torch

from ..names import unknown
from . import checkpoints
from .architectures import build
from .network import Network


def load(reference: str | Path, *, dataset: str | None = None) -> Network:
    """The network of a reference, in eval mode, on the CPU.

    Args:
        reference: a checkpoint's folder, or a recipe's name (``normal``, ``pgd-inf-0.1``) with a ``dataset`` whose networks ship.
        dataset: the data set whose shipped networks are meant, such as ``fashion``.

    Raises:
        FileNotFoundError: no checkpoint in the folder.
        ValueError: a damaged checkpoint, a checkpoint that holds no classifier, or a recipe that does not ship for the data set.

    >>> load("normal", dataset="fashion").shape
    (1, 28, 28)
    """
    folder = Path(reference)
    if dataset is not None and not checkpoints.exists(folder):
        shipped = checkpoints.zoo(dataset)
        if str(reference) not in shipped:
            raise unknown(f"network of {dataset}", str(reference), shipped, hint=f"the zoo holds no networks of {dataset}" * (not shipped))
        folder = shipped[str(reference)]
    state, card = checkpoints.read(folder)
    made = card["model"]
    if "arch" not in made:
        raise ValueError(f"{folder} holds no classifier; its card says it is {card['recipe'].get('name', 'something else')}")
    model = build(**made)
    model.load_state_dict(state)
    model = model.to(memory_format=torch.channels_last).eval()
    side = made.get("image_size", 32)
    return Network(card["recipe"]["name"], model, card.get("classes", []), (made.get("in_channels", 3), side, side), card)

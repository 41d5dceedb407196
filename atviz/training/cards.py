"""What the model cards of networks say, as tables."""

from __future__ import annotations

import pandas as pd

from ..models import Networks
from .recipes import Recipe


def card_table(networks: Networks) -> pd.DataFrame:
    """One row per network: how it was trained, and its clean accuracy."""
    rows = []
    for name, card in ((name, network.card) for name, network in networks.items()):
        recipe = Recipe(**card["recipe"])
        stopped = f"stopped at step {card['stopped_at']}" if card["stopped_at"] else f"{len(card['history'])} epochs"
        collapsed = f"catastrophic overfitting in epoch {card['collapsed_at']}" if card["collapsed_at"] else ""
        seconds = sum(row["seconds"] for row in card["history"])
        rows.append({"model": name, "trained on": recipe.title if recipe.adversarial else "clean images", "training": stopped, "seconds": round(seconds),
                     "clean (%)": round(100 * card["metrics"]["clean"], 2), "remark": collapsed, "sha256": card["sha256"][:12]})  # fmt: skip
    return pd.DataFrame(rows)


def history(networks: Networks) -> pd.DataFrame:
    """One row per network and epoch: training loss, clean accuracy, and robust accuracy under a short PGD attack."""
    return pd.DataFrame([{"model": name, **row} for name, network in networks.items() for row in network.card["history"]])

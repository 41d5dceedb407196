"""What the model cards of networks say, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..models import Networks
from .recipes import Recipe

TRAININGS = ("normally", "adversarially")  # of baseline and subject in the papers


def trained_as(card: Mapping[str, Any]) -> str:
    """How the network of a card was trained, one of `TRAININGS`; "" where the card does not say."""
    if "attack" in card.get("recipe", {}):
        return TRAININGS[card["recipe"]["attack"] != "none"]
    return str(card.get("trained", ""))


def card_table(networks: Networks) -> pd.DataFrame:
    """One row per network. Of one that atviz trained: how, and its clean accuracy. Of any other: what is known of it.

    Columns: ``model``; ``trained on``, ``training``, ``seconds``, ``clean (%)``, ``remark``, ``sha256`` of the first kind; ``from``,
    ``architecture``, ``weights``, ``parameters (millions)``, ``trained`` (normally, adversarially, or not known), ``side`` (pixels),
    ``license``, ``remark``, ``sha256`` of the other. Where both kinds are compared, "–" stands for what is of the other kind.
    """
    rows = [_outside(name, n.card) if n.card.get("outside") else _trained(name, n.card) for name, n in networks.items()]
    return pd.DataFrame(rows).astype(object).fillna("–") if len({tuple(row) for row in rows}) > 1 else pd.DataFrame(rows)


def _trained(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    recipe, history = Recipe.of(card["recipe"]), card.get("history", [])
    stopped = f"stopped at step {card['stopped_at']}" if card.get("stopped_at") else f"{len(history)} epochs"
    collapsed = f"catastrophic overfitting in epoch {card['collapsed_at']}" if card.get("collapsed_at") else ""
    remarks = [collapsed, f"weights averaged, with decay {recipe.ema:g}" if recipe.ema else "", card.get("fitted", "")]
    seconds = sum(row.get("seconds") or 0 for row in history)
    return {"model": name, "trained on": recipe.title if recipe.adversarial else "clean images", "training": stopped, "seconds": round(seconds),
            "clean (%)": round(100 * card["metrics"]["clean"], 2), "remark": "; ".join(filter(None, remarks)), "sha256": card["sha256"][:12]}  # fmt: skip


def _outside(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": name, "from": card.get("library", ""), "architecture": card.get("architecture", ""), "weights": card.get("weights", "–"),
            "parameters (millions)": round(card["parameters"] / 1e6, 3), "trained": card["trained"] or "not known", "side": card["size"] or "not known",
            "license": card.get("license", "not stated"), "remark": card.get("fitted", ""), "sha256": card["sha256"][:12]}  # fmt: skip


def history(networks: Networks) -> pd.DataFrame:
    """One row per network and epoch: training loss, clean accuracy, and robust accuracy under a short PGD attack.

    Of the networks that atviz trained; without rows where there is none.
    """
    return pd.DataFrame([{"model": name, **row} for name, network in networks.items() for row in network.card.get("history", [])])

"""Profiles: how much of the work is done, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..names import unknown
from .recipes import ITAZURI_MODELS


@dataclass(frozen=True)
class Profile:
    """How much of the work is done."""

    name: str
    arch: str
    train_limit: int | None  # images; None: all
    test_limit: int | None
    epochs: int
    train_steps: int  # of the attack in training: PGD, TRADES or spatial
    eval_steps: int  # PGD steps in measuring robustness
    saliency_images: int  # images behind each saliency number
    smooth_copies: int  # noisy copies of SmoothGrad


PROFILES = {
    profile.name: profile
    for profile in [
        Profile("smoke", "small-w4", 400, 100, 1, 1, 2, 16, 4),
        Profile("quick", "small", 10_000, 2_000, 8, 5, 20, 200, 50),
        Profile("zoo", "", None, None, 0, 0, 40, 200, 50),  # trains nothing: the networks are those that ship
        Profile("full", "resnet18", None, None, 30, 20, 40, 1_000, 100),
    ]
}

FINE_TUNED = ("tiny-imagenet", "caltech256")  # sets whose networks start, at full scale, from ImageNet weights, at 224 pixels
FASHION_EPS = 0.1  # the usual radius for Fashion-MNIST; 8/255 for everything in color


def profile(name: str) -> Profile:
    """The profile of a name; ValueError, with the nearest right one, for an unknown name."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]


def eval_eps(dataset: str) -> float:
    """The L∞ radius at which robustness on a data set is measured."""
    return FASHION_EPS if dataset.startswith("fashion") else 8 / 255


def default_models(dataset: str, preset: str = "paper") -> list[str]:
    """The three models of the main comparison; in the preset ``itazuri`` the two of that paper."""
    if preset == "itazuri":
        return list(ITAZURI_MODELS)
    return ["normal", "underfit", f"pgd-inf-{FASHION_EPS}" if dataset.startswith("fashion") else "pgd-inf-8"]

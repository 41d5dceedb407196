"""Attacks on a classifier: a batch of images in [0, 1] goes in, adversarial images come out, and the model stays as it was."""

from .apgd import apgd
from .ball import NORMS
from .flow import warp
from .losses import dlr, margin, targeted_dlr
from .masked import signs_of_masking, warn_if_masked
from .pgd import STEPS, fgsm, pgd
from .pma import pma
from .spatial import spatial
from .square import square
from .strong import PARTS, strong

__all__ = [
    "NORMS",
    "PARTS",
    "STEPS",
    "apgd",
    "dlr",
    "fgsm",
    "margin",
    "pgd",
    "pma",
    "signs_of_masking",
    "spatial",
    "square",
    "strong",
    "targeted_dlr",
    "warn_if_masked",
    "warp",
]

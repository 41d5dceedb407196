"""Attacks on a classifier: a batch of images in [0, 1] goes in, adversarial images come out, and the model stays as it was."""

from .ball import NORMS
from .flow import warp
from .masked import warn_if_masked
from .pgd import STEPS, fgsm, pgd
from .spatial import spatial

__all__ = ["NORMS", "STEPS", "fgsm", "pgd", "spatial", "warn_if_masked", "warp"]

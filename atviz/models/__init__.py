"""Networks: architectures, checkpoints, references, and how a network is used."""

from . import checkpoints
from .architectures import ARCHITECTURES, AlexNet, Normalize, ResNet, Standardize, build, parse
from .classes import Restrict, fitted, imagenet_names, read_mapping, readable
from .fits import Known, check_fits, known_of
from .inference import (
    bf16_is_faster,
    check_batch,
    check_images,
    check_pixels,
    classifies_in_bf16,
    device_of,
    evaluating,
    fast_autocast,
    fingerprint,
    halve,
    logits_of,
    memory_format,
)  # fmt: skip
from .network import Network, Networks
from .passes import folded, halved, predict
from .randomize import randomized
from .references import Reference, check_names, load, split
from .weights import PRETRAINED, has_small_stem, origin, read_state, refused, tensors_only

__all__ = [
    "ARCHITECTURES",
    "PRETRAINED",
    "AlexNet",
    "Known",
    "Network",
    "Networks",
    "Normalize",
    "Reference",
    "ResNet",
    "Restrict",
    "Standardize",
    "bf16_is_faster",
    "build",
    "check_batch",
    "check_fits",
    "check_images",
    "check_names",
    "check_pixels",
    "checkpoints",
    "classifies_in_bf16",
    "device_of",
    "evaluating",
    "fast_autocast",
    "fingerprint",
    "fitted",
    "folded",
    "halve",
    "halved",
    "has_small_stem",
    "imagenet_names",
    "known_of",
    "load",
    "logits_of",
    "memory_format",
    "origin",
    "parse",
    "predict",
    "randomized",
    "read_mapping",
    "read_state",
    "readable",
    "refused",
    "split",
    "tensors_only",
]  # fmt: skip

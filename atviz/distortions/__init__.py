"""Distortions: functions from images (N, C, H, W) to images of the same shape and type, on any device and in any floating type.

The second argument of each is its level; what else it takes is keyword-only. A random distortion draws for each image from a
``torch.Generator``; with a generator on the CPU the images are the same on every device.
"""

from .adain import AdaIN, adain, check_alpha, load_adain, moments, toned
from .codec import build_decoder, build_encoder, convolutions, initialize, mirrored
from .filters import gaussian_blur, median_filter
from .fourier import high_pass, low_pass, random_modes
from .patches import patch_counts, patch_shuffle
from .pixels import grayscale, reverse, saturate
from .stylizer import Stylizer

__all__ = [
    "AdaIN", "Stylizer", "adain", "build_decoder", "build_encoder", "check_alpha", "convolutions", "gaussian_blur", "grayscale", "high_pass",
    "initialize", "load_adain", "low_pass", "median_filter", "mirrored", "moments", "patch_counts", "patch_shuffle", "random_modes",
    "reverse", "saturate", "toned",
]  # fmt: skip

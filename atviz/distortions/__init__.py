"""Distortions: functions from images (N, C, H, W) to images of the same shape and type, on any device and in any floating type.

The second argument of each is its level; what else it takes is keyword-only. A random distortion draws for each image from a
``torch.Generator``; with a generator on the CPU the images are the same on every device.

``brightness_alone``, ``contrast_alone`` and ``within_ball`` take the distorted image instead of a level, and keep one part of its change.
``doses`` measures what the distorted image has left.
"""

from .adain import AdaIN, adain, check_alpha, load_adain, moments, toned
from .bands import fourier_basis, noise_band
from .codec import build_decoder, build_encoder, convolutions, initialize, mirrored
from .doses import doses
from .filters import gaussian_blur, median_filter
from .fourier import high_pass, low_pass, random_modes
from .parts import brightness_alone, contrast_alone, moved, within_ball
from .patches import patch_counts, patch_rotate, patch_shuffle
from .pixels import channel_shuffle, grayscale, reverse, saturate, shift
from .smoothing import bilateral, nl_means
from .stylizer import Stylizer, flat_ground

__all__ = [
    "AdaIN", "Stylizer", "adain", "bilateral", "brightness_alone", "build_decoder", "build_encoder", "channel_shuffle", "check_alpha",
    "contrast_alone", "convolutions", "doses", "flat_ground", "fourier_basis", "gaussian_blur", "grayscale", "high_pass", "initialize",
    "load_adain", "low_pass", "median_filter", "mirrored", "moments", "moved", "nl_means", "noise_band", "patch_counts", "patch_rotate",
    "patch_shuffle", "random_modes", "reverse", "saturate", "shift", "toned", "within_ball",
]  # fmt: skip

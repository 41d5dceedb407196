"""Saliency maps by every method, numbers of maps, maps as pictures, and what a network's filters respond to."""

from .attributions import ATTRIBUTIONS, BY_NAME, METHODS, attribute, find
from .cues import cue_alignment, cue_parts
from .display import SCALES, SIGNED_SCALES, as_shown, check_scale, display, signed, signed_as_shown
from .filters import convolutions, effective_first_layer, first_layer, image_shape
from .gradcam import grad_cam, guided_grad_cam
from .gradients import grad, image_seed, integrated_gradients, smooth_grad, smoothing
from .guided import deconvolution, guided_backprop
from .maps import edge_agreement, gini, magnitude, rank_correlation, region_shares
from .maximize import maximize
from .similarity import similarity
from .spectra import band_names, band_shares, coarse_share, octaves, spectral_centroid, white_noise_centroid

__all__ = [
    "ATTRIBUTIONS", "BY_NAME", "METHODS", "SCALES", "SIGNED_SCALES", "as_shown", "attribute", "band_names", "band_shares", "check_scale",
    "coarse_share", "convolutions", "cue_alignment", "cue_parts", "deconvolution", "display", "edge_agreement",
    "effective_first_layer", "find", "first_layer", "gini", "grad", "grad_cam", "guided_backprop", "guided_grad_cam", "image_seed",
    "image_shape", "integrated_gradients", "magnitude", "maximize", "octaves", "rank_correlation", "region_shares", "signed",
    "signed_as_shown", "similarity", "smooth_grad", "smoothing", "spectral_centroid", "white_noise_centroid",
]  # fmt: skip

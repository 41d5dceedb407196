"""Figures: a function each, from rows or images to a matplotlib figure. Nothing is measured here."""

from .bars import (
    accuracy_bars,
    accuracy_intervals,
    bias_curve,
    difference_bars,
    instrument_panels,
    likeness_points,
    matrices,
    reading_points,
    score_boxes,
)
from .curves import band_lines, cascade_curves, centroid_curves, distortion_curves, learning_curves, signed_areas, training_curves
from .frequencies import dose_curves, fourier_maps
from .grids import feature_sheet, filter_sheet, image_grid, saliency_grid, signed_grid
from .probabilities import exploration, likeliest, probability_strip
from .style import MARK, look, rendered, words
from .worlds import coefficients, deciding, instruments_by_kind, instruments_by_world

__all__ = [
    "MARK", "accuracy_bars", "accuracy_intervals", "band_lines", "bias_curve", "cascade_curves", "centroid_curves", "coefficients",
    "deciding", "difference_bars", "distortion_curves", "dose_curves", "exploration", "feature_sheet", "filter_sheet", "fourier_maps",
    "image_grid", "instrument_panels", "instruments_by_kind", "instruments_by_world", "learning_curves", "likeliest", "likeness_points",
    "look", "matrices", "probability_strip", "reading_points", "rendered", "saliency_grid", "score_boxes", "signed_areas", "signed_grid",
    "training_curves", "words",
]  # fmt: skip

"""The channel of spatial frequencies by which a network knows its classes, from accuracies under narrow-band noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression, least_squares

BANDS = 3  # a Gaussian has three parameters
WIDTH = 2 * np.sqrt(2 * np.log(2))  # full width at half maximum, in standard deviations


def channel(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Center, width and height of each model's channel, one row per model.

    The threshold of a band is the standard deviation of the noise at which accuracy falls to half of what it is without noise (`threshold`),
    and the sensitivity of the band is 1 / threshold; a band that no noise masks has a sensitivity of 0. The channel is the Gaussian in
    log₂ of the frequency that fits the sensitivities best (least squares).

    Args:
        accuracies: one row per ``model``, ``center`` (of the band, in cycles per image) and ``sd`` (of the noise), with the ``accuracy`` in
            [0, 1]. Rows of ``sd`` 0, of any center, hold the accuracy without noise.

    Returns:
        ``model``; ``center`` (cycles per image), ``bandwidth`` (full width at half maximum, octaves) and ``peak`` (sensitivity at the center, the
        inverse of the noise's unit), NaN where nothing can be fitted; ``masked``, how many bands are masked; and ``reason``, why there is
        no fit, or "".

    Raises:
        ValueError: a model without a row of sd 0, two rows for one band and sd, or accuracies outside [0, 1].

    Source: Subramanian et al. 2023. Their code takes an accuracy of 50 % for the threshold, with which every band of a network of less
    than 50 % without noise counts as fully masked, and its channel as boundless; and it fits the number of doublings by which the
    threshold lies below the strongest noise, where here the sensitivity itself is fitted.
    """
    if not accuracies["accuracy"].between(0, 1).all():
        raise ValueError("an accuracy is outside [0, 1]")
    noisy = accuracies[accuracies["sd"] > 0]
    for model, center, sd in noisy.loc[noisy.duplicated(["model", "center", "sd"]), ["model", "center", "sd"]].itertuples(index=False):
        raise ValueError(f"{model} has two rows for noise of sd {sd:g} at {center:g} cycles per image; there must be one")
    rows = []
    for model, of_model in accuracies.groupby("model", sort=False):
        clean = of_model.loc[of_model["sd"] == 0, "accuracy"].mean()
        if np.isnan(clean):
            raise ValueError(f"{model!s} has no row of sd 0, which would hold its accuracy without noise")
        bands = of_model[of_model["sd"] > 0].sort_values("sd").groupby("center")
        found = {center: 1 / threshold(band["sd"].to_numpy(), band["accuracy"].to_numpy(), float(clean)) for center, band in bands}
        rows.append({"model": model, **_fitted(np.log2(np.array(list(found), dtype=float)), np.array(list(found.values())))})
    return pd.DataFrame(rows)


def threshold(sd: np.ndarray, accuracy: np.ndarray, clean: float) -> float:
    """The noise at which accuracy falls to half of ``clean``; infinite where it does not, or where ``clean`` is 0.

    ``accuracy`` (n,) at the increasing ``sd`` (n,) is first made to fall: the nearest sequence that never rises. Between two noises it is
    taken as linear in log sd, and below the weakest one as linear in sd.

    >>> round(threshold(np.array([0.1, 0.2, 0.4]), np.array([0.8, 0.6, 0.2]), clean=0.8), 4)
    0.2828
    """
    if not clean:
        return np.inf
    falling = isotonic_regression(np.array([clean, *accuracy]), increasing=False).x
    below = np.flatnonzero(falling <= clean / 2)
    if not len(below):
        return np.inf
    after = below[0]
    share = (falling[after - 1] - clean / 2) / (falling[after - 1] - falling[after])
    weaker, stronger = np.array([0, *sd])[[after - 1, after]]
    return float(weaker * (stronger / weaker) ** share if weaker else stronger * share)


def _fitted(octave: np.ndarray, sensitivity: np.ndarray) -> dict[str, float | str]:
    """The Gaussian that fits sensitivities best, as a row of `channel`. ``octave``: log₂ of the bands' centers."""
    masked = int((sensitivity > 0).sum())
    row: dict[str, float | str] = {"center": np.nan, "bandwidth": np.nan, "peak": np.nan, "masked": masked}
    if masked < BANDS:
        return row | {"reason": f"{masked} of {len(octave)} bands are masked; {BANDS} are needed"}
    top, span = sensitivity.max(), np.ptp(octave)
    start = [octave[sensitivity.argmax()], min(1, span / 2), 1]
    bounds = ([octave.min() - 1, 0.1, 0], [octave.max() + 1, span, 4])
    fit = least_squares(
        lambda p: p[2] * np.exp(-((octave - p[0]) ** 2) / (2 * p[1] ** 2)) - sensitivity / top, start, bounds=bounds, method="dogbox"
    )
    if fit.active_mask.any():
        return row | {"reason": "the sensitivities have no peak among the bands"}
    middle, deviation, height = fit.x
    return row | {"center": float(2**middle), "bandwidth": float(WIDTH * deviation), "peak": float(height * top), "reason": ""}

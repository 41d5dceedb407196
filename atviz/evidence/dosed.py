"""Dose curves: accuracy under distortions that suppress one kind of feature, against the measured share of the feature that is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from torch import nn

from ..data import AnyImages, Images, as_images
from ..distortions import doses
from ..models import fingerprint
from .instruments import find
from .intervals import mean_interval
from .outcomes import outcomes
from .records import Store, cell, each
from .sweeps import table

# feature -> which number of `distortions.doses` says how much of it is left, and what suppresses it, at which levels
SUPPRESSED: dict[str, tuple[str, dict[str, tuple[float, ...]]]] = {
    "texture": ("local_variance", {"bilateral": (0.05, 0.1, 0.2, 0.4), "nl_means": (0.05, 0.1, 0.2, 0.4)}),
    "shape": ("gradient", {"patch_shuffle": (2, 4, 8), "patch_rotate": (2, 4, 8)}),
    "color": ("color", {"grayscale": (0.25, 0.5, 0.75, 1.0), "channel_shuffle": (0.25, 0.5, 0.75, 1.0)}),
}
BATCH = 100  # images


def dose_curves(kinds: Mapping[str, Sequence[nn.Module]], images: AnyImages, *, store: Store | None = None) -> pd.DataFrame:
    """Accuracy on correct against the dose of each distortion of `SUPPRESSED`: kind of network → the networks of its seeds to rows.

    Columns: ``feature``, ``distortion``, ``level``, ``model``: the kind; ``dose``: the share of the feature that is left, mean over the images that
    have it, by the number of `distortions.doses` that is named there; ``value``: accuracy on correct, mean over the networks of the kind, with its
    95 % t interval over them, ``ci_low``, ``ci_high``, within [0, 1]. The first row of each distortion and kind is of the whole image: dose and accuracy are 1.

    Levels that images of this size do not allow are left out. At the same dose, distortions can be compared. A shuffle makes edges that
    the image did not have: there the dose says how much the distorted edges agree with the image's. Doses of two features cannot be
    compared.

    Source: Burgert et al. 2025, who suppress texture by bilateral and non-local-means filters, shape by shuffled and turned patches, and
    color by gray values and exchanged channels.
    """
    held = as_images(images)
    asked = [
        (feature, number, name, level)
        for feature, (number, by_name) in SUPPRESSED.items()
        for name, levels in by_name.items()
        for level in levels
        if find(name).fits(level, *held.shape[-2:])
    ]
    wanted: dict[str, list[float]] = {}
    for _, _, name, level in asked:
        wanted.setdefault(name, []).append(level)
    networks = [(kind, net) for kind, nets in kinds.items() for net in nets]

    def classify(missing: list[int]) -> Iterator[list[float]]:
        found = table(outcomes({str(i): networks[i][1] for i in missing}, held, wanted)).set_index(["model", "distortion", "level"])
        shares = found.acc_on_correct.to_dict()
        for i in missing:
            yield [shares[str(i), name, float(level)] for _, _, name, level in asked]

    of = {"asked": asked, "images": held.digest}
    given = cell(store, {"measure": "doses", **of}, lambda: [_dose(held, name, level, number) for _, number, name, level in asked])
    keys = [{"measure": "dose curves", "model": fingerprint(net), **of} for _, net in networks]
    values = np.array(each(store, keys, classify)).reshape(len(networks), len(asked))
    rows = []
    for i, ((feature, _, name, level), dose) in enumerate(zip(asked, given, strict=True)):
        for kind in kinds:
            mean, low, high = mean_interval(values[[of_kind == kind for of_kind, _ in networks], i])
            row = {"feature": feature, "distortion": name, "level": level, "model": kind, "dose": dose, "value": mean}
            rows.append(row | {"ci_low": np.clip(low, 0, 1), "ci_high": np.clip(high, 0, 1)})
    first = pd.DataFrame(rows).drop_duplicates(["distortion", "model"]).assign(dose=1.0, value=1.0, ci_low=1.0, ci_high=1.0, level=np.nan)
    return pd.concat([first, pd.DataFrame(rows)]).sort_values(
        ["distortion", "model"], kind="stable", key=lambda c: c.map(_order(c)), ignore_index=True
    )


def _order(column: pd.Series) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(column))}


def _dose(images: Images, name: str, level: float, number: str) -> float:
    """The mean dose over the images, distorted as `outcomes` distorts them."""
    distort, total, count = find(name).at(level), 0.0, 0
    for x, _ in images.batches(BATCH):
        dose = doses(x, distort(x).clamp(0, 1))[number]
        total, count = total + float(dose.nansum()), count + int(dose.isfinite().sum())
    return total / count if count else float("nan")

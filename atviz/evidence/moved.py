"""How far distortions move images: a distortion inside the ball of an adversarial training has been practiced there."""

from __future__ import annotations

import pandas as pd
import torch

from .. import distortions
from ..data import AnyImages, as_images
from .instruments import find
from .material import completed
from .outcomes import Material
from .wanted import AnyDistortions, as_levels, usable


def moved(images: AnyImages, wanted: AnyDistortions, *, eps: float, seed: int = 0, material: Material | None = None) -> pd.DataFrame:
    """How far each distortion moves the images, one row per distortion and level.

    Columns: ``distortion``, ``level``, ``moved`` (share of the values of an image, channels × pixels, that change by more than ``eps``;
    mean over images), ``inside`` (share of the images of which none does), ``n`` (images).
    """
    held, rows = as_images(images), []
    for name, levels in as_levels(wanted).items():
        instrument = find(name)
        made = completed(instrument, held, material)
        for level in usable(name, held) if levels is None else levels:
            distort = instrument.at(level, seed=seed, material=made)
            shares = torch.cat([distortions.moved(x, distort(x), eps) for x, _ in held.batches(100)])
            rows.append(
                {
                    "distortion": name,
                    "level": float(level),
                    "moved": float(shares.mean()),
                    "inside": float((shares == 0).float().mean()),
                    "n": len(shares),
                }
            )
    return pd.DataFrame(rows)

"""How far distortions move images: a distortion inside the ball of an adversarial training has been practiced there."""

from __future__ import annotations

import pandas as pd
import torch

from .. import distortions
from ..data import Images
from .instruments import find
from .material import completed
from .outcomes import Distortions, Material


def moved(images: Images, wanted: Distortions, *, eps: float, seed: int = 0, material: Material | None = None) -> pd.DataFrame:
    """How far each distortion moves the images, one row per distortion and level.

    Columns: ``distortion``, ``level``, ``moved`` (share of the values of an image, channels × pixels, that change by more than ``eps``;
    mean over images), ``inside`` (share of the images of which none does), ``n`` (images).
    """
    rows = []
    for name, levels in wanted.items():
        instrument = find(name)
        made = completed(instrument, images, material)
        for level in levels:
            distort = instrument.at(level, seed=seed, material=made)
            shares = torch.cat([distortions.moved(x, distort(x), eps) for x, _ in images.batches(100)])
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

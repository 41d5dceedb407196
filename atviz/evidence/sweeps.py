"""Sweeps: accuracy of networks under distortions at many levels, and its difference between two networks, as rows."""

from __future__ import annotations

import pandas as pd

from ..data import AnyImages
from .intervals import paired_difference, wilson
from .outcomes import Material, Outcomes, outcomes
from .records import Store
from .wanted import AnyDistortions, AnyModels


def table(results: Outcomes) -> pd.DataFrame:
    """One row per model × distortion × level.

    Columns: ``model``, ``distortion``, ``level``, ``n`` (images), ``top1`` (accuracy over all of them; ``top5`` of outcomes with topk
    5), ``n_correct`` (images that the model classifies correctly undistorted), ``acc_on_correct`` (the share of those images that it also
    classifies correctly when they are distorted, pooled over the whole set; Zhang & Zhu 2019, section 4.1), ``ci_low`` and ``ci_high`` (its
    95 % Wilson interval).
    """
    rows = []
    for (model, distortion, level), hit in results.distorted.items():
        correct = results.clean[model]
        both, n_correct = int((correct & hit).sum()), int(correct.sum())
        low, high = wilson(both, n_correct)
        rows.append(
            {
                "model": model, "distortion": distortion, "level": level, "n": len(hit), f"top{results.topk}": float(hit.mean()),
                "n_correct": n_correct, "acc_on_correct": both / n_correct if n_correct else float("nan"), "ci_low": low, "ci_high": high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def sweep(
    models: AnyModels,
    images: AnyImages,
    distortions: AnyDistortions,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    store: Store | None = None,
    material: Material | None = None,
) -> pd.DataFrame:
    """`table` of `outcomes`, which says what it takes and raises: accuracy of each model under each distortion at each level.

    A network that answers with the class of the brighter pixel:

    >>> import torch
    >>> from atviz.data import Images
    >>> images = Images(torch.tensor([[[[9, 1]]], [[[2, 3]]]], dtype=torch.uint8), torch.tensor([0, 1]), ["left", "right"])
    >>> rows = sweep(torch.nn.Flatten(), images, {"saturate": 4, "reverse": 1})
    >>> rows[["distortion", "level", "top1", "n_correct", "acc_on_correct"]].values.tolist()
    [['saturate', 4.0, 1.0, 2, 1.0], ['reverse', 1.0, 0.0, 2, 0.0]]
    """
    return table(outcomes(models, images, distortions, seed=seed, batch_size=batch_size, store=store, material=material))


def differences(results: Outcomes, model: str, baseline: str) -> pd.DataFrame:
    """Accuracy on correct of ``model`` minus that of ``baseline`` on the same images: one row per distortion and level.

    Columns: ``distortion``, ``level``, ``model``, ``baseline``, ``difference``, ``ci_low``, ``ci_high`` (95 %, paired), ``n``. Without rows
    where both are the same network.
    """
    if model == baseline:
        return pd.DataFrame(columns=["distortion", "level", "model", "baseline", "difference", "ci_low", "ci_high", "n"])
    for name in (model, baseline):
        if name not in results.clean:
            raise ValueError(f"no outcomes for model {name!r}; there are some for {', '.join(results.clean)}")
    rows = []
    for distortion, level in dict.fromkeys((d, v) for _, d, v in results.distorted):
        a, b = results.distorted[model, distortion, level], results.distorted[baseline, distortion, level]
        value, low, high = paired_difference(a, b, given_a=results.clean[model], given_b=results.clean[baseline])
        rows.append(
            {"distortion": distortion, "level": level, "model": model, "baseline": baseline, "difference": value, "ci_low": low,
             "ci_high": high, "n": len(a)}
        )  # fmt: skip
    return pd.DataFrame(rows)

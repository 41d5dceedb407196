"""Tables of Itazuri et al. (2019), and the numbers behind their figures, for the images and networks of a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from . import distortions, recipes
from .evaluate import KEPT, Distortions
from .intervals import bootstrap_mean, wilson
from .notebook import Notebook
from .zhang_zhu import reported

EPS = 0.005  # of the FGSM that the paper's adversarial networks are trained with
IMAGENET_MEAN = (0.485, 0.456, 0.406)


def table(study: Notebook, number: int, *, mean: Sequence[float] = ()) -> pd.DataFrame:
    """A table of the paper with this study's numbers: a row a model × setting × measure.

    2: clean, reversed about ``mean`` (see `reversal`) and stylized.

    Columns: ``model``, ``setting``, ``measure`` (``top1`` or ``top5``, the latter of more than five classes), ``n`` (images that the
    share is of), ``value``, ``ci_low``, ``ci_high`` (95 %, Wilson), ``paper`` and ``paper_sd`` (the paper's own mean and standard
    deviation over three runs where the data set, the architecture and the training are the paper's, else missing), ``slip`` (what is
    known to be wrong with the paper's).

    Raises:
        ValueError: a number that is not one of `TABLES`, or a mean that has not one value for each channel.
    """
    if number not in TABLES:
        raise ValueError(f"there is no table {number}; there is {', '.join(map(str, sorted(TABLES)))}")
    rows = TABLES[number](study, mean=mean)
    known = reported()
    known = known[(known.paper == "itazuri-2019") & (known.table == f"T{number}") & (known.dataset == paper_dataset(study))]
    found = {(row["model"], row["measure"], row["setting"]): row for row in known.to_dict("records")}
    for row in rows:
        cell = found.get((paper_model(study, row["model"]), row["measure"], row.pop("in_paper")), {"value": "", "slip": ""})
        center, _, deviation = cell["value"].partition("±")
        row |= {"paper": float(center or "nan") / 100, "paper_sd": float(deviation or "nan") / 100, "slip": cell["slip"]}
    return pd.DataFrame(rows)


def paper_dataset(study: Notebook) -> str:
    """``imagenet`` where the study's images are of all its thousand classes, else ""."""
    images = study.test_images
    return "imagenet" if "imagenet" in images.name.lower() and len(images.classes) == 1000 else ""


def paper_model(study: Notebook, name: str) -> str:
    """The paper's name of a network that is trained as its own are: ``resnet50/std`` and the like."""
    recipe = recipes.get(name)
    kind = "std" if name == "normal" else "adv" if (recipe.attack, recipe.eps) == ("fgsm", EPS) else ""
    return f"{study.profile.arch}/{kind}"


def reversal(study: Notebook, mean: Sequence[float] = ()) -> partial:
    """`distortions.reverse` about ``mean``, one value for each channel; default the ImageNet mean for ImageNet, as in the paper, else
    the mean of the study's own training images, to four decimals."""
    own = IMAGENET_MEAN if study.settings.kind == "imagenet" else study.train_images.channel_stats()[0]
    return partial(distortions.reverse, mean=tuple(round(float(value), 4) for value in mean or own))


def accuracies(study: Notebook, wanted: Distortions) -> pd.DataFrame:
    """Top-1 and, of more than five classes, top-5 accuracy of each network, clean (level 0) and under each distortion.

    Columns: ``model``, ``distortion``, ``level``, ``measure``, ``n``, ``value``, ``ci_low``, ``ci_high`` (95 %, Wilson).
    """
    rows = []
    for topk in _tops(study):
        found = study.outcomes(wanted, topk=topk)
        hits = {(name, "clean", 0.0): hit for name, hit in found.clean.items()} | found.distorted
        for (model, distortion, level), hit in hits.items():
            low, high = wilson(int(hit.sum()), len(hit))
            rows.append(
                {"model": model, "distortion": distortion, "level": level, "measure": f"top{topk}", "n": len(hit),
                 "value": float(hit.mean()), "ci_low": low, "ci_high": high}
            )  # fmt: skip
    return pd.DataFrame(rows)


def areas(study: Notebook, wanted: Distortions) -> pd.DataFrame:
    """The signed area between the curves of the adversarial and the normal network: the difference of their accuracies, mean over levels.

    Columns: ``distortion``, ``measure``, ``model``, ``baseline``, ``levels`` (how many), ``difference``, ``ci_low``, ``ci_high`` (95 %,
    bootstrap over images, each with its outcomes of both networks at all levels), ``n`` (images).
    """
    rows = []
    model, baseline = study.adversarial, "normal"
    for topk in _tops(study):
        hits = study.outcomes(wanted, topk=topk).distorted
        for distortion, levels in wanted.items():
            gains = [hits[model, distortion, float(v)].astype(int) - hits[baseline, distortion, float(v)] for v in levels]
            value, low, high = bootstrap_mean(np.mean(gains, axis=0))
            rows.append(
                {"distortion": distortion, "measure": f"top{topk}", "model": model, "baseline": baseline, "levels": len(gains),
                 "difference": value, "ci_low": low, "ci_high": high, "n": len(gains[0])}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _tops(study: Notebook) -> list[int]:
    return [1, KEPT] if len(study.test_images.classes) > KEPT else [1]


def _table_2(study: Notebook, *, mean: Sequence[float]) -> list[dict[str, Any]]:
    turn, painter = reversal(study, mean), study.stylizer
    # distortion -> its name here, and in the paper if it is the paper's
    settings = {
        "clean": ("clean", "clean"),
        "reverse": ("reversed", "reverse" if turn.keywords["mean"] == IMAGENET_MEAN else ""),
        "stylize": ("stylized", "stylized" if painter.alpha == 1 else ""),
    }
    rows = accuracies(study, {"reverse": {1: turn}, "stylize": {painter.alpha: painter}})
    return [
        {"model": name, "setting": f"{words}, {row['measure'].replace('top', 'top-')}", "in_paper": in_paper}
        | {key: row[key] for key in ("measure", "n", "value", "ci_low", "ci_high")}
        for name in study.settings.models
        for distortion, (words, in_paper) in settings.items()
        for row in rows[(rows.model == name) & (rows.distortion == distortion)].to_dict("records")
    ]


TABLES: dict[int, Callable[..., list[dict[str, Any]]]] = {2: _table_2}

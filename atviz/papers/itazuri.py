"""Tables of Itazuri et al. (2019), and the numbers behind their figures, for the images and networks of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import attacks
from ..evidence import KEPT, Distortions, Study, bootstrap_mean, robust_accuracy, wilson
from ..training import eps_text
from .tables import reported

EPS = (0.005, 0.01)  # of Table 1, L∞, in pixel units
PGD_STEPS = 5  # the paper does not say how many
PAPER_NAMES = {"normal": "std", "fgsm-0.005": "adv"}
IMAGENET_CLASSES = 1000
IMAGENET_MEAN = (0.485, 0.456, 0.406)


def table(study: Study, number: int, *, eps: Sequence[float] = EPS, others: Sequence[Study] = ()) -> pd.DataFrame:
    """A table of the paper with this study's numbers: one row per model and setting.

    1: top-1 and, where there are more than five classes, top-5 accuracy on clean images; and for each ``eps`` the defense success rate,
    the share of correctly classified images that stay so, under PGD L∞: `PGD_STEPS` steps of eps/4 from a random start, which is
    drawn by the study's seed, the same for all networks. The paper leaves these settings open.
    2: top-1 and, where there are more than five classes, top-5 accuracy on clean, reversed and stylized images.

    ``others`` are the same study with other seeds. The table then holds the mean over all runs; the paper has three.

    Columns: ``model``, ``setting``, ``measure`` (``top1``, ``top5``, ``defense_success``), ``n`` (images that the share is of; the mean
    over runs), ``value`` (mean over runs), ``ci_low``, ``ci_high`` (95 %, Wilson, of the mean and the n of one run: runs share their
    images), ``runs`` and ``sd`` (standard deviation over them, missing for one), ``paper`` and ``paper_sd`` (the paper's mean and
    standard deviation, where data set, architecture and network are the paper's, else missing), ``slip`` (what is known to be wrong
    with them).

    Raises:
        ValueError: a number that the paper has no table of, an eps that is not above 0 and at most 1, or two runs of one seed.
    """
    if number not in TABLES:
        raise ValueError(f"there is no table {number}; there is {', '.join(map(str, TABLES))}")
    if wrong := [value for value in eps if not 0 < value <= 1]:
        raise ValueError(f"eps is {wrong[0]}; it must be above 0 and at most 1, the range of a pixel")
    runs = [study, *others]
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the runs have the seeds {', '.join(map(str, seeds))}; each run must have a seed of its own")
    rows = _mean([TABLES[number](run, eps=eps) for run in runs])
    known = _known(study, number)
    looked = [known.get((row["model"], row["measure"], row.pop("in_paper")), (float("nan"), float("nan"), "")) for row in rows]
    paper, deviation, slip = zip(*looked, strict=True)
    return pd.DataFrame(rows).assign(paper=paper, paper_sd=deviation, slip=slip)


def _mean(runs: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of one run, with those of the others averaged in."""
    rows = []
    for same in zip(*runs, strict=True):
        values = [row["value"] for row in same]
        row = {**same[0], "runs": len(same), "sd": float("nan")}
        if len(same) > 1:
            n, value = round(float(np.mean([found["n"] for found in same]))), float(np.mean(values))
            low, high = wilson(round(value * n), n)
            row |= {"n": n, "value": value, "ci_low": low, "ci_high": high, "sd": float(np.std(values, ddof=1))}
        rows.append(row)
    return rows


def _known(study: Study, number: int) -> dict[tuple[str, str, str], tuple[float, float, str]]:
    """(model, measure, setting) → the paper's mean, deviation and slip; empty for another data set or architecture."""
    images = study.images
    if images.name != "imagenet" or len(images.classes) != IMAGENET_CLASSES:
        return {}
    rows = reported()
    rows = rows[(rows.paper == "itazuri-2019") & (rows.table == f"T{number}")]
    found = {}
    for name, in_paper in PAPER_NAMES.items():
        if name not in study.networks or study.networks[name].card.get("outside"):
            continue
        for row in rows[rows.model == f"{study.scale.arch}/{in_paper}"].to_dict("records"):
            mean, _, deviation = row["value"].partition("±")
            found[name, row["measure"], row["setting"]] = (float(mean) / 100, float(deviation) / 100, row["slip"])
    return found


def accuracies(study: Study, wanted: Distortions) -> pd.DataFrame:
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


def areas(study: Study, wanted: Distortions) -> pd.DataFrame:
    """The signed area between the curves of subject and baseline: the difference of their accuracies, mean over levels.

    Without rows where a network is alone.

    Columns: ``distortion``, ``measure``, ``model``, ``baseline``, ``levels`` (how many), ``difference``, ``ci_low``, ``ci_high`` (95 %,
    bootstrap over images, each with its outcomes of both networks at all levels), ``n`` (images).
    """
    rows: list[dict[str, Any]] = []
    if study.alone:
        return pd.DataFrame(columns=["distortion", "measure", "model", "baseline", "levels", "difference", "ci_low", "ci_high", "n"])
    model, baseline = study.subject, study.baseline
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


def _tops(study: Study) -> list[int]:
    return [1, KEPT] if len(study.images.classes) > KEPT else [1]


def _table_1(study: Study, *, eps: Sequence[float], **others: Any) -> list[dict[str, Any]]:
    clean, rows = accuracies(study, {}), []
    for name, model in study.models.items():
        own = clean[clean.model == name].to_dict("records")
        rows += [_row(name, row["measure"].replace("top", "top-"), "clean", row) for row in own]
        for value in eps:
            attack = partial(attacks.pgd, eps=value, step_size=value / 4, steps=PGD_STEPS, random_start=True, seed=study.seed)
            found = robust_accuracy(model, study.images, attack=attack, store=study.store)
            row = {"measure": "defense_success", "n": found["n_correct"], "value": found["defense_success"]}
            row |= {f"ci_{end}": found[f"defense_success_{end}"] for end in ("low", "high")}
            rows.append(_row(name, f"defense success, PGD L∞, eps {eps_text(value)}", f"pgd-linf-{value:g}", row))
    return rows


def _row(model: str, setting: str, in_paper: str, found: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "model": model,
        "setting": setting,
        "in_paper": in_paper,
        **{key: found[key] for key in ("measure", "n", "value", "ci_low", "ci_high")},
    }


def _table_2(study: Study, **others: Any) -> list[dict[str, Any]]:
    alpha, mean = study.stylizer.alpha, tuple(study.mean)
    # distortion -> its name here, and in the paper if it is the paper's
    settings = {
        "clean": ("clean", "clean"), "reverse": ("reversed", "reverse" if mean == IMAGENET_MEAN else ""),
        "stylize": ("stylized", "stylized" if alpha == 1 else ""),
    }  # fmt: skip
    rows = accuracies(study, {"reverse": [1], "stylize": [alpha]})
    return [
        _row(name, f"{words}, {row['measure'].replace('top', 'top-')}", in_paper, row)
        for name in study.networks
        for distortion, (words, in_paper) in settings.items()
        for row in rows[(rows.model == name) & (rows.distortion == distortion)].to_dict("records")
    ]


TABLES: dict[int, Callable[..., list[dict[str, Any]]]] = {1: _table_1, 2: _table_2}

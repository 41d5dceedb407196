"""Tables of Itazuri et al. (2019), each from one call, for the images and networks of a study."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from . import attacks, evaluate
from .models import fingerprint
from .notebook import Notebook
from .recipes import eps_text
from .records import cell
from .zhang_zhu import reported

EPS = (0.005, 0.01)  # of Table 1, L∞, in pixel units
PGD_STEPS = 5  # the paper does not say how many
PAPER_NAMES = {"normal": "std", "fgsm-0.005": "adv"}
IMAGENET_CLASSES = 1000


def table(study: Notebook, number: int, *, eps: Sequence[float] = EPS) -> pd.DataFrame:
    """A table of the paper with this study's numbers: a row a model × setting.

    1: top-1 and, where there are more than five classes, top-5 accuracy on clean images; and for each ``eps`` the defense success rate,
    the share of correctly classified images that stay so, under PGD L∞: `PGD_STEPS` steps of eps/4 from a random start, which is
    drawn by the study's seed, the same for all networks. The paper leaves these settings open.

    Columns: ``model``, ``setting``, ``measure`` (``top1``, ``top5``, ``defense_success``), ``n`` (images that the share is of),
    ``value``, ``ci_low``, ``ci_high`` (95 %, Wilson), ``paper`` and ``paper_sd`` (the paper's mean and standard deviation over three
    runs, where data set, architecture and network are the paper's, else missing), ``slip`` (what is known to be wrong with them).

    Raises:
        ValueError: a number that the paper has no table of, or an eps that is not above 0 and at most 1.
    """
    if number not in TABLES:
        raise ValueError(f"there is no table {number}; there is {', '.join(map(str, TABLES))}")
    if wrong := [value for value in eps if not 0 < value <= 1]:
        raise ValueError(f"eps is {wrong[0]}; it must be above 0 and at most 1, the range of a pixel")
    rows = TABLES[number](study, eps=list(eps))
    known = _known(study, number)
    looked = [known.get((row["model"], row["measure"], row.pop("in_paper")), (float("nan"), float("nan"), "")) for row in rows]
    paper, deviation, slip = zip(*looked, strict=True)
    return pd.DataFrame(rows).assign(paper=paper, paper_sd=deviation, slip=slip)


def _known(study: Notebook, number: int) -> dict[tuple[str, str, str], tuple[float, float, str]]:
    """(model, measure, setting) → the paper's mean, deviation and slip; empty for another data set or architecture."""
    images = study.test_images
    if images.name != "imagenet" or len(images.classes) != IMAGENET_CLASSES:
        return {}
    rows = reported()
    rows = rows[(rows.paper == "itazuri-2019") & (rows.table == f"T{number}")]
    found = {}
    for name, in_paper in PAPER_NAMES.items():
        for row in rows[rows.model == f"{study.profile.arch}/{in_paper}"].to_dict("records"):
            mean, _, deviation = row["value"].partition("±")
            found[name, row["measure"], row["setting"]] = (float(mean) / 100, float(deviation) / 100, row["slip"])
    return found


def _table_1(study: Notebook, *, eps: list[float]) -> list[dict[str, Any]]:
    images, rows = study.test_images, []
    topk = (1, 5) if len(images.classes) > 5 else (1,)
    for name, model in study.models.items():
        key = {"measure": "topk", "topk": topk, "model": fingerprint(model), "images": images.digest}
        clean = cell(study.store, key, functools.partial(evaluate.accuracy, model, images, topk=topk))
        rows += [_row(name, f"top-{k}", "clean", f"top{k}", clean, clean["n"]) for k in topk]
        for value in eps:
            attack = functools.partial(
                attacks.pgd, eps=value, step_size=value / 4, steps=PGD_STEPS, random_start=True, seed=study.settings.seed
            )
            found = evaluate.robust_accuracy(model, images, attack=attack, store=study.store)
            setting = f"defense success, PGD L∞, eps {eps_text(value)}"
            rows.append(_row(name, setting, f"pgd-linf-{value:g}", "defense_success", found, found["n_correct"]))
    return rows


def _row(model: str, setting: str, in_paper: str, measure: str, found: dict[str, Any], n: int) -> dict[str, Any]:
    return {
        "model": model, "setting": setting, "in_paper": in_paper, "measure": measure, "n": int(n), "value": found[measure],
        "ci_low": found[f"{measure}_low"], "ci_high": found[f"{measure}_high"],
    }  # fmt: skip


TABLES: dict[int, Callable[..., list[dict[str, Any]]]] = {1: _table_1}

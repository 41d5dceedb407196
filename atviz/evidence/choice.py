"""The model of the choice: what the kind of a cue, its amplitude, its scale and the size of the attack say about the cue that decides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data import WORLDS
from . import crossed
from .intervals import mean_interval

# terms of the model: of normal training first, then what adversarial training adds
TERMS = {
    "intercept": "normal training, cues alike",
    "amplitude": "normal training, for each doubling of the amplitude of shape",
    "scale": "normal training, for each doubling of the scale of shape",
    "adversarial": "adversarial training, cues alike: shape",
    "adversarial:amplitude": "adversarial training, for each doubling of the amplitude of shape",
    "adversarial:scale": "adversarial training, for each doubling of the scale of shape",
    "adversarial:eps": "adversarial training, for each doubling of ε over the weaker cue's amplitude",
}
# the hypothesis that a term speaks for, where it is above zero
SPEAKS = dict(zip(("adversarial", "adversarial:amplitude", "adversarial:scale"), crossed.HYPOTHESES, strict=True))
LEARNED = 0.5  # accuracy on images like those of the training, below which a network is left out: what it uses is hardly to be seen


def design(rows: pd.DataFrame) -> pd.DataFrame:
    """The numbers that the model is of: a column for each of `TERMS`, in the order of the rows of `crossed.measured`.

    Ratios are of shape to texture, as logarithms to base 2. ``eps`` is in units of the weaker cue's amplitude; an L2 radius is first
    brought to the L∞ step that `crossed.radii` made it from.
    """
    worlds = {name: _ratios(name) for name in rows.world.unique()}
    amplitude, scale, weaker = (np.array([worlds[name][i] for name in rows.world]) for i in range(3))
    adversarial = (rows.norm != "none").to_numpy(float)
    linf = np.where(rows.norm == "l2", rows.eps * crossed.L2_STEP, rows.eps)
    size = np.log2(np.where(adversarial, linf, weaker) / weaker)
    columns = (np.ones(len(rows)), amplitude, scale, adversarial, adversarial * amplitude, adversarial * scale, adversarial * size)
    return pd.DataFrame(dict(zip(TERMS, columns, strict=True)), index=rows.index)


def fit(rows: pd.DataFrame, *, norm: str = "linf") -> pd.DataFrame:
    """A logistic regression of "decided by shape, not by texture" on the terms, over the normal networks and those trained under a norm.

    Networks that did not learn their images (`LEARNED`) are left out. Of each network its conflict images count that are decided by one of
    the two cues.

    Returns:
        one row for each of `TERMS`: ``term``, ``title``, ``coefficient`` in units of log odds, ``ci_low`` and ``ci_high`` (95 %, errors
        clustered by seed, Student's t with one degree of freedom less than there are seeds), ``explained``: how much larger the deviance
        is without the term, as a share of that of the model that has only the intercept; ``n``, the networks.

    Raises:
        ValueError: fewer than two seeds, or networks of fewer than three worlds.

    Source: cluster-robust errors, Cameron & Miller 2015.
    """
    import statsmodels.api as sm

    used = usable(rows, norm)
    if used.seed.nunique() < 2 or used.world.nunique() < 3:
        raise ValueError(f"the rows are of {used.seed.nunique()} seeds and {used.world.nunique()} worlds; there must be at least 2 and 3")
    matrix = design(used)
    by_shape, by_texture = (np.rint(used[name] * used.n) for name in ("shape", "texture"))
    counts = np.stack([by_shape + 0.5, by_texture + 0.5], 1)  # half an image each, so that no odds are infinite

    def deviance(columns: pd.DataFrame) -> float:
        return float(sm.GLM(counts, columns, family=sm.families.Binomial()).fit().deviance)

    found = sm.GLM(counts, matrix, family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds={"groups": used.seed}, use_t=True)
    found.df_resid_inference = used.seed.nunique() - 1
    low, high = np.asarray(found.conf_int()).T
    least = deviance(matrix[["intercept"]])
    explained = [(deviance(matrix.drop(columns=term)) - found.deviance) / least for term in TERMS]
    return pd.DataFrame({
        "term": list(TERMS), "title": list(TERMS.values()), "coefficient": np.asarray(found.params), "ci_low": low, "ci_high": high,
        "explained": explained, "n": len(used),
    })  # fmt: skip


def usable(rows: pd.DataFrame, norm: str = "linf") -> pd.DataFrame:
    """The rows of ordinary networks that were trained with both cues, normally or under a norm, and learned their images."""
    return rows[(rows.cue == "both") & (rows.view == "all") & rows.norm.isin(["none", norm]) & (rows.clean >= LEARNED)]


def _ratios(world: str) -> tuple[float, float, float]:
    one, other = WORLDS[world].amplitudes
    large, small = crossed.wavelengths(WORLDS[world])
    return float(np.log2(one / other)), float(np.log2(large / small)), min(one, other)


def shifts(rows: pd.DataFrame, *, norm: str = "linf") -> pd.DataFrame:
    """Where adversarial training moves the choice in each world, beside the predictions of the hypotheses (`crossed.predictions`).

    The choice is the share of conflict images decided by shape minus that by texture. Columns: ``world``; ``normal``, its mean over seeds;
    ``shift``: the mean over all ε of the adversarially trained networks' choice, minus that of the normal network of the same seed, with its
    95 % t interval over seeds ``ci_low``, ``ci_high``; ``most``: the largest of these shifts over ε, mean over seeds, and ``at``, its ε;
    ``networks`` that count; ``moved``: ``shape`` or ``texture`` where the interval lies on one side of zero, else ``neither``; and of each
    hypothesis whether it said so: ``right``, ``wrong``, or ``open`` where it says nothing of the world.
    """
    used = usable(rows, norm).assign(choice=lambda r: r["shape"] - r.texture)
    predicted = crossed.predictions().set_index("world")
    found = []
    for world, part in used.groupby("world", sort=False):
        normal = part[part.norm == "none"].set_index("seed").choice
        moved = part[part.norm == norm]
        moved = moved.assign(shift=moved.choice - moved.seed.map(normal)).dropna(subset="shift")
        if not len(moved):
            continue
        shift, low, high = mean_interval(moved.groupby("seed")["shift"].mean().to_numpy())
        by_eps = moved.groupby("eps")["shift"].mean()
        said = "shape" if low > 0 else "texture" if high < 0 else "neither"
        row = {
            "world": world, "normal": normal.mean(), "shift": shift, "ci_low": low, "ci_high": high, "most": by_eps.max(), "at": by_eps.idxmax(),
            "networks": len(moved), "moved": said,
        }  # fmt: skip
        found.append(row | {name: _judged(predicted[name][world], said) for name in crossed.HYPOTHESES})
    return pd.DataFrame(found)


def _judged(predicted: str, said: str) -> str:
    return "open" if predicted == "either" else "right" if predicted == said else "wrong"

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
CLASSES = 8
CHANCE = 1 / CLASSES
APART = "inside"  # the world that the model leaves out: there the texture's extent draws the shape, too, which has no single amplitude
LEARNED = 0.5  # accuracy on images like those of the training, below which a network is left out: what it uses can hardly be seen


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

    Networks that did not learn (`learned`), and the world `APART`, are left out. Of each network its conflict images count that are
    decided by one of the two cues, `cleared` of errors.

    Returns:
        one row for each of `TERMS`: ``term``, ``title``, ``coefficient`` in units of log odds, ``ci_low`` and ``ci_high`` (95 %, errors
        clustered by seed, Student's t with one degree of freedom less than there are seeds: for these worlds, not for others),
        ``explained``: how much larger the deviance is without the term, as a share of that of the model that has only the intercept; ``n``, the
        networks.

    Raises:
        ValueError: fewer than two seeds, or networks of fewer than three worlds.

    Source: cluster-robust errors, Cameron & Miller 2015.
    """
    import statsmodels.api as sm

    used = usable(rows[rows.world != APART], norm)
    if used.seed.nunique() < 2 or used.world.nunique() < 3:
        raise ValueError(f"the rows are of {used.seed.nunique()} seeds and {used.world.nunique()} worlds; there must be at least 2 and 3")
    matrix = design(used)
    by_shape, by_texture = (np.rint(share * used.n) for share in cleared(used))
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
    """The rows of ordinary networks that were trained with both cues, normally or under a norm, and learned: `learned`."""
    chosen = rows[(rows.cue == "both") & (rows.view == "all") & rows.norm.isin(["none", norm])]
    return chosen[learned(chosen)]


def cleared(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The shares by shape and by texture without those that errors give: a network that errs over all classes alike names each as often.

    Taken from each is a sixth of the share by neither, which the other six classes hold; what is left is at least 0.
    """
    each = rows.neither / (CLASSES - 2)
    return (rows["shape"] - each).clip(lower=0), (rows.texture - each).clip(lower=0)


def learned(rows: pd.DataFrame) -> pd.Series:
    """Which networks learned their images: at least `LEARNED` of them, and, under an attack of the training's ε, more than by chance."""
    return (rows.clean >= LEARNED) & ((rows.norm == "none") | (rows.robust > CHANCE))


def _ratios(world: str) -> tuple[float, float, float]:
    one, other = WORLDS[world].amplitudes
    large, small = crossed.wavelengths(WORLDS[world])
    return float(np.log2(one / other)), float(np.log2(large / small)), min(one, other)


def strongest(rows: pd.DataFrame, *, norm: str = "linf") -> dict[str, float]:
    """Of each world, the ε of the strongest attack that all seeds of the normal network learned under, too (`learned`); of none, it is left out."""
    normal = rows[(rows.norm == "none") & (rows.cue == "both") & (rows["view"] == "all")].groupby("world").seed.nunique()
    under = rows[(rows.norm == norm) & (rows.cue == "both")]
    of = under.assign(learned=learned(under)).groupby(["world", "eps"], sort=False)
    every = pd.DataFrame({"learned": of.learned.all(), "seeds": of.seed.nunique()}).reset_index()
    found = every[every.learned & (every.seeds >= every.world.map(normal).fillna(1))].groupby("world", sort=False).eps.max()
    return {str(world): float(eps) for world, eps in found.items()}


def outcomes(rows: pd.DataFrame, *, norm: str = "linf") -> pd.DataFrame:
    """What decides in each world after adversarial training, beside the predictions of the hypotheses (`crossed.predictions`).

    A network's *choice* is the share of conflict images that it decides by shape minus that by texture. Of each world the strongest attack
    counts that networks of all seeds learned under (`strongest`). What the attack *changes* is measured without the errors that it brings: a network that
    loses texture, and errs instead, has not moved to shape. It is the difference of (shape − texture) / (shape + texture) of the shares that
    are `cleared` of errors.

    Returns:
        ``world``; ``normal``, the choice of the normal networks, mean over seeds; ``eps`` of the strongest attack; ``adversarial``, the choice
        of the networks trained under it, with its 95 % t interval over seeds ``low``, ``high``; ``shift``, the change, of the two
        networks of each seed, with ``shift_low`` and ``shift_high``; ``seeds``; ``decides``: ``shape`` or ``texture`` where the interval of
        the choice lies on one side of zero, else ``either``; ``as normal``: whether the normal networks decide by the same; and, of each
        hypothesis, whether it predicted this. These are ``right``, ``wrong``, or ``open`` where a hypothesis says nothing of the world, or the
        interval does not say what decides.
    """
    used = usable(rows, norm).assign(choice=lambda r: r["shape"] - r.texture)
    by_shape, by_texture = cleared(used)
    used = used.assign(cleared=(by_shape - by_texture) / (by_shape + by_texture))
    predicted = crossed.predictions().set_index("world")
    found = []
    for world, eps in strongest(rows, norm=norm).items():
        part = used[used.world == world]
        normal = part[part.norm == "none"].set_index("seed")
        if normal.empty:
            continue
        robust = part[(part.norm == norm) & (part.eps == eps)].set_index("seed")
        value, low, high = mean_interval(robust.choice.to_numpy())
        shift, shift_low, shift_high = mean_interval((robust.cleared - normal.cleared).dropna().to_numpy())
        decides = "shape" if low > 0 else "texture" if high < 0 else "either"
        row = {
            "world": world, "normal": normal.choice.mean(), "eps": eps, "adversarial": value, "low": max(low, -1.0), "high": min(high, 1.0),
            "shift": shift, "shift_low": shift_low, "shift_high": shift_high, "seeds": len(robust), "decides": decides,
            "as normal": _judged("shape" if normal.choice.mean() > 0 else "texture", decides),
        }  # fmt: skip
        found.append(row | {name: _judged(predicted[name][world], decides) for name in crossed.HYPOTHESES})
    return pd.DataFrame(found)


def _judged(predicted: str, said: str) -> str:
    if "either" in (predicted, said):
        return "open"
    return "right" if predicted == said else "wrong"

"""95 % intervals of a share, of a mean, of a difference between two shares or two means, and of a rank correlation."""

from __future__ import annotations

from functools import cache

import numpy as np

Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion; (nan, nan) where n is 0.

    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    from scipy.stats import binomtest

    if n == 0:
        return float("nan"), float("nan")
    interval = binomtest(int(successes), int(n)).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    *,
    given_a: np.ndarray | None = None,
    given_b: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> tuple[float, float, float]:
    """Share of ``a`` minus share of ``b`` on the same images, with the 95 % percentile interval of a paired bootstrap.

    All arguments are (n,) bool, one value for each image. With ``given_a``, the share of ``a`` is taken among those images only: with
    a model's clean successes this is its accuracy on correct.

    Resampling images with replacement is the same as drawing the counts of the 16 joint outcomes from a multinomial distribution, which
    is what happens here: 8.6 ms for 2,000 images, where `scipy.stats.bootstrap` takes 321 ms.
    """
    n = len(a)
    given_a, given_b = (np.ones(n, bool) if g is None else g for g in (given_a, given_b))
    if not n or not len(b) == len(given_a) == len(given_b) == n:
        raise ValueError(f"paired outcomes must be of the same images, not of {n}, {len(b)}, {len(given_a)} and {len(given_b)}")
    joint = np.bincount(8 * given_a + 4 * (a & given_a) + 2 * given_b + (b & given_b), minlength=16)
    cells = np.arange(16)

    def difference(counts: np.ndarray) -> np.ndarray:
        of_a, hit_a, of_b, hit_b = (counts @ ((cells & bit) > 0) for bit in (8, 4, 2, 1))
        with np.errstate(invalid="ignore"):
            return hit_a / of_a - hit_b / of_b

    drawn = difference(np.random.default_rng(seed).multinomial(n, joint / n, size=resamples))
    if np.isnan(drawn).all():
        return float("nan"), float("nan"), float("nan")
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(difference(joint)), float(low), float(high)


def bootstrap_mean(values: np.ndarray, *, seed: int = 0, resamples: int = 10_000) -> tuple[float, float, float]:
    """Mean of (n,) values with its 95 % percentile interval, of a bootstrap over them.

    The counts of the distinct values are drawn from a multinomial distribution, as in `paired_difference`: 9 ms for 2,000 values, where
    `scipy.stats.bootstrap` takes 131 ms.
    """
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples) @ distinct / len(values)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)


@cache
def t_quantile(df: float) -> float:
    """The 97.5 % point of Student's t distribution with ``df`` degrees of freedom, above 0; `Z95` where ``df`` is infinite.

    >>> [round(t_quantile(df), 2) for df in (1, 2, 1999, float("inf"))]
    [12.71, 4.3, 1.96, 1.96]
    """
    from scipy.special import stdtrit

    return Z95 if np.isinf(df) else float(stdtrit(df, 0.975))


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of (n,) values with its 95 % t interval, mean ± t(n − 1) · s/√n; nan bounds for fewer than two values.

    >>> [round(bound, 2) for bound in mean_interval(np.array([0.0, 1.0, 2.0]))]
    [1.0, -1.48, 3.48]
    """
    mean, n = float(np.mean(values)), len(values)
    half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / n**0.5 if n > 1 else float("nan")
    return mean, mean - half, mean + half


def unpaired_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Mean of the sample ``a`` minus that of ``b``, (n,) and (m,), with Welch's 95 % t interval; nan bounds for fewer than two values."""
    difference = float(np.mean(a) - np.mean(b))
    if min(len(a), len(b)) < 2:
        return difference, float("nan"), float("nan")
    from scipy.stats import ttest_ind

    if np.ptp(a) == np.ptp(b) == 0:
        return difference, difference, difference
    interval = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    return difference, float(interval.low), float(interval.high)


def rank_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Spearman's correlation of two (n,) arrays with its 95 % interval: tanh(atanh(rho) ± 1.96 · sqrt((1 + rho²/2)/(n − 3))).

    atanh(±1) is infinite. Without ties the nearest value to 1 is 1 − 12/(n(n² − 1)), so the formula takes no rho beyond the middle
    between the two, ± (1 − 6/(n(n² − 1))), and the interval always holds rho itself: where rho is 1, it is [−0.69, 1] for n = 4 and
    [0.16, 1] for n = 5. The bounds are nan for n < 4. All three numbers are nan where an array is constant or n < 2.

    Bonett & Wright 2000, Sample size requirements for estimating Pearson, Kendall and Spearman correlations.

    Raises:
        ValueError: arrays of different lengths.
    """
    n = len(a)
    if len(b) != n:
        raise ValueError(f"the arrays have {n} and {len(b)} values; a rank correlation is of pairs")
    if n < 2 or not (np.ptp(a) and np.ptp(b)):
        return float("nan"), float("nan"), float("nan")
    from scipy.stats import spearmanr

    rho = float(spearmanr(a, b).statistic)
    if n < 4:
        return rho, float("nan"), float("nan")
    most = 1 - 6 / (n * (n**2 - 1))
    within = float(np.clip(rho, -most, most))
    half = Z95 * np.sqrt((1 + within**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(within) - half), np.tanh(np.arctanh(within) + half)
    return rho, float(min(low, rho)), float(max(high, rho))

"""Intervals: against SciPy, their formulas, and their coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binom, binomtest, t

from atviz.evidence import bootstrap_mean, mean_interval, paired_difference, unpaired_difference, wilson
from atviz.evidence.intervals import rank_interval, t_quantile


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_against_scipy(n, share):
    successes = round(share * n)
    low, high = wilson(successes, n)
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= successes / n + 1e-12 and successes / n - 1e-12 <= high <= 1


def test_wilson_of_nothing_is_nan():
    assert all(map(math.isnan, wilson(0, 0)))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [30, 100, 500])
def test_wilson_covers(p, n):
    counts = np.arange(n + 1)
    inside = [low <= p <= high for low, high in (wilson(int(k), n) for k in counts)]
    assert 0.925 < binom.pmf(counts, n, p)[inside].sum() < 0.975  # exactly, no simulation


@pytest.mark.parametrize("n", [2, 3, 40, 2000])
def test_mean_interval_against_scipy(n):
    values = np.random.default_rng(0).exponential(size=n)
    mean, low, high = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((values.mean(), expected.low, expected.high))


def test_three_seeds_need_4_30_and_one_has_no_interval():
    assert mean_interval(np.array([-1.0, 0.0, 1.0]))[2] == pytest.approx(4.302653 / math.sqrt(3))
    mean, low, high = mean_interval(np.array([3.0]))
    assert mean == 3 and math.isnan(low) and math.isnan(high)


@pytest.mark.parametrize("df", [1, 2, 2.5, 19, 1999, math.inf])
def test_t_quantile_against_scipy(df):
    assert t_quantile(df) == pytest.approx(t.ppf(0.975, df))


# --- rank correlation


def test_rank_interval_against_its_formula():
    a, b = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0]), np.array([2.0, 7.0, 1.0, 8.0, 2.5, 8.5, 1.8])
    ranks = np.array([4, 1, 5, 2, 6, 7, 3]), np.array([3, 5, 1, 6, 4, 7, 2])
    rho = 1 - 6 * ((ranks[0] - ranks[1]) ** 2).sum() / (7 * 48)
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / 4)
    assert rank_interval(a, b) == pytest.approx((rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)), abs=1e-6)
    assert rank_interval(a, -b) == pytest.approx((-rho, math.tanh(-math.atanh(rho) - half), math.tanh(-math.atanh(rho) + half)), abs=1e-6)
    assert rank_interval(np.exp(a), b**3) == rank_interval(a, b)  # of ranks alone


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [8, 21])
def test_rank_interval_covers(n, r):
    rng, truth = np.random.default_rng(7), 6 / np.pi * np.arcsin(r / 2)  # of normal variables with a correlation of r
    drawn = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=(400, n))
    inside = [low <= truth <= high for _, low, high in (rank_interval(*pairs.T) for pairs in drawn)]
    assert 0.92 < np.mean(inside) < 0.985


@pytest.mark.parametrize("n", [4, 5, 12])
def test_equal_orders_have_a_wide_but_finite_interval(n):
    rho, low, high = rank_interval(np.arange(n), np.arange(n) ** 2)
    assert rho == pytest.approx(1) and high == pytest.approx(1) and low <= rho <= high
    swapped = np.r_[1, 0, np.arange(2, n)]  # the nearest order that is not equal
    assert rank_interval(np.arange(n), swapped)[1] < low < 1
    assert rank_interval(np.arange(n), -np.arange(n)) == pytest.approx((-rho, -high, -low))
    # an exact test of equal orders rejects independence from n = 5 on, where 2/n! is below 0.05
    assert (low > 0) == (2 / math.factorial(n) < 0.05)


def test_too_few_pairs_and_constants_have_no_rank_interval():
    rho, low, high = rank_interval(np.arange(3), np.array([0, 2, 1]))
    assert rho == pytest.approx(0.5) and math.isnan(low) and math.isnan(high)
    for a, b in ((np.ones(9), np.arange(9)), (np.ones(1), np.ones(1)), (np.ones(0), np.ones(0))):
        assert all(map(math.isnan, rank_interval(a, b)))
    with pytest.raises(ValueError, match="have 3 and 4 values"):
        rank_interval(np.arange(3), np.arange(4))


# --- paired differences


def correlated(n, seed, p=0.7, q=0.6):
    """Outcomes of two models on the same images, which find the same images hard."""
    rng = np.random.default_rng(seed)
    hard, own = rng.random(n), rng.random((2, n))
    return 0.5 * hard + 0.5 * own[0] < p, 0.5 * hard + 0.5 * own[1] < q


def bootstrap(a, b, given_a, given_b, resamples=4000):
    """Images drawn with replacement, one resample at a time."""
    rng = np.random.default_rng(99)
    drawn = []
    for _ in range(resamples):
        i = rng.integers(0, len(a), len(a))
        drawn.append((a & given_a)[i].sum() / given_a[i].sum() - (b & given_b)[i].sum() / given_b[i].sum())
    return np.percentile(drawn, [2.5, 97.5])


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("n", [60, 400])
def test_paired_difference_against_a_plain_bootstrap(n, conditional):
    a, b = correlated(n, 0)
    given_a, given_b = correlated(n, 1, 0.9, 0.8) if conditional else (np.ones(n, bool), np.ones(n, bool))
    value, low, high = paired_difference(a, b, **(dict(given_a=given_a, given_b=given_b) if conditional else {}))
    assert value == pytest.approx(a[given_a].mean() - b[given_b].mean(), abs=1e-12)
    expected = bootstrap(a, b, given_a, given_b)
    assert (low, high) == pytest.approx(tuple(expected), abs=0.08 * (expected[1] - expected[0]) + 1 / n)


@given(seed=st.integers(0, 99), n=st.integers(1, 200))
def test_paired_difference_is_antisymmetric(seed, n):
    (a, b), (given_a, given_b) = correlated(n, seed), correlated(n, seed + 1, 0.9, 0.8)
    given_a[0] = given_b[0] = True
    value, low, high = paired_difference(a, b, given_a=given_a, given_b=given_b)
    reverse, reverse_low, reverse_high = paired_difference(b, a, given_a=given_b, given_b=given_a)
    assert reverse == pytest.approx(-value, abs=1e-12)
    assert (reverse_low, reverse_high) == pytest.approx((-high, -low), abs=0.15 * (high - low) + 1 / n)


def test_a_model_does_not_differ_from_itself():
    a, _ = correlated(200, 0)
    assert paired_difference(a, a) == (0, 0, 0)


def test_pairing_narrows_the_interval():
    a, b = correlated(4000, 0)
    widths = [high - low for _, low, high in (paired_difference(a, other) for other in (b, np.random.default_rng(0).permutation(b)))]
    assert widths[0] < 0.92 * widths[1]


def test_paired_interval_covers():
    rng = np.random.default_rng(5)
    big_a, big_b = correlated(2_000_000, 6)
    truth = big_a.mean() - big_b.mean()
    covered = 0
    for trial in range(300):
        i = rng.integers(0, len(big_a), 200)
        _, low, high = paired_difference(big_a[i], big_b[i], resamples=1000, seed=trial)
        covered += low <= truth <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_paired_difference_follows_its_seed():
    a, b = correlated(100, 0)
    assert paired_difference(a, b, seed=1) == paired_difference(a, b, seed=1)
    assert paired_difference(a, b, seed=1, resamples=100) != paired_difference(a, b, seed=2, resamples=100)


def test_nothing_to_compare_is_nan():
    a, b = correlated(50, 0)
    none = np.zeros(50, bool)
    assert all(map(math.isnan, paired_difference(a, b, given_a=none)))


@pytest.mark.parametrize(
    "outcomes",
    [
        dict(a=np.ones(3, bool), b=np.ones(4, bool)),
        dict(a=np.ones(3, bool), b=np.ones(3, bool), given_a=np.ones(2, bool)),
        dict(a=np.ones(3, bool), b=np.ones(3, bool), given_b=np.ones(2, bool)),
        dict(a=np.ones(0, bool), b=np.ones(0, bool)),
    ],
)
def test_outcomes_of_different_images_are_refused(outcomes):
    with pytest.raises(ValueError, match="of the same images"):
        paired_difference(**outcomes)


def test_the_interval_of_unpaired_means_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 12), rng.normal(0, 3, 40)
    va, vb = a.var(ddof=1) / 12, b.var(ddof=1) / 40
    freedom = (va + vb) ** 2 / (va**2 / 11 + vb**2 / 39)
    half = t.ppf(0.975, freedom) * np.sqrt(va + vb)
    value, low, high = unpaired_difference(a, b)
    assert value == pytest.approx(a.mean() - b.mean())
    assert (low, high) == pytest.approx((value - half, value + half))


def test_the_interval_of_unpaired_means_of_too_few_or_equal_values():
    assert np.isnan(unpaired_difference(np.ones(1), np.ones(5))[1:]).all()
    assert unpaired_difference(np.ones(3), np.zeros(3)) == (1, 1, 1)


def test_bootstrap_of_a_mean_against_scipys():
    rng = np.random.default_rng(0)
    values = rng.integers(-3, 4, 400) / 6
    expected = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=rng).confidence_interval
    mean, low, high = bootstrap_mean(values)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert bootstrap_mean(np.full(7, 0.25)) == (0.25, 0.25, 0.25)

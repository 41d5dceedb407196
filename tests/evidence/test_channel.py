"""The channel of a network: recovered from accuracies that a known one would give."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atviz.evidence.channel import channel, threshold

CENTERS = 1.5 * 2.0 ** np.arange(7)
NOISES = 0.01 * 2.0 ** np.arange(8)  # 0.01 to 1.28


def simulated(center, bandwidth, peak, *, clean=0.9, slope=3, images=None, centers=CENTERS, noises=NOISES, model="net"):
    """Accuracies that fall to half of ``clean`` where sd times the channel's sensitivity is 1; with ``images``, of so many."""
    deviation = bandwidth / 2.3548200450309493
    rows = [{"model": model, "center": np.nan, "sd": 0.0, "accuracy": clean}]
    for band in centers:
        sensitivity = peak * np.exp(-(np.log2(band / center) ** 2) / (2 * deviation**2))
        rows += [{"model": model, "center": band, "sd": sd, "accuracy": clean / (1 + (sd * sensitivity) ** slope)} for sd in noises]
    found = pd.DataFrame(rows)
    return found if images is None else found.assign(accuracy=np.random.default_rng(0).binomial(images, found.accuracy) / images)


@given(st.floats(3, 48), st.floats(1.5, 4), st.floats(8, 60), st.floats(0.15, 1), st.floats(2, 5))
def test_a_known_channel_is_recovered(center, bandwidth, peak, clean, slope):
    (row,) = channel(simulated(center, bandwidth, peak, clean=clean, slope=slope)).to_dict("records")
    assert row["reason"] == "" and row["masked"] >= 3
    assert row["center"] == pytest.approx(center, rel=0.1)
    assert row["bandwidth"] == pytest.approx(bandwidth, rel=0.1)
    assert row["peak"] == pytest.approx(peak, rel=0.1)


def test_a_known_channel_is_recovered_from_400_images():
    rows = channel(pd.concat([simulated(6, 2, 20, images=400, model="a"), simulated(12, 3, 10, images=400, clean=0.6, model="b")]))
    assert rows.model.tolist() == ["a", "b"] and (rows.reason == "").all()
    assert rows.center.tolist() == pytest.approx([6, 12], rel=0.1)
    assert rows.bandwidth.tolist() == pytest.approx([2, 3], rel=0.1)
    assert rows.peak.tolist() == pytest.approx([20, 10], rel=0.1)


def test_what_changes_the_units_or_the_clean_accuracy_changes_no_width():
    rows = simulated(6, 2, 20)
    of = channel(rows).iloc[0]
    louder, finer, worse = (
        channel(rows.assign(**{c: factor * rows[c]})).iloc[0] for c, factor in (("sd", 2), ("center", 2), ("accuracy", 0.3))
    )
    assert [louder.center, louder.bandwidth, louder.peak] == pytest.approx([of.center, of.bandwidth, of.peak / 2], rel=1e-3)
    assert [finer.center, finer.bandwidth, finer.peak] == pytest.approx([2 * of.center, of.bandwidth, of.peak], rel=1e-3)
    # with a threshold of 50 % every band would be masked
    assert [worse.center, worse.bandwidth, worse.peak] == pytest.approx([of.center, of.bandwidth, of.peak], rel=1e-3)
    shuffled = channel(rows.sample(frac=1, random_state=1)).iloc[0]
    assert [shuffled.center, shuffled.bandwidth] == pytest.approx([of.center, of.bandwidth])


def test_the_threshold_lies_between_the_noises():
    sd = np.array([0.1, 0.2, 0.4])
    assert threshold(sd, np.array([0.8, 0.6, 0.2]), 0.8) == pytest.approx(0.2 * 2**0.5)
    assert threshold(sd, np.array([0.2, 0.1, 0.1]), 0.6) == pytest.approx(0.1 * 3 / 4)  # below the weakest noise
    assert threshold(sd, np.array([0.4, 0.3, 0.2]), 0.6) == pytest.approx(0.2)
    assert threshold(sd, np.array([0.5, 0.5, 0.4]), 0.6) == np.inf
    assert threshold(sd, np.array([0.0, 0.0, 0.0]), 0.0) == np.inf
    # a rise is pooled with the fall beside it: 0.25 and 0.45 count as 0.35 each
    assert threshold(sd, np.array([0.25, 0.45, 0.1]), 0.6) == pytest.approx(0.2 * 2**0.2)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (simulated(6, 0.8, 20, noises=NOISES[:4]), "1 of 7 bands are masked; 3 are needed"),
        (simulated(6, 2, 20, clean=0.0), "0 of 7 bands are masked; 3 are needed"),
        (simulated(6, 1000, 20), "the sensitivities have no peak among the bands"),
        (simulated(1, 4, 60, centers=CENTERS[2:5]), "the sensitivities have no peak among the bands"),
    ],
    ids=["narrow", "blind", "flat", "beyond"],
)
def test_where_no_channel_can_be_fitted_the_reason_is_said(rows, reason):
    (row,) = channel(rows).to_dict("records")
    assert row["reason"] == reason and np.isnan([row["center"], row["bandwidth"], row["peak"]]).all()


def test_rows_that_cannot_be_are_refused():
    rows = simulated(6, 2, 20)
    with pytest.raises(ValueError, match="net has no row of sd 0"):
        channel(rows[rows.sd > 0])
    with pytest.raises(ValueError, match="net has two rows for noise of sd 0.01 at 1.5 cycles per image"):
        channel(pd.concat([rows, rows]))
    with pytest.raises(ValueError, match="an accuracy is outside"):
        channel(rows.assign(accuracy=100 * rows.accuracy))

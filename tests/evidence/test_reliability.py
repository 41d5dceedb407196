"""Verdicts on instruments: of numbers that are made up."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, t, ttest_ind

from atviz.evidence import Instrument, reliability
from atviz.evidence.controls import CONTROLS


def made_up(slope, *, shape_only=0.9, texture_only=0.1, width=0.01, seeds=3):
    """Readings of one instrument that follows the true bias with a slope, and of its two controls."""
    biases = {(name, s): b for name, b in (("shape-only", 1.0), ("texture-only", 0.0), ("normal", 0.2)) for s in range(seeds)}
    biases |= {(f"pgd-inf-{e}", s): 0.3 + e + s / 50 for e in (0.1, 0.2, 0.3) for s in range(seeds)}
    read_of = {"shape-only": shape_only, "texture-only": texture_only}
    bias = pd.DataFrame([{"network": n, "seed": s, "eps": 0.0, "shape_bias": b} for (n, s), b in biases.items()])
    values = {key: read_of.get(key[0], 0.5 + slope * (b - 0.5)) for key, b in biases.items()}
    rows = [
        {"network": n, "seed": s, "instrument": "saturate-1024", "value": v, "ci_low": v - width, "ci_high": v + width}
        for (n, s), v in values.items()
    ]
    return bias, pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("slope", "controls_read", "verdict", "why"),
    [
        (0.5, (0.9, 0.1), "reliable", ""),
        (0.5, (0.1, 0.9), "unreliable", "orders the shape-only and the texture-only network wrongly"),
        (-0.8, (0.1, 0.9), "unreliable", "falls as the true bias rises"),
        (0.5, (0.5, 0.5), "uncertain", "does not tell the shape-only and the texture-only network apart"),
        (-0.5, (0.9, 0.1), "uncertain", "does not rank the networks by their true bias"),
    ],
)
def test_verdict_on_an_instrument(slope, controls_read, verdict, why):
    bias, read = made_up(slope, shape_only=controls_read[0], texture_only=controls_read[1])
    row = reliability.reliability(bias, read).iloc[0]
    assert row.verdict == verdict
    assert why in row.why
    assert bool(row.why) == bool(why)
    assert row.networks == 18
    merged = read.merge(bias, on=["network", "seed"])
    assert row.rho == pytest.approx(spearmanr(merged.value, merged.shape_bias).statistic)
    both = merged[~merged.network.isin(CONTROLS)]
    assert row.rho_both == pytest.approx(spearmanr(both.value, both.shape_bias).statistic)
    assert row.rho_low <= row.rho <= row.rho_high
    assert row.gap == pytest.approx(controls_read[0] - controls_read[1])


def test_the_gaps_interval_joins_images_and_seeds():
    bias, read = made_up(0.5, width=1.959964 * 0.03)
    assert reliability.reliability(bias, read).iloc[0].gap_high == pytest.approx(0.8 + 1.959964 * np.hypot(0.03, 0.03))
    read.loc[(read.network == "shape-only"), "value"] += [-0.1, 0.0, 0.1]
    row, variance, seeds = reliability.reliability(bias, read).iloc[0], 2 * 0.03**2 + 0.1**2 / 3, 0.1**2 / 3
    half = t.ppf(0.975, variance**2 / (seeds**2 / 2)) * np.sqrt(variance)
    assert (row.gap - row.gap_low, row.gap_high - row.gap) == pytest.approx((half, half))


def test_without_an_image_error_the_gaps_interval_is_welchs():
    bias, read = made_up(0.5, width=0, seeds=4)
    read["value"] += np.random.default_rng(0).normal(0, 0.02, len(read)) * np.where(read.network == "shape-only", 1, 5)
    of = {control: read[read.network == control].value for control in CONTROLS}
    expected = ttest_ind(of["shape-only"], of["texture-only"], equal_var=False).confidence_interval(0.95)
    row = reliability.reliability(bias, read).iloc[0]
    assert (row.gap_low, row.gap_high) == pytest.approx((expected.low, expected.high))


def test_an_instrument_that_should_fall_is_turned_round():
    bias, read = made_up(-0.5, shape_only=0.1, texture_only=0.9)
    row = reliability.reliability(bias, read.assign(instrument="patch_shuffle-2")).iloc[0]
    assert (row.verdict, row.expected) == ("reliable", "lower")
    assert row.gap > 0


def test_a_collapsed_control_is_shown_and_not_judged_reliable():
    bias, read = made_up(0.0, shape_only=0.125, texture_only=0.125)
    row = reliability.reliability(bias, read).iloc[0]
    assert row.shape_only == row.texture_only == 0.125
    assert row.verdict != "reliable"


def test_one_seed_has_no_band_and_two_networks_have_no_correlation():
    bias, read = made_up(0.5, seeds=1)
    row = reliability.reliability(bias, read).iloc[0]
    assert row.gap - row.gap_low == pytest.approx(np.hypot(0.01, 0.01))  # the images' error alone, with the normal factor
    alone = reliability.bias_curve(bias[bias.network.isin(["normal"])])
    assert alone.ci_low.isna().all()
    few = bias.network.isin(CONTROLS)
    row = reliability.reliability(bias[few], read).iloc[0]
    assert np.isnan(row.rho)
    assert row.verdict == "uncertain"


def test_a_further_instrument_changes_no_others_row():
    bias, read = made_up(0.4)
    alone = reliability.reliability(bias, read)
    other = read.assign(instrument="stylize-1", value=read.value.iloc[::-1].to_numpy())
    both = reliability.reliability(bias, pd.concat([other, read]))
    assert sorted(both.instrument) == ["saturate-1024", "stylize-1"]
    pd.testing.assert_frame_equal(both[both.instrument == "saturate-1024"].reset_index(drop=True), alone)


def test_bias_curve_is_of_the_networks_trained_on_both_cues():
    bias, _ = made_up(0.5)
    bias["eps"] = bias.network.map(lambda name: float(name[8:]) if name.startswith("pgd") else 0.0)
    curve = reliability.bias_curve(bias)
    assert curve.eps.tolist() == [0, 0.1, 0.2, 0.3]
    assert curve.seeds.tolist() == [3] * 4
    assert curve.shape_bias.tolist() == pytest.approx([0.2, 0.42, 0.52, 0.62])
    half = 4.302653 * 0.02 / np.sqrt(3)  # Student's t of three seeds
    assert (curve.shape_bias - curve.ci_low).tolist() == pytest.approx([0, half, half, half])


def test_the_summary_counts_every_instrument_once():
    bias, read = made_up(0.5)
    trust = reliability.reliability(bias, read)
    assert reliability.summary(trust) == "Of the 1 instruments above, as signs of shape bias: 1 reliable, 0 unreliable, 0 uncertain."
    three = pd.concat([trust, trust.assign(verdict="uncertain"), trust.assign(verdict="uncertain")])
    assert reliability.summary(three) == "Of the 3 instruments above, as signs of shape bias: 1 reliable, 0 unreliable, 2 uncertain."


@pytest.mark.parametrize(
    ("slope", "controls_read", "verdict", "why"),
    [
        (0.5, (0.9, 0.1), "rival", "tells the shape-only from the texture-only network by more than 5 points"),
        (-0.5, (0.1, 0.9), "rival", "tells the shape-only from the texture-only network by more than 5 points"),
        (-0.8, (0.5, 0.5), "no rival", ""),
        (0.0, (0.49, 0.5), "no rival", ""),  # even if it tells them apart, it explains no more than a few points
        (0.0, (0.47, 0.52), "uncertain", "the gap may be small or large"),
    ],
)
def test_an_instrument_that_is_no_sign_of_shape_is_a_rival_if_it_follows_the_bias(slope, controls_read, verdict, why, monkeypatch):
    monkeypatch.setattr(reliability, "INSTRUMENTS", [Instrument("brightness", "dimmed", lambda x, level: x, judged=(0.5,))])
    bias, read = made_up(slope, shape_only=controls_read[0], texture_only=controls_read[1])
    if not slope:  # the networks of both cues read what has nothing to do with their bias
        both = ~read.network.isin(CONTROLS)
        read.loc[both, "value"] = 0.5 + 0.05 * np.array([1, -1, 0, 0, 1, -1, -1, 1, 0, 0, -1, 1])
    row = reliability.reliability(bias, read.assign(instrument="brightness-0.5")).iloc[0]
    assert (row.verdict, row.why, row.expected) == (verdict, why, "")
    assert row.gap == pytest.approx(controls_read[0] - controls_read[1])
    merged = read.merge(bias, on=["network", "seed"])
    assert row.rho == pytest.approx(spearmanr(merged.value, merged.shape_bias).statistic)


def test_the_summary_tells_rivals_from_signs():
    bias, read = made_up(0.5)
    trust = reliability.reliability(bias, read)
    others = [trust.assign(expected="", verdict=verdict) for verdict in ("rival", "no rival", "no rival", "rival")]
    assert reliability.summary(pd.concat([trust, *others])) == (
        "Of the 1 instruments above, as signs of shape bias: 1 reliable, 0 unreliable, 0 uncertain. "
        "Not taken for signs of shape bias are 4 more; 2 of them could explain what another instrument reads."
    )


def test_every_judged_instrument_has_a_title_of_its_own():
    titles = reliability.titles()
    assert titles.keys() == reliability.judged().keys() and len(set(titles.values())) == len(titles)
    assert titles["patch_shuffle-4"] == "4 × 4 patches shuffled"

"""Curves draw what the rows say: values, bands, order, and what a figure marks."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from atviz.notebook import figures

NAMES = ["normal", "underfit", "pgd-inf-0.1"]
LIKENESS = {"rank": "rank correlation of magnitudes", "ssim": "SSIM"}


def lines(ax, names=NAMES):
    """The line of each network, found by its look."""

    def drawn(line):
        return to_rgb(line.get_color()), line.get_marker(), line.get_fillstyle(), line._unscaled_dash_pattern

    found = {drawn(line): line for line in ax.lines}
    return {name: found[drawn(Line2D([], [], **figures.look(name)))] for name in names}


def bands(ax):
    """The lowest and the highest value of each band, in the order of drawing."""
    return [(patch.get_xy()[:, 1].min(), patch.get_xy()[:, 1].max()) for patch in ax.patches]


def named(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def rows():
    return pd.DataFrame(
        [{"model": m, "distortion": "saturate", "level": v, "acc_on_correct": 0.5 + i / 10, "ci_low": 0.4 + i / 10, "ci_high": 0.6 + i / 10, "top1": 0.4}
         for i, m in enumerate(NAMES) for v in (2.0, 4.0, 1024.0)]
    )  # fmt: skip


def test_curves_draw_the_rows_in_percent_with_their_bands(rows):
    figure = figures.distortion_curves(rows.sample(frac=1, random_state=0), xlabel="level", log=True, original=2, chance=0.1)
    (ax,) = figure.axes
    for i, line in enumerate(lines(ax).values()):
        assert list(line.get_xdata()) == [2, 4, 1024]
        assert line.get_ydata() == pytest.approx([50 + 10 * i] * 3)
    assert sorted(bands(ax)) == [pytest.approx((40 + 10 * i, 60 + 10 * i)) for i in range(3)]
    assert "%" in ax.get_ylabel() and ax.get_xlabel() == "level"
    assert sorted(named(figure)) == sorted(NAMES)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "4", "1024"]


def test_a_mark_points_at_its_level(rows):
    plain, marked = (figures.distortion_curves(rows, xlabel="", mark=mark).axes[0] for mark in (None, 4.0))
    (line,) = [line for line in marked.lines if line.get_color() == figures.MARK]
    assert set(line.get_xdata()) == {4.0}
    assert len(marked.lines) == len(plain.lines) + 1


def test_training_curves_draw_clean_accuracy_and_robust_where_there_is_any():
    history = pd.DataFrame(
        [{"model": m, "epoch": e, "clean": 0.5 + e / 10, "robust": None if m == "normal" else 0.4} for m in NAMES for e in (1, 2)]
    )
    figure = figures.training_curves(history)
    clean, robust = figure.axes
    assert [list(line.get_ydata()) for line in lines(clean).values()] == [pytest.approx([60, 70])] * 3
    assert [list(line.get_ydata()) for line in lines(robust, NAMES[1:]).values()] == [pytest.approx([40, 40])] * 2
    assert len(robust.lines) == 2 and "clean" in clean.get_title() and "PGD" in robust.get_title()
    assert named(figure) == NAMES


def test_bands_of_frequency_stand_in_their_order():
    shares = {"2–4": 0.3, "0–2": 0.7}
    rows = pd.DataFrame([{"model": "normal", "band": b, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.1} for b, v in shares.items()])
    (ax,) = figures.band_lines(rows, ["0–2", "2–4"]).axes
    assert lines(ax, NAMES[:1])["normal"].get_ydata() == pytest.approx([70, 30])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0–2", "2–4"]
    assert bands(ax) == [pytest.approx((20, 80))]


def test_learning_curves_draw_the_means_of_the_runs_with_their_bands():
    rows = pd.DataFrame(
        [
            {"model": m, "epoch": e, "value": v + e / 10, "low": v, "high": v + 0.2}
            for m, v in (("STD", 0.3), ("STD+ADV", 0.5))
            for e in (1, 2)
        ]
    )
    ax = figures.learning_curves(rows).axes[0]
    assert lines(ax, ["STD", "STD+ADV"])["STD+ADV"].get_ydata() == pytest.approx([60, 70])
    assert bands(ax) == [pytest.approx((30, 50)), pytest.approx((50, 70))]
    alone = figures.learning_curves(rows.assign(low=np.nan, high=np.nan)).axes[0]  # a single run has no band
    assert lines(alone, ["STD"])["STD"].get_ydata() == pytest.approx([40, 50]) and not alone.patches


def test_centroid_curves_draw_the_rows_in_their_order():
    rows = pd.DataFrame(
        [{"model": m, "layer": layer, "value": v + i, "ci_low": v + i - 1, "ci_high": v + i + 2}
         for i, m in enumerate(NAMES) for v, layer in ((5, "conv1"), (3, "a.conv"))]
    )  # fmt: skip
    ax = figures.centroid_curves(rows, ylabel="cycles", noise=9.0).axes[0]
    for i, line in enumerate(lines(ax).values()):
        assert list(line.get_ydata()) == [5 + i, 3 + i]
    assert list(ax.lines[-1].get_ydata()) == [9, 9] and "white noise" in [text.get_text() for text in ax.texts]
    assert ax.get_ylim()[1] > 9
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["conv1", "a.conv"]
    assert bands(ax)[0] == (2, 7)


def test_cascade_curves_draw_each_networks_steps_in_their_order():
    steps, names = ["none", "fc", "conv1"], ["normal", "pgd-inf-0.1"]
    rows = pd.DataFrame(
        [{"model": m, "method": f, "step": s, "measure": k, "value": (v := 1 - 0.3 * i - 0.1 * j - 0.05 * n), "ci_low": v - 0.02, "ci_high": v + 0.02}
         for i, m in enumerate(names) for n, f in enumerate(["Vanilla", "Loss"]) for j, s in enumerate(steps) for k in LIKENESS]
    )  # fmt: skip
    figure = figures.cascade_curves(rows, LIKENESS)
    assert [ax.get_title() for ax in figure.axes] == ["Vanilla", "Loss", "", ""]
    for ax, n in zip(figure.axes, (0, 1, 0, 1), strict=True):
        for i, line in enumerate(lines(ax, names).values()):
            assert line.get_ydata() == pytest.approx([1 - 0.3 * i - 0.1 * j - 0.05 * n for j in range(3)])
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == steps
    assert "rank correlation" in figure.axes[0].get_ylabel() and figure.axes[2].get_ylabel() == "SSIM"


def test_the_area_between_two_curves_has_the_color_of_the_upper_one():
    values = {"normal": [0.9, 0.5, 0.3], "underfit": [0.8, 0.4, 0.2], "pgd-inf-0.1": [0.7, 0.5, 0.5]}
    rows = pd.DataFrame(
        [{"model": m, "distortion": "blur", "level": float(i), "measure": "top1", "value": v, "ci_low": v - 0.02, "ci_high": v + 0.02}
         for m, line in values.items() for i, v in enumerate(line)]
    )  # fmt: skip
    area = {"model": "pgd-inf-0.1", "baseline": "normal", "distortion": "blur", "measure": "top1"}
    areas = pd.DataFrame([area | {"difference": 0.0, "ci_low": -0.031, "ci_high": 0.03}])
    (ax,) = figures.signed_areas(rows, areas, labels={"blur": "σ"}, chance={"top1": 0.1}, titles={"top1": "top-1"}).axes
    drawn = lines(ax)
    for name, line in values.items():
        assert drawn[name].get_ydata() == pytest.approx([100 * v for v in line])
    assert drawn["underfit"].get_linewidth() < drawn["normal"].get_linewidth() == drawn["pgd-inf-0.1"].get_linewidth()
    assert bands(ax) == [pytest.approx((28, 92)), pytest.approx((48, 72))]  # of the two, not of the others
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("σ", "top-1") and "+0.0 [−3.1, +3.0] points" in ax.get_title()
    filled = {}
    for collection in ax.collections[-2:]:
        corners = np.concatenate([path.vertices for path in collection.get_paths()])
        filled[tuple(collection.get_facecolor()[0][:3])] = corners[:, 0].min(), corners[:, 0].max()
    # they cross at level 1
    assert filled[to_rgb(figures.look("normal")["color"])] == (0, 1)
    assert filled[to_rgb(figures.look("pgd-inf-0.1")["color"])] == (1, 2)

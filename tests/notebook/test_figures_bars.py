"""Bars, points, boxes and tables draw what the rows say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from atviz.notebook import figures

LIKENESS = {"rank": "rank correlation of magnitudes", "ssim": "SSIM"}


def intervals(ax, axis):
    """The intervals along an axis, each with its place on the other one: (place, low, high), by place."""
    found = [segment for each in ax.collections for segment in each.get_segments()]
    return sorted((ends[0, 1 - axis], *sorted(ends[:, axis])) for ends in found)


def dots(ax):
    """The points that are drawn by marker: color → positions (x, y)."""
    found = {}
    for line in ax.lines:
        if line.get_linewidth() == 0:
            found.setdefault(to_hex(line.get_color()), []).extend(map(tuple, line.get_xydata()))
    return found


def test_bars_have_their_height_their_interval_and_their_number():
    given = {("normal", "clean"): 0.9, ("normal", "attacked"): 0.0, ("pgd-inf-0.1", "clean"): 0.8, ("pgd-inf-0.1", "attacked"): 0.5}
    rows = pd.DataFrame([{"model": m, "measure": k, "value": v, "ci_low": v - 0.02, "ci_high": v + 0.03} for (m, k), v in given.items()])
    (ax,) = figures.accuracy_bars(rows).axes
    heights = {(to_hex(bar.get_facecolor()), round(bar.get_x() + bar.get_width() / 2)): bar.get_height() for bar in ax.patches}
    normal, robust = (to_hex(figures.look(name)["color"]) for name in ("normal", "pgd-inf-0.1"))
    assert heights == pytest.approx({(normal, 0): 90, (robust, 0): 80, (robust, 1): 50})  # a bar of no height is not drawn
    assert sorted(ends for _, *ends in intervals(ax, 1)) == [pytest.approx(ends) for ends in ([-2, 3], [48, 53], [78, 83], [88, 93])]
    assert {text.get_text(): text.get_position()[1] for text in ax.texts} == pytest.approx({"90.0": 93, "0.0": 3, "80.0": 83, "50.0": 53})
    centers = sorted(bar.get_x() + bar.get_width() / 2 for bar in ax.patches)
    assert sorted(text.get_position()[0] for text in ax.texts if text.get_text() != "0.0") == pytest.approx(centers)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["clean", "attacked"]


def test_bars_of_different_kinds_are_told_apart_in_gray():
    kinds = ["normal", "underfit", "pgd-inf-0.1", "pgd-l2-1.0", "fgsm-0.1", "spatial"]
    figure = figures.accuracy_bars(
        pd.DataFrame([{"model": k, "measure": "clean", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6} for k in kinds])
    )
    assert len({bar.get_hatch() for bar in figure.axes[0].patches}) == len(kinds)
    assert [patch.get_hatch() for patch in figure.legends[0].get_patches()] == [bar.get_hatch() for bar in figure.axes[0].patches]


def test_differences_are_drawn_with_their_intervals_in_the_color_of_their_sign():
    rows = pd.DataFrame(
        {"level": [2.0, 4.0, 8.0], "difference": [0.1, -0.2, 0], "ci_low": [0.05, -0.3, -0.1], "ci_high": [0.15, -0.1, 0.1]}
    )
    (ax,) = figures.difference_bars(rows, label="level", xlabel="points").axes
    above, below, neither = (figures.look(name)["color"].lower() for name in ("pgd-inf", "normal", "underfit"))
    assert dots(ax) == {above: [pytest.approx((10, 0))], below: [pytest.approx((-20, 1))], neither: [pytest.approx((0, 2))]}
    assert intervals(ax, 0) == [pytest.approx(each) for each in ((0, 5, 15), (1, -30, -10), (2, -10, 10))]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2", "4", "8"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top


def test_accuracy_intervals_draw_interval_mean_and_runs():
    rows = pd.DataFrame([{"model": m, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.2} for m, v in (("STD", 0.3), ("ADV", 0.5))])
    runs = pd.DataFrame([{"model": m, "value": v} for m, v in (("ADV", 0.5), ("STD", 0.25), ("STD", 0.35))])
    (ax,) = figures.accuracy_intervals(rows, runs).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["STD", "ADV"]
    assert intervals(ax, 0) == [pytest.approx((0, 20, 50)), pytest.approx((1, 40, 70))]
    std, adv = (figures.look(name)["color"].lower() for name in ("STD", "ADV"))
    found = dots(ax)
    assert found[std] == [pytest.approx(p) for p in ((30, 0), (25, 0.24), (35, 0.24))]
    assert found[adv] == [pytest.approx(p) for p in ((50, 1), (50, 1.24))]
    assert [text.get_text() for text in ax.texts] == ["30.0%", "50.0%"]


def test_likeness_points_are_the_rows_with_the_look_of_the_trained_network():
    names = ["untrained and normal", "untrained and pgd-inf-0.1", "normal and pgd-inf-0.1"]
    rows = pd.DataFrame(
        [{"pair": p, "method": m, "measure": k, "value": (v := 0.1 * i + 0.2 * j + 0.05 * n), "ci_low": v - 0.02, "ci_high": v + 0.03}
         for i, p in enumerate(names) for j, m in enumerate(["Vanilla", "Loss"]) for n, k in enumerate(LIKENESS)]
    )  # fmt: skip
    figure = figures.likeness_points(rows, LIKENESS)
    assert [ax.get_title() for ax in figure.axes] == list(LIKENESS.values())
    colors = [figures.look("normal")["color"].lower(), figures.look("pgd-inf-0.1")["color"].lower(), "#000000"]
    for n, ax in enumerate(figure.axes):
        found = dots(ax)
        assert list(found) == colors
        for i, color in enumerate(colors):
            beside = 0.18 * (i - 1)
            assert found[color] == [pytest.approx((beside, 0.1 * i + 0.05 * n)), pytest.approx((1 + beside, 0.1 * i + 0.2 + 0.05 * n))]
        points = sorted(point for each in found.values() for point in each)
        assert intervals(ax, 1) == [pytest.approx((at, value - 0.02, value + 0.03)) for at, value in points]
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["Vanilla", "Loss"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_boxes_show_median_and_quartiles_of_the_images():
    rows = pd.DataFrame(
        [{"model": m, "measure": "gini", "value": v + i} for i, m in enumerate(["normal", "pgd-inf-0.1"]) for v in np.linspace(0, 1, 9)]
    )
    (ax,) = figures.score_boxes(rows, {"gini": "Gini"}).axes
    boxes = [patch.get_path().vertices[:, 1] for patch in ax.patches]
    assert [(box.min(), box.max()) for box in boxes] == [pytest.approx((0.25, 0.75)), pytest.approx((1.25, 1.75))]
    for patch, name in zip(ax.patches, ("normal", "pgd-inf-0.1"), strict=True):
        assert patch.get_facecolor()[:3] == pytest.approx(to_rgb(figures.look(name)["color"]))
    assert 0.5 in [pytest.approx(line.get_ydata()[0]) for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert ax.get_ylabel() == "Gini" and [tick.get_text() for tick in ax.get_xticklabels()] == ["normal", "pgd-inf-0.1"]


def test_matrices_show_their_numbers_in_their_places():
    names, values = ["normal", "underfit"], np.array([[1, -0.25], [-0.001, 0.5]])
    figure = figures.matrices({"rank": values, "ssim": values.T}, names)
    for ax, matrix in zip(figure.axes, (values, values.T), strict=True):
        assert np.allclose(ax.collections[0].get_array(), matrix)
        assert [tick.get_text() for tick in ax.get_xticklabels()] == names
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "−0.25", "0.00", "0.50"]
    assert figure.axes[0].yaxis_inverted()  # the first network is on top
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == names


def test_bias_curve_draws_means_seeds_and_controls():
    rows = pd.DataFrame({"eps": [0.0, 0.01], "shape_bias": [0.3, 0.8], "ci_low": [0.2, 0.7], "ci_high": [0.4, 0.9]})
    seeds = pd.DataFrame({"network": ["normal", "normal", "pgd-inf-0.01"], "eps": [0, 0, 0.01], "shape_bias": [0.25, 0.35, 0.8]})
    (ax,) = figures.bias_curve(rows, seeds, {"shape-only": 1.0, "texture-only": 0.0}).axes
    assert ax.lines[0].get_ydata() == pytest.approx([30, 80])
    assert [line.get_ydata()[0] for line in ax.lines[-2:]] == [100, 0]
    assert [text.get_text() for text in ax.texts] == ["shape-only", "texture-only"]
    assert [y for points in dots(ax).values() for _, y in points] == pytest.approx([25, 35, 80])
    band = ax.patches[0].get_xy()[:, 1]
    assert (band.min(), band.max()) == pytest.approx((20, 90))


def test_instrument_panels_draw_each_reading_at_the_true_bias():
    values = [("saturate-1024", n, v, b) for n, v, b in (("shape-only", 0.9, 1.0), ("texture-only", 0.1, 0.0), ("normal", 0.4, 0.3))]
    rows = pd.DataFrame(
        [{"instrument": i, "network": n, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.1, "shape_bias": b} for i, n, v, b in values]
    )
    figure = figures.instrument_panels(rows, {"saturate-1024": "saturated"})
    (ax,) = figure.axes
    assert ax.get_title() == "saturated"
    assert [tuple(line.get_xydata()[0]) for line in ax.lines] == [pytest.approx(p) for p in ((100, 0.9), (0, 0.1), (30, 0.4))]
    assert [line.get_marker() for line in ax.lines] == [figures.look(name)["marker"] for _, name, _, _ in values]
    assert intervals(ax, 1) == [pytest.approx(each) for each in ((0, 0, 0.2), (30, 0.3, 0.5), (100, 0.8, 1.0))]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["shape-only", "texture-only", "normal"]

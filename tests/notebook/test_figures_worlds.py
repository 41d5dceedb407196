"""The figures of the crossed experiment draw what the rows say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from atviz.notebook import figures
from atviz.notebook.figures.worlds import LOOKS

EPS = [0.0, 0.01, 0.02, 0.04]
AMPLITUDES = {"one": (0.04, 0.02), "other": (0.01, 0.03)}


def rows():
    return pd.DataFrame([
        {"world": world, "eps": eps, "measure": measure, "value": 0.1 * i + 0.2 * j, "ci_low": 0.1 * i, "ci_high": 0.1 * i + 0.3}
        for world in AMPLITUDES for i, eps in enumerate(EPS) for j, measure in enumerate(LOOKS)
    ])  # fmt: skip


def test_a_panel_for_each_world_shows_what_decides_against_eps():
    figure = figures.deciding(rows(), AMPLITUDES)
    assert [ax.get_title() for ax in figure.axes] == ["one", "other"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LOOKS)
    for ax, (shape, texture) in zip(figure.axes, AMPLITUDES.values(), strict=True):
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", ".01", ".02", ".04"]
        lines = {to_hex(line.get_color()): line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 4}
        for j, look in enumerate(LOOKS.values()):
            assert lines[look["color"].lower()] == pytest.approx(np.array([(i, 10 * i + 20 * j) for i in range(4)]))
        marks = {to_hex(line.get_color()): line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2}
        place = dict(zip(EPS[1:], (1, 2, 3), strict=True))
        for cue, amplitude in (("by shape", shape), ("by texture", texture)):
            expected = place.get(amplitude, 2 + np.log(1.5) / np.log(2))  # .03 lies between .02 and .04
            assert marks[LOOKS[cue]["color"].lower()] == pytest.approx(expected)


def test_terms_have_the_color_of_their_sign():
    found = pd.DataFrame(
        {"title": ["a", "b", "c"], "coefficient": [1.0, -2.0, 0.0], "ci_low": [0.5, -3.0, -1.0], "ci_high": [1.5, -1.0, 1.0]}
    )
    figure = figures.coefficients({"L∞": found, "L2": found})
    assert [ax.get_title() for ax in figure.axes] == ["L∞", "L2"]
    points = {to_hex(line.get_color()): tuple(line.get_xydata()[0]) for line in figure.axes[0].lines if line.get_linewidth() == 0}
    red, blue, gray = (LOOKS[name]["color"].lower() for name in LOOKS)
    assert points == {red: pytest.approx((1, 0)), blue: pytest.approx((-2, 1)), gray: pytest.approx((0, 2))}


def test_the_table_of_instruments_frames_the_worlds_where_one_is_reliable():
    found = pd.DataFrame([
        {"instrument": name, "world": world, "rho": rho, "verdict": "reliable" if rho > 0.5 else "uncertain"}
        for name, rhos in {"saturate": (0.9, 0.2), "shuffle": (-0.3, 0.7)}.items() for world, rho in zip(("one-world", "other"), rhos, strict=True)
    ])  # fmt: skip
    overall = pd.DataFrame({"instrument": ["saturate", "shuffle"], "verdict": ["measures amplitude", "uncertain"]})
    (ax,) = figures.instruments_by_world(found, overall, {"saturate": "saturated", "shuffle": "shuffled"}).axes
    frames = {(int(patch.get_x()), int(patch.get_y())) for patch in ax.patches if isinstance(patch, Rectangle)}
    assert frames == {(0, 0), (1, 1)}
    said = [text.get_text() for text in ax.texts]
    assert said[:4] == ["+0.90", "+0.20", "−0.30", "+0.70"] and said[4:] == ["measures amplitude", "uncertain"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["saturated", "shuffled"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["one\nworld", "other"]


def test_kinds_say_what_is_expected_and_right_readings_have_a_frame():
    found = pd.DataFrame([
        {"instrument": name, "kind": kind, "order": order, "expected": expected, "verdict": verdict}
        for name, kind, order, expected, verdict in (
            ("saturate", "shuffled", -1.0, -1, "right"), ("saturate", "high-passed", 0.2, 0, ""),
            ("shuffle", "shuffled", 0.5, -1, "wrong"), ("shuffle", "high-passed", np.nan, 0, ""),
        )
    ])  # fmt: skip
    (ax,) = figures.instruments_by_kind(found, {"saturate": "saturated", "shuffle": "patches"}).axes
    frames = [(int(patch.get_x()), int(patch.get_y())) for patch in ax.patches if isinstance(patch, Rectangle)]
    assert frames == [(0, 0)]
    assert [text.get_text() for text in ax.texts] == ["−1.00", "+0.20", "+0.50"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["shuffled\n(less\nshape)", "high-passed\n(nothing\nknown)"]

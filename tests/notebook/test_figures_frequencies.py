"""Fourier heat maps and dose curves draw what they are given."""

import numpy as np
import pandas as pd
import pytest

from atviz.notebook import figures


def test_a_panel_for_each_network_with_its_errors_in_percent():
    found = {"normal": np.arange(25).reshape(5, 5) / 24, "other": np.zeros((5, 5))}
    figure = figures.fourier_maps(found)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == list(found)
    shown = panels[0].collections[0].get_array().reshape(5, 5)
    np.testing.assert_allclose(shown, 100 * found["normal"])
    assert [tick.get_text() for tick in panels[0].get_xticklabels()] == ["−2", "0", "2"]
    assert panels[0].yaxis_inverted()  # the first row is above, as in an image


def test_the_whole_image_is_at_the_left_and_a_column_is_a_feature():
    names = {"bilateral": "texture", "nl_means": "texture", "patch_shuffle": "shape", "grayscale": "color"}
    rows = pd.DataFrame([
        {"feature": feature, "distortion": name, "model": "normal", "dose": dose, "value": dose, "ci_low": dose, "ci_high": dose}
        for name, feature in names.items() for dose in (1.0, 0.5, -0.1)
    ])  # fmt: skip
    figure = figures.dose_curves(rows)
    said = [(ax.get_title(), ax.get_xlabel()) for ax in figure.axes]
    assert said == [
        ("bilateral filter", "local variance left"), ("patches shuffled", "agreement of the edges"), ("colors removed", "color left"),
        ("non-local means", "local variance left"),
    ]  # fmt: skip
    left, right = figure.axes[0].get_xlim()
    assert left > 1 > 0 > -0.1 > right
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([-10, 50, 100])

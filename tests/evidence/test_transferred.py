"""Fine-tuned networks: accuracies and differences of made-up outcomes, and a task that is read back."""

import numpy as np
import pandas as pd
import pytest

from atviz.evidence import Store, Transferred
from atviz.training import Plan, loop, task


def hits(*runs):
    return np.array([[c == "1" for c in run] for run in runs])


T3 = 3.182446  # Student's t for four images


def test_numbers_of_made_up_outcomes():
    outcomes = {"STD+STD": hits("1100", "1000"), "ADV+ADV": hits("0000", "1000"), "STD+ADV": hits("1111", "1101")}
    curves = pd.DataFrame([{"model": "STD+ADV", "run": r, "epoch": 1, "loss": 1.0, "clean": v} for r, v in enumerate((0.5, 0.7))])
    found = Transferred(outcomes, curves)
    row = found.table.set_index("model").loc["STD+ADV"]
    assert (row.value, row.runs, row.n) == (0.875, 2, 4)
    assert found.n == 4 and found.accuracy("STD+ADV") == 0.875
    assert row.sd == pytest.approx(np.sqrt(0.125**2 * 2))
    assert row.ci_high - row.value == pytest.approx(T3 * np.std([1, 1, 0.5, 1], ddof=1) / 2)
    assert found.by_run.query("model == 'STD+ADV'")[["run", "value"]].values.tolist() == [[0, 1], [1, 0.75]]
    assert found.better_pair == "STD+STD"
    value, low, high = found.difference("STD+ADV", "STD+STD")
    per_image = np.array([0, 0.5, 0.5, 1])
    assert value == 0.5
    assert (high - low) / 2 == pytest.approx(T3 * per_image.std(ddof=1) / 2)
    assert found.differences([("STD+ADV", "STD+STD")]).pair.tolist() == ["STD+ADV − STD+STD"]
    band = found.bands.iloc[0]
    assert (band.value, band.high - band.value) == pytest.approx((0.6, np.sqrt(0.02)))


def test_a_task_is_run_once_and_read_after_that(tmp_path, monkeypatch):
    tuning, store = task(Plan(profile="smoke"), runs=1, target_limit=40, tune_epochs=1), Store(tmp_path)
    found = Transferred.of(tuning, store=store)
    assert (store.computed, store.read) == (6, 0)
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained"))
    again = Transferred.of(tuning, store=Store(tmp_path))
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.curves, found.curves)

"""What the papers report, and tables for reading."""

import numpy as np
import pandas as pd
import pytest

from atviz.papers import readable, reported


def test_the_papers_numbers_are_all_there():
    known = reported()
    counts = known[known.paper == "zhang-zhu-2019"].groupby("table").size()
    # eleven networks: two columns of Table 1 on three sets, of Table 2 on two; eight levels; three k; and nine cells of Table 3
    assert counts.to_dict() == {"T1": 66, "T2": 44, "T3": 9, "T4": 88, "T5": 88, "T6": 88, "T7": 33, "T8": 33}
    normal = known[(known.table == "T6") & (known.model == "normal")].set_index("setting").value
    assert (normal["saturate-0.25"], normal["saturate-1024"]) == ("27.36", "31.06")
    assert known[known.slip == "catastrophic overfitting"].model.unique().tolist() == ["fgsm-8"]


@pytest.fixture
def rows():
    row = {"model": "b", "setting": "s", "measure": "top1", "n": 50, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "top1": 0.45,
           "paper": np.nan, "slip": ""}  # fmt: skip
    of_correct = {"measure": "acc_on_correct", "setting": "t", "n": 1234, "value": 1.0, "ci_low": 0.95, "ci_high": 1.0}
    return pd.DataFrame([row, row | of_correct | {"paper": 0.58983, "slip": "known"}, row | {"model": "a"} | of_correct])


def test_models_go_down_and_settings_across_in_the_order_of_the_rows(rows):
    shown = readable(rows)
    assert (shown.index.tolist(), shown.columns.tolist()) == (["b", "a"], ["n correct", "s", "t"])
    assert shown.loc["b"].tolist() == ["1,234", "50.0 [40.0, 60.0]", "100.0 [95.0, 100.0] (58.98†)"]
    assert shown.loc["a"].tolist() == ["1,234", "–", "100.0 [95.0, 100.0]"]
    assert readable(rows, top1=True).to_numpy().tolist() == [["45.0", "45.0"], ["–", "45.0"]]


def test_runs_and_the_paper_have_their_standard_deviations(rows):
    shown = readable(rows.assign(sd=0.0123, paper_sd=[np.nan, 0.0018, np.nan]))
    assert shown.loc["b", "t"] == "100.0 ± 1.23 [95.0, 100.0] (58.98 ± 0.18†)"

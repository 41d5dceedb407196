"""Controls on real images: what they are trained on, and how the instruments are rated on them."""

import numpy as np
import pandas as pd
import pytest
import torch

from atviz import distortions
from atviz.evidence import find, reliability, removed

NAMES = list(removed.instruments())


@pytest.mark.parametrize("kind", removed.KINDS)
def test_images_lack_what_the_kind_says(kind, fashion):
    found, of = removed.without(fashion[:40], kind, seed=3), removed.KINDS[kind]
    assert found.x.shape == (40, 1, 28, 28) and found.x.dtype == torch.uint8 and torch.equal(found.y, fashion.y[:40])
    x = fashion.x[:40] / 255
    if kind == "normal":
        assert torch.equal(found.x, fashion.x[:40])
    elif kind == "stylized":
        assert not torch.equal(found.x, fashion.x[:40])
    else:
        made = find(of.distortion).at(of.level, seed=3)(x)
        assert torch.equal(found.x, (made.clamp(0, 1) * 255).round().byte())
    if kind == "binarized":
        assert set(found.x.unique().tolist()) <= {0, 1, 254, 255}
    if kind == "low-passed":
        again = distortions.low_pass(found.x / 255, 4)
        assert (again - found.x / 255).abs().mean() < 0.03  # what is left is of rounding and clipping


def test_a_network_is_trained_and_read():
    row = removed.measured("low-passed", 1, train=200, test=100, read=40, epochs=1)
    assert list(row) == ["kind", "seed", "clean", "own", *NAMES]
    assert (row["kind"], row["seed"]) == ("low-passed", 1)
    assert 0 <= row["clean"] <= 1 and 0 <= row["own"] <= 1 and np.isfinite(row["sparsity"])
    assert set(NAMES) < set(reliability.judged()) and not {"grayscale-1", "edge", "grounds"} & set(NAMES)


def rows(**readings):
    """Three seeds of each kind: its readings differ from the normal network's by what is given."""
    return pd.DataFrame([
        {"kind": kind, "seed": seed} | {name: 0.5 + 0.01 * seed + readings.get(kind, 0) for name in NAMES}
        for kind in removed.KINDS for seed in range(3)
    ])  # fmt: skip


def test_a_reading_is_right_where_it_lies_on_the_side_that_is_known():
    found = removed.rated(rows(shuffled=-0.2, stylized=-0.2, **{"high-passed": 0.2})).set_index(["instrument", "kind"])
    assert len(found) == len(NAMES) * 5
    up, down = "saturate-1024", "patch_rotate-4"  # more shape reads higher, and lower
    assert found.loc[("patch_shuffle-4", "shuffled"), ["order", "expected", "verdict"]].tolist() == [1, 0, ""]  # it has practiced this
    assert found.loc[(up, "shuffled"), ["order", "expected", "verdict"]].tolist() == [-1, -1, "right"]
    assert found.loc[(down, "shuffled"), ["order", "expected", "verdict"]].tolist() == [1, -1, "wrong"]
    assert found.loc[(up, "stylized"), "verdict"] == "wrong" and found.loc[(down, "stylized"), "verdict"] == "right"
    assert found.loc[(down, "binarized"), ["order", "verdict"]].tolist() == [0, "uncertain"]
    assert found.loc[(up, "high-passed"), ["order", "verdict"]].tolist() == [1, ""]
    assert found.loc[(up, "shuffled"), "difference"] == pytest.approx(-0.2)
    assert found.loc[(up, "shuffled"), "ci_low"] < -0.2 < found.loc[(up, "shuffled"), "ci_high"] < 0


def test_nothing_is_rated_without_rows():
    assert not len(removed.rated(pd.DataFrame()))
    partial = rows()[["kind", "seed", NAMES[0]]]
    assert set(removed.rated(partial).instrument) == {NAMES[0]}


def test_the_rows_that_ship_are_of_this_experiment_and_complete():
    shipped = removed.rows()
    assert set(zip(shipped.kind, shipped.seed, strict=True)) == set(removed.cells())
    assert set(NAMES) <= set(shipped.columns)
    assert (shipped[shipped.kind == "normal"].clean > 0.85).all() and (shipped.own > 0.6).all()

"""How far distortions move images."""

import pytest
import torch

from atviz.data import Images
from atviz.evidence import find, moved


def test_moved_counts_the_values_that_leave_the_ball(fashion):
    images = fashion[:30]
    rows = moved(images, {"brightness": [0.05, 0.1, 0.2], "saturate": [2.0, 1024.0]}, eps=0.1).set_index(["distortion", "level"])
    assert rows.moved[("brightness", 0.05)] == rows.moved[("brightness", 0.1)] == 0 and rows.inside[("brightness", 0.1)] == 1
    assert (rows.moved[("brightness", 0.2)], rows.inside[("brightness", 0.2)]) == (1, 0)
    assert rows.moved[("saturate", 2.0)] == 0
    x = images.x.float() / 255
    far = (find("saturate").at(1024)(x) - x).abs() > 0.1
    assert rows.moved[("saturate", 1024.0)] == pytest.approx(float(far.float().mean()), abs=1e-4)
    assert set(rows.n) == {30}


def test_a_random_distortion_moves_as_in_the_sweep():
    images = Images(torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8) * 4, torch.zeros(1, dtype=torch.int64), ["only"])
    (row,) = moved(images, {"patch_shuffle": [2]}, eps=0.01, seed=3).itertuples()
    x = images.x.float() / 255
    assert row.moved == pytest.approx(float(((find("patch_shuffle").at(2, seed=3)(x) - x).abs() > 0.01).float().mean()))

"""Sprite sheets."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from atviz.app import sprites


def sheet(content):
    return np.array(Image.open(BytesIO(content)).convert("RGB"))


def test_small_pictures_are_packed_without_loss_in_rows_and_columns():
    frames = {"a": [[torch.rand(1, 3, 8, 6) for _ in range(4)] for _ in range(2)], "b": [[torch.rand(1, 1, 8, 6)]]}
    packed = sprites.pack(frames)
    assert (packed.size, packed.quality) == ((8, 6), None)
    found = sheet(packed.files["a"])
    assert found.shape == (16, 24, 3)
    for i, row in enumerate(frames["a"]):
        for j, picture in enumerate(row):
            wanted = (picture[0].numpy() * 255).round().transpose(1, 2, 0)
            np.testing.assert_array_equal(found[8 * i : 8 * i + 8, 6 * j : 6 * j + 6], wanted)
    assert (sheet(packed.files["b"])[..., 0] == sheet(packed.files["b"])[..., 2]).all()


def test_values_outside_the_unit_interval_are_clipped():
    picture = torch.tensor([-0.5, 0.0, 1.0, 1.5]).view(1, 1, 2, 2)
    assert sheet(sprites.pack({"a": [[picture]]}).files["a"])[..., 0].tolist() == [[0, 0], [255, 255]]


def test_large_pictures_become_smaller_and_keep_their_shape_and_mean():
    picture = torch.rand(1, 3, 200, 100)
    packed = sprites.pack({"a": [[picture]]})
    assert packed.size == (96, 48)
    assert abs(sheet(packed.files["a"]).mean() / 255 - picture.mean()) < 0.01


@pytest.mark.parametrize("limit", [200_000, 40_000, 12_000])
def test_sheets_fit_the_limit(limit):
    packed = sprites.pack({"a": [[torch.rand(1, 3, 64, 64) for _ in range(8)] for _ in range(4)]}, limit=limit)
    assert sum(map(len, packed.files.values())) <= limit
    with pytest.raises(ValueError, match="8 columns of pictures do not fit into 10 bytes"):
        sprites.pack({"a": [[torch.rand(1, 3, 64, 64) for _ in range(8)]]}, limit=10)

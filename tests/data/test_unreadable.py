"""A set that is streamed: its unreadable files are found once, remembered, and left out."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from atviz import data, home
from atviz.app import subcommands
from atviz.data import kinds, unreadable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tree of 240 images a split that is streamed; two files of the test split are damaged."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    monkeypatch.setattr(unreadable, "AT_ONCE", 100)
    root, rng = tmp_path / "things", np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(120):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / split / name / f"{i}.png")
    for name in ("cat/7.png", "dog/110.png"):
        path = root / "test" / name
        path.write_bytes(path.read_bytes()[:60])
    return root


def seen(images):
    return sum(len(y) for _, y in images.batches(50))


def test_a_batch_with_a_damaged_file_says_how_to_go_on(folder):
    images = data.load(f"folder:{folder}", "test")
    with pytest.raises(ValueError, match=r"1 of 50 image files cannot be read; .*7\.png.*; or run atviz data check"):
        seen(images)


def test_check_finds_all_and_later_loads_leave_them_out(folder, capsys):
    with pytest.warns(UserWarning, match=r"2 test image files cannot be read and are left out: cat/7\.png, dog/110\.png"):
        subcommands.data_check(f"folder:{folder}")
    told = capsys.readouterr().out
    assert "train: 240 images" in told and "test: 238 images" in told and "left out" in told
    with pytest.warns(UserWarning, match="left out"):
        images = data.load(f"folder:{folder}", "test")
    assert seen(images) == len(images) == 238 and "cat/7.png" in images.note
    assert images.y.bincount().tolist() == [119, 119] and len(data.load(f"folder:{folder}", "train")) == 240
    # a file that was mended counts again; the other stays out
    shutil.copy(folder / "test" / "cat" / "8.png", folder / "test" / "cat" / "7.png")
    with pytest.warns(UserWarning, match=r"1 test image file cannot be read and is left out: dog/110\.png"):
        assert seen(data.load(f"folder:{folder}", "test")) == 239


def test_fetch_decodes_nothing(folder, capsys):
    subcommands.data_fetch(f"folder:{folder}")
    assert "test: 240 images" in capsys.readouterr().out and not (home() / "data" / "cache" / "unreadable.json").exists()


def test_more_than_one_percent_stops(folder):
    (folder / "test" / "dog" / "5.png").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"3 of 240 image files cannot be read; remove or replace"):
        subcommands.data_check.__wrapped__(f"folder:{folder}")
    assert len(data.load(f"folder:{folder}", "test")) == 240  # nothing is left out in silence


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"x": 3}', b"[" * 9999, None])
def test_a_damaged_memory_is_none(folder, content):
    place = home() / "data" / "cache" / "unreadable.json"
    place.parent.mkdir(parents=True)
    if content is None:
        os.mkdir(place)
    else:
        place.write_bytes(content)
    assert unreadable.remembered([folder / "test" / "cat" / "7.png"]) == {}

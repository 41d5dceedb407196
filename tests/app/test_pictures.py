"""Figures as they stand in a page."""

import base64
import os
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from atviz.app import pictures


@pytest.fixture
def drawn(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", "What is shown.")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "02_a.png", pnginfo=info)
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(tmp_path / "02_b.png")
    return tmp_path


def opened(figure):
    return Image.open(BytesIO(base64.b64decode(figure["data"].partition(",")[2])))


def test_a_figure_keeps_its_caption_its_size_and_white_behind_it(drawn):
    noise, clear = (pictures.embedded(drawn / f"02_{name}.png") for name in "ab")
    assert (noise["file"], noise["caption"], noise["width"], noise["height"]) == ("figures/02_a.png", "What is shown.", 20, 30)
    assert opened(noise).size == (40, 60) and clear["caption"] == "02_b"
    assert np.array(opened(clear)).min() == 255  # without loss


def test_a_figure_is_made_once_and_again_when_it_is_newer(drawn):
    pictures.embedded(drawn / "02_a.png")
    kept = drawn / "02_a.webp"
    before = kept.stat().st_mtime_ns
    pictures.embedded(drawn / "02_a.png")
    assert kept.stat().st_mtime_ns == before
    os.utime(drawn / "02_a.png", ns=(before + 10**9, before + 10**9))
    os.utime(kept, ns=(before - 10**9, before - 10**9))
    pictures.embedded(drawn / "02_a.png")
    assert kept.stat().st_mtime_ns >= before


def test_the_largest_figures_are_halved_until_all_fit(drawn):
    paths = sorted(drawn.glob("*.png"))
    assert pictures.reduced(paths) == set()
    assert pictures.reduced(paths, limit=1500) == {drawn / "02_a.png"}
    assert opened(pictures.embedded(drawn / "02_a.png", small=True)).size == (20, 30)

"""Styles: textures that a seed fixes, and folders of images."""

import pytest
import torch
from PIL import Image

from atviz.data import load_styles, procedural


def test_procedural_styles_are_the_seed_s():
    styles = procedural(12, size=28, seed=4)
    assert styles.shape == (12, 3, 28, 28) and styles.dtype == torch.float32
    assert styles.min() >= 0 and styles.max() <= 1
    assert torch.equal(styles[:7], procedural(7, size=28, seed=4))
    assert not torch.equal(styles, procedural(12, size=28, seed=5))
    assert torch.equal(styles * 255, (styles * 255).round())
    # every one is a texture, also in gray, and no two are alike
    assert styles.mean(1).std((1, 2)).min() > 0.02
    assert len(torch.unique(styles.flatten(1), dim=0)) == 12


def test_stripes_have_one_direction_and_the_period_that_is_stated():
    stripes = procedural(100, size=60, seed=0)[::5].mean(1)
    spectrum = torch.fft.fft2(stripes - stripes.mean((1, 2), keepdim=True)).abs()
    v, u = torch.meshgrid(torch.fft.fftfreq(60), torch.fft.fftfreq(60), indexing="ij")
    peak = torch.hypot(u, v).flatten()[spectrum.flatten(1).argmax(1)]
    assert ((peak > 1 / 40) & (peak < 1 / 8)).all()  # periods of 10 to 24 pixels, to a mode's width
    power = spectrum.flatten(1).square()
    assert (power.topk(20).values.sum(1) / power.sum(1)).median() > 0.7


@pytest.mark.parametrize("values", [dict(n=0, size=8), dict(n=3, size=0), dict(n=-1, size=8)])
def test_procedural_refuses_nothing(values):
    with pytest.raises(ValueError, match="at least 1"):
        procedural(**values)


def test_a_folder_of_styles(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_styles(tmp_path / "nowhere", size=16)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="holds no images"):
        load_styles(tmp_path, size=16)
    (tmp_path / "a").mkdir()
    Image.new("RGB", (40, 20), (255, 0, 51)).save(tmp_path / "b.png")
    Image.new("L", (10, 30), 102).save(tmp_path / "a" / "gray.png")
    styles = load_styles(tmp_path, size=16)
    assert styles.shape == (2, 3, 16, 16)
    assert torch.allclose(styles.mean((2, 3)), torch.tensor([[0.4, 0.4, 0.4], [1.0, 0.0, 0.2]]))
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"1 of 3 image files .*broken\.jpg"):
        load_styles(tmp_path, size=16)
    assert torch.equal(load_styles("procedural", n=5, size=9, seed=2), procedural(5, size=9, seed=2))

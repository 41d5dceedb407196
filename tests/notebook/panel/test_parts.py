"""Parts of the panels: pictures and bars."""

import io
import re

import numpy as np
import torch
from PIL import Image

from atviz.notebook.panel.parts import class_bars, png


def test_a_picture_has_the_images_pixels():
    for channels in (1, 3):
        x = torch.rand(1, channels, 5, 6, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
        pixels = np.array(Image.open(io.BytesIO(png(x)))).reshape(5, 6, channels)
        np.testing.assert_array_equal(pixels, (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().numpy())


def test_bars_say_probabilities_and_mark_the_true_class_alone():
    found = class_bars(np.array([0.25, 0.7, 0.05]), [1, 0], ["a", "b & c", "d"], 0, "#123456")
    assert re.findall(r'title="(.*?)"', found) == ["b &amp; c: 70.00 %", "a: 25.00 %"]
    assert re.findall(r"width:(.*?)%", found) == ["70.00", "25.00"]
    assert found.count("atviz-bar true") == found.count("✓") == 1
    assert found.index("✓ a") > found.index("b &amp; c")
    assert "✓" not in class_bars(np.array([0.25, 0.75]), [1, 0], ["a", "b"], None, "#123456")

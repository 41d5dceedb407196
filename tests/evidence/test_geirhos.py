"""Cue conflict on photographs: networks of ImageNet's classes whose decisions are known."""

import numpy as np
import pytest
from PIL import Image

from atviz.data import CATEGORIES
from atviz.evidence import of_imagenet, photographs, wilson

NAMES = list(CATEGORIES)
CODE = """
import torch
from torch import nn
from atviz.data import CATEGORIES

FIRST = torch.tensor([members[0] for members in CATEGORIES.values()])

class Reads(nn.Module):
    def __init__(self, channel, classes):
        super().__init__()
        self.channel, self.classes = channel, classes

    def forward(self, x):
        said = (x[:, self.channel, 0, 0] * 255).round().long().clamp(max=15)
        return 40 * nn.functional.one_hot(FIRST[said] % self.classes, self.classes).float()

by_shape = lambda: Reads(0, 1000)
by_texture = lambda: Reads(1, 1000)
of_ten = lambda: Reads(0, 10)
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "net.py").write_text(CODE)
    return f"python:{tmp_path / 'net.py'}"


@pytest.fixture
def stimuli(tmp_path):
    """Images whose red says the category of the shape and whose green that of the texture; 30 of 32 in conflict."""
    for i, shape in enumerate(NAMES):
        (tmp_path / "stimuli" / shape).mkdir(parents=True)
        for j in (1, 2):
            texture = NAMES[(i + j * (i > 0)) % 16]
            pixels = np.zeros((8, 8, 3), np.uint8)
            pixels[..., 0], pixels[..., 1] = i, NAMES.index(texture)
            Image.fromarray(pixels).save(tmp_path / "stimuli" / shape / f"{shape}{j}-{texture}{j}.png")
    return str(tmp_path / "stimuli")


def test_networks_of_imagenet_are_found_among_the_references(code):
    asked = [
        "normal",
        "pgd-inf-8",
        f"a={code}:by_shape?size=8&mean=0&std=1",
        f"ten={code}:of_ten?size=8&mean=0&std=1",
        "torchvision:resnet18?weights=none",
    ]
    found = of_imagenet(asked)
    assert [network.name for network in found] == ["a", "resnet18"]
    assert of_imagenet(["normal"]) == of_imagenet([]) == []


def test_what_decides_is_told_of_each_network_with_all_three_shares(code, stimuli):
    known = of_imagenet([f"shape={code}:by_shape?size=8", f"texture={code}:by_texture?size=8"])
    rows, why = photographs(known, stimuli)
    assert why == "" and list(rows.among.unique()) == ["16 categories", "1,000 classes"] and len(rows) == 24
    for _, part in rows[~rows.measure.str.endswith("rank")].groupby("among"):
        assert part.set_index(["model", "measure"]).value.to_dict() == {
            ("shape", "shape"): 1, ("shape", "texture"): 0, ("shape", "neither"): 0, ("shape", "shape bias"): 1,
            ("texture", "shape"): 0, ("texture", "texture"): 1, ("texture", "neither"): 0, ("texture", "shape bias"): 0,
        }  # fmt: skip
    assert set(rows.n) == {30} and set(rows.side) == {8}
    rank = rows.set_index(["model", "among", "measure"]).value
    for among in rows.among.unique():
        assert rank["shape", among, "shape rank"] == rank["texture", among, "texture rank"] == 1
    # all other classes have one logit: of a category that is not said, its first class stands where its number does
    first = np.array([min(members) for members in CATEGORIES.values()])
    told, other = np.array([(i, (i + j * (i > 0)) % 16) for i in range(16) for j in (1, 2) if i]).T
    expected = [1 / (2 + first[t] - (min(CATEGORIES[NAMES[s]]) < first[t])) for s, t in zip(told, other, strict=True)]
    assert rank["shape", "1,000 classes", "texture rank"] == pytest.approx(np.mean(expected))
    rows = rows[rows.among == "16 categories"].set_index(["model", "measure"])
    assert (rows.loc[("shape", "shape"), "ci_low"], rows.loc[("shape", "shape"), "ci_high"]) == pytest.approx(wilson(30, 30))


def test_published_images_that_cannot_be_fetched_are_said_so(code, monkeypatch):
    def refuse(*_):
        raise OSError("the images could not be fetched; put them into a folder")

    monkeypatch.setattr("atviz.evidence.geirhos.fetch_stimuli", refuse)
    rows, why = photographs(of_imagenet([f"{code}:by_shape?size=8"]))
    assert rows.empty and why == "The images could not be fetched; put them into a folder."
    rows, why = photographs([])
    assert rows.empty and why.startswith("None of the networks knows ImageNet's classes")
    with pytest.raises(FileNotFoundError, match="has no folder airplane"):
        photographs(of_imagenet([f"{code}:by_shape?size=8"]), "nowhere")

"""Cue conflict: networks whose decisions are known, and the 16 categories of ImageNet's classes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import nn

from atviz import models
from atviz.data import CATEGORIES, Images, load_stimuli
from atviz.evidence import Categories, Store, cue_conflict, decisions, ranks

NAMES = list(CATEGORIES)


def test_cue_conflict_counts_what_decides():
    # a model that answers with the class drawn in its first pixel
    said = torch.tensor([0, 0, 0, 1, 1, 2, 3, 0])
    shape = torch.tensor([0, 0, 1, 0, 1, 0, 0, 0])
    texture = torch.tensor([1, 2, 0, 1, 2, 1, 1, 0])  # the last image is no conflict
    images = Images(said.byte().view(8, 1, 1, 1), torch.zeros(8, dtype=torch.int64), list("abcd"))

    class Reads(nn.Module):
        def forward(self, x):
            return torch.eye(4)[(x.flatten() * 255).round().long()]

    found = cue_conflict(Reads(), images, shape=shape, texture=texture)
    interval = binomtest(3, 5).proportion_ci(method="wilson")
    expected = {
        "n": 7, "shape": 3 / 7, "texture": 2 / 7, "neither": 2 / 7, "shape_bias": 3 / 5, "ci_low": interval.low, "ci_high": interval.high,
        # behind the class that is said, the others follow in their order
        "shape_rank": np.mean([1, 1, 1 / 2, 1 / 2, 1, 1 / 2, 1 / 2]), "texture_rank": np.mean([1 / 2, 1 / 3, 1, 1, 1 / 3, 1 / 3, 1 / 3]),
    }  # fmt: skip
    assert found == pytest.approx(expected)
    swapped = cue_conflict(Reads(), images, shape=texture, texture=shape)
    assert swapped["shape_bias"] == pytest.approx(1 - found["shape_bias"])
    neither = cue_conflict(Reads(), images[5:7], shape=shape[5:7], texture=texture[5:7])
    assert neither["neither"] == 1 and math.isnan(neither["shape_bias"])


def test_ranks_are_those_of_a_sort_of_the_logits(trained, fashion, tmp_path):
    shape, texture = fashion.y, (fashion.y + torch.arange(len(fashion)) % 4) % 10
    store = Store(tmp_path)
    found = ranks(trained, fashion, shape=shape, texture=texture, store=store)
    with torch.no_grad():
        order = np.argsort(-trained(fashion.x.float() / 255).numpy(), axis=1)
    differ = (shape != texture).numpy()
    expected = [[list(row).index(label) + 1 for label in (s, t)] for row, s, t in zip(order, shape.tolist(), texture.tolist(), strict=True)]
    assert found.tolist() == np.array(expected)[differ].tolist() and 0 < differ.sum() < len(fashion)
    assert ranks(trained, fashion, shape=shape, texture=texture, store=store).tolist() == found.tolist() and store.computed == 1
    assert ranks(trained, fashion, shape=texture, texture=shape, store=store).tolist() == found[:, ::-1].tolist() and store.computed == 2


def test_the_rank_of_a_group_is_that_of_its_likeliest_class(trained, fashion):
    groups = [[0, 2, 4, 6], [1, 3], [5, 7, 9], [8]]
    of = {label: i for i, members in enumerate(groups) for label in members}
    shape = torch.tensor([of[label] for label in fashion.y.tolist()])
    texture = (shape + 1) % 4
    found = ranks(trained, fashion, shape=shape, texture=texture, groups=groups)
    with torch.no_grad():
        order = np.argsort(-trained(fashion.x.float() / 255).numpy(), axis=1)
    for row, both, (s, t) in zip(order, found.tolist(), zip(shape.tolist(), texture.tolist(), strict=True), strict=True):
        assert both == [1 + min(list(row).index(label) for label in groups[wanted]) for wanted in (s, t)]
    with pytest.raises(ValueError, match="a shape label is 4; with 4 classes"):
        ranks(trained, fashion, shape=shape + 1, texture=texture, groups=groups)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_cue_conflict_finds_the_share_that_was_built_in(conflict, follows, share):
    found = cue_conflict(follows(conflict, share), conflict.images, shape=conflict.shape, texture=conflict.texture)
    assert found["shape"] == pytest.approx(share)
    assert found["texture"] == pytest.approx(1 - share)
    assert found["neither"] == pytest.approx(0)
    assert found["shape_bias"] == pytest.approx(share)
    assert found["ci_low"] <= share <= found["ci_high"]
    assert found["n"] == 200


def test_cue_conflict_counts_neither_and_leaves_out_agreement(conflict, follows):
    wrong = conflict.texture.roll(1)
    found = cue_conflict(follows(conflict, 1.0), conflict.images, shape=wrong, texture=wrong.add(1) % 8)
    assert found["neither"] > 0.5
    half = conflict.texture.clone()
    half[:100] = conflict.shape[:100]
    assert cue_conflict(follows(conflict, 1.0), conflict.images, shape=conflict.shape, texture=half)["n"] == 100


@pytest.mark.parametrize(
    ("shape", "texture", "sentence"),
    [([0, 1], [0, 1], "agree on every image"), ([0, 1, 1], [1, 0], "one of each"), ([0], [1], "one of each")],
)
def test_labels_that_tell_nothing_apart_are_refused(shape, texture, sentence, unused):
    images = Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(ValueError, match=sentence):
        cue_conflict(unused, images, shape=torch.tensor(shape), texture=torch.tensor(texture))


@pytest.mark.parametrize(("cue", "label"), [("shape", 2), ("shape", -1), ("texture", 2), ("texture", -3)])
def test_labels_that_are_no_classes_are_refused(cue, label, unused):
    images = Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"])
    labels = {"shape": torch.tensor([0, 1]), "texture": torch.tensor([1, 0])}
    labels[cue] = torch.tensor([0, label])
    with pytest.raises(ValueError, match=f"a {cue} label is {label}; with 2 classes it must be between 0 and 1"):
        cue_conflict(unused, images, **labels)


def test_images_of_classes_in_another_order_are_refused(conflict, follows):
    model = models.Network("net", follows(conflict, 1.0), conflict.images.classes, conflict.images.shape).module
    cues = {"shape": conflict.shape, "texture": conflict.texture}
    assert cue_conflict(model, conflict.images, **cues)["shape_bias"] == 1
    other = replace(conflict.images, classes=conflict.images.classes[::-1])
    for measure in (cue_conflict, decisions):
        with pytest.raises(ValueError, match="8 classes and the network 8, and class 0 is"):
            measure(model, other, **cues)


# --- the categories


class ImageNet(nn.Module):
    """1,000 logits: high for one class of the category that the given color channel of an image states."""

    def __init__(self, channel, classes=1000):
        super().__init__()
        self.channel, self.classes = channel, classes

    def forward(self, x):
        category = (x[:, self.channel, 0, 0] * 255).round().long()
        member = torch.tensor([CATEGORIES[NAMES[c]][-1] for c in category])
        return 20 * nn.functional.one_hot(member, self.classes).float()


def test_a_network_that_follows_one_cue_is_found_out(tmp_path):
    for i, shape in enumerate(NAMES):
        (tmp_path / shape).mkdir()
        for j in range(3):  # the first is a pair of the same category
            texture = NAMES[(i + j) % 16]
            color = NAMES.index(shape), NAMES.index(texture), 255
            Image.new("RGB", (8, 8), color).save(tmp_path / shape / f"{shape}{j + 1}-{texture}{3 - j}.png")
    images, shape, texture = load_stimuli(tmp_path, size=8)
    for channel, bias in ((0, 1.0), (1, 0.0)):
        found = cue_conflict(Categories(ImageNet(channel)), images, shape=shape, texture=texture)
        assert found["n"] == 32  # pairs of the same category say nothing
        assert found["shape_bias"] == bias
        assert found["neither"] == pytest.approx(0)


def test_stimuli_of_categories_in_another_order_are_refused():
    images = Images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), NAMES[::-1], "mine")
    cues = {"shape": torch.tensor([0, 1]), "texture": torch.tensor([1, 0])}
    with pytest.raises(ValueError, match="class 0 is 'truck' in mine and 'airplane' for the network"):
        cue_conflict(Categories(ImageNet(0)), images, **cues)
    with pytest.raises(ValueError, match="the network has 10 classes; the categories are made of ImageNet's 1,000"):
        cue_conflict(Categories(nn.Sequential(nn.Flatten(), nn.Linear(192, 10))), replace(images, classes=NAMES), **cues)
    named = models.Network("net", ImageNet(0), [str(i) for i in range(1000)], (3, 224, 224)).module
    with pytest.raises(ValueError, match="are 8 × 8 pixels and the network takes 224 × 224; load the images with size=224"):
        cue_conflict(Categories(named), replace(images, classes=NAMES), **cues)


def test_a_category_weighs_by_the_mean_probability_of_its_classes():
    # two elephants at 0.2 each outweigh a hundred dogs that share 0.5, and lose to one knife at 0.21; a sum would say dog
    probability = torch.full((1000,), 1e-9)
    probability[CATEGORIES["elephant"]] = 0.2
    probability[CATEGORIES["dog"]] = 0.5 / len(CATEGORIES["dog"])

    class Fixed(nn.Module):
        def forward(self, x):
            return probability.log().expand(len(x), -1)

    decide = Categories(Fixed())
    x = torch.zeros(1, 3, 2, 2)
    expected = np.array([(probability / probability.sum()).numpy()[m].mean() for m in CATEGORIES.values()])
    assert decide(x)[0].numpy() == pytest.approx(expected)
    assert NAMES[decide(x).argmax()] == "elephant"
    probability[CATEGORIES["knife"]] = 0.21
    assert NAMES[decide(x).argmax()] == "knife"


def test_a_network_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="10 classes"):
        Categories(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)))(torch.zeros(1, 3, 2, 2))

"""What can be asked of `load` by name, and the golden pixels of what it gives."""

import pytest
import torch

from atviz import data
from atviz.data import Splits


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fashon", "fashion"), ("Fashion", "fashion"), ("cifar-10", "cifar10"), ("cifar1000", "cifar100"), ("fashion_full", "fashion-full"),
        ("folder", "folder:PATH"), ("folder:", "folder:PATH"),
        ("tinyimagenet", "tiny-imagenet"), ("caltech-256", "caltech256"), ("cifar10:here", "cifar10"), ("tiny-imagenet:", "tiny-imagenet"),
        ("?", "known are"), ("", "known are"),
    ],
)  # fmt: skip
def test_unknown_name_is_refused_with_the_nearest(name, hint):
    for ask in (data.check_name, data.load):
        with pytest.raises(ValueError, match="unknown data set") as error:
            ask(name)
        assert repr(name) in str(error.value) and hint in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(split="val"), "split is 'val'.*'train' or 'test'"),
        (dict(size=0), "size is 0"),
        (dict(size=-4), "size is -4"),
        (dict(limit=0), "limit is 0"),
        (dict(limit=-1), "limit is -1"),
    ],
)
def test_option_that_cannot_be_meant_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.load("fashion", **options)


@pytest.mark.parametrize("limit", [1, 10, 95, 1000])
def test_limit_is_stratified_and_seeded(limit):
    whole, some = data.load("fashion", "test"), data.load("fashion", "test", limit=limit)
    counts = torch.bincount(some.y, minlength=10)
    assert len(some) == limit and counts.max() - counts.min() <= 1
    same, other = (data.load("fashion", "test", limit=limit, seed=seed) for seed in (0, 1))
    assert torch.equal(same.x, some.x) and not torch.equal(other.x, some.x)
    # images of the set, each once, with their labels, in the set's order
    places = {bytes(image): i for i, image in enumerate(whole.x.flatten(1).numpy())}
    index = torch.tensor([places[bytes(image)] for image in some.x.flatten(1).numpy()])
    assert (index.diff() > 0).all() and torch.equal(whole.y[index], some.y)


def test_limit_beyond_the_set_is_the_set():
    assert torch.equal(data.load("fashion", "test", limit=10**6).x, data.load("fashion", "test").x)


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_size_resizes(size):
    images = data.load("fashion", "test", limit=20, size=size)
    plain = data.load("fashion", "test", limit=20)
    assert images.x.shape == (20, 1, size, size) and images.x.dtype == torch.uint8
    assert torch.equal(images.y, plain.y)
    if size == 28:
        assert torch.equal(images.x, plain.x)
    # an independent way down: the mean brightness is about the same
    torch.testing.assert_close(images.x.float().mean((1, 2, 3)), plain.x.float().mean((1, 2, 3)), atol=3, rtol=0.03)


# SHA-256 of 100 images of each split. Results are kept under these numbers: a change makes every kept result worthless.
GOLDEN = [
    ("fashion", "44775ae4aa4cf4b8", "ea3988bad18e915a"),
    ("fashion-odd", "13d920edecf00af6", "2a317105e5bd8f4b"),
    ("fashion-even", "756cb3ed6f0279f6", "a01640a9753acb03"),
    ("shapetex", "787896da7b212580", "9559ed34b35baeb8"),
    ("shapetex-shape", "4e4fd0b2ddd8440b", "6622ca90664ba86c"),
    ("shapetex-texture", "56a83d13f9355238", "0032dff8e9f81d8a"),
    ("shapetex-conflict", "8c428990c5f50952", "310c70ea4e0e7100"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "train", "test"), GOLDEN)
def test_pixels_and_labels_are_what_they_always_were(name, train, test):
    for split, golden in (("train", train), ("test", test)):
        images = data.load(name, split, limit=100)
        assert (images.digest[:16], images.name) == (golden, name)


def test_every_name_has_a_row_and_every_row_a_name():
    assert [name.removesuffix(":PATH") for name in data.NAMES] == list(data.SOURCES)
    for name in data.NAMES:
        data.check_name(name)


@pytest.mark.parametrize(
    ("name", "crops", "resized", "none"),
    [
        ("cifar10", "crop-flip", "resized-crop-flip", None), ("stl10", "crop-flip", "resized-crop-flip", None),
        ("folder:some", "crop-flip", "resized-crop-flip", None), ("svhn", None, None, None), ("shapetex-conflict", None, None, None),
        ("fashion", "flip", "flip", "flip"), ("fashion-full", "flip", "flip", "flip"),
        ("imagenet", "resized-crop-flip", "resized-crop-flip", "resized-crop-flip"),
        ("caltech256:some", "flip", "resized-crop-flip", None), ("tiny-imagenet", "flip", "resized-crop-flip", None),
    ],
)  # fmt: skip
def test_a_row_says_how_its_images_are_augmented(name, crops, resized, none):
    assert [data.augmentation(name, usual) for usual in ("crop-flip", "resized-crop-flip", None)] == [crops, resized, none]


def test_splits_are_loaded_when_asked_for(monkeypatch):
    asked, load = [], data.load
    monkeypatch.setattr("atviz.data.splits.load", lambda name, split, **options: asked.append(split) or load(name, split, **options))
    images = Splits("fashion", size=14, train_limit=30, test_limit=20)
    assert not asked
    assert images.test is images.test and asked == ["test"]
    assert images.test.digest == load("fashion", "test", size=14, limit=20).digest
    assert images.train.digest == load("fashion", size=14, limit=30).digest and asked == ["test", "train"]
    assert len(Splits("shapetex", train_limit=7).test) == 2000

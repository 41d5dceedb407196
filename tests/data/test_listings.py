"""Each published data set in miniature, in the layout of its authors."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from atviz import data
from atviz.data import listings


@pytest.fixture
def caltech(tmp_path, picture, write):
    """Three classes of 10, 12 and 4 images of different sizes."""
    for name, n in {"001.ak47": 10, "002.american-flag": 12, "257.clutter": 4}.items():
        for i in range(n):
            write(tmp_path / "256_ObjectCategories" / name / f"{name[:3]}_{i:04d}.jpg", picture((9 * i, 0, 0), (20 + i, 30)))
    write(tmp_path / "256_ObjectCategories" / "002.american-flag" / "greg" / "note.txt", "not an image")
    return tmp_path


def test_a_fifth_of_each_caltech_class_is_held_out(caltech):
    found = {}
    for split in ("train", "test"):
        files, labels, classes = listings.caltech256(caltech / "256_ObjectCategories", split)
        assert classes == ["ak47", "american-flag", "clutter"]
        assert [int(path.name[:3]) for path in files] == [[1, 2, 257][label] for label in labels]
        found[split] = {path.name for path in files}
        assert np.bincount(labels).tolist() == {"train": [8, 10, 3], "test": [2, 2, 1]}[split]
    assert not found["train"] & found["test"] and len(found["train"] | found["test"]) == 26
    # what is drawn depends on names alone; written down, so that it stays the same on any machine
    assert {name for name in found["test"] if name.startswith("257")} == {
        min((f"257_{i:04d}.jpg" for i in range(4)), key=lambda name: hashlib.sha256(f"257.clutter/{name}".encode()).hexdigest())
    }


def test_large_images_are_held_larger_and_cropped(caltech):
    images = data.load(f"caltech256:{caltech}", size=14)
    assert images.x.shape == (21, 3, 16, 16) and images.shape == (3, 14, 14)
    assert torch.cat([x for x, _ in images.batches(5)]).shape == (21, 3, 14, 14)
    default = data.load(f"caltech256:{caltech}", "test")
    assert default.x.shape[1:] == (3, 256, 256) and default.shape == (3, 224, 224)


def test_food101_follows_its_lists(tmp_path, picture, write, levels):
    root = tmp_path / "food-101"
    write(root / "meta" / "classes.txt", "apple_pie\nsushi\n")
    write(root / "meta" / "train.txt", "apple_pie/1\nsushi/2\n")
    write(root / "meta" / "test.txt", "sushi/3\n")
    for name, red in {"apple_pie/1": 10, "sushi/2": 20, "sushi/3": 30}.items():
        write(root / "images" / f"{name}.jpg", picture((red, 0, 0)))
    train, test = (data.load("food101", split, root=tmp_path, size=14) for split in ("train", "test"))
    assert train.classes == ["apple pie", "sushi"]
    assert (levels(train), train.y.tolist()) == ([10, 20], [0, 1])
    assert (levels(test), test.y.tolist()) == ([30], [1])


def test_flowers102_trains_on_its_training_and_validation_sets(tmp_path, picture, write, levels):
    root = tmp_path / "flowers-102"
    for i in range(1, 6):
        write(root / "jpg" / f"image_{i:05d}.jpg", picture((10 * i, 0, 0)))
    savemat(root / "setid.mat", {"trnid": [[4]], "valid": [[1, 2]], "tstid": [[3, 5]]})
    savemat(root / "imagelabels.mat", {"labels": [[102, 1, 7, 2, 3]]})
    train, test = (data.load("flowers102", split, root=tmp_path, size=14) for split in ("train", "test"))
    assert dict(zip(levels(train), train.y.tolist(), strict=True)) == {40: 1, 10: 101, 20: 0}
    assert dict(zip(levels(test), test.y.tolist(), strict=True)) == {30: 6, 50: 2}
    assert len(train.classes) == 102


@pytest.mark.parametrize("where", ["", "lists"])
def test_stanford_dogs_follows_its_lists(tmp_path, where, picture, write, levels):
    names = {"n02-Toy_terrier/n02_1.jpg": 10, "n01-Chihuahua/n01_1.jpg": 20, "n01-Chihuahua/n01_2.jpg": 30}
    for name, red in names.items():
        write(tmp_path / "Images" / name, picture((red, 0, 0)))
    (tmp_path / where).mkdir(exist_ok=True)
    for split, chosen in {"train": list(names)[:2], "test": list(names)[2:]}.items():
        cells = np.empty((len(chosen), 1), dtype=object)
        cells[:, 0] = chosen
        savemat(tmp_path / where / f"{split}_list.mat", {"file_list": cells})
    train, test = (data.load(f"stanford-dogs:{tmp_path}", split, size=14) for split in ("train", "test"))
    assert train.classes == ["Chihuahua", "Toy terrier"]
    assert (levels(train), train.y.tolist()) == ([10, 20], [1, 0])
    assert (levels(test), test.y.tolist()) == ([30], [0])
    raw = (tmp_path / where / "train_list.mat").read_bytes()
    for broken in (b"not one", raw[:200], raw[:-20], b"\1" * 500, raw.replace(b"file_list", b"some_list")):
        write(tmp_path / where / "train_list.mat", broken)
        with pytest.raises(ValueError, match="train_list.mat is damaged or not the MATLAB file"):
            data.load(f"stanford-dogs:{tmp_path}")
    (tmp_path / where / "train_list.mat").unlink()
    with pytest.raises(FileNotFoundError, match="train_list.mat is missing"):
        data.load(f"stanford-dogs:{tmp_path}")


def test_cub200_follows_its_lists(tmp_path, picture, write, levels):
    root = tmp_path / "CUB_200_2011"
    rows = [("1", "001.Black_footed_Albatross/a.jpg", "1", "1"), ("2", "002.Crow/b.jpg", "2", "0"), ("3", "002.Crow/c.jpg", "2", "1")]
    for column, stem in [(1, "images"), (2, "image_class_labels"), (3, "train_test_split")]:
        write(root / f"{stem}.txt", "".join(f"{row[0]} {row[column]}\n" for row in rows))
    write(root / "classes.txt", "1 001.Black_footed_Albatross\n2 002.Crow\n")
    for i, file, _, _ in rows:
        write(root / "images" / file, picture((10 * int(i), 0, 0)))
    train, test = (data.load("cub200", split, root=tmp_path, size=14) for split in ("train", "test"))
    assert train.classes == ["Black footed Albatross", "Crow"]
    assert (levels(train), train.y.tolist()) == ([10, 30], [0, 1])
    assert (levels(test), test.y.tolist()) == ([20], [1])
    write(root / "train_test_split.txt", "1 1\n")
    with pytest.raises(ValueError, match="do not list the same images"):
        data.load("cub200", root=tmp_path)

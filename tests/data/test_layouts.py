"""Any folder: with both splits, with one of them, or with classes alone; what is drawn, what is said, and what is refused."""

import os

import numpy as np
import pytest
from PIL import Image

from atviz import data
from atviz.data import layouts


def fill(folder, count, first=0):
    """Images of one color each, which is their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        Image.fromarray(np.full((4, 4, 3), i, dtype=np.uint8)).save(folder / f"{i:03d}.png")


def load(folder, split="train", **options):
    return data.load(f"folder:{folder}", split, **options)


def numbers(images):
    return images.x[:, 0, 0, 0].tolist()


@pytest.fixture
def classes(tmp_path):
    """Two classes of 10 and 7 images, without splits."""
    fill(tmp_path / "pets" / "cat", 10)
    fill(tmp_path / "pets" / "dog", 7, first=100)
    return tmp_path / "pets"


# --- where the test images come from


def test_a_fifth_of_each_class_is_drawn(classes):
    train, test = load(classes), load(classes, "test")
    assert train.classes == test.classes == ["cat", "dog"]
    assert train.y.bincount().tolist() == [8, 6] and test.y.bincount().tolist() == [2, 1]
    assert sorted(numbers(train) + numbers(test)) == [*range(10), *range(100, 107)]
    assert all(
        (number >= 100) == label for images in (train, test) for number, label in zip(numbers(images), images.y.tolist(), strict=True)
    )
    assert numbers(train) == sorted(numbers(train))  # class by class, by name


def test_what_is_drawn_is_the_same_everywhere(classes):
    assert numbers(load(classes, "test")) == GOLDEN  # results are kept under the images' digest
    moved = classes.rename(classes.parent / "elsewhere")
    assert numbers(load(moved, "test")) == GOLDEN
    fill(moved / "bird", 5, first=200)  # another class changes nothing for the others
    assert numbers(load(moved, "test"))[1:] == GOLDEN


GOLDEN = [4, 6, 102]


def test_images_are_drawn_by_their_names_below_the_class(classes):
    deep = classes / "cat" / "zoo"
    deep.mkdir()
    for i in (0, 4):
        (classes / "cat" / f"{i:03d}.png").rename(deep / f"{i:03d}.png")
    order = [1, 2, 3, 5, 6, 7, 8, 9, 0, 4]
    chosen = np.random.default_rng(0).permutation(10)[:2]
    assert sorted(n for n in numbers(load(classes, "test")) if n < 100) == sorted(order[i] for i in chosen)


def test_a_train_folder_alone_is_split_like_classes_alone(classes, tmp_path):
    expected = [load(classes, split).digest for split in ("train", "test")]
    (tmp_path / "other").mkdir()
    classes.rename(tmp_path / "other" / "train")
    assert [load(tmp_path / "other", split).digest for split in ("train", "test")] == expected


@pytest.mark.parametrize("name", ["test", "val", "validation", "valid", "Test", "Testing"])
def test_a_test_folder_alone_is_the_test_split(classes, tmp_path, name):
    (tmp_path / "other").mkdir()
    classes.rename(tmp_path / "other" / name)
    test = load(tmp_path / "other", "test")
    assert len(test) == 17 and test.classes == ["cat", "dog"] and test.note == ""
    with pytest.raises(
        FileNotFoundError, match=f"other has only a test split .its folder {name}.; images to train on must lie in .*/train/<class>/"
    ):
        load(tmp_path / "other")


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "Val"), ("Training", "Testing"), ("TRAIN", "validation")])
def test_splits_are_found_by_their_usual_names(tmp_path, train, test):
    # as classes of their own they would give an accuracy that means nothing
    for name, count in ((train, 5), (test, 2)):
        fill(tmp_path / name / "cat", count)
        fill(tmp_path / name / "dog", count, first=100)
    assert [len(load(tmp_path, split)) for split in ("train", "test")] == [10, 4]
    assert load(tmp_path).classes == ["cat", "dog"] and load(tmp_path).note == load(tmp_path, "test").note == ""


def test_train_is_a_class_beside_bus_and_car(tmp_path):
    for i, name in enumerate(("bus", "car", "train")):
        fill(tmp_path / name, 5, first=10 * i)
    assert load(tmp_path).classes == ["bus", "car", "train"] and load(tmp_path).y.bincount().tolist() == [4, 4, 4]


def test_unlabeled_test_images_are_no_class(tmp_path):
    fill(tmp_path / "cat", 5)
    fill(tmp_path / "dog", 5, first=10)
    fill(tmp_path / "test", 5, first=20)
    with pytest.raises(ValueError, match="test holds no images; they must lie in .*test/<class>/"):
        load(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="only a test split"):
        load(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 23])
def test_each_side_gets_an_image_where_there_are_two(classes, count):
    fill(classes / "bird", count, first=200)
    train, test = ((load(classes, split).y == 0).sum() for split in ("train", "test"))
    assert (train, test) == (count - test, max(1, round(count / 5)) if count > 1 else 0)


def test_single_images_are_all_for_training(tmp_path):
    for i in range(3):
        fill(tmp_path / str(i), 1, first=i)
    assert numbers(load(tmp_path)) == [0, 1, 2]
    with pytest.raises(ValueError, match="has a single image of each class, and so none to test on"):
        load(tmp_path, "test")


def test_a_limit_is_taken_of_the_split(classes):
    whole = set(numbers(load(classes)))
    some = load(classes, limit=6)
    assert len(some) == 6 and set(numbers(some)) < whole


# --- what is said


def test_it_is_said_that_a_split_was_drawn(classes, tmp_path, monkeypatch):
    said = "pets has no train and test folders: a fifth of each class, drawn by seed 0, is the test set"
    assert load(classes).note == load(classes, "test").note == said
    monkeypatch.chdir(classes)
    here = load(".", "test")
    assert (here.note, here.name) == (said, "folder:pets")
    (tmp_path / "other").mkdir()
    classes.rename(tmp_path / "other" / "train")
    assert load(tmp_path / "other", limit=3).note == "other has no test folder: a fifth of each class, drawn by seed 0, is the test set"


# --- what is refused


def test_a_class_without_images_is_named(classes):
    for name in ("empty", "notes", ".hidden"):
        (classes / name / "deep").mkdir(parents=True)
    (classes / "notes" / "deep" / "a.txt").write_text("")
    for split in ("train", "test"):
        with pytest.raises(ValueError, match="pets has folders without images: empty, notes; remove them"):
            load(classes, split)
    for name in "abcdefg":
        (classes / name).mkdir()
    with pytest.raises(ValueError, match="without images: a, b, c, d, e and 4 more; remove"):
        load(classes)


def test_a_class_may_be_missing_from_one_split(tmp_path):
    fill(tmp_path / "train" / "cat", 2)
    fill(tmp_path / "train" / "dog", 2)
    (tmp_path / "test" / "dog").mkdir(parents=True)
    fill(tmp_path / "test" / "cat", 1)
    assert load(tmp_path, "test").classes == ["cat", "dog"]
    (tmp_path / "test" / "bird").mkdir()
    with pytest.raises(ValueError, match="without images: bird;"):
        load(tmp_path)


def test_one_folder_too_many_is_named(classes, tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "__MACOSX").mkdir()
    classes.rename(tmp_path / "archive" / "pets")
    with pytest.raises(ValueError, match=f"archive holds one folder, and so one class.*write folder:{tmp_path}/archive/pets$"):
        load(tmp_path / "archive")
    fill(tmp_path / "archive" / "pets", 5)  # images of its own: a class
    assert load(tmp_path / "archive").classes == ["pets"]


def test_a_folder_without_class_folders_is_refused(tmp_path):
    fill(tmp_path / "flat", 3)
    for split in ("train", "test"):
        with pytest.raises(ValueError, match="flat holds no images; they must lie in .*flat/<class>/"):
            load(tmp_path / "flat", split)


def test_of_two_names_the_first_is_read(tmp_path):
    # two folders whose names differ by case alone, in whatever order the disk lists them
    fill(tmp_path / "Train" / "cat", 2, first=50)
    fill(tmp_path / "test" / "cat", 2)
    if os.path.exists(tmp_path / "train"):
        pytest.skip("this disk knows no case")
    fill(tmp_path / "train" / "cat", 3)
    fill(tmp_path / "val" / "cat", 1)
    assert (len(load(tmp_path)), len(load(tmp_path, "test"))) == (3, 2)
    assert [path.name for split in layouts._layout(tmp_path) for path in split] == ["train", "Train", "test", "val"]

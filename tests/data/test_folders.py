"""Folders of image files: what is read, what is refused, and what the cache keeps."""

import errno
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atviz import data
from atviz.data import folders


def pixels(h=6, w=6, seed=0, c=3):
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)


def write(path, array=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels() if array is None else array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes, three training and two test images each."""
    for c, name in enumerate(["cat", "dog"]):
        for i in range(3):
            write(tmp_path / "set" / "train" / name / f"{i}.png", pixels(seed=10 * c + i))
        for i in range(2):
            write(tmp_path / "set" / "test" / name / f"{i}.png", pixels(seed=100 + 10 * c + i))
    return tmp_path / "set"


def load(folder, split="train", **options):
    return data.load(f"folder:{folder}", split, **options)


BROKEN = {
    "empty.png": lambda raw: b"",
    "cut.png": lambda raw: raw[: len(raw) // 2],
    "text.png": lambda raw: b"this is no picture\n",
    "page.jpg": lambda raw: b"<html><body>404</body></html>",
    "bits.png": lambda raw: raw[:40] + bytes(b ^ 255 for b in raw[40:60]) + raw[60:],
    "zeros.png": lambda raw: b"\0" * len(raw),
    # a header that promises 2.5 billion pixels
    "bomb.png": lambda raw: (
        raw[:16] + (50_000).to_bytes(4) * 2 + raw[24:29] + png_crc(raw[12:16] + (50_000).to_bytes(4) * 2 + raw[24:29]) + raw[33:]
    ),
}


def png_crc(chunk):
    return zlib.crc32(chunk).to_bytes(4)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_named_and_counted(folder, name):
    broken = folder / "train" / "cat" / name
    broken.write_bytes(BROKEN[name]((folder / "train" / "cat" / "0.png").read_bytes()))
    with pytest.raises(ValueError, match="1 of 7 image files cannot be read; remove or replace") as error:
        load(folder)
    assert str(broken) in str(error.value) and "\n" not in str(error.value)
    broken.unlink()
    assert len(load(folder)) == 6


def test_all_broken_files_are_counted_and_some_are_named(folder):
    for i in range(8):
        (folder / "train" / "dog" / f"broken{i}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="8 of 14 image files cannot be read") as error:
        load(folder)
    assert str(error.value).count("empty file") == 5 and str(error.value).endswith("and 3 more")


def test_folder_is_read_class_by_class(folder):
    images = load(folder)
    assert images.x.shape == (6, 3, 6, 6) and images.classes == ["cat", "dog"] and images.y.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.stack([pixels(seed=seed) for seed in (0, 1, 2, 10, 11, 12)]).transpose(0, 3, 1, 2)
    assert np.array_equal(images.x.numpy(), expected)
    assert np.array_equal(load(folder, "test").x[3].numpy(), pixels(seed=111).transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["a.JPG", "b.jpeg", "c.Png", "d.bmp", "e.webp", "f.tiff", "g.gif", "h.ppm"])
def test_image_suffixes_are_known_in_any_case(folder, name):
    write(folder / "train" / "cat" / name)
    assert len(load(folder)) == 7


def test_other_files_are_passed_over(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("the cat is gray")
    (folder / "train" / "README").write_text("cats and dogs")
    (folder / "train" / "cat" / "Thumbs.db").write_bytes(b"\0")
    assert load(folder).y.tolist() == [0, 0, 0, 1, 1, 1]


def test_hidden_folders_are_no_classes(folder):
    # Jupyter makes one wherever a file is opened; as a class it would shift every label
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    images = load(folder)
    assert images.classes == ["cat", "dog"] and images.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_hidden_files_are_no_images(folder):
    # macOS writes such a file beside each image of an archive; it is not an image
    for name in ("._0.png", "__MACOSX/0.png", ".thumbs/0.png"):
        path = folder / "train" / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no image")
    (folder / "__MACOSX" / "train" / "bird").mkdir(parents=True)
    images = load(folder)
    assert images.classes == ["cat", "dog"] and images.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_images_lie_at_any_depth_below_their_class(folder):
    flat = load(folder)
    for i in range(3):
        deep = folder / "train" / "dog" / "by year" / "2019"
        deep.mkdir(parents=True, exist_ok=True)
        (folder / "train" / "dog" / f"{i}.png").rename(deep / f"{i}.png")
    assert load(folder).digest == flat.digest
    write(folder / "train" / "cat" / "more" / "0.png", pixels(seed=9))
    assert load(folder).y.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_names_may_have_spaces_and_any_letters(folder):
    (folder / "train" / "cat").rename(folder / "train" / "é 猫: the cat")
    (folder / "test" / "cat").rename(folder / "test" / "e\u0301 猫: the cat")  # as macOS writes the same name
    (folder / "train" / "é 猫: the cat" / "0.png").rename(folder / "train" / "é 猫: the cat" / "ö x%20.png")
    train, test = load(folder), load(folder, "test")
    assert train.classes == test.classes == ["dog", "é 猫: the cat"]
    assert train.y.tolist() == [0, 0, 0, 1, 1, 1] and test.y.tolist() == [0, 0, 1, 1]


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "far.png", pixels(seed=5))
    cat = folder / "train" / "cat"
    for name, target in {
        "linked": tmp_path / "elsewhere", "again": tmp_path / "elsewhere", "self": cat / "self", "up": folder, "here": cat, "gone": tmp_path / "gone",
    }.items():  # fmt: skip
        (cat / name).symlink_to(target, target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(cat, target_is_directory=True)
    (folder / "train" / "bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    images = load(folder)
    assert images.classes == ["bird", "cat", "dog"]
    # a bird, and the cats that lie behind its link back; three cats and the linked one once
    assert images.y.bincount().tolist() == [4, 4, 3]


def test_gray_images_are_read_in_three_channels(folder):
    gray = pixels(c=1)[..., 0]
    write(folder / "train" / "cat" / "gray.png", gray)
    images = load(folder)
    assert images.x.shape == (7, 3, 6, 6) and np.array_equal(images.x[3].numpy(), np.stack([gray] * 3))


@pytest.mark.parametrize(("h", "w"), [(10, 1000), (1000, 10), (4, 2), (700, 900)])
def test_images_of_any_proportions_are_brought_to_a_size(folder, h, w):
    wide = np.zeros((h, w, 3), dtype=np.uint8)
    top, left = (h - min(h, w)) // 2, (w - min(h, w)) // 2
    wide[top : top + min(h, w), left : left + min(h, w)] = 200  # the center square
    write(folder / "train" / "cat" / "odd.png", wide)
    images = load(folder, size=8)
    assert images.x.shape == (7, 3, 8, 8)
    assert (images.x[3, :, 2:6, 2:6] == 200).all()


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 5000), (3001, 2)])
def test_the_thinnest_images_can_be_brought_to_a_size(folder, h, w):
    write(folder / "train" / "cat" / "odd.png", np.full((h, w, 3), 90, dtype=np.uint8))
    assert (load(folder, size=8).x[3] == 90).all()


def test_test_split_finds_val(folder):
    expected = load(folder, "test").x
    (folder / "test").rename(folder / "val")
    assert np.array_equal(load(folder, "test").x, expected)


def test_test_goes_before_val(folder):
    write(folder / "val" / "cat" / "0.png")
    assert len(load(folder, "test")) == 4


def test_class_missing_from_a_split_keeps_the_numbering(folder):
    for i in range(2):
        (folder / "test" / "cat" / f"{i}.png").unlink()
    (folder / "test" / "cat").rmdir()
    write(folder / "test" / "zebra" / "0.png")
    train, test = load(folder), load(folder, "test")
    assert train.classes == test.classes == ["cat", "dog", "zebra"]
    assert test.y.tolist() == [1, 1, 2] and train.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_mixed_sizes_are_refused_unless_a_size_is_given(folder):
    write(folder / "train" / "cat" / "large.png", pixels(9, 12))
    with pytest.raises(ValueError, match=r"2 sizes \(6x6, 12x9 .*size="):
        load(folder)
    images = load(folder, size=6)
    assert images.x.shape == (7, 3, 6, 6)
    assert np.array_equal(images.x[0].numpy(), pixels(seed=0).transpose(2, 0, 1))  # those of that size as they are


@pytest.mark.parametrize("limit", [2, 4, 100])
def test_limit_holds_before_files_are_decoded(folder, monkeypatch, limit):
    decoded, attempt = [], folders.attempt
    monkeypatch.setattr(folders, "attempt", lambda path, size: decoded.append(path) or attempt(path, size))
    images = load(folder, limit=limit)
    assert len(images) == len(decoded) == min(limit, 6)
    assert images.y.bincount().tolist() == [min(limit, 6) // 2] * 2


# --- refused folders


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder.*PATH/train"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="file is not a folder"):
        load(tmp_path / "file")


def test_missing_split_is_named_with_what_is_there(folder):
    (folder / "test").rename(folder / "held-out")
    with pytest.raises(FileNotFoundError, match="no folder test or val .*held-out, train"):
        folders.list_folder(folder, "test")


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    refused, scandir = folder / "train" / "cat", os.scandir

    def guarded(place):  # root may read everything
        if Path(place) == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(OSError, match=f"Permission denied: '{refused}'"):
        load(folder)


@pytest.mark.parametrize("make", ["", "train/0.png", "train/cat/notes.txt", "train/cat/more/notes.txt"])
def test_split_without_images_is_refused(tmp_path, make):
    (tmp_path / "train").mkdir()
    if make.endswith("png"):
        write(tmp_path / make)
    elif make:
        (tmp_path / make).parent.mkdir(parents=True)
        (tmp_path / make).write_text("")
    with pytest.raises(ValueError, match="holds no images.*<class>"):
        load(tmp_path)


@pytest.fixture
def tiny_imagenet(tmp_path):
    """The layout of the original archive: nested train, flat val and test."""
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n01443537", "n01629819"):
        write(root / "train" / name / "images" / f"{name}_0.JPEG", pixels())
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    write(root / "val" / "images" / "val_0.JPEG")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01443537\t0\t0\t5\t5\n")
    return root


def test_flat_val_of_tiny_imagenet_is_refused(tiny_imagenet):
    with pytest.raises(ValueError, match="is Tiny ImageNet"):
        load(tiny_imagenet, "test")


def test_unlabeled_test_images_of_tiny_imagenet_are_refused(tiny_imagenet):
    # test/images/*.JPEG have no labels: read as a class they would give an accuracy of 0
    write(tiny_imagenet / "test" / "images" / "test_0.JPEG")
    with pytest.raises(ValueError, match="Tiny ImageNet"):
        load(tiny_imagenet, "test")


def test_flat_val_adds_no_class_to_train(tiny_imagenet):
    for name in ("n01443537", "n01629819"):  # as after moving the training images up
        write(tiny_imagenet / "train" / name / "0.JPEG")
    try:
        classes = load(tiny_imagenet).classes
    except ValueError as error:
        assert "Tiny ImageNet" in str(error)
    else:
        assert classes == ["n01443537", "n01629819"]


# --- the cache


def refuse(*args):
    raise AssertionError("decoded again")


def test_second_load_decodes_nothing(folder, monkeypatch):
    first = load(folder)
    monkeypatch.setattr(folders, "attempt", refuse)
    again = load(folder)
    assert again.digest == first.digest and again.classes == first.classes


def touch_later(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


CHANGES = {
    "replaced": lambda folder: (
        write(folder / "train" / "cat" / "1.png", pixels(seed=77)),
        touch_later(folder / "train" / "cat" / "1.png"),
    ),
    "added": lambda folder: write(folder / "train" / "cat" / "9.png", pixels(seed=77)),
    "removed": lambda folder: (folder / "train" / "cat" / "1.png").unlink(),
    "renamed": lambda folder: (folder / "train" / "cat" / "1.png").rename(folder / "train" / "cat" / "9.png"),
    "moved to another class": lambda folder: (folder / "train" / "cat" / "1.png").rename(folder / "train" / "dog" / "9.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_read_again(folder, change):
    before = load(folder)
    CHANGES[change](folder)
    found = load(folder)
    assert found.digest != before.digest
    # as an uncached reading says
    names = sorted((folder / "train").rglob("*.png"))
    assert np.array_equal(found.x.numpy(), np.stack([np.asarray(Image.open(name)) for name in names]).transpose(0, 3, 1, 2))
    assert found.y.tolist() == [["cat", "dog"].index(name.parent.name) for name in names]


def test_requests_do_not_share_a_cache(folder):
    shapes = [
        tuple(load(folder, **options).x.shape)
        for options in ({}, dict(size=4), dict(limit=2), dict(split="test"), dict(limit=2, size=4), {})
    ]
    assert shapes == [(6, 3, 6, 6), (6, 3, 4, 4), (2, 3, 6, 6), (4, 3, 6, 6), (2, 3, 4, 4), (6, 3, 6, 6)]
    one, other = (load(folder, limit=2, seed=seed) for seed in (0, 3))
    assert one.digest != other.digest


def test_folders_of_one_name_do_not_share_a_cache(folder, tmp_path):
    for i in (0, 1):
        write(tmp_path / "elsewhere" / "set" / "train" / "cat" / f"{i}.png", pixels(seed=500 + i))
    assert load(folder).digest != load(tmp_path / "elsewhere" / "set").digest


def test_refused_folder_leaves_no_cache(folder, home):
    (folder / "train" / "cat" / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        load(folder)
    cache = home / "data" / "cache"
    assert not cache.exists() or not list(cache.iterdir())


def test_cache_holds_whole_files_only(folder, home):
    load(folder)
    (cached,) = (home / "data" / "cache").iterdir()
    assert cached.name.startswith("set-train-") and folders._kept(cached).pixels.shape == (6, 3, 6, 6)


@pytest.mark.parametrize("how", ["empty", "cut", "one bit", "pickled", "text"])
def test_a_damaged_cache_is_made_again(folder, home, how):
    first = load(folder)
    (cached,) = (home / "data" / "cache").iterdir()
    raw = cached.read_bytes()
    spoiled = {
        "empty": b"", "cut": raw[: len(raw) // 2], "one bit": raw[:-5] + bytes([raw[-5] ^ 16]) + raw[-4:], "text": b"no cache\n",
        "pickled": raw.split(b"\n")[0] + b"\n" + pickle.dumps([1]),
    }  # fmt: skip
    cached.write_bytes(spoiled[how])
    assert load(folder).digest == first.digest
    assert cached.read_bytes() == raw


def test_a_few_unreadable_files_are_left_out_and_named(tmp_path):
    for i in range(200):
        write(tmp_path / "set" / "train" / "cat" / f"{i:03d}.png", pixels(seed=i))
        write(tmp_path / "set" / "train" / "dog" / f"{i:03d}.png", pixels(seed=1000 + i))
    write(tmp_path / "set" / "test" / "cat" / "0.png")
    for name in ("cat/007.png", "dog/100.png"):
        (tmp_path / "set" / "train" / name).write_bytes(b"<html>404</html>")
    said = "2 train image files cannot be read and are left out: cat/007.png, dog/100.png"
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=said):
            images = load(tmp_path / "set")
        assert images.y.tolist() == [0] * 199 + [1] * 199 and images.note.endswith(said)
        assert np.array_equal(images.x[7].numpy().transpose(1, 2, 0), pixels(seed=8))
    for i in range(20, 23):
        (tmp_path / "set" / "train" / "cat" / f"{i:03d}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="5 of 400 image files cannot be read"):
        load(tmp_path / "set")

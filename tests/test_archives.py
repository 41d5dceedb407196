"""Archives in miniature, in their authors' layouts; downloads come from a server on this machine."""

import hashlib
import io
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from atviz import archives, data


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """A cache and downloads of each test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ATVIZ_HOME", str(folder))
    return folder


def picture(value, side=(16, 16), mode="RGB"):
    """A JPEG of one color, by which it is told from the others."""
    buffer = io.BytesIO()
    Image.new(mode, side, value).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def levels(images):
    """The red value that each image was drawn with, to the nearest ten."""
    return [round(float(v), -1) for v in images.x[:, 0].float().mean((1, 2))]


WNIDS = {"n03": "brown bear, bruin", "n01": "centipede", "n02": "Chihuahua"}  # wnids.txt is not sorted


@pytest.fixture
def tiny(tmp_path):
    """Three classes, two training images of each (red 10, 20; 30, 40; …), four validation images in a flat folder."""
    root = tmp_path / "tiny-imagenet-200"
    write(root / "wnids.txt", "".join(f"{w}\n" for w in WNIDS))
    write(root / "words.txt", "".join(f"{w}\t{text}\n" for w, text in WNIDS.items()) + "n09\tunused\n")
    for c, wnid in enumerate(sorted(WNIDS)):
        for i in range(2):
            write(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", picture((20 * c + 10 * i + 10, 0, 0)))
        write(root / "train" / wnid / f"{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t15\t15\n")
    rows = [("val_0.JPEG", "n03", 110), ("val_1.JPEG", "n01", 120), ("val_2.JPEG", "n02", 130), ("val_3.JPEG", "n03", 140)]
    for file, _, red in rows:
        write(root / "val" / "images" / file, picture((red, 0, 0)))
    write(root / "val" / "val_annotations.txt", "".join(f"{file}\t{wnid}\t0\t0\t15\t15\n" for file, wnid, _ in rows))
    return root


def test_tiny_imagenet_is_read_in_its_own_layout(tiny):
    train, test = (data.load(f"tiny-imagenet:{tiny}", split) for split in ("train", "test"))
    assert train.classes == ["centipede", "Chihuahua", "brown bear"]  # by WordNet id, with the first word
    assert levels(train) == [10, 20, 30, 40, 50, 60] and train.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert dict(zip(levels(test), test.y.tolist(), strict=True)) == {110: 2, 120: 0, 130: 1, 140: 2}
    assert train.name == "tiny-imagenet" and train.x.shape == (6, 3, 16, 16)


@pytest.mark.parametrize("place", ["folder", "parent", "zip"])
def test_a_copy_is_found_in_whatever_is_named(tiny, tmp_path, place):
    if place == "zip":
        shutil.make_archive(str(tmp_path / "copy"), "zip", tmp_path, tiny.name)
        shutil.rmtree(tiny)
    named = {"folder": tiny, "parent": tmp_path, "zip": tmp_path / "copy.zip"}[place]
    for options in (dict(name=f"tiny-imagenet:{named}"), dict(name="tiny-imagenet", root=named)):
        images = data.load(**options, split="test")
        assert sorted(zip(levels(images), images.y.tolist(), strict=True)) == [(110, 2), (120, 0), (130, 1), (140, 2)]


def test_a_partial_copy_has_the_classes_that_are_there(tiny):
    shutil.rmtree(tiny / "train" / "n02")
    train, test = (data.load("tiny-imagenet", split, root=tiny) for split in ("train", "test"))
    assert train.classes == test.classes == ["centipede", "brown bear"]
    assert train.y.tolist() == [0, 0, 1, 1]
    assert dict(zip(levels(test), test.y.tolist(), strict=True)) == {110: 1, 120: 0, 140: 1}


def test_a_gray_jpeg_becomes_rgb(tiny):
    write(tiny / "train" / "n01" / "images" / "n01_0.JPEG", picture(100, mode="L"))
    x = data.load(f"tiny-imagenet:{tiny}").x[0]
    assert x.shape == (3, 16, 16) and (x.int() - 100).abs().max() <= 1


def test_the_limit_is_applied_before_decoding(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(data, "read_files", lambda files, **_: seen.extend(files) or np.zeros((len(files), 3, 16, 16), dtype=np.uint8))
    assert data.load(f"tiny-imagenet:{tiny}", limit=3).y.tolist() == [0, 1, 2]
    assert len(seen) == 3


def test_decoded_once(tiny, monkeypatch):
    first = data.load(f"tiny-imagenet:{tiny}")
    monkeypatch.setattr("atviz.imagefiles.decode_all", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(data.load(f"tiny-imagenet:{tiny}").x, first.x)


@pytest.mark.parametrize("missing", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_missing_list_is_named(tiny, missing):
    (tiny / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing"):
        data.load("tiny-imagenet", "test", root=tiny)


def test_a_damaged_list_is_named_with_its_line(tiny):
    write(tiny / "val" / "val_annotations.txt", "val_0.JPEG\tn03\t0\t0\t1\t1\nval_1.JPEG\n")
    with pytest.raises(ValueError, match=r"line 2 of .*val_annotations.txt is 'val_1.JPEG'; it must have 2 columns"):
        data.load("tiny-imagenet", "test", root=tiny)


@pytest.mark.parametrize("how", ["cut short", "empty", "gone"])
def test_an_image_that_cannot_be_read_is_named(tiny, how):
    path = tiny / "val" / "images" / "val_2.JPEG"
    raw = path.read_bytes()
    path.unlink()
    if how != "gone":
        write(path, raw[: len(raw) // 2] if how == "cut short" else b"")
    with pytest.raises(ValueError, match=r"1 of 4 image files cannot be read.*val_2\.JPEG"):
        data.load("tiny-imagenet", "test", root=tiny)


def test_no_images_is_said(tiny):
    write(tiny / "val" / "val_annotations.txt", "")
    with pytest.raises(ValueError, match="no images of tiny-imagenet's split test"):
        data.load("tiny-imagenet", "test", root=tiny)


def test_a_named_copy_that_is_not_there_is_not_downloaded(tmp_path, loopback, offered):
    (tmp_path / "empty").mkdir()
    for place, sentence in [("empty", "holds no tiny-imagenet: train is missing"), ("nowhere", "is not there")]:
        with pytest.raises(FileNotFoundError, match=f"{place} {sentence}.*the unpacked folder, its parent, or the archive"):
            data.load(f"tiny-imagenet:{tmp_path / place}")
    assert not loopback.asked


def test_folder_refuses_it_and_names_the_right_way(tiny):
    with pytest.raises(ValueError, match=f"Tiny ImageNet.*its name is tiny-imagenet:{tiny}"):
        data.load(f"folder:{tiny}")


# --- downloads


@pytest.fixture
def offered(tiny, tmp_path, loopback, monkeypatch):
    """The archive on a server, and nothing left here."""
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, tiny.name)
    raw = (tmp_path / "packed.zip").read_bytes()
    shutil.rmtree(tiny)
    loopback.files["tiny.zip"] = raw
    archive = replace(archives.ARCHIVES["tiny-imagenet"], files={f"{loopback.url}tiny.zip": hashlib.md5(raw).hexdigest()})
    monkeypatch.setitem(archives.ARCHIVES, "tiny-imagenet", archive)
    return raw


@pytest.mark.parametrize("rooted", [False, True])
def test_downloaded_once(offered, loopback, home, tmp_path, rooted):
    options = dict(root=tmp_path / "there") if rooted else {}
    assert len(data.load("tiny-imagenet", **options)) == 6
    assert len(data.load("tiny-imagenet", "test", **options)) == 4
    assert loopback.asked == ["/tiny.zip"]
    assert ((tmp_path / "there" if rooted else home / "data" / "downloads") / "tiny-imagenet" / "tiny-imagenet-200").is_dir()


@pytest.mark.parametrize("how", ["404", "other bytes", "cut short"])
def test_a_failed_download_is_one_sentence_and_can_be_repeated(offered, loopback, home, how):
    if how == "404":
        del loopback.files["tiny.zip"]
    else:
        loopback.files["tiny.zip"] = offered[:-20] + b"\0" * 20 if how == "other bytes" else offered[: len(offered) // 2]
    with pytest.raises(OSError, match="could not be downloaded.*tiny.zip some other way and write tiny-imagenet:PATH") as error:
        data.load("tiny-imagenet")
    assert "\n" not in str(error.value)
    assert not (home / "data" / "downloads" / "tiny-imagenet").exists()
    loopback.files["tiny.zip"] = offered
    assert len(data.load("tiny-imagenet")) == 6


@pytest.mark.parametrize("spoil", [lambda raw: raw[: len(raw) // 2], lambda raw: b"<html>sign in</html>", lambda raw: b""])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_a_broken_archive_is_named_and_leaves_nothing(offered, tmp_path, home, spoil, suffix):
    raw = offered
    if suffix != ".zip":
        with tarfile.open(tmp_path / "whole", "w:gz" if suffix == ".tgz" else "w") as tar:
            tar.add(__file__, "tiny-imagenet-200/train/some")
        raw = (tmp_path / "whole").read_bytes()
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(spoil(raw))
    with pytest.raises(ValueError, match=f"broken{suffix} is damaged or no archive"):
        data.load(f"tiny-imagenet:{path}")
    assert not list((home / "data" / "downloads").iterdir())


def test_a_member_that_leads_outside_is_refused(tmp_path, home):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(__file__, "../../evil")
    with pytest.raises(ValueError, match="evil.tar is damaged or no archive"):
        data.load(f"caltech256:{tmp_path / 'evil.tar'}")
    assert not list(home.rglob("evil"))


def test_addresses_and_checksums_are_torchvisions_where_it_has_them():
    sets = torchvision.datasets
    assert archives.ARCHIVES["food101"].files == {sets.Food101._URL: sets.Food101._MD5}
    prefix = sets.Flowers102._download_url_prefix
    assert archives.ARCHIVES["flowers102"].files == {prefix + file: md5 for file, md5 in sets.Flowers102._file_dict.values()}
    assert set(sum(archives.ARCHIVES["caltech256"].files.items(), ())) <= set(sets.Caltech256.download.__code__.co_consts)
    assert all(len(md5) == 32 and int(md5, 16) for archive in archives.ARCHIVES.values() for md5 in archive.files.values())


# --- the other layouts


@pytest.fixture
def caltech(tmp_path):
    """Three classes of 10, 12 and 4 images of different sizes."""
    for name, n in {"001.ak47": 10, "002.american-flag": 12, "257.clutter": 4}.items():
        for i in range(n):
            write(tmp_path / "256_ObjectCategories" / name / f"{name[:3]}_{i:04d}.jpg", picture((9 * i, 0, 0), (20 + i, 30)))
    write(tmp_path / "256_ObjectCategories" / "002.american-flag" / "greg" / "note.txt", "not an image")
    return tmp_path


def test_a_fifth_of_each_caltech_class_is_held_out(caltech):
    found = {}
    for split in ("train", "test"):
        files, labels, classes = archives.list_images("caltech256", caltech / "256_ObjectCategories", split)
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


def test_food101_follows_its_lists(tmp_path):
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


def test_flowers102_trains_on_its_training_and_validation_sets(tmp_path):
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
def test_stanford_dogs_follows_its_lists(tmp_path, where):
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


def test_cub200_follows_its_lists(tmp_path):
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

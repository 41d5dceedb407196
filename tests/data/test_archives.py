"""Archives in miniature, in their authors' layouts; downloads come from a server on this machine."""

import hashlib
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision

from atviz import data
from atviz.data import archives, kinds, sources

WNIDS = {"n03": "brown bear, bruin", "n01": "centipede", "n02": "Chihuahua"}  # wnids.txt is not sorted


@pytest.fixture
def tiny(tmp_path, picture, write):
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


def test_tiny_imagenet_is_read_in_its_own_layout(tiny, levels):
    train, test = (data.load(f"tiny-imagenet:{tiny}", split) for split in ("train", "test"))
    assert train.classes == ["centipede", "Chihuahua", "brown bear"]  # by WordNet id, with the first word
    assert levels(train) == [10, 20, 30, 40, 50, 60] and train.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert dict(zip(levels(test), test.y.tolist(), strict=True)) == {110: 2, 120: 0, 130: 1, 140: 2}
    assert train.name == "tiny-imagenet" and train.x.shape == (6, 3, 16, 16)


@pytest.mark.filterwarnings("ignore:.*is not the archive that was published")
@pytest.mark.parametrize("place", ["folder", "parent", "zip"])
def test_a_copy_is_found_in_whatever_is_named(tiny, tmp_path, place, levels):
    if place == "zip":
        shutil.make_archive(str(tmp_path / "copy"), "zip", tmp_path, tiny.name)
        shutil.rmtree(tiny)
    named = {"folder": tiny, "parent": tmp_path, "zip": tmp_path / "copy.zip"}[place]
    for options in (dict(name=f"tiny-imagenet:{named}"), dict(name="tiny-imagenet", root=named)):
        images = data.load(**options, split="test")
        assert sorted(zip(levels(images), images.y.tolist(), strict=True)) == [(110, 2), (120, 0), (130, 1), (140, 2)]


def test_a_partial_copy_has_the_classes_that_are_there(tiny, levels):
    shutil.rmtree(tiny / "train" / "n02")
    train, test = (data.load("tiny-imagenet", split, root=tiny) for split in ("train", "test"))
    assert train.classes == test.classes == ["centipede", "brown bear"]
    assert train.y.tolist() == [0, 0, 1, 1]
    assert dict(zip(levels(test), test.y.tolist(), strict=True)) == {110: 1, 120: 0, 140: 1}


def test_a_gray_jpeg_becomes_rgb(tiny, picture, write):
    write(tiny / "train" / "n01" / "images" / "n01_0.JPEG", picture(100, mode="L"))
    x = data.load(f"tiny-imagenet:{tiny}").x[0]
    assert x.shape == (3, 16, 16) and (x.int() - 100).abs().max() <= 1


def test_the_limit_is_applied_before_decoding(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(
        kinds, "read_files", lambda files, **_: (seen.extend(files) or np.zeros((len(files), 3, 16, 16), dtype=np.uint8), {})
    )
    assert data.load(f"tiny-imagenet:{tiny}", limit=3).y.tolist() == [0, 1, 2]
    assert len(seen) == 3


def test_decoded_once(tiny, monkeypatch):
    first = data.load(f"tiny-imagenet:{tiny}")
    monkeypatch.setattr("atviz.data.folders.decode_all", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(data.load(f"tiny-imagenet:{tiny}").x, first.x)


@pytest.mark.parametrize("missing", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_missing_list_is_named(tiny, missing):
    (tiny / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing"):
        data.load("tiny-imagenet", "test", root=tiny)


def test_a_damaged_list_is_named_with_its_line(tiny, write):
    write(tiny / "val" / "val_annotations.txt", "val_0.JPEG\tn03\t0\t0\t1\t1\nval_1.JPEG\n")
    with pytest.raises(ValueError, match=r"line 2 of .*val_annotations.txt is 'val_1.JPEG'; it must have 2 columns"):
        data.load("tiny-imagenet", "test", root=tiny)


@pytest.mark.parametrize("how", ["cut short", "empty", "gone"])
def test_an_image_that_cannot_be_read_is_named(tiny, how, write):
    path = tiny / "val" / "images" / "val_2.JPEG"
    raw = path.read_bytes()
    path.unlink()
    if how != "gone":
        write(path, raw[: len(raw) // 2] if how == "cut short" else b"")
    with pytest.raises(ValueError, match=r"1 of 4 image files cannot be read.*val_2\.JPEG"):
        data.load("tiny-imagenet", "test", root=tiny)


def test_no_images_is_said(tiny, write):
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
    row = sources.SOURCES["tiny-imagenet"]
    archive = replace(row.find, files={f"{loopback.url}tiny.zip": hashlib.md5(raw).hexdigest()})
    monkeypatch.setitem(sources.SOURCES, "tiny-imagenet", replace(row, find=archive))
    return raw


def test_an_archive_that_was_not_published_is_used_with_a_warning(offered, tmp_path):
    """A tar file has no checksum of what is in it: damage would go unnoticed."""
    path = tmp_path / "copy.zip"
    path.write_bytes(offered)
    assert len(data.load(f"tiny-imagenet:{path}")) == 6  # the published bytes, without a word
    with zipfile.ZipFile(path) as packed, tarfile.open(tmp_path / "copy.tar", "w") as tar:
        packed.extractall(tmp_path / "again")
        tar.add(tmp_path / "again" / "tiny-imagenet-200", "tiny-imagenet-200")
    with pytest.warns(UserWarning, match=r"copy.tar is not the archive that was published \(MD5 .*\): it was packed anew, or is damaged"):
        assert len(data.load(f"tiny-imagenet:{tmp_path / 'copy.tar'}")) == 6


def test_a_download_that_fails_once_is_tried_again(offered, loopback, monkeypatch):
    loopback.files["tiny.zip"] = offered[: len(offered) // 2]
    monkeypatch.setattr(archives.time, "sleep", lambda _: loopback.files.update({"tiny.zip": offered}))  # mended while it waits
    assert len(data.load("tiny-imagenet")) == 6 and loopback.asked == ["/tiny.zip"] * 2


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
    files = {name: row.find.files for name, row in sources.SOURCES.items() if isinstance(getattr(row, "find", None), archives.Archive)}
    assert files["food101"] == {sets.Food101._URL: sets.Food101._MD5}
    prefix = sets.Flowers102._download_url_prefix
    assert files["flowers102"] == {prefix + file: md5 for file, md5 in sets.Flowers102._file_dict.values()}
    assert set(sum(files["caltech256"].items(), ())) <= set(sets.Caltech256.download.__code__.co_consts)
    assert len(files) == 6 and all(len(md5) == 32 and int(md5, 16) for row in files.values() for md5 in row.values())

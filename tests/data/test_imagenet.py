"""ImageNet in miniature, in torchvision's layout, from archives that are made here, and as plain folders."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import imagenet as reference

from atviz import data
from atviz.data import Streamed
from atviz.data.imagenet import PACKED

# WordNet id -> synonyms, and the red of its images; numbered in the development kit in another order than they are sorted
SYNSETS = {"n03": ("tench, Tinca tinca", 50), "n01": ("great white shark, white shark", 100), "n02": ("crane", 150)}


def jpeg(red):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (red, 0, 0)).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def tar(members, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """The three published archives, with two training and one validation image of each class."""
    root = tmp_path / "imagenet"
    root.mkdir()
    kind = np.dtype([(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")])
    rows = [(i + 1, wnid, words, "", 0) for i, (wnid, (words, _)) in enumerate(SYNSETS.items())]
    mat = io.BytesIO()
    savemat(mat, {"synsets": np.array([*rows, (4, "n00", "animal", "", 3)], dtype=kind)[:, None]})
    kit = {"meta.mat": mat.getvalue(), "ILSVRC2012_validation_ground_truth.txt": b"2\n3\n1\n"}
    reds = [SYNSETS[wnid][1] for wnid in ("n01", "n02", "n03")]
    contents = {
        "devkit": tar({f"ILSVRC2012_devkit_t12/data/{name}": content for name, content in kit.items()}, "w:gz"),
        "train": tar({f"{wnid}.tar": tar({f"{wnid}_{i}.JPEG": jpeg(red) for i in range(2)}) for wnid, (_, red) in SYNSETS.items()}),
        "val": tar({f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(red) for i, red in enumerate(reds, 1)}),
    }
    for part, content in contents.items():
        name = reference.ARCHIVE_META[part][0]
        (root / name).write_bytes(content)
        monkeypatch.setitem(reference.ARCHIVE_META, part, (name, hashlib.md5(content).hexdigest()))
    return root


def reds(images):
    x = torch.cat([x for x, _ in images.batches(10)])
    return (x[:, 0].mean((1, 2)) * 255).round(decimals=-1).int().tolist()


def test_archives_are_unpacked_and_read_in_torchvisions_order(packed):
    test, train = (data.load("imagenet", split, root=packed, size=16) for split in ("test", "train"))
    assert isinstance(test, Streamed) and test.shape == (3, 16, 16) and test.x.shape == (3, 3, 18, 18)
    assert test.classes == train.classes == ["great white shark", "crane", "tench"]
    assert test.y.tolist() == [0, 1, 2] and reds(test) == [100, 150, 50]
    assert train.y.tolist() == [0, 0, 1, 1, 2, 2] and reds(train) == [100, 100, 150, 150, 50, 50]
    oracle = reference.ImageNet(packed, "val")
    assert [str(path) for path in test.files] == [path for path, _ in oracle.samples]


def test_unpacked_once_it_needs_no_archive(packed):
    first = data.load(f"imagenet:{packed}", "test")
    for name in PACKED:
        (packed / name).unlink()
    again = data.load(f"imagenet:{packed}", "test", limit=2)
    assert first.shape == again.shape == (3, 224, 224) and len(again) == 2
    with pytest.raises(FileNotFoundError, match=r"imagenet is not complete.*ILSVRC2012_img_train.tar.*not free"):
        data.load(f"imagenet:{packed}", "train")


def test_plain_folders_will_do(packed):
    data.load("imagenet", "test", root=packed)
    (packed / "meta.bin").unlink()
    (packed / PACKED[0]).unlink()
    (packed / "test").mkdir()  # the published one: without labels
    images = data.load("imagenet", "test", root=packed, size=16)
    assert images.classes == ["n01", "n02", "n03"] and reds(images) == [100, 150, 50]


def test_a_thousand_folders_are_named_as_torchvision_names_them(tmp_path):
    for i in range(1000):
        (tmp_path / "val" / f"n{i:08d}").mkdir(parents=True)
    (tmp_path / "val" / "n00000001" / "a.JPEG").write_bytes(jpeg(7))
    images = data.load("imagenet", "test", root=tmp_path)
    assert len(images.classes) == 1000 and images.classes[:2] == ["tench", "goldfish"] and images.y.tolist() == [1]


@pytest.mark.parametrize("name", ["imagenet", "imagenet:{}"])
def test_what_is_not_there_is_asked_for_by_name(tmp_path, monkeypatch, name):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        data.load(name.format(tmp_path / "nowhere"))
    text = str(error.value)
    assert "\n" not in text and all(archive in text for archive in PACKED) and "imagenet:PATH" in text
    assert str(tmp_path / ("nowhere" if ":" in name else "data/downloads/imagenet")) in text


@pytest.mark.parametrize("part", ["devkit", "val"])
def test_a_damaged_archive_is_refused(packed, part):
    path = packed / reference.ARCHIVE_META[part][0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match=f"{path.name} is not present in the root directory or is corrupted"):
        data.load("imagenet", "test", root=packed)

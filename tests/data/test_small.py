"""Sets of small images: the embedded one, and torchvision's, which are downloaded from a server on this machine."""

import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile

import numpy as np
import pytest
import torch
import torchvision
from scipy.io import savemat

from atviz import data, shipped
from atviz.data import small


@pytest.mark.parametrize(("split", "n"), [("train", 10_000), ("test", 2_000)])
def test_embedded_set_is_stratified_fashion_mnist(split, n):
    images = data.load("fashion", split)
    assert images.x.shape == (n, 1, 28, 28) and images.x.dtype == torch.uint8
    assert images.y.shape == (n,) and images.y.dtype == torch.int64
    assert torch.bincount(images.y).tolist() == [n // 10] * 10
    assert len(images.classes) == 10 and images.classes[8] == "bag"
    mean, std = images.channel_stats()
    assert mean == pytest.approx([0.286], abs=0.005) and std == pytest.approx([0.353], abs=0.005)  # known of the whole set
    assert len(torch.unique(images.x.flatten(1), dim=0)) > 0.99 * n


def test_splits_share_no_image():
    train, test = (set(map(bytes, data.load("fashion", split).x.flatten(1).numpy())) for split in ("train", "test"))
    assert len(train & test) <= 5  # the original repeats a few


@pytest.mark.parametrize("place", [100, -1, 1_000_000])
def test_damaged_file_is_refused(tmp_path, monkeypatch, place):
    raw = bytearray(shipped("data", "fashion", "fashion.npz").read_bytes())
    raw[place] ^= 1
    (tmp_path / "fashion.npz").write_bytes(raw)
    monkeypatch.setattr(small, "shipped", lambda *parts: tmp_path / parts[-1])
    with pytest.raises(ValueError, match="fashion.npz is damaged.*SHA-256"):
        data.load("fashion")


def idx(array):
    return gzip.compress(struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def md5(raw):
    return hashlib.md5(raw).hexdigest()


def pixels(*shape, seed):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def fashion_server(loopback, monkeypatch):
    """Twelve and six synthetic images in the files of Fashion-MNIST."""
    arrays = {
        "train": (pixels(12, 28, 28, seed=1), np.arange(12, dtype=np.uint8) % 10),
        "t10k": (pixels(6, 28, 28, seed=2), np.arange(6, dtype=np.uint8)),
    }
    for stem, (x, y) in arrays.items():
        loopback.files |= {f"{stem}-images-idx3-ubyte.gz": idx(x), f"{stem}-labels-idx1-ubyte.gz": idx(y)}
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [loopback.url])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", [(name, md5(raw)) for name, raw in loopback.files.items()])
    loopback.arrays = arrays
    return loopback


def matches(images, x, y):
    return np.array_equal(images.x[:, 0].numpy(), x) and np.array_equal(images.y.numpy(), y)


def test_fashion_is_downloaded_once(fashion_server, tmp_path):
    images = data.load("fashion-full", "train", root=tmp_path)
    assert images.x.shape == (12, 1, 28, 28) and images.x.is_contiguous()
    assert matches(images, *fashion_server.arrays["train"])
    assert len(images.classes) == 10 and images.name == "fashion-full"
    asked = len(fashion_server.asked)
    assert matches(data.load("fashion-full", "test", root=tmp_path), *fashion_server.arrays["t10k"])
    assert len(fashion_server.asked) == asked


def test_downloads_go_to_the_home_folder(fashion_server, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    data.load("fashion-full", limit=3, size=14)
    assert (tmp_path / "data" / "downloads" / "FashionMNIST").is_dir()


def test_local_copy_needs_no_server(fashion_server, tmp_path):
    data.load("fashion-full", root=tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    fashion_server.files.clear()
    assert matches(data.load("fashion-full", "test", root=tmp_path / "copy"), *fashion_server.arrays["t10k"])


def test_size_and_limit_hold_for_downloads(fashion_server, tmp_path):
    images = data.load("fashion-full", root=tmp_path, limit=5, size=8)
    assert images.x.shape == (5, 1, 8, 8) and set(images.y.tolist()) <= set(range(10))


def spoil(server, name, how):
    raw = server.files[name]
    if how == "404":
        del server.files[name]
    else:
        server.files[name] = {"other bytes": raw[:-20] + b"\0" * 20, "cut short": raw[: len(raw) // 2], "a page": b"<html>sign in</html>"}[
            how
        ]
    return raw


@pytest.mark.parametrize("how", ["404", "other bytes", "cut short", "a page"])
@pytest.mark.parametrize("which", [0, 2, 3])
def test_failed_download_can_be_repeated(fashion_server, tmp_path, how, which):
    name = list(fashion_server.files)[which]
    raw = spoil(fashion_server, name, how)
    for split in ("train", "test"):  # neither is there while a file is missing
        with pytest.raises(OSError, match="fashion-full is not complete"):
            data.load("fashion-full", split, root=tmp_path)
    fashion_server.files[name] = raw
    assert matches(data.load("fashion-full", "train", root=tmp_path), *fashion_server.arrays["train"])
    assert matches(data.load("fashion-full", "test", root=tmp_path), *fashion_server.arrays["t10k"])


@pytest.mark.parametrize("how", ["404", "other bytes", "no server"])
def test_failed_download_is_one_sentence(fashion_server, tmp_path, how):
    if how == "no server":
        fashion_server.close()
    else:
        spoil(fashion_server, "train-images-idx3-ubyte.gz", how)
    with pytest.raises(OSError, match="fashion-full is not complete.*could not be downloaded") as error:
        data.load("fashion-full", root=tmp_path)
    sentence = str(error.value)
    assert str(tmp_path) in sentence and "root" in sentence  # where, and what to do
    assert "\n" not in sentence


def test_unpacking_that_was_interrupted_is_done_again(fashion_server, tmp_path):
    data.load("fashion-full", root=tmp_path)
    unpacked = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    whole = unpacked.read_bytes()
    unpacked.write_bytes(whole[: len(whole) // 2])  # what a full disk or a killed process leaves
    assert matches(data.load("fashion-full", root=tmp_path), *fashion_server.arrays["train"])


def test_failed_download_touches_nothing_that_was_there(fashion_server, tmp_path):
    # somebody's own unpacked files, one of them missing, and no archives to unpack again
    data.load("fashion-full", root=tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    for path in [*raw.glob("*.gz"), raw / "t10k-labels-idx1-ubyte"]:
        path.unlink()
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    assert len(before) == 3
    fashion_server.files.clear()
    with pytest.raises(OSError, match="fashion-full is not complete"):
        data.load("fashion-full", root=tmp_path)
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before


def python2_pickle(record):
    """As Python 2 wrote the real archive: 0 and 1 for the flags of a dtype, where it is now False and True."""
    raw = pickle.dumps(record, protocol=2)
    return raw.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


@pytest.fixture
def cifar_server(loopback, monkeypatch):
    """A few synthetic images in the archive of CIFAR-10."""
    parts = {
        name: (pixels(4, 3072, seed=i), [(i + j) % 3 for j in range(4)])
        for i, name in enumerate(["data_batch_1", "data_batch_2", "test_batch"])
    }
    members = {name: python2_pickle({"data": x, "labels": y}) for name, (x, y) in parts.items()}
    members["batches.meta"] = python2_pickle({"label_names": ["airplane", "cat", "ship"]})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    loopback.files["cifar-10-python.tar.gz"] = packed.getvalue()
    cifar, listed = torchvision.datasets.CIFAR10, {name: [name, md5(raw)] for name, raw in members.items()}
    monkeypatch.setattr(cifar, "url", f"{loopback.url}cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar, "tgz_md5", md5(packed.getvalue()))
    monkeypatch.setattr(cifar, "train_list", [listed["data_batch_1"], listed["data_batch_2"]])
    monkeypatch.setattr(cifar, "test_list", [listed["test_batch"]])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": listed["batches.meta"][1]})
    loopback.parts = parts
    return loopback


def cifar_matches(server, images, names):
    x = np.concatenate([server.parts[name][0] for name in names]).reshape(-1, 3, 32, 32)
    return np.array_equal(images.x.numpy(), x) and images.y.tolist() == [label for name in names for label in server.parts[name][1]]


def test_cifar_is_downloaded_once(cifar_server, tmp_path):
    images = data.load("cifar10", "train", root=tmp_path)
    assert cifar_matches(cifar_server, images, ["data_batch_1", "data_batch_2"])
    assert images.classes == ["airplane", "cat", "ship"] and images.x.is_contiguous()
    asked = len(cifar_server.asked)
    assert cifar_matches(cifar_server, data.load("cifar10", "test", root=tmp_path), ["test_batch"])
    assert len(cifar_server.asked) == asked


@pytest.mark.parametrize("how", ["404", "other bytes", "cut short", "a page"])
def test_failed_cifar_download_can_be_repeated(cifar_server, tmp_path, how):
    raw = spoil(cifar_server, "cifar-10-python.tar.gz", how)
    with pytest.raises(OSError, match="cifar10 is not complete.*root") as error:
        data.load("cifar10", root=tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    cifar_server.files["cifar-10-python.tar.gz"] = raw
    assert cifar_matches(cifar_server, data.load("cifar10", "test", root=tmp_path), ["test_batch"])


def test_changed_cifar_file_is_unpacked_again_and_never_unpickled(cifar_server, tmp_path):
    data.load("cifar10", root=tmp_path)
    mark = tmp_path / "went off"
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Bomb(mark)))
    assert cifar_matches(cifar_server, data.load("cifar10", root=tmp_path), ["data_batch_1", "data_batch_2"])
    assert not mark.exists()


@pytest.mark.parametrize(("size", "held"), [(None, 32), (16, 16), (32, 32), (48, 32)])
def test_small_images_are_not_held_enlarged(cifar_server, tmp_path, size, held):
    images = data.load("cifar10", root=tmp_path, size=size)
    assert images.x.shape == (8, 3, held, held) and images.shape == (3, size or 32, size or 32)


def test_svhn_and_stl10_come_from_their_files(tmp_path, monkeypatch):
    x = pixels(5, 3, 32, 32, seed=1)
    savemat(tmp_path / "test_32x32.mat", {"X": x.transpose(2, 3, 1, 0), "y": np.array([[1], [10], [3], [9], [10]], dtype=np.uint8)})
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.SVHN, "download", lambda self: None)
    svhn = data.load("svhn", "test", root=tmp_path)
    assert np.array_equal(svhn.x.numpy(), x) and svhn.y.tolist() == [1, 0, 3, 9, 0] and svhn.classes == [str(i) for i in range(10)]

    x, folder = pixels(4, 3, 96, 96, seed=2), tmp_path / "stl10_binary"
    folder.mkdir()
    x.transpose(0, 1, 3, 2).tofile(folder / "train_X.bin")  # column by column
    np.array([1, 10, 2, 3], dtype=np.uint8).tofile(folder / "train_y.bin")
    (folder / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.STL10, "download", lambda self: None)
    stl = data.load("stl10", "train", root=tmp_path)
    assert np.array_equal(stl.x.numpy(), x) and stl.y.tolist() == [0, 9, 1, 2] and stl.classes[9] == "class 9"


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.mark))

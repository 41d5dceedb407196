import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from atviz import data
from atviz.data import Images


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(n, c=3, h=16, w=16, classes=4, seed=0):
    x = torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=seeded(seed))
    return Images(x, torch.arange(n) % classes, [f"class {i}" for i in range(classes)])


# --- the embedded set


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
    raw = bytearray(data.shipped("data", "fashion", "fashion.npz").read_bytes())
    raw[place] ^= 1
    (tmp_path / "fashion.npz").write_bytes(raw)
    monkeypatch.setattr(data, "shipped", lambda *parts: tmp_path / parts[-1])
    with pytest.raises(ValueError, match="fashion.npz is damaged.*SHA-256"):
        data.load("fashion")


# --- what can be asked for


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


@example(counts=[2, 27, 4, 16], share=41 / 49, seed=3275)
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any), share=st.floats(0.001, 1), seed=st.integers(0, 999))
def test_stratified_takes_each_class_in_proportion(counts, share, seed):
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])[torch.randperm(sum(counts), generator=seeded(seed))]
    n = max(1, round(share * len(y)))
    index = data.stratified(y, n, seed)
    assert len(index) == n and (index.diff() > 0).all() and index.min() >= 0 and index.max() < len(y)
    taken = torch.bincount(y[index], minlength=len(counts)).numpy()
    assert np.abs(taken - n * np.array(counts) / len(y)).max() <= 1 + 1e-9  # "to within one"


def test_stratified_draws_every_image_alike():
    y = torch.tensor([0] * 6 + [1] * 6)
    counts = sum(torch.bincount(data.stratified(y, 4, seed), minlength=12) for seed in range(900))
    assert counts.sum() == 3600 and (counts - 300).abs().max() < 70  # five standard deviations


@pytest.mark.parametrize("n", [0, 13, -1])
def test_sample_that_is_not_there_is_refused(n):
    with pytest.raises(ValueError, match=f"cannot take {n} images of 12"):
        random_images(12).sample(n)


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


# --- Images


X, Y = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("x", "y", "classes"),
    [
        (X.float(), Y, ["a", "b"]),
        (X[0], Y, ["a", "b"]),
        (X, Y.int(), ["a", "b"]),
        (X, Y[:1], ["a", "b"]),
        (X, Y[:, None], ["a", "b"]),
        (X, Y, ["a"]),
        (X, Y - 1, ["a", "b"]),
    ],
)
def test_images_that_do_not_fit_together_are_refused(x, y, classes):
    with pytest.raises(ValueError, match="x must be|y must be|labels run"):
        Images(x, y, classes)


def test_slices_are_images():
    images = random_images(10)
    some = images[torch.tensor([3, 1])]
    assert torch.equal(some.x, images.x[[3, 1]]) and torch.equal(some.y, images.y[[3, 1]]) and some.classes == images.classes
    assert len(images[2:5]) == 3 and len(images[:0]) == 0


def test_digest_is_of_shape_pixels_and_labels():
    images = random_images(12)
    again = Images(images.x.clone(), images.y.clone(), images.classes, name="renamed")
    assert images.digest == again.digest == Images(images.x.contiguous(memory_format=torch.channels_last), images.y, images.classes).digest
    pixel = images.x.clone()
    pixel[7, 1, 3, 2] ^= 1
    variants = [
        Images(pixel, images.y, images.classes), Images(images.x, images.y.flip(0), images.classes), images[:11], images[torch.arange(12).flip(0)],
        Images(images.x.view(12, 3, 8, 32), images.y, images.classes),
    ]  # fmt: skip
    assert len({images.digest, *(variant.digest for variant in variants)}) == 6


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channel_stats_against_numpy(channels):
    images = random_images(50, channels)
    images.x[:, 0] //= 3
    mean, std = images.channel_stats()
    pixels = images.x.numpy() / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-9)


def test_spread_of_a_constant_channel_can_be_divided_by():
    mean, std = Images(torch.full((3, 1, 4, 4), 51, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ["a"]).channel_stats()
    assert mean == pytest.approx([0.2]) and std[0] > 0


# --- batches


@pytest.mark.parametrize("shuffle", [False, True])
@given(n=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_batches_cover_every_image_once(shuffle, n, batch_size):
    images = Images(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.arange(n), list(map(str, range(n))))
    parts = list(images.batches(batch_size, shuffle=shuffle, generator=seeded(n)))
    assert [len(y) for _, y in parts[:-1]] == [batch_size] * (len(parts) - 1) and 1 <= len(parts[-1][1]) <= batch_size
    x, y = (torch.cat(side) for side in zip(*parts, strict=True))
    assert x.dtype == torch.float32 and torch.equal(x.flatten(), y / 255)  # each image with its own label, exactly a 255th
    assert sorted(y.tolist()) == list(range(n))
    assert shuffle or y.tolist() == list(range(n))


def test_pixels_of_batches_are_in_the_unit_range():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    ((pixels, _),) = Images(x, torch.tensor([0]), ["a"]).batches(1)
    assert pixels.min() == 0 and pixels.max() == 1
    assert torch.equal((pixels * 255).round().byte(), x)


def test_shuffling_follows_its_generator():
    images = random_images(30)
    order = lambda seed: torch.cat([x for x, _ in images.batches(7, shuffle=True, generator=seeded(seed))])
    assert torch.equal(order(1), order(1)) and not torch.equal(order(1), order(2))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(dict(batch_size=0), "batch_size is 0"), (dict(batch_size=4, augment="flop"), "'flop'.*flip, crop-flip, resized-crop-flip")],
)
def test_batches_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        next(random_images(4).batches(**options))


def test_own_augmentation_gets_the_batch_and_the_generator():
    draw, seen = seeded(), []

    def augment(x, generator):
        seen.append((x.dtype, len(x), generator))
        return 255 - x

    images = random_images(5)
    x = torch.cat([x for x, _ in images.batches(3, augment=augment, generator=draw)])
    assert torch.equal(x, (255 - images.x).float() / 255)
    assert seen == [(torch.uint8, 3, draw), (torch.uint8, 2, draw)]


# --- images held at another side than they are shown


def shown(images, **options):
    return torch.cat([x for x, _ in images.batches(7, **options)])


def test_smaller_images_are_enlarged_as_batches():
    images = replace(random_images(20, h=8, w=8), side=20)
    assert images.x.shape == (20, 3, 8, 8) and images.shape == (3, 20, 20)
    expected = [  # Pillow enlarges bilinearly with the same alignment of pixels
        np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((20, 20), Image.Resampling.BILINEAR)) for image in images.x
    ]
    assert (shown(images) * 255 - torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2)).abs().max() <= 1.01  # a byte's rounding
    assert shown(images).amin() >= 0 and shown(images).amax() <= 1


def test_augmentation_comes_before_enlargement():
    images = replace(random_images(6, h=8, w=8), side=16)
    turned = shown(images, augment=lambda x, _: x.flip(-1))
    torch.testing.assert_close(turned, shown(replace(images, x=images.x.flip(-1))))


def test_larger_images_are_cropped_at_the_center():
    images = replace(random_images(20), side=12)
    assert images.shape == (3, 12, 12)
    assert torch.equal(shown(images), images.x[:, :, 2:14, 2:14] / 255)


def test_larger_images_are_cropped_anywhere_in_training():
    one = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    images = Images(one.expand(400, -1, -1, -1), torch.zeros(400, dtype=torch.int64), ["a"], side=12)
    keep = lambda x, _: x
    corners = {divmod(round(float(x[0, 0, 0]) * 255), 16) for x in shown(images, augment=keep, generator=seeded())}
    assert corners == {(i, j) for i in range(5) for j in range(5)}
    windows = torch.nn.functional.unfold(one / 255, 12).view(144, 25).T
    for x in shown(images, augment=keep, generator=seeded())[:30]:
        assert (windows - x.flatten()).abs().sum(1).min() < 1e-5
    assert torch.equal(shown(images, augment=keep, generator=seeded(1)), shown(images, augment=keep, generator=seeded(1)))
    assert not torch.equal(shown(images, augment=keep, generator=seeded(1)), shown(images, augment=keep, generator=seeded(2)))
    assert len({bytes((x * 255).byte().numpy()) for x in shown(images, augment="flip", generator=seeded())}) == 50  # mirrored, too


def test_the_side_stays_with_parts_and_counts_in_the_digest():
    plain = random_images(12)
    images = replace(plain, side=24)
    assert images[:5].side == images.sample(4).side == images.to("cpu").side == 24
    assert len({plain.digest, images.digest, replace(plain, side=12).digest}) == 3
    assert replace(plain, side=16).digest == plain.digest and torch.equal(shown(replace(plain, side=16)), shown(plain))
    assert images.channel_stats() == plain.channel_stats()


@pytest.mark.parametrize(("shape", "side"), [((8, 8), 0), ((8, 8), -1), ((8, 6), 16)])
def test_a_side_that_cannot_be_is_refused(shape, side):
    with pytest.raises(ValueError, match=f"side is {side}"):
        replace(random_images(2, h=shape[0], w=shape[1]), side=side)


# --- downloads, from a server on this machine


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

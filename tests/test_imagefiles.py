import io
import os
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from atviz import data, imagefiles


@pytest.fixture(autouse=True)
def _home(tmp_path_factory, monkeypatch):
    """A cache of each test's own."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path_factory.mktemp("home")))


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


# --- one file


def test_16_bit_gray_is_scaled(tmp_path):
    wide = np.array([[0, 128, 257, 1000], [32768, 40000, 65534, 65535]], dtype=np.uint16)
    found = imagefiles.decode(write(tmp_path / "wide.png", wide))
    assert np.abs(found.astype(float) - wide[..., None] / 257).max() <= 0.5
    assert found.shape == (2, 4, 3) and found.dtype == np.uint8


def test_16_bit_ramp_keeps_all_its_levels(tmp_path):
    found = imagefiles.decode(write(tmp_path / "wide.png", np.arange(65536, dtype=np.uint16).reshape(256, 256)))
    assert len(np.unique(found)) == 256


def test_16_bit_transparency_shows_the_background(tmp_path):
    wide = np.array([[7, 40000]], dtype=np.uint16)
    found = imagefiles.decode(write(tmp_path / "wide.png", wide, transparency=7))
    assert found[0].tolist() == [[255] * 3, [round(40000 / 257)] * 3]


@given(alpha=st.integers(0, 255), color=st.tuples(*[st.integers(0, 255)] * 3))
def test_transparency_is_composited_on_white(tmp_path_factory, alpha, color):
    path = tmp_path_factory.getbasetemp() / "rgba.png"
    found = imagefiles.decode(write(path, np.array([[[*color, alpha]]], dtype=np.uint8)))
    expected = np.array(color) * alpha / 255 + 255 * (1 - alpha / 255)
    assert np.abs(found[0, 0] - expected).max() <= 1


def test_gray_with_alpha_is_composited(tmp_path):
    found = imagefiles.decode(write(tmp_path / "la.png", np.array([[[0, 0], [0, 255], [100, 128]]], dtype=np.uint8)))[0]
    assert found[0].tolist() == [255] * 3 and found[1].tolist() == [0] * 3
    assert np.abs(found[2].astype(int) - 177).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palette_with_transparency_is_composited(tmp_path, suffix):
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / f"p{suffix}", transparency=1)
    assert imagefiles.decode(tmp_path / f"p{suffix}")[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_palette_becomes_its_colors(tmp_path):
    image = Image.fromarray(np.array([[1, 0]], dtype=np.uint8))
    image.putpalette([1, 2, 3, 40, 50, 60])
    image.save(tmp_path / "p.png")
    assert imagefiles.decode(tmp_path / "p.png")[0].tolist() == [[40, 50, 60], [1, 2, 3]]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_gray_becomes_rgb(tmp_path, suffix):
    gray = pixels(5, 7, c=1)[..., 0]
    assert np.array_equal(imagefiles.decode(write(tmp_path / f"gray{suffix}", gray)), np.stack([gray] * 3, -1))


def test_bilevel_becomes_black_and_white(tmp_path):
    Image.fromarray(np.array([[0, 255, 255, 0]], dtype=np.uint8)).convert("1").save(tmp_path / "b.png")
    assert imagefiles.decode(tmp_path / "b.png")[0, :, 0].tolist() == [0, 255, 255, 0]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    found = imagefiles.decode(tmp_path / "c.jpg").astype(int)
    assert found.shape == (8, 8, 3) and np.abs(found - [255, 0, 0]).max() < 12


def test_floating_point_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="floating-point"):
        imagefiles.decode(write(tmp_path / "f.tif", np.random.default_rng(0).random((4, 4), dtype=np.float32)))


# how each orientation of the EXIF standard is undone
UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("wide", [False, True], ids=["8 bit", "16 bit"])
def test_exif_rotation_is_followed(tmp_path, orientation, wide):
    exif = Image.Exif()
    exif[0x0112] = orientation
    array = pixels(4, 7, c=1)[..., 0].astype(np.uint16) * 257 if wide else pixels(4, 7)
    found = imagefiles.decode(write(tmp_path / "turned.png", array, exif=exif))
    upright = UPRIGHT[orientation](array // 257 if wide else array)
    assert np.array_equal(found, np.stack([upright] * 3, -1) if wide else upright)


@pytest.mark.parametrize(("h", "w"), [(10, 10), (10, 30), (26, 10), (7, 5)])
@pytest.mark.parametrize("size", [5, 10, 20])
def test_size_crops_the_center_square(tmp_path, h, w, size):
    array = np.zeros((h, w, 3), np.uint8)
    side = min(h, w)
    array[(h - side) // 2 : (h - side) // 2 + side, (w - side) // 2 : (w - side) // 2 + side] = 200
    found = imagefiles.decode(write(tmp_path / "c.png", array), size)
    assert found.shape == (size, size, 3)
    rim = 1 + size // side  # where interpolation reaches over the edge
    assert (found[rim:-rim, rim:-rim] == 200).all()


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


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp"])
def test_file_cut_anywhere_is_refused(tmp_path, suffix):
    raw = write(tmp_path / f"whole{suffix}", pixels(16, 16)).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in range(0, int(0.9 * len(raw)), max(1, len(raw) // 40)):
        cut.write_bytes(raw[:length])
        with pytest.raises((OSError, ValueError, SyntaxError)):
            imagefiles.decode(cut)


# --- folders


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
    decoded, decode = [], imagefiles.decode
    monkeypatch.setattr(imagefiles, "decode", lambda path, size: decoded.append(path) or decode(path, size))
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
        load(folder, "test")


@pytest.mark.parametrize("make", ["", "train/0.png", "train/cat/notes.txt", "train/cat/more/0.png"])
def test_split_without_images_is_refused(tmp_path, make):
    (tmp_path / "train").mkdir()
    if make.endswith("png"):
        write(tmp_path / make)
    elif make:
        (tmp_path / make).parent.mkdir()
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
    monkeypatch.setattr(imagefiles, "decode", refuse)
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


def test_refused_folder_leaves_no_cache(folder):
    (folder / "train" / "cat" / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        load(folder)
    cache = data.home() / "data" / "cache"
    assert not cache.exists() or not list(cache.iterdir())


def test_cache_holds_whole_files_only(folder):
    load(folder)
    (cached,) = (data.home() / "data" / "cache").iterdir()
    assert cached.name.startswith("set-train-") and np.load(cached).shape == (6, 3, 6, 6)


def encoded(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def test_an_upload_of_the_right_shape_is_taken_as_it_is():
    array = pixels(28, 28)
    found, said = imagefiles.decode_upload(encoded(array), (3, 28, 28))
    np.testing.assert_array_equal(found, array.transpose(2, 0, 1))
    assert said == "taken as it is"


def test_an_upload_is_brought_to_the_shape_as_pillow_does_it():
    array = pixels(40, 90)
    found, said = imagefiles.decode_upload(encoded(array), (1, 28, 20))
    want = ImageOps.fit(Image.fromarray(array), (20, 28), Image.Resampling.BILINEAR).convert("L")
    np.testing.assert_array_equal(found[0], np.asarray(want))
    assert said == "brought from 90 × 40 to 20 × 28 pixels; gray made from color"


def test_gray_and_transparent_uploads_say_what_was_made_of_them():
    gray, said = imagefiles.decode_upload(encoded(pixels()[..., 0]), (3, 6, 6))
    assert said == "gray repeated in three channels"
    assert (gray == gray[:1]).all()
    clear = np.dstack([pixels(), np.zeros((6, 6), np.uint8)])
    shown, said = imagefiles.decode_upload(encoded(clear), (3, 6, 6))
    assert "transparency shown on white" in said
    assert (shown == 255).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"words", "is not an image"),
        (encoded(pixels(200, 200))[:900], "cannot be used"),
        (encoded(np.zeros((8000, 8000), np.uint8)), "8000 × 8000 pixels; at most 50 million"),
        (encoded(pixels()) + bytes(imagefiles.MOST_BYTES), "at most 8"),
        (encoded(np.zeros((4, 4), np.float32), "TIFF"), "unknown range"),
    ],
)
def test_an_upload_that_cannot_be_used_is_refused_in_one_sentence(content, said):
    with pytest.raises(ValueError, match=said) as caught:
        imagefiles.decode_upload(content, (3, 6, 6))
    assert "\n" not in str(caught.value)

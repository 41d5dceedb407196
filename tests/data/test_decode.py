"""One image file, in every mode that Pillow knows, whole and damaged."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from atviz.data.decode import MOST_BYTES, decode, decode_upload


def pixels(h=6, w=6, seed=0, c=3):
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)


def write(path, array=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels() if array is None else array).save(path, **options)
    return path


def test_16_bit_gray_is_scaled(tmp_path):
    wide = np.array([[0, 128, 257, 1000], [32768, 40000, 65534, 65535]], dtype=np.uint16)
    found = decode(write(tmp_path / "wide.png", wide))
    assert np.abs(found.astype(float) - wide[..., None] / 257).max() <= 0.5
    assert found.shape == (2, 4, 3) and found.dtype == np.uint8


def test_16_bit_ramp_keeps_all_its_levels(tmp_path):
    found = decode(write(tmp_path / "wide.png", np.arange(65536, dtype=np.uint16).reshape(256, 256)))
    assert len(np.unique(found)) == 256


def test_16_bit_transparency_shows_the_background(tmp_path):
    wide = np.array([[7, 40000]], dtype=np.uint16)
    found = decode(write(tmp_path / "wide.png", wide, transparency=7))
    assert found[0].tolist() == [[255] * 3, [round(40000 / 257)] * 3]


@given(alpha=st.integers(0, 255), color=st.tuples(*[st.integers(0, 255)] * 3))
def test_transparency_is_composited_on_white(tmp_path_factory, alpha, color):
    path = tmp_path_factory.getbasetemp() / "rgba.png"
    found = decode(write(path, np.array([[[*color, alpha]]], dtype=np.uint8)))
    expected = np.array(color) * alpha / 255 + 255 * (1 - alpha / 255)
    assert np.abs(found[0, 0] - expected).max() <= 1


def test_gray_with_alpha_is_composited(tmp_path):
    found = decode(write(tmp_path / "la.png", np.array([[[0, 0], [0, 255], [100, 128]]], dtype=np.uint8)))[0]
    assert found[0].tolist() == [255] * 3 and found[1].tolist() == [0] * 3
    assert np.abs(found[2].astype(int) - 177).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palette_with_transparency_is_composited(tmp_path, suffix):
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / f"p{suffix}", transparency=1)
    assert decode(tmp_path / f"p{suffix}")[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_palette_becomes_its_colors(tmp_path):
    image = Image.fromarray(np.array([[1, 0]], dtype=np.uint8))
    image.putpalette([1, 2, 3, 40, 50, 60])
    image.save(tmp_path / "p.png")
    assert decode(tmp_path / "p.png")[0].tolist() == [[40, 50, 60], [1, 2, 3]]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_gray_becomes_rgb(tmp_path, suffix):
    gray = pixels(5, 7, c=1)[..., 0]
    assert np.array_equal(decode(write(tmp_path / f"gray{suffix}", gray)), np.stack([gray] * 3, -1))


def test_bilevel_becomes_black_and_white(tmp_path):
    Image.fromarray(np.array([[0, 255, 255, 0]], dtype=np.uint8)).convert("1").save(tmp_path / "b.png")
    assert decode(tmp_path / "b.png")[0, :, 0].tolist() == [0, 255, 255, 0]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    found = decode(tmp_path / "c.jpg").astype(int)
    assert found.shape == (8, 8, 3) and np.abs(found - [255, 0, 0]).max() < 12


def test_floating_point_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="floating-point"):
        decode(write(tmp_path / "f.tif", np.random.default_rng(0).random((4, 4), dtype=np.float32)))


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
    found = decode(write(tmp_path / "turned.png", array, exif=exif))
    upright = UPRIGHT[orientation](array // 257 if wide else array)
    assert np.array_equal(found, np.stack([upright] * 3, -1) if wide else upright)


@pytest.mark.parametrize(("h", "w"), [(10, 10), (10, 30), (26, 10), (7, 5)])
@pytest.mark.parametrize("size", [5, 10, 20])
def test_size_crops_the_center_square(tmp_path, h, w, size):
    array = np.zeros((h, w, 3), np.uint8)
    side = min(h, w)
    array[(h - side) // 2 : (h - side) // 2 + side, (w - side) // 2 : (w - side) // 2 + side] = 200
    found = decode(write(tmp_path / "c.png", array), size)
    assert found.shape == (size, size, 3)
    rim = 1 + size // side  # where interpolation reaches over the edge
    assert (found[rim:-rim, rim:-rim] == 200).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp"])
def test_file_cut_anywhere_is_refused(tmp_path, suffix):
    raw = write(tmp_path / f"whole{suffix}", pixels(16, 16)).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for length in range(0, int(0.9 * len(raw)), max(1, len(raw) // 40)):
        cut.write_bytes(raw[:length])
        with pytest.raises((OSError, ValueError, SyntaxError)):
            decode(cut)


def encoded(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def test_an_upload_of_the_right_shape_is_taken_as_it_is():
    array = pixels(28, 28)
    found, said = decode_upload(encoded(array), (3, 28, 28))
    np.testing.assert_array_equal(found, array.transpose(2, 0, 1))
    assert said == "taken as it is"


def test_an_upload_is_brought_to_the_shape_as_pillow_does_it():
    array = pixels(40, 90)
    found, said = decode_upload(encoded(array), (1, 28, 20))
    want = ImageOps.fit(Image.fromarray(array), (20, 28), Image.Resampling.BILINEAR).convert("L")
    np.testing.assert_array_equal(found[0], np.asarray(want))
    assert said == "brought from 90 × 40 to 20 × 28 pixels; gray made from color"


def test_gray_and_transparent_uploads_say_what_was_made_of_them():
    gray, said = decode_upload(encoded(pixels()[..., 0]), (3, 6, 6))
    assert said == "gray repeated in three channels"
    assert (gray == gray[:1]).all()
    clear = np.dstack([pixels(), np.zeros((6, 6), np.uint8)])
    shown, said = decode_upload(encoded(clear), (3, 6, 6))
    assert "transparency shown on white" in said
    assert (shown == 255).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"words", "is not an image"),
        (encoded(pixels(200, 200))[:900], "cannot be used"),
        (encoded(np.zeros((8000, 8000), np.uint8)), "8000 × 8000 pixels; at most 50 million"),
        (encoded(pixels()) + bytes(MOST_BYTES), "at most 8"),
        (encoded(np.zeros((4, 4), np.float32), "TIFF"), "unknown range"),
    ],
)
def test_an_upload_that_cannot_be_used_is_refused_in_one_sentence(content, said):
    with pytest.raises(ValueError, match=said) as caught:
        decode_upload(content, (3, 6, 6))
    assert "\n" not in str(caught.value)

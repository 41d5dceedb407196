"""Fixtures of this room: a home folder of each test's own, and small image files."""

import io

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """A cache and downloads of each test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ATVIZ_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def picture():
    """A function that gives a JPEG of one color."""

    def encode(value, side=(16, 16), mode="RGB"):
        buffer = io.BytesIO()
        Image.new(mode, side, value).save(buffer, format="JPEG", quality=95)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def write():
    """A function that writes text or bytes to a path, and makes its folders."""

    def put(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return put


@pytest.fixture(scope="session")
def levels():
    """A function that gives the red value that each image was drawn with, to the nearest ten."""
    return lambda images: [round(float(v), -1) for v in images.x[:, 0].float().mean((1, 2))]

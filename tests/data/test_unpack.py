"""Archives: what they hold arrives, nothing leads outside, and nothing fills the disk."""

import io
import shutil
import tarfile
import zipfile
from collections import namedtuple

import pytest

from atviz.data import unpack as unpacking
from atviz.data.unpack import unpack


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar_of(path, *members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def zip_of(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "evil")
    return path


@pytest.fixture
def into(tmp_path):
    (tmp_path / "deep" / "into").mkdir(parents=True)
    return tmp_path / "deep" / "into"


def everything(tmp_path):
    return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2", "zip"])
def test_what_was_packed_arrives(tmp_path, into, mode):
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "ä 1.txt").write_text("one")
    if mode == "zip":
        packed = zip_of(tmp_path / "p", "set/a/ä 1.txt")
    else:
        with tarfile.open(packed := tmp_path / "p", mode) as tar:
            tar.add(tmp_path / "set", "set")
    unpack(packed, into)
    assert (into / "set" / "a" / "ä 1.txt").read_text() == ("evil" if mode == "zip" else "one")


EVIL = {
    "above": lambda p: tar_of(p, member("../../evil", size=4)),
    "hidden above": lambda p: tar_of(p, member("a/../../../evil", size=4)),
    "absolute": lambda p: tar_of(p, member(str(p.parent / "evil"), size=4)),
    "of windows": lambda p: tar_of(p, member("C:\\evil", size=4)),
    "link out": lambda p: tar_of(p, member("link", tarfile.SYMTYPE, "../.."), member("link/evil", size=4)),
    "absolute link": lambda p: tar_of(p, member("link", tarfile.SYMTYPE, str(p.parent)), member("link/evil", size=4)),
    "hard link out": lambda p: tar_of(p, member("evil", tarfile.LNKTYPE, "../../secret")),
    "device": lambda p: tar_of(p, member("evil", tarfile.CHRTYPE)),
    "pipe": lambda p: tar_of(p, member("evil", tarfile.FIFOTYPE)),
    "zip above": lambda p: zip_of(p, "../../evil"),
    "zip absolute": lambda p: zip_of(p, str(p.parent / "evil")),
}


@pytest.mark.parametrize("how", EVIL)
def test_what_leads_outside_is_refused_before_anything_is_written(tmp_path, into, how):
    (tmp_path / "secret").write_text("secret")
    packed = EVIL[how](tmp_path / "evil.archive")
    before = everything(tmp_path)
    with pytest.raises(ValueError, match="evil.archive is damaged or no archive") as found:
        unpack(packed, into)
    assert "\n" not in str(found.value)
    assert {path for path in everything(tmp_path) - before if not path.startswith("deep/into/link")} == set()
    assert (tmp_path / "secret").read_text() == "secret" and not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, into, kind, monkeypatch):
    monkeypatch.setattr(unpacking, "ALWAYS", 2**20)
    packed = tmp_path / "bomb"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(2**24))
    else:
        tar_of(packed, member("zeros", size=2**24), mode="w:gz")
    assert packed.stat().st_size < 2**17
    with pytest.raises(ValueError, match="unpacks to 0.0 GiB, more than 100 times its own size"):
        unpack(packed, into)
    assert not list(into.iterdir())


def test_an_archive_that_the_disk_has_no_room_for_is_refused(tmp_path, into, monkeypatch):
    packed = zip_of(tmp_path / "large.zip", "a")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(3))
    with pytest.raises(OSError, match="large.zip unpacks to .* has no room for it"):
        unpack(packed, into)
    assert not list(into.iterdir())


def test_damage_anywhere_in_a_zip_is_noticed(tmp_path, into):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.txt", "some text, some text, some text")
        archive.writestr("b", bytes(range(256)))
    whole = (tmp_path / "whole.zip").read_bytes()
    refused = 0
    for place in range(len(whole)):
        (tmp_path / "p.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        shutil.rmtree(into)
        into.mkdir()
        try:
            unpack(tmp_path / "p.zip", into)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        assert all(
            path.is_dir() or path.read_bytes() in (b"some text, some text, some text", bytes(range(256))) for path in into.rglob("*")
        )
    assert refused > len(whole) // 2

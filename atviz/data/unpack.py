"""Archives unpacked into a folder: nothing outside it, no links and devices that lead elsewhere, and no more than an archive can hold."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

MOST_TIMES, ALWAYS = 100, 2**30  # how many times its own size an archive may unpack to, and the bytes that any may
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
    OSError,
    ValueError,
)


def unpack(packed: Path, folder: Path) -> None:
    """Unpack a zip or tar archive, whatever it is compressed with, into ``folder``.

    Raises:
        ValueError: in one sentence, a file that is damaged or no archive, members that lead outside the folder, devices, or an archive that
            unpacks to more than `MOST_TIMES` times its size.
        OSError: the disk has no room for it.
    """
    try:
        if zipfile.is_zipfile(packed):
            with zipfile.ZipFile(packed) as archive:
                infos = archive.infolist()
                _check_names(info.filename for info in infos)
                _check_size(packed, (info.file_size for info in infos), folder)
                archive.extractall(folder)
        else:
            with tarfile.open(packed) as archive:
                members = list(_members(packed, archive, folder))
                archive.extractall(folder, members, filter="data")
    except _TooLarge:
        raise
    except DAMAGED as error:
        raise ValueError(f"{packed} is damaged or no archive ({' '.join(str(error).split())}); fetch it again") from error


class _TooLarge(OSError):
    pass


def _members(packed: Path, archive: tarfile.TarFile, folder: Path) -> Iterable[tarfile.TarInfo]:
    total = 0
    for member in archive:
        total += member.size  # before the member is read, which a bomb would not survive
        _check_size(packed, [total], folder)
        _check_names([member.name])
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise ValueError(f"it holds {member.name!r}, which is neither a file nor a folder")
        yield member


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        for kind in (PurePosixPath, PureWindowsPath):
            path = kind(name)
            if path.is_absolute() or path.drive or ".." in path.parts:
                raise ValueError(f"its member {name!r} leads outside")


def _check_size(packed: Path, sizes: Iterable[int], folder: Path) -> None:
    total, own = sum(sizes), packed.stat().st_size
    if total > max(ALWAYS, MOST_TIMES * own):
        raise ValueError(f"it unpacks to {total / 2**30:.1f} GiB, more than {MOST_TIMES} times its own size")
    if total > shutil.disk_usage(folder).free:
        raise _TooLarge(f"{packed} unpacks to {total / 2**30:.1f} GiB, and the disk of {folder} has no room for it")

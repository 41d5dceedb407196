"""Data sets as their authors pack them: found on this machine, or downloaded, verified and unpacked."""

from __future__ import annotations

import hashlib
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import disk, home
from .folders import Listing
from .unpack import unpack

TRIES, PAUSE = 3, 1.0  # of a download, and seconds before the second try


def downloads() -> Path:
    """The folder that downloads go to by default."""
    return home() / "data" / "downloads"


@dataclass(frozen=True)
class Archive:
    """One data set in its published form. Calling it lists the images of a split, as `Listed.find` in `kinds` describes.

    ``folder`` is what the archive unpacks to. A folder counts as a copy if the pattern ``mark`` finds something in it. ``files`` are the
    URLs to download and their MD5 sums. ``listing`` lists the images of a split in a copy; it does not look at the images themselves.
    """

    folder: str
    mark: str
    files: Mapping[str, str]
    listing: Callable[[Path, str], Listing]

    def __call__(self, name: str, split: str, given: Path | None, may_download: bool) -> Listing:
        root = self.locate(name, given, may_download)
        files, labels, classes = self.listing(root, split)
        if not files:
            raise ValueError(f"{root} has no images of {name}'s split {split}")
        return files, labels, classes

    def locate(self, name: str, given: Path | None, may_download: bool) -> Path:
        """The folder of a copy: ``given`` (the folder, its parent, or the archive file), without one a folder in `downloads`.

        A copy that is in neither is downloaded to that place, if ``may_download``.

        Raises:
            FileNotFoundError: there is no copy, and none may be downloaded.
            ValueError: a damaged archive file.
            OSError: a download that failed, or whose MD5 sum is not that of the published file.
        """
        into = given or downloads()
        if into.is_file():
            packed, info = into, into.stat()
            key = hashlib.sha256(f"{packed.resolve()} {info.st_size} {info.st_mtime_ns}".encode()).hexdigest()[:10]
            into = downloads() / f"{name}-{key}"
            if not into.is_dir():
                _unpack([packed], into)
                _tell_unpublished(packed, self.files)
        elif may_download and not self._found(name, into):
            _unpack([_download(name, url, md5, into) for url, md5 in self.files.items()], into / name)
        found = self._found(name, into)
        if found is None:
            what = f"holds no {name}: {self.mark} is missing" if into.exists() else "is not there"
            raise FileNotFoundError(f"{into} {what}; name the unpacked folder, its parent, or the archive file")
        return found

    def _found(self, name: str, root: Path) -> Path | None:
        places = [root, *(root / part for part in (self.folder, name, f"{name}/{self.folder}") if part)]
        return next((place for place in places if place.is_dir() and next(place.glob(self.mark), None)), None)


def retrieve(url: str, folder: Path, md5: str | None = None) -> Path:
    """Download a file into a folder, unless it is already there, and check its MD5 sum. What fails is tried `TRIES` times.

    Raises:
        OSError: the server refused, or the connection was cut; nothing is left.
        ValueError: another MD5 sum; nothing is left.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    tried = 0
    while True:
        try:
            return Path(pooch.retrieve(url, f"md5:{md5}" if md5 else None, fname=url.rpartition("/")[2], path=folder))
        except (OSError, ValueError) as error:
            tried += 1
            status = getattr(getattr(error, "response", None), "status_code", 0)
            if tried == TRIES or 400 <= status < 500:  # the server knows no such file
                raise
        time.sleep(PAUSE * tried)


def _tell_unpublished(packed: Path, files: Mapping[str, str]) -> None:
    with packed.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found not in files.values():
        warnings.warn(
            f"{packed} is not the archive that was published (MD5 {found}, published {', '.join(files.values())}): it was packed anew, or is damaged",
            stacklevel=5,
        )


def _download(name: str, url: str, md5: str, into: Path) -> Path:
    try:
        return retrieve(url, into / "packed" / name, md5)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OSError(
            f"{name} is not in {into} and could not be downloaded ({reason}); "
            f"fetch {url} some other way and write {name}:PATH, PATH being the archive or its unpacked folder"
        ) from error


def _unpack(packed: list[Path], target: Path) -> None:
    """Unpack archives, and copy MATLAB files, into ``target``, all of them or none."""
    with disk.replacing_folder(target, flushed=False) as partial:
        for path in packed:
            if path.suffix == ".mat":
                shutil.copy(path, partial)
            else:
                unpack(path, partial)

"""Figures of a run as they stand in its page: WebP, kept beside the PNG, and together no larger than a page can hold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from .. import disk

LIMIT = 2_400_000  # bytes of all figures of a page; in base64 they are a third more
QUALITY, SMALL = 90, 75  # of WebP; of a figure at half its size


def embedded(path: Path, *, small: bool = False) -> dict[str, Any]:
    """A figure for a page: its PNG file, its caption, its width and height on the screen, and its pixels as a link of data."""
    from PIL import Image

    with Image.open(path) as image:
        caption, size = str(image.info.get("Description", path.stem)), image.size
    data = base64.b64encode(_kept(path, small).read_bytes()).decode()
    return {
        "file": f"figures/{path.name}", "caption": caption, "width": size[0] // 2, "height": size[1] // 2, "data": f"data:image/webp;base64,{data}",
    }  # fmt: skip


def reduced(paths: Sequence[Path], *, limit: int = LIMIT) -> set[Path]:
    """The figures that have to be shown at half their size, so that all together have at most ``limit`` bytes: the largest first."""
    sizes = {path: _kept(path, False).stat().st_size for path in paths}
    total, found = sum(sizes.values()), set()
    for path in sorted(sizes, key=lambda path: -sizes[path]):
        if total <= limit:
            break
        total += _kept(path, True).stat().st_size - sizes[path]
        found.add(path)
    return found


def _kept(path: Path, small: bool) -> Path:
    """The WebP file of a figure; it is made where it is missing or older."""
    kept = path.with_suffix(".small.webp" if small else ".webp")
    if not kept.is_file() or kept.stat().st_mtime_ns < path.stat().st_mtime_ns:
        disk.write(kept, as_webp(path, small=small))
    return kept


def as_webp(path: Path, *, small: bool = False) -> bytes:
    """A PNG as WebP, on white where it is transparent: the smaller of without loss and of high quality; or at half its size."""
    from PIL import Image

    with Image.open(path) as image:
        clear = image.convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    if small:
        return _encoded(whole.reduce(2), quality=SMALL)
    return min(_encoded(whole, lossless=True), _encoded(whole, quality=QUALITY), key=len)


def _encoded(image: Any, **how: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "WEBP", method=4, **how)
    return buffer.getvalue()

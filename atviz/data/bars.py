"""Progress bars for work that takes a while."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm

LEAST = 20  # batches: less work shows no bar
DELAY = 1.0  # seconds before a bar is shown


def progress(total: int, desc: str, *, batches: int = LEAST) -> tqdm[Any]:
    """A bar over ``total`` images with the time left, which disappears at the end; call its ``update`` with the images that are done.

    It is silent for work of fewer than `LEAST` ``batches``, and where the environment sets TQDM_DISABLE.
    """
    silent = batches < LEAST or bool(os.environ.get("TQDM_DISABLE"))  # a notebook's bar does not heed the variable by itself
    return tqdm(total=total, desc=desc, unit=" images", leave=False, delay=DELAY, disable=silent)


def shorten(bar: tqdm[Any], images: int) -> None:
    """Take images that turned out to need no work off the total of a bar, so that the time left is that of the others."""
    bar.total = (bar.total or 0) - images
    if hasattr(bar, "container"):  # a notebook's bar keeps a maximum of its own
        bar.container.children[1].max = bar.total

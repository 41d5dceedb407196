"""The median of the square around each pixel, from minima and maxima of whole images: exact in every floating type, on any device.

Squares that overlap share work: each column is sorted once, and so are pairs and quadruples of columns. `python -m benchmarks distortions`
measures it beside SciPy's and kornia's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

# values of one operation on a CPU: their lists fit its cache, and torch splits larger ones among threads, which meet too often to gain
CHUNK = (1 << 15) - 1


class Sorted(NamedTuple):
    """Of each window of ``n`` pixels, the sorted values that can be the median of the square; its ``low`` lowest values are left out."""

    values: Sequence[Tensor]
    low: int
    n: int


def median(x: Tensor, size: int) -> Tensor:
    """The median of each ``size`` × ``size`` square (``size`` is odd), (N, C, H, W) → (N, C, H, W).

    Borders are mirrored without repeating the edge pixel.
    """
    padded = torch.nn.functional.pad(x, [size // 2] * 4, mode="reflect")
    row = padded.shape[-1]
    flat = padded.flatten()  # the offsets from a square's first pixel to the others are always the same
    reach = (size - 1) * (row + 1)
    found = torch.empty_like(flat)
    for part in range(0, len(flat) - reach, chunk := max(CHUNK // 2, CHUNK - reach) if x.device.type == "cpu" else 1 << 22):
        values = flat[part : part + chunk + reach]
        columns = _repeat(Sorted([values], 0, 1), size, row, size**2)
        squares = _repeat(columns, size, 1, size**2)
        found[part : part + len(values) - reach] = squares.values[0]
    # squares that run across an edge are no squares, and are cut off
    return found.view_as(padded)[..., : x.shape[-2], : x.shape[-1]].contiguous()


def _repeat(part: Sorted, times: int, step: int, total: int) -> Sorted:
    """The windows of ``times`` (odd) neighboring parts, ``step`` pixels apart, joined by doubling."""
    found, done, width = part, 1, 1
    while done < times:
        part, width = _join(part, part, width * step, total), 2 * width
        if times & width:
            found, done = _join(found, part, done * step, total), done + width
    return found


def _join(a: Sorted, b: Sorted, offset: int, total: int) -> Sorted:
    """Join each window of ``a`` with the window of ``b`` that begins ``offset`` pixels later, for squares of ``total`` pixels."""
    n, low, middle = a.n + b.n, a.low + b.low, total // 2
    # the total − n pixels that are not joined yet can raise the rank of a value by at most total − n
    first, last = max(low, middle - (total - n)), min(low + len(a.values) + len(b.values) - 1, middle)
    length = len(b.values[0]) - offset
    ranks = range(first - low, last - low + 1)
    merged = _merge([v[:length] for v in a.values], [v[offset:] for v in b.values], set(ranks))
    return Sorted([merged[rank] for rank in ranks], first, n)


def _merge(a: Sequence[Tensor], b: Sequence[Tensor], wanted: set[int]) -> dict[int, Tensor]:
    """The values at the ``wanted`` ranks (from 0) of two sorted lists merged: Batcher's odd-even merge, without needless steps."""
    wanted = {rank for rank in wanted if 0 <= rank < len(a) + len(b)}
    if not a or not b:
        return {rank: (a or b)[rank] for rank in wanted}
    if len(a) == len(b) == 1:
        return {rank: (torch.maximum if rank else torch.minimum)(a[0], b[0]) for rank in wanted}
    even = _merge(a[::2], b[::2], {(rank + 1) // 2 for rank in wanted})
    odd = _merge(a[1::2], b[1::2], {(rank - 1) // 2 for rank in wanted})
    found = {}
    for rank in wanted:
        pair = [values[i] for values, i in ((even, (rank + 1) // 2), (odd, (rank - 1) // 2)) if i in values]
        found[rank] = reduce(torch.minimum if rank % 2 else torch.maximum, pair)
    return found

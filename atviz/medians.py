"""The median of the square around each pixel, by minima and maxima of whole images: exact in every floating type, on any device.

The sorted columns of a square are shared by all squares that hold them, and so are pairs and quadruples of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 1 << 15  # pixels sorted at a time on a CPU: the lists of a chunk stay in its cache


class Sorted(NamedTuple):
    """Of each window of ``n`` pixels, the sorted values that may be the median of the square; ``low`` smaller ones are left out."""

    values: Sequence[Tensor]
    low: int
    n: int


def median(x: Tensor, size: int) -> Tensor:
    """Median of each ``size`` × ``size`` square: (N, C, H, W) → the same; ``size`` is odd, borders are mirrored without their edge pixel."""
    padded = torch.nn.functional.pad(x, [size // 2] * 4, mode="reflect")
    row = padded.shape[-1]
    flat = padded.flatten()  # a square's pixels are at the same offsets from its first; those across an edge are dropped at the end
    reach = (size - 1) * (row + 1)
    found = torch.empty_like(flat)
    for part in range(0, len(flat) - reach, chunk := CHUNK if x.device.type == "cpu" else 1 << 22):
        values = flat[part : part + chunk + reach]
        columns = _repeat(Sorted([values], 0, 1), size, row, size**2)
        squares = _repeat(columns, size, 1, size**2)
        found[part : part + len(values) - reach] = squares.values[0]
    return found.view_as(padded)[..., : x.shape[-2], : x.shape[-1]].contiguous()


def _repeat(part: Sorted, times: int, step: int, total: int) -> Sorted:
    """The windows of ``times`` (odd) neighboring parts, ``step`` pixels apart, by doubling."""
    found, done, width = part, 1, 1
    while done < times:
        part, width = _join(part, part, width * step, total), 2 * width
        if times & width:
            found, done = _join(found, part, done * step, total), done + width
    return found


def _join(a: Sorted, b: Sorted, offset: int, total: int) -> Sorted:
    """The windows ``a`` together with the windows ``b`` that begin ``offset`` pixels later, of squares of ``total`` pixels."""
    n, low, middle = a.n + b.n, a.low + b.low, total // 2
    # the total − n pixels still to come can lift a value's rank by no more than their number
    first, last = max(low, middle - (total - n)), min(low + len(a.values) + len(b.values) - 1, middle)
    length = len(b.values[0]) - offset
    ranks = range(first - low, last - low + 1)
    merged = _merge([v[:length] for v in a.values], [v[offset:] for v in b.values], set(ranks))
    return Sorted([merged[rank] for rank in ranks], first, n)


def _merge(a: Sequence[Tensor], b: Sequence[Tensor], wanted: set[int]) -> dict[int, Tensor]:
    """The values of the ``wanted`` ranks, from 0, of two sorted lists together: Batcher's odd-even merge, without what they do not need."""
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

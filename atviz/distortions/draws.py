"""Random numbers for random distortions."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(n: int, numbers: int, generator: torch.Generator | None) -> Tensor:
    """A row of ``numbers`` from [0, 1) for each of ``n`` images, on the generator's device.

    The rows of the images come one after another: batches of any size, in the same order, get the same numbers.
    """
    return torch.rand(n, numbers, generator=generator, device=generator.device if generator else None)

"""Milliseconds of the median filter beside SciPy's and of the blur beside torchvision's: in turns in one run, on one thread.

python benchmarks/filters.py    prints medians over the turns, and the median of the ratios; a ratio above 1 is faster than the peer
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torchvision.transforms.v2 import functional

from atviz.distortions import gaussian_blur, median_filter

SHAPES = [(500, 1, 28, 28), (100, 3, 32, 32), (8, 3, 224, 224)]
TURNS = 20  # the two take turns at going first


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(1)
    for shape in SHAPES:
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "median_filter": (lambda x=x: median_filter(x).numpy(), lambda x=x: ndimage.median_filter(x.numpy(), (1, 1, 5, 5), mode="mirror")),
            "gaussian_blur": (lambda x=x: gaussian_blur(x, 2).numpy(), lambda x=x: functional.gaussian_blur(x, [7, 7], [2.0, 2.0]).numpy()),
        }  # fmt: skip
        for name, (ours, peer) in pairs.items():
            assert np.array_equal(ours(), peer())
            turns = [(timed(ours), timed(peer)) if turn % 2 else (timed(peer), timed(ours))[::-1] for turn in range(TURNS)]
            took = np.array(turns)
            ours_ms, peer_ms = np.median(took, axis=0)
            print(
                f"{name:14} {'×'.join(map(str, shape)):14} {ours_ms:8.2f} ms, peer {peer_ms:8.2f} ms, ratio {np.median(took[:, 1] / took[:, 0]):5.2f}"
            )


if __name__ == "__main__":
    main()

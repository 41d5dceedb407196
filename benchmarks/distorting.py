"""Distortions of 10,000 images beside torchvision, kornia and SciPy; AdaIN, filters maximized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atviz import distortions as d
from atviz import saliency

from .maps import network
from .measure import OURS, Case, have

COUNT, PART = 10_000, 500  # images in all, and in one call


def in_parts(function: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    return torch.cat([torch.as_tensor(function(part)) for part in x.split(PART)])


def same_images(results: dict[str, Tensor]) -> str:
    mine = results[OURS]
    error = max(float((mine - other).abs().max()) for other in results.values())
    assert error < 1e-3, error
    return f"largest difference {error:.0e}"


def nothing_to_compare(results: dict[str, Tensor]) -> str:
    return "no peer has it" if len(results) == 1 else "–"


def cases(turns: int) -> Iterator[Case]:
    x = torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shape, moved = f"{COUNT} × 3 × 32 × 32", 2 * 4 * x.numel()
    from scipy import ndimage
    from torchvision.transforms.v2 import functional as tv

    peers: dict[str, dict[str, Callable[[Tensor], Any]]] = {
        "median_filter, 5 × 5": {"SciPy": lambda t: ndimage.median_filter(t.numpy(), (1, 1, 5, 5), mode="mirror")},
        "gaussian_blur, σ = 2": {
            "torchvision": lambda t: tv.gaussian_blur(t, [7, 7], [2.0, 2.0]),
            "SciPy": lambda t: ndimage.gaussian_filter(t.numpy(), (0, 0, 2, 2), mode="mirror", radius=(0, 0, 3, 3)),
        },
        "reverse": {"torchvision": lambda t: 2 * torch.tensor(MEAN).view(3, 1, 1) - t},
    }
    if have("kornia"):
        from kornia import filters

        # kornia pads with zeros: the same inside, and the border is compared with nobody
        peers["median_filter, 5 × 5"]["kornia"] = lambda t: filters.median_blur(t, (5, 5))
        peers["gaussian_blur, σ = 2"]["kornia"] = lambda t: filters.gaussian_blur2d(t, (7, 7), (2.0, 2.0), border_type="reflect")

    def low(t: Tensor) -> np.ndarray:
        rows, columns = (np.fft.fftfreq(32, 1 / 32) for _ in range(2))
        kept = rows[:, None] ** 2 + columns**2 <= 4**2
        return np.fft.ifft2(np.fft.fft2(t.numpy()) * kept).real.astype(np.float32)

    peers["low_pass, radius 4"] = {"NumPy": low}
    own: dict[str, Callable[[Tensor], Tensor]] = {
        "saturate, level 1024": lambda t: d.saturate(t, 1024),
        "patch_shuffle, k = 4": lambda t: d.patch_shuffle(t, 4, generator=torch.Generator().manual_seed(0)),
        "low_pass, radius 4": lambda t: d.low_pass(t, 4),
        "high_pass, radius 4": lambda t: d.high_pass(t, 4),
        "random_modes, p = 0.1": lambda t: d.random_modes(t, 0.1, generator=torch.Generator().manual_seed(0)),
        "gaussian_blur, σ = 2": lambda t: d.gaussian_blur(t, 2),
        "median_filter, 5 × 5": d.median_filter,
        "reverse": lambda t: d.reverse(t, mean=torch.tensor(MEAN)),
        "shift, 0.1": lambda t: d.shift(t, 0.1),
    }
    for name, function in own.items():
        calls = {OURS: lambda f=function: in_parts(f, x)}
        calls |= {peer: lambda f=other: in_parts(f, x) for peer, other in peers.get(name, {}).items()}
        slow = "median" in name  # SciPy takes a minute
        inner = slow and "kornia" in calls

        def same(results: dict[str, Tensor], inner: bool = inner) -> str:
            if len(results) == 1:
                return nothing_to_compare(results)
            cut = {peer: t[..., 2:-2, 2:-2] if inner else t for peer, t in results.items()}
            return same_images(cut) + (" (inside; kornia pads with zeros)" if inner else "")

        yield Case(name, shape, COUNT, "images", calls, same, turns=2 if slow else turns, bytes=moved)
    content, style = x[:20], torch.rand(1, 3, 32, 32)
    adain = d.load_adain("small")
    with torch.no_grad():
        yield Case(
            "AdaIN, the pair that ships", "20 × 3 × 32 × 32", 20, "images",
            {OURS: lambda: adain(content, style).detach()}, nothing_to_compare, turns, flops=lambda: adain(content, style),
        )  # fmt: skip
    net, filters_ = network("resnet18-w16", 32), list(range(16))
    yield Case(
        "filters maximized, 30 steps", "layer1.0.conv1 of resnet18-w16, 16 filters", 16, "filters",
        {OURS: lambda: saliency.maximize(net, "network.layer1.0.conv1", filters_), "one after another": lambda: torch.stack(
            [saliency.maximize(net, "network.layer1.0.conv1", k) for k in filters_])}, same_images, turns,
    )  # fmt: skip


MEAN = [0.49, 0.48, 0.45]

"""The ball of radius ``eps`` around each image of a batch, in one of two norms."""

from __future__ import annotations

import torch
from torch import Tensor

NORMS = ("linf", "l2")


def l2(t: Tensor) -> Tensor:
    """The Euclidean norm of each image: (N, C, H, W) → (N, 1, 1, 1)."""
    # summed in fp64, where the device has it: in fp32 the norm of a large image is off by more than one part in a million
    precise = torch.float32 if t.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(t, dim=(1, 2, 3), keepdim=True, dtype=precise).to(t.dtype)


def project(x_adv: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """The point of the ball around ``x`` that is nearest to ``x_adv``, then clipped to [0, 1]."""
    delta = x_adv - x
    delta = delta.clamp(-eps, eps) if norm == "linf" else delta * (eps / l2(delta).clamp(min=1e-12)).clamp(max=1)
    x_adv = (x + delta).clamp(0, 1)
    # the sum is rounded, and may be farther from x than delta by half a unit in the last place
    return torch.where((x_adv - x).abs() > delta.abs(), torch.nextafter(x_adv, x), x_adv)


def random_delta(x: Tensor, eps: float, norm: str, generator: torch.Generator | None) -> Tensor:
    """A change for each image, drawn uniformly from the ball."""
    if norm == "linf":
        return (2 * torch.rand(x.shape, generator=generator).to(x) - 1) * eps
    direction = torch.randn(x.shape, generator=generator).to(x)
    radius = torch.rand(len(x), 1, 1, 1, generator=generator).to(x) ** (1 / x[0].numel())
    return eps * radius * direction / l2(direction).clamp(min=1e-12)

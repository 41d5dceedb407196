"""L-BFGS for a batch of independent problems. `torch.optim.LBFGS` takes the batch for one problem, which would couple its images."""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS = 10  # curvature pairs that are remembered; with all fifty the spatial attack reaches the same loss


class QuasiNewton:
    """The two-loop recursion of L-BFGS, with a scale and curvature pairs for each image."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.last: tuple[Tensor, Tensor] | None = None
        self.scale = self.curved = torch.zeros(())

    def direction(self, point: Tensor, gradient: Tensor) -> Tensor:
        """The gradient at ``point`` times the estimated inverse Hessian, all (N, C, H, W). A step is minus a share of it."""
        unit = 1 / gradient.abs().sum((1, 2, 3), keepdim=True).clamp(min=1e-30)
        if self.last is None:
            self.scale, self.curved = unit, torch.zeros_like(unit, dtype=torch.bool)
        else:
            moved, turned = point - self.last[0], gradient - self.last[1]
            curvature = _dot(moved, turned)
            positive = curvature > 1e-10
            # a pair of zeros changes nothing: an image whose curvature is not positive gets one
            pair = moved * positive, turned * positive, torch.where(positive, 1 / curvature, 0)
            self.pairs = [*self.pairs, pair][-PAIRS:]
            self.curved = self.curved | positive
            # the gradient of a confident image is nearly zero: with a first scale of 1 the image would not move
            self.scale = torch.where(positive, curvature / _dot(turned, turned), torch.where(self.curved, self.scale, unit))
        self.last = point, gradient
        direction, shares = gradient, []
        for moved, turned, inverse in reversed(self.pairs):
            shares.append(inverse * _dot(moved, direction))
            direction = direction - shares[-1] * turned
        direction = self.scale * direction
        for (moved, turned, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            direction = direction + (share - inverse * _dot(turned, direction)) * moved
        return direction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)

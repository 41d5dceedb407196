"""The spatial attack: it moves pixels instead of changing their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import check_batch, evaluating, logits_of
from .ball import l2
from .checks import check_choice, check_count, check_size
from .flow import total_variation, warp
from .lbfgs import QuasiNewton

METHODS = {"first-order": (10, 0.1), "lbfgs": (50, 0.5)}  # default steps and step size


def spatial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int | None = None,
    tv_weight: float = 0.05,
    step_size: float | None = None,
    method: str = "first-order",
) -> Tensor:
    """`warp` each image by the flow that minimizes −CE + tv_weight · TV.

    TV = Σ √(‖f_p − f_q‖² + 1e-7) − √1e-7 over all pairs p, q of neighboring pixels, each pair once. The flow f is in half sides of the
    image (of the longer side, where the sides differ), as in the code of Zhang & Zhu 2019. The 1e-7 makes TV differentiable at f = 0.
    The flow starts at zero and has no bound but TV. Every image is a problem of its own, and keeps the flow with the lowest objective
    of all steps: its cross-entropy never falls.

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels.
        steps: number of gradients; default 10, for ``lbfgs`` 50 (the code's 5 × 10).
        step_size: for ``first-order`` the root mean square of the first step, in pixels, default 0.1; for ``lbfgs`` the share of the
            quasi-Newton step that is taken, default 0.5.
        method: ``first-order`` steps along the gradient divided by its norm, and its steps shrink linearly to zero. ``lbfgs`` has no
            line search; until an image shows positive curvature, its step has an L1 norm of ``step_size`` half sides.

    Returns:
        x_adv like ``x``, within [0, 1].

    Raises:
        ValueError: pixels outside [0, 1] by more than 1e-6, a number that is negative or not finite, or an unknown method.

    Source: Xiao et al. 2018.
    """
    check_choice("method", method, METHODS)
    usual_steps, usual_size = METHODS[method]
    steps, step_size = usual_steps if steps is None else steps, usual_size if step_size is None else step_size
    check_count("steps", steps, 0)
    check_size("tv_weight", tv_weight)
    check_size("step_size", step_size)
    check_batch(x, y)
    x = x.detach()
    if steps == 0:
        return x.clone()
    exact = x if x.dtype == torch.float64 else x.float()
    n, _, h, w = x.shape
    half_side = max(h - 1, w - 1, 1) / 2
    flow = best = exact.new_zeros(n, 2, h, w)
    lowest = exact.new_full((n,), float("inf"))
    quasi_newton = QuasiNewton()
    with evaluating(model):
        for done in range(steps + 1):
            flow = flow.detach().requires_grad_()
            with torch.set_grad_enabled(done < steps):
                logits = logits_of(model, warp(exact, half_side * flow).to(x.dtype), None if done else y).float()
                objective = tv_weight * total_variation(flow) - F.cross_entropy(logits, y, reduction="none")
            better = objective.detach() < lowest
            lowest = torch.where(better, objective.detach(), lowest)
            best = torch.where(better[:, None, None, None], flow.detach(), best)
            if done == steps:
                break
            (gradient,) = torch.autograd.grad(objective, flow, torch.ones_like(objective))
            if method == "lbfgs":
                flow = flow.detach() - step_size * quasi_newton.direction(flow.detach(), gradient)
            else:
                rms = l2(gradient).clamp(min=1e-30) / (2 * h * w) ** 0.5
                flow = flow.detach() - step_size / half_side * (1 - done / steps) * gradient / rms
    return warp(exact, half_side * best).clamp(0, 1).to(x.dtype)

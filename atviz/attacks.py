"""Gradient attacks: a batch of images in [0, 1] and a model from [0, 1] to logits in, adversarial images out.

Every attack leaves the model as it found it: the train/eval flag of each module, batch-norm buffers, ``requires_grad`` and ``.grad``.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import check_pixels, evaluating

NORMS, STEPS = ("linf", "l2"), ("sign", "gradient")
FLOW_METHODS = {"first-order": (10, 0.1), "lbfgs": (50, 0.5)}  # default steps and step size
CURVATURE_PAIRS = 10  # that L-BFGS remembers; all fifty reach the same loss


def fgsm(model: nn.Module, x: Tensor, y: Tensor, *, eps: float) -> Tensor:
    """x + eps · sign(∂CE/∂x), clipped to [0, 1] (Goodfellow et al. 2015). Shapes, checks and errors as `pgd`."""
    return pgd(model, x, y, eps=eps, step_size=eps, steps=1)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    norm: str = "linf",
    step: str | None = None,
    random_start: bool = False,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    seed: int | None = None,
) -> Tensor:
    """Projected gradient ascent on the cross-entropy (Madry et al. 2018).

    Each step moves by ``step_size`` times the gradient's sign (``step="sign"``) or times the gradient divided by its L2 norm
    (``"gradient"``), then projects onto the ball of radius ``eps`` around ``x`` and onto [0, 1].

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels.
        eps, step_size: in pixel units, where the range of a pixel is 1.
        step: default ``"sign"`` for L∞ and ``"gradient"`` for L2; the recipes of Zhang & Zhu take sign steps for both.
        random_start: begin at a point drawn uniformly from the ball instead of at ``x``.
        generator: that random starts are drawn from; or ``seed``, from which every call draws anew: each batch, whatever the network, starts
            at the same changes.
        restarts: runs, of which each image keeps its own best: misclassified before correct, then the higher loss.

    Returns:
        x_adv like ``x``: ‖x_adv − x‖ ≤ eps·(1 + 1e-6), within [0, 1].

    Raises:
        ValueError: pixels outside [0, 1] by more than 1e-6, a negative eps or step size, or an option that is not offered.
    """
    if seed is not None:
        if generator is not None:
            raise ValueError(f"seed is {seed}, but a generator is given, too; give one or the other")
        generator = torch.Generator().manual_seed(seed)
    step = step or ("sign" if norm == "linf" else "gradient")
    _check(x, y, eps, step_size, steps, norm, step, restarts, random_start)
    x = x.detach()
    if eps == 0 or (steps == 0 and not random_start):
        return x.clone()
    with evaluating(model):
        best = _ascend(model, x, y, eps, step_size, steps, norm, step, random_start, generator)
        if restarts == 1:
            return best
        best_fooled, best_loss = _judge(model, best, y)
        for _ in range(restarts - 1):
            candidate = _ascend(model, x, y, eps, step_size, steps, norm, step, random_start, generator)
            fooled, loss = _judge(model, candidate, y)
            better = (fooled & ~best_fooled) | ((fooled == best_fooled) & (loss > best_loss))
            best = torch.where(better[:, None, None, None], candidate, best)
            best_fooled, best_loss = best_fooled | fooled, torch.where(better, loss, best_loss)
    return best


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
    """Move pixels instead of changing them: `warp` by the flow that minimizes −CE + tv_weight · TV (Xiao et al. 2018).

    TV = Σ √(‖f_p − f_q‖² + 1e-7) − √1e-7 over all pairs p, q of pixels side by side, each pair once, with the flow f in half sides
    of the image (the longer side, where they differ), as in the code of Zhang & Zhu 2019; the 1e-7 makes it differentiable at rest. The
    flow starts at zero and is not bounded otherwise. Of all flows on its way each image, a problem of its own, keeps the one of
    the lowest objective, so that its cross-entropy never falls.

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels.
        steps: gradients taken; default 10, for ``lbfgs`` 50 (the code's 5 × 10).
        step_size: ``first-order``: root mean square of the first step, in pixels, default 0.1; ``lbfgs``: share of the quasi-Newton
            step that is taken, default 0.5.
        method: ``first-order``, steps along the gradient divided by its norm, which shrink linearly to zero; ``lbfgs`` without line
            search, whose step has an L1 norm of ``step_size`` half sides until an image shows positive curvature.

    Returns:
        x_adv like ``x``, within [0, 1].

    Raises:
        ValueError: pixels outside [0, 1] by more than 1e-6, a number that is negative or not finite, or an unknown method.
    """
    if method not in FLOW_METHODS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(FLOW_METHODS)}")
    usual_steps, usual_size = FLOW_METHODS[method]
    steps, step_size = usual_steps if steps is None else steps, usual_size if step_size is None else step_size
    if steps < 0:
        raise ValueError(f"steps is {steps}; it must be at least 0")
    for name, value in (("tv_weight", tv_weight), ("step_size", step_size)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} is {value}; it must be at least 0, and finite")
    _check_batch(x, y)
    x = x.detach()
    if steps == 0:
        return x.clone()
    exact = x if x.dtype == torch.float64 else x.float()
    n, _, h, w = x.shape
    half_side = max(h - 1, w - 1, 1) / 2
    flow = best = exact.new_zeros(n, 2, h, w)
    lowest = exact.new_full((n,), float("inf"))
    quasi_newton = _QuasiNewton()
    with evaluating(model):
        for done in range(steps + 1):
            flow = flow.detach().requires_grad_()
            with torch.set_grad_enabled(done < steps):
                logits = model(warp(exact, half_side * flow).to(x.dtype)).float()
                objective = tv_weight * _total_variation(flow) - F.cross_entropy(logits, y, reduction="none")
            better = objective.detach() < lowest
            lowest = torch.where(better, objective.detach(), lowest)
            best = torch.where(better[:, None, None, None], flow.detach(), best)
            if done == steps:
                break
            (gradient,) = torch.autograd.grad(objective, flow, torch.ones_like(objective))
            if method == "lbfgs":
                flow = flow.detach() - step_size * quasi_newton.direction(flow.detach(), gradient)
            else:
                rms = _l2(gradient).clamp(min=1e-30) / (2 * h * w) ** 0.5
                flow = flow.detach() - step_size / half_side * (1 - done / steps) * gradient / rms
    return warp(exact, half_side * best).clamp(0, 1).to(x.dtype)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample ``x`` (N, C, H, W) bilinearly at each pixel's place plus ``flow`` (N, 2, H, W): rows down, columns right, in pixels.

    Places outside the image count as the nearest on its border. Whole-numbered flows are exact: zero leaves every bit as it is, which
    `torch.nn.functional.grid_sample` with its places in [−1, 1] does not.
    """
    n, c, h, w = x.shape
    row = (flow[:, :1] + torch.arange(h, device=x.device)[:, None]).clamp(0, h - 1)
    column = (flow[:, 1:] + torch.arange(w, device=x.device)).clamp(0, w - 1)
    top, left = row.detach().floor(), column.detach().floor()
    down, right = row - top, column - left
    pixels = x.flatten(2)

    def at(below: int, beside: int) -> Tensor:
        index = (top + below).clamp(max=h - 1).long() * w + (left + beside).clamp(max=w - 1).long()
        return pixels.gather(2, index.flatten(2).expand(n, c, h * w)).view(n, c, h, w)

    upper = at(0, 0) * (1 - right) + at(0, 1) * right
    lower = at(1, 0) * (1 - right) + at(1, 1) * right
    return upper * (1 - down) + lower * down


def _total_variation(flow: Tensor) -> Tensor:
    distances = [((flow.diff(dim=dim).square().sum(1) + 1e-7).sqrt() - 1e-7**0.5).flatten(1).sum(1) for dim in (2, 3)]
    return distances[0] + distances[1]


class _QuasiNewton:
    """L-BFGS's two-loop recursion, with scale and curvature pairs of each image's own: one for the batch would couple its images."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.last: tuple[Tensor, Tensor] | None = None
        self.scale = self.curved = torch.zeros(())

    def direction(self, flow: Tensor, gradient: Tensor) -> Tensor:
        unit = 1 / gradient.abs().sum((1, 2, 3), keepdim=True).clamp(min=1e-30)
        if self.last is None:
            self.scale, self.curved = unit, torch.zeros_like(unit, dtype=torch.bool)
        else:
            moved, turned = flow - self.last[0], gradient - self.last[1]
            curvature = _dot(moved, turned)
            positive = curvature > 1e-10
            # where it is not positive the pair is zero, and changes nothing
            pair = moved * positive, turned * positive, torch.where(positive, 1 / curvature, 0)
            self.pairs = [*self.pairs, pair][-CURVATURE_PAIRS:]
            self.curved = self.curved | positive
            # a confident image has no gradient to speak of, and would stay where it is with a first scale of 1
            self.scale = torch.where(positive, curvature / _dot(turned, turned), torch.where(self.curved, self.scale, unit))
        self.last = flow, gradient
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


def _ascend(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, step_size: float, steps: int, norm: str, step: str,
    random_start: bool, generator: torch.Generator | None,
) -> Tensor:  # fmt: skip
    x_adv = _project(x + _random_delta(x, eps, norm, generator), x, eps, norm) if random_start else x
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        # summed, not averaged: an image's gradient must not depend on the size of its batch
        with torch.enable_grad():
            loss = F.cross_entropy(model(x_adv).float(), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        direction = gradient.sign() if step == "sign" else gradient / _l2(gradient).clamp(min=1e-12)
        x_adv = _project(x_adv.detach() + step_size * direction, x, eps, norm)
    return x_adv


def _project(x_adv: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    delta = x_adv - x
    delta = delta.clamp(-eps, eps) if norm == "linf" else delta * (eps / _l2(delta).clamp(min=1e-12)).clamp(max=1)
    x_adv = (x + delta).clamp(0, 1)
    # the sum is rounded, and may lie farther from x than delta by half a unit in the last place
    return torch.where((x_adv - x).abs() > delta.abs(), torch.nextafter(x_adv, x), x_adv)


def _random_delta(x: Tensor, eps: float, norm: str, generator: torch.Generator | None) -> Tensor:
    if norm == "linf":
        return (2 * torch.rand(x.shape, generator=generator).to(x) - 1) * eps
    direction = torch.randn(x.shape, generator=generator).to(x)
    radius = torch.rand(len(x), 1, 1, 1, generator=generator).to(x) ** (1 / x[0].numel())
    return eps * radius * direction / _l2(direction).clamp(min=1e-12)


def _l2(t: Tensor) -> Tensor:
    # summed in fp64, where the device has it: in fp32 the norm of a large image is off by more than one part in a million
    precise = torch.float32 if t.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(t, dim=(1, 2, 3), keepdim=True, dtype=precise).to(t.dtype)


@torch.no_grad()
def _judge(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each image is misclassified, and its cross-entropy, in fp32."""
    with torch.autocast(x.device.type, enabled=False):
        logits = model(x).float()
    return logits.argmax(1) != y, F.cross_entropy(logits, y, reduction="none")


def _check(x: Tensor, y: Tensor, eps: float, step_size: float, steps: int, norm: str, step: str, restarts: int, random_start: bool) -> None:
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}; it must be one of {', '.join(NORMS)}")
    if step not in STEPS:
        raise ValueError(f"step is {step!r}; it must be one of {', '.join(STEPS)}")
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps is {eps}; it must be at least 0, in pixel units (8/255, not 8)")
    if norm == "linf" and eps > 1:
        raise ValueError(f"eps is {eps}, more than the whole range of a pixel, [0, 1]; for 255ths write {eps:g}/255")
    if not 0 <= step_size < float("inf"):
        raise ValueError(f"step_size is {step_size}; it must be at least 0, in pixel units")
    if steps < 0 or restarts < 1:
        raise ValueError(f"steps is {steps} and restarts {restarts}; they must be at least 0 and 1")
    if restarts > 1 and not random_start:
        raise ValueError(f"restarts is {restarts} without random_start: every run would be the same")
    _check_batch(x, y)


def _check_batch(x: Tensor, y: Tensor) -> None:
    check_pixels(x)
    if y.shape != x.shape[:1]:
        raise ValueError(f"y has shape {tuple(y.shape)} for {len(x)} images; it must be ({len(x)},)")


def warn_if_masked(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Warn of what makes gradient attacks fail without the model being robust (Athalye et al. 2018).

    Looks for an output that is a softmax, for images whose gradient is exactly zero, and for an output that changes from call to call.
    """
    with evaluating(model), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = model(leaf)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), y, reduction="sum"), leaf)
        with torch.no_grad():
            again = model(x)
    found = []
    if bool((logits >= 0).all()) and torch.allclose(logits.sum(1), torch.ones_like(logits[:, 0]), atol=1e-3):
        found.append("its output is a probability (a softmax), not logits")
    dead = int((gradient.flatten(1).abs().amax(1) == 0).sum())
    if dead > len(x) / 10:
        found.append(f"the gradient of {dead} of {len(x)} images is exactly zero")
    if not torch.allclose(logits, again, rtol=1e-2, atol=1e-3):
        found.append("its output changes from call to call")
    if found:
        warnings.warn(f"robust accuracy of this model may be false: {'; '.join(found)}", stacklevel=3)

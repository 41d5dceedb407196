"""Saliency maps: what a small change of each pixel does to the score of a class. Each returns a tensor shaped like ``x``."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .models import Normalize, check_pixels, evaluating

SCORES = ("log_prob", "logit", "loss")


def grad(model: nn.Module, x: Tensor, y: Tensor, *, score: str = "log_prob") -> Tensor:
    """The gradient ∂S_y/∂x of each image's score (Simonyan et al. 2014).

    Args:
        model: [0, 1] → logits; evaluated in eval mode and left as it was.
        x: (N, C, H, W) in [0, 1].
        y: (N,) the class whose score is taken.
        score: ``log_prob`` (log p_y, Zhang & Zhu 2019), ``logit`` (f_y) or ``loss`` (cross-entropy, −log p_y).

    Raises:
        ValueError: an unknown score, or pixels outside [0, 1].
    """
    _check(x, score)
    with evaluating(model):
        return _gradient(model, x, y, score)


def smooth_grad(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    n: int = 100,
    sigma: float = 0.1,
    score: str = "log_prob",
    chunk: int | None = None,
    seed: int = 0,
) -> Tensor:
    """The mean of `grad` over ``n`` noisy copies of each image (Smilkov et al. 2017).

    The noise is Gaussian with standard deviation sigma · (x_max − x_min), the range taken per image. It is drawn from ``seed``
    and the image's own pixels: neither the chunk nor the rest of the batch changes an image's map, beyond rounding.

    Args:
        chunk: copies times images in one forward pass; default 256.

    Raises:
        ValueError: as `grad`; an n below 1 or a negative sigma.
    """
    *_, (_, maps) = smoothing(model, x, y, n=n, sigma=sigma, score=score, chunk=chunk, seed=seed)
    return maps


def smoothing(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    n: int = 100,
    sigma: float = 0.1,
    score: str = "log_prob",
    chunk: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[int, Tensor]]:
    """`smooth_grad` as it grows: after every ``chunk`` noisy copies of each image, how many they are by now and the mean over them.

    The last mean is `smooth_grad`'s. Between two of them the model is as it was.
    """
    _check(x, score)
    if n < 1 or not sigma >= 0:
        raise ValueError(f"n is {n} and sigma {sigma}; they must be at least 1 and 0")
    chunk = 256 if chunk is None else chunk
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; it must be at least 1")
    pixels = [image.detach().float().cpu().contiguous().numpy() for image in x]
    generators = [torch.Generator().manual_seed(zlib.crc32(p.tobytes(), seed & 0xFFFFFFFF)) for p in pixels]
    total = torch.zeros_like(x)
    for start in range(0, n, chunk):
        copies = min(chunk, n - start)
        with evaluating(model):
            for i, (image, generator) in enumerate(zip(x, generators, strict=True)):
                # one draw for each copy: a larger tensor would be filled in another order
                noise = torch.stack([torch.randn(image.shape, generator=generator) for _ in range(copies)]).to(image)
                spread = sigma * (image.max() - image.min())
                total[i] += _gradient(model, image + spread * noise, y[i].expand(copies), score).sum(0)
        yield start + copies, total / (start + copies)


def guided_backprop(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the logit of ``y`` in which every ReLU lets only positive gradients of active units pass (Springenberg et al. 2015).

    Right for in-place ReLUs and for one ReLU module that is used several times. The model is left as it was.

    Raises:
        ValueError: pixels outside [0, 1]; a model without ReLU modules, or one that calls a functional ReLU, which a rule set on
            modules would miss.
    """
    _check(x, "logit")
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    if not relus:
        raise ValueError(f"guided backpropagation needs nn.ReLU modules, and {type(model).__name__} has none")
    own = [vars(module).get("forward") for module in relus]  # libraries that wrap a module's forward put theirs here
    try:
        for module in relus:
            module.forward = _GuidedReLU.apply  # type: ignore[method-assign]
        with evaluating(model), _NoFunctionalReLU():
            return _gradient(model, x, y, "logit")
    finally:
        for module, forward in zip(relus, own, strict=True):
            if forward is None:
                del module.forward  # the class's own is found again
            else:
                module.forward = forward  # type: ignore[method-assign]


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        out = x.clamp(min=0)
        context.save_for_backward(out)
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (out,) = context.saved_tensors
        return gradient.clamp(min=0) * (out > 0)


class _NoFunctionalReLU(TorchFunctionMode):
    FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self.FUNCTIONS:
            raise ValueError(f"guided backpropagation would miss the call of {function.__name__}; make it an nn.ReLU module")
        return function(*args, **(kwargs or {}))


def integrated_gradients(model: nn.Module, x: Tensor, y: Tensor, *, steps: int = 50, baseline: Tensor | None = None) -> Tensor:
    """The mean of the logit's gradient along the straight line from a baseline to each image, at ``steps`` left Riemann points.

    As Itazuri et al. (2019) define it, without the factor (x − baseline) of Sundararajan et al. (2017).

    Args:
        baseline: broadcast against ``x``, in pixel units; default zero *in the normalized space*: the mean of the model's own
            normalizing layer, or 0 for a model that has none.

    Raises:
        ValueError: pixels outside [0, 1], or fewer than one step.
    """
    _check(x, "logit")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    if baseline is None:
        layer = next((module for module in model.modules() if isinstance(module, Normalize)), None)
        baseline = torch.zeros_like(x[:1]) if layer is None else layer.mean
    start, maps = baseline.to(x).expand_as(x), torch.zeros_like(x)
    with evaluating(model):
        for k in range(steps):
            maps += _gradient(model, start + (x - start) * (k / steps), y, "logit")
    return maps / steps


def _gradient(model: nn.Module, x: Tensor, y: Tensor, score: str) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = model(leaf).float()
        if score == "logit":
            total = logits.gather(1, y[:, None]).sum()
        else:
            loss = F.cross_entropy(logits, y, reduction="sum")
            total = loss if score == "loss" else -loss
    return torch.autograd.grad(total, leaf)[0]


def _check(x: Tensor, score: str) -> None:
    if score not in SCORES:
        raise ValueError(f"score is {score!r}; it must be one of {', '.join(SCORES)}")
    check_pixels(x)


# The five sensitivity maps of Itazuri et al. (2019), section 3, each a function (model, x, y) -> maps.
METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "Vanilla": partial(grad, score="logit"),
    "Loss": partial(grad, score="loss"),
    "Guided Backprop": guided_backprop,
    "SmoothGrad": partial(smooth_grad, n=50, sigma=0.2, score="logit"),
    "Integrated": integrated_gradients,
}


def magnitude(maps: Tensor) -> Tensor:
    """Σ_channels |map|: (N, C, H, W) → (N, H, W)."""
    return maps.abs().sum(1)


def gini(maps: Tensor) -> Tensor:
    """Sparsity of each map's magnitude, (N,): 0 where all pixels count alike, toward 1 where one pixel counts alone.

    Source: Hurley & Rickard 2009.
    """
    values = magnitude(maps).flatten(1).double().sort(1).values
    count = values.shape[1]
    rank = torch.arange(1, count + 1, device=values.device, dtype=torch.float64)
    total = values.sum(1)
    gini = ((2 * rank - count - 1) * values).sum(1) / (count * total.clamp(min=1e-300))
    return torch.where(total > 0, gini, 0)


def edge_agreement(maps: Tensor, x: Tensor) -> Tensor:
    """Spearman's rank correlation, (N,), of each map's magnitude with the edges of its image.

    The edges are the Sobel gradient's magnitude of the channel mean, borders replicated. A constant map or image gives 0.
    """
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=x.device)
    gray = F.pad(x.float().mean(1, keepdim=True), [1] * 4, mode="replicate")
    edges = F.conv2d(gray, torch.stack([kernel, kernel.T])[:, None]).norm(dim=1)
    return rank_correlation(magnitude(maps).flatten(1), edges.flatten(1))


def octaves(side: int) -> list[float]:
    """Upper radii of frequency bands an octave wide for images of a side: 2, 4, 8 … cycles per image, the last one unbounded."""
    edges = [2.0]
    while 4 * edges[-1] < side:
        edges.append(2 * edges[-1])
    return [*edges, float("inf")]


def band_names(radii: Sequence[float]) -> list[str]:
    """The bands of `band_shares` in words: ``≤ 2``, ``2–4``, ``> 8``."""
    upper = [f"{low:g}–{high:g}" if high < float("inf") else f"> {low:g}" for low, high in pairwise(radii)]
    return [f"≤ {radii[0]:g}", *upper]


def band_shares(maps: Tensor, radii: Sequence[float]) -> Tensor:
    """Shares, (N, len(radii)), of each map's energy in the Fourier modes farther from zero frequency than one radius and at most at
    the next, in cycles per image: the first band begins at zero frequency."""
    power = torch.fft.fft2(maps.double()).abs().square().sum(1)
    h, w = maps.shape[-2:]
    v, u = (torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=maps.device) for n in (h, w))
    distance = torch.hypot(v[:, None], u[None, :])
    upto = torch.stack([(power * (distance <= radius)).sum((1, 2)) for radius in radii], 1)
    bands = torch.diff(upto, dim=1, prepend=torch.zeros_like(upto[:, :1]))
    return bands / power.sum((1, 2)).clamp(min=1e-300)[:, None]


def coarse_share(maps: Tensor, radius: float = 4) -> Tensor:
    """Share, (N,), of each map's energy in the Fourier modes at most ``radius`` cycles per image from zero frequency."""
    return band_shares(maps, [radius])[:, 0]


def display(maps: Tensor) -> Tensor:
    """Magnitudes as they are shown, (N, H, W) in [0, 1]: each clipped at its own 99th percentile (Zhang & Zhu's code)."""
    values = magnitude(maps)
    top = values.flatten(1).float().quantile(0.99, dim=1).to(values)[:, None, None]
    return torch.where(top > 0, values / top.clamp(min=1e-30), 0).clamp(max=1)


def similarity(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """How alike two sets of maps (N, C, H, W) are, image by image, (N,) each, 1 for the same map.

    ``rank``: `rank_correlation` of their magnitudes. ``ssim``: mean structural similarity of their magnitudes as displayed
    (`display`), under a Gaussian window of σ = 1.5 and 11 × 11 pixels, where it lies wholly inside (Wang et al. 2004).

    Raises:
        ValueError: maps of different shapes, or smaller than the window.
    """
    if a.shape != b.shape or min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"maps of {tuple(a.shape)} and {tuple(b.shape)}; they must have one shape, at least {WINDOW} pixels a side")
    rank = rank_correlation(magnitude(a).flatten(1), magnitude(b).flatten(1))
    return {"rank": rank, "ssim": _ssim(display(a), display(b))}


WINDOW = 11


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    at = torch.arange(WINDOW, device=a.device, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-(at**2) / (2 * 1.5**2))
    down = (line / line.sum()).view(1, 1, -1, 1)
    a, b = a.double()[:, None], b.double()[:, None]
    mean_a, mean_b, aa, bb, ab = (F.conv2d(F.conv2d(t, down), down.mT) for t in (a, b, a * a, b * b, a * b))
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_a * mean_b + c1) * (2 * (ab - mean_a * mean_b) + c2)
    return (above / ((mean_a**2 + mean_b**2 + c1) * (aa - mean_a**2 + bb - mean_b**2 + c2))).mean((1, 2, 3))


def region_shares(maps: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Shares of each map's energy, Σ_channels map², on the ``edge`` of a silhouette, ``inside`` and ``outside`` it: (N,) each, of sum 1.

    ``mask``, (N, H, W), is the silhouette's coverage; its edge is where the nine pixels around a pixel are neither all in nor all out.
    A map of zeros has shares of zero.
    """
    covered = (mask.to(maps.device) > 0.5).double()[:, None]
    grown, shrunk = F.max_pool2d(covered, 3, 1, 1), -F.max_pool2d(-covered, 3, 1, 1)
    regions = {"edge": grown - shrunk, "inside": shrunk, "outside": 1 - grown}
    energy = maps.double().square().sum(1, keepdim=True)
    total = energy.sum((1, 2, 3)).clamp(min=1e-300)
    return {name: (energy * region).sum((1, 2, 3)) / total for name, region in regions.items()}


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of each row of two (N, P) tensors, ties ranked by their mean; 0 where a row is constant."""
    ra, rb = (_ranks(t.double()) for t in (a, b))
    ra, rb = ra - ra.mean(1, keepdim=True), rb - rb.mean(1, keepdim=True)
    norm = ra.norm(dim=1) * rb.norm(dim=1)
    return torch.where(norm > 0, (ra * rb).sum(1) / norm.clamp(min=1e-300), 0)


def _ranks(t: Tensor) -> Tensor:
    ordered = t.sort(1).values.contiguous()
    below = torch.searchsorted(ordered, t.contiguous(), right=False)
    upto = torch.searchsorted(ordered, t.contiguous(), right=True)
    return (below + upto - 1).double() / 2

"""Saliency as a gradient: the plain one, its mean over noisy copies, and its mean along a path."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import Normalize, check_batch, evaluating, fast_autocast, folded, halved, logits_of

SCORES = ("log_prob", "logit", "loss")
# on a CPU the activations of one pass should fit its cache: so many pixels, and so many images at most
PASS_PIXELS, PASS_IMAGES = 500_000, 100


def grad(model: nn.Module, x: Tensor, y: Tensor, *, score: str = "log_prob") -> Tensor:
    """The gradient ∂S_y/∂x of each image's score (Simonyan et al. 2014).

    Not captum's `Saliency`: it knows no ``log_prob`` and no ``loss``, and takes absolute values unless told otherwise.

    Args:
        model: [0, 1] → logits; evaluated in eval mode and left as it was.
        x: (N, C, H, W) in [0, 1].
        y: (N,) the class whose score is taken.
        score: ``log_prob`` (log p_y, Zhang & Zhu 2019), ``logit`` (f_y) or ``loss`` (cross-entropy, −log p_y).

    Raises:
        ValueError: an unknown score, or pixels outside [0, 1].

    The logit of a linear model has its weights as gradient:

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = nn.init.constant_(model[1].weight, 3.0)
    >>> grad(model, torch.rand(1, 1, 2, 2), torch.tensor([1]), score="logit")
    tensor([[[[3., 3.],
              [3., 3.]]]])
    """
    check_score(x, y, score)
    with evaluating(model):
        return in_passes(folded(model, x), x, y, score)


def in_passes(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, score: str) -> Tensor:
    """The gradient of the score, by passes of `pass_size` images through the network as it is."""
    size = pass_size(x)
    return torch.cat([_gradient(network, part, labels, score) for part, labels in zip(x.split(size), y.split(size), strict=True)])


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
    bf16: bool | None = None,
) -> Tensor:
    """The mean of `grad` over ``n`` noisy copies of each image (Smilkov et al. 2017).

    The noise is Gaussian with standard deviation sigma · (x_max − x_min), the range taken per image. It is drawn from ``seed``
    and the image's own pixels: neither the chunk nor the rest of the batch changes an image's map, beyond rounding. Captum's
    `NoiseTunnel` cannot promise this: its deviation is one absolute number for all images, and its draws depend on the chunk.

    Args:
        chunk: noisy copies in one pass, of one image or of several; default `pass_size`.
        bf16: the passes in bfloat16, by default where the hardware is faster for it. `python -m benchmarks saliency` measures
            the error of the map.

    Raises:
        ValueError: as `grad`; an n below 1 or a negative sigma.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = nn.init.constant_(model[1].weight, 3.0)
    >>> smooth_grad(model, torch.rand(1, 1, 2, 2), torch.tensor([1]), n=5, score="logit")
    tensor([[[[3., 3.],
              [3., 3.]]]])
    """
    *_, (_, maps) = smoothing(model, x, y, n=n, sigma=sigma, score=score, chunk=chunk, seed=seed, bf16=bf16)
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
    bf16: bool | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """`smooth_grad` as it grows: after every ``chunk`` noisy copies of each image, the number of copies so far and the mean over them.

    The last mean is `smooth_grad`'s. Between two of them the model is as it was.
    """
    check_score(x, y, score)
    if n < 1 or not sigma >= 0:
        raise ValueError(f"n is {n} and sigma {sigma}; they must be at least 1 and 0")
    chunk = pass_size(x) if chunk is None else chunk
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; it must be at least 1")
    generators = [torch.Generator().manual_seed(image_seed(image, seed)) for image in x]
    total = torch.zeros_like(x)
    for start in range(0, n, chunk):
        copies = min(chunk, n - start)
        with evaluating(model):
            network = folded(model, x)
            # few copies of an image share a pass with those of its neighbors
            for few in torch.arange(len(x)).split(max(1, chunk // copies)):
                # one draw for each copy: a larger tensor would be filled in another order
                noise = torch.stack([torch.randn(x.shape[1:], generator=generators[i]) for i in few for _ in range(copies)]).to(x)
                images, few = x[few], few.to(x.device)
                spread = sigma * (images.amax((1, 2, 3), True) - images.amin((1, 2, 3), True))
                noisy = images.repeat_interleave(copies, 0) + spread.repeat_interleave(copies, 0) * noise
                with fast_autocast(x.device, bf16):
                    maps = _gradient(network, noisy, y[few].repeat_interleave(copies), score)
                total[few] += maps.view(len(few), copies, *x.shape[1:]).sum(1)
        yield start + copies, total / (start + copies)


def integrated_gradients(
    model: nn.Module, x: Tensor, y: Tensor, *, steps: int = 50, baseline: Tensor | None = None, bf16: bool | None = None
) -> Tensor:  # fmt: skip
    """The mean of the logit's gradient along the straight line from a baseline to each image, at ``steps`` left Riemann points.

    As Itazuri et al. (2019) define it, without the factor (x − baseline) of Sundararajan et al. (2017). By captum, in passes of
    `pass_size` images.

    Args:
        baseline: broadcast against ``x``, in pixel units; default `mean_image`, which is zero *in the normalized space*.
        bf16: as in `smooth_grad`.

    Raises:
        ValueError: pixels outside [0, 1], or fewer than one step.
    """
    from captum.attr import IntegratedGradients  # half a second

    check_batch(x, y)
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    start = (mean_image(model, x) if baseline is None else baseline).to(x).expand_as(x)
    size = pass_size(x)
    with evaluating(model), fast_autocast(x.device, bf16):
        explainer = IntegratedGradients(folded(model, x), multiply_by_inputs=False)
        along = partial(explainer.attribute, n_steps=steps, method="riemann_left")

        def path(part: Tensor, base: Tensor, labels: Tensor) -> Tensor:
            # of a half, half of the points at once
            few = max(1, size * len(part) // min(size, len(x)))
            return along(part, base, target=labels, internal_batch_size=max(few, len(part)))

        parts = [
            halved(path, part, base, labels)
            for part, base, labels in zip(x.detach().split(size), start.split(size), y.split(size), strict=True)
        ]
    maps = torch.cat(parts)
    return maps.to(x.dtype)


def pass_size(x: Tensor) -> int:
    """How many images like those of ``x`` (N, C, H, W) should go through a network at once, forward and backward."""
    return max(1, min(PASS_IMAGES, PASS_PIXELS // x[0, 0].numel())) if x.device.type == "cpu" and len(x) else 256


def mean_image(model: nn.Module, x: Tensor) -> Tensor:
    """The image (1, C, H, W) that the model's own normalizing layer takes to zero; zeros for a model without such a layer."""
    layer = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    return torch.zeros_like(x[:1]) if layer is None else layer.mean.to(x).expand_as(x[:1])


def image_seed(image: Tensor, seed: int) -> int:
    """A seed of an image's own pixels, so that its random numbers do not depend on the images beside it."""
    return zlib.crc32(image.detach().float().cpu().contiguous().numpy().tobytes(), seed & 0xFFFFFFFF)


def check_score(x: Tensor, y: Tensor, score: str) -> None:
    """ValueError unless the score is one of `SCORES`, and pixels and labels are such (`models.check_batch`)."""
    if score not in SCORES:
        raise ValueError(f"score is {score!r}; it must be one of {', '.join(SCORES)}")
    check_batch(x, y)


def _gradient(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, score: str) -> Tensor:
    return halved(partial(_gradient_at_once, model, score), x, y)


def _gradient_at_once(model: Callable[[Tensor], Tensor], score: str, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = logits_of(model, leaf, y).float()
        if score == "logit":
            total = logits.gather(1, y[:, None]).sum()
        else:
            loss = F.cross_entropy(logits, y, reduction="sum")
            total = loss if score == "loss" else -loss
    return torch.autograd.grad(total, leaf)[0]

"""Output-side stability: how far a map moves, measured by how far the network's answer moves."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ..data import AnyImages, as_images
from ..models import check_fits, device_of, evaluating, fingerprint, folded, halved, logits_of
from ..saliency import image_seed, magnitude
from .maps import COPIES, method_of
from .records import Store, cell
from .wanted import AnyModel, as_module

BATCH = 100  # images
NOISY = 5  # copies of each image
LEAST = 1e-6  # what is divided by is at least so large


def output_stability(
    model: AnyModel, images: AnyImages, *, sd: float, method: str = "Grad", seed: int = 0, store: Store | None = None
) -> dict[str, np.ndarray]:
    """How far the map of each image moves under noise that does not change the network's decision, by how far its answer moves: (n,) each.

    Each image is compared with `NOISY` copies of itself with Gaussian noise, clipped to [0, 1]. With e = Σ_channels |map| of the true class
    and h the logits, e′ and h′ those of a copy:

    - ``ros``: the largest ‖(e − e′) / e‖ / ‖h − h′‖ of the copies, relative output stability. Its division pixel by pixel gives the
      most weight to pixels where the map is nearly zero, and a sparse map has many of them; Bhusal et al. compare log₁₀ of its mean.
    - ``maps``: ‖e − e′‖ / ‖e‖, mean over the copies.
    - ``outputs``: ‖p − p′‖ of the probabilities, mean over the copies.
    - ``ratio``: the largest (‖e − e′‖ / ‖e‖) / ‖p − p′‖ of the copies. Where the network is sure of its answer, p hardly moves, and it is huge.

    Of ``ros`` and ``ratio``, compare logarithms or medians: their means are those of a few images. All norms are L2. NaN where the
    image, or one of its copies, is not classified correctly. The noise is drawn from ``seed`` and the image's own pixels: it is the same
    for all networks.

    Args:
        sd: of the noise, in the units of pixels.
        method: as in `maps.method_of`. Bhusal et al. take the gradient of the logit, ``Vanilla``.

    Raises:
        ValueError: an sd that is not above 0, an unknown method, or a network that does not fit the images.

    Source: Agarwal et al. 2022 (relative output stability); Bhusal et al. 2026, by their code with uniform noise.
    """
    if not sd > 0:
        raise ValueError(f"sd is {sd}; it must be above 0, in the units of pixels")
    net, held = as_module(model), as_images(images)
    check_fits(net, held)
    ask = method_of(method)

    def run() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for x, y in held.batches(BATCH, device=device_of(net)):
            noise = torch.stack([_noise(image, seed) for image in x], 1).to(x)
            maps, logits = ask(net, x, y), _logits(net, x)
            copies = [_moved(maps, logits, ask(net, shown, y), _logits(net, shown), y) for shown in (x + sd * noise).clamp(0, 1)]
            for name, reduce in (("ros", Tensor.amax), ("maps", Tensor.mean), ("outputs", Tensor.mean), ("ratio", Tensor.amax)):
                found.setdefault(name, []).extend(reduce(torch.stack([copy[name] for copy in copies]), 0).tolist())
        return found

    key = {
        "measure": "output stability", "method": method, "copies": COPIES if method == "SmoothGrad" else None, "sd": sd, "noisy": NOISY, "seed": seed,
        "model": fingerprint(net), "images": held.digest,
    }  # fmt: skip
    return {name: np.array(values) for name, values in cell(store, key, run).items()}


def _moved(maps: Tensor, logits: Tensor, maps_of_copy: Tensor, logits_of_copy: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The numbers of one copy of each image, (N,); NaN where one of the two is not classified as ``y``."""
    a, b = (magnitude(m.double()).flatten(1) for m in (maps, maps_of_copy))
    kept = (logits.argmax(1) == y) & (logits_of_copy.argmax(1) == y)
    pixelwise = ((a - b) / torch.where(a == 0, LEAST, a)).norm(dim=1)
    whole = (a - b).norm(dim=1) / a.norm(dim=1).clamp(min=1e-30)
    outputs = (logits.softmax(1) - logits_of_copy.softmax(1)).norm(dim=1)
    numbers = {
        "ros": pixelwise / (logits - logits_of_copy).norm(dim=1).clamp(min=LEAST), "maps": whole, "outputs": outputs,
        "ratio": whole / outputs.clamp(min=LEAST),
    }  # fmt: skip
    return {name: torch.where(kept, values, torch.nan) for name, values in numbers.items()}


def _noise(image: Tensor, seed: int) -> Tensor:
    """(NOISY, C, H, W), of variance 1."""
    return torch.randn(NOISY, *image.shape, generator=torch.Generator().manual_seed(image_seed(image, seed)))


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with evaluating(model), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return halved(partial(logits_of, folded(model, x)), x).double()

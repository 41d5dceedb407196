"""What the layers of a network respond to: the first one's filters, and images that maximize the deeper ones (Itazuri et al. 2019)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .intervals import mean_interval
from .models import Normalize, evaluating, fingerprint
from .records import Store, cell

LR, WEIGHT_DECAY, START = 0.1, 1e-6, 0.01  # of Adam, and half the range that the first image is drawn from


def convolutions(model: nn.Module, *, shape: Sequence[int] | None = None) -> list[str]:
    """Dotted names of the `nn.Conv2d` modules that a forward pass calls, in the order of their first calls.

    Args:
        shape: (C, H, W) of the images that the network takes; default the channels of its normalizing layer or first convolution,
            and a side of 32 pixels, 224 where the first convolution strides.

    Raises:
        ValueError: a network without convolutions, or one that does not take images of this shape.
    """
    return [name for name, module in _called(model, nn.Conv2d, shape) if isinstance(module, nn.Conv2d)]


def first_layer(model: nn.Module, *, shape: Sequence[int] | None = None) -> Tensor:
    """The filters of the first convolution as they are: (K, C, h, w), a copy on the CPU. Arguments and errors as `convolutions`."""
    return _first(model, shape)[0]


def effective_first_layer(model: nn.Module, *, shape: Sequence[int] | None = None) -> Tensor:
    """`first_layer` with each filter times |gain| / √(running variance + ε) of the batch normalization that is called next.

    These are the filters that the network computes with in eval mode: scaling the weights alone changes the running variance with
    them, and nothing else. Where no batch normalization of as many channels comes next, they are the filters as they are.
    """
    filters, following = _first(model, shape)
    if not isinstance(following, nn.BatchNorm2d) or following.num_features != len(filters) or following.running_var is None:
        return filters
    gain = 1 / (following.running_var + following.eps).sqrt()
    if following.affine:
        gain = gain * following.weight.detach().abs()
    return filters * gain.cpu()[:, None, None, None]


def maximize(
    model: nn.Module,
    layer: str | nn.Module,
    filter: int | Sequence[int],
    *,
    steps: int = 30,
    seed: int = 0,
    shape: Sequence[int] | None = None,
) -> Tensor:
    """An image that maximizes the sum of one filter's output, by Adam (lr 0.1, weight decay 1e-6), as Itazuri et al. (2019) make it.

    The paper ascends in the space of normalized images, from U(−0.01, 0.01). So does this: z is what leaves the model's `Normalize`
    layer, the image is mean + std · z, and only the last one is clamped to [0, 1]; it is shown as it is returned. A model without
    such a layer is ascended with mean 1/2 and std 1/4. A convolution that is called several times counts with all its calls.

    Args:
        model: images → anything; evaluated in eval mode and left as it was.
        layer: a convolution of the model, or its dotted name.
        filter: the index of a filter; or several, whose images are ascended together, each as if it were alone.
        seed: of the first image, which is drawn from it and the filter's index.
        shape: (C, H, W) of the image, by default as `convolutions`.

    Returns:
        (C, H, W) in [0, 1], on the model's device; for several filters (len(filter), C, H, W).

    Raises:
        ValueError: a layer that is no convolution of the model or is not called, a filter that it does not have, negative steps, or
            a shape that the network does not take.
    """
    shape = _shape(model, shape)
    name, convolution = _find(model, layer)
    wanted = [int(index) for index in filter] if isinstance(filter, Iterable) else [int(filter)]
    wrong = [index for index in wanted if not 0 <= index < convolution.out_channels]
    if wrong or not wanted:
        raise ValueError(f"filter is {wrong[0] if wrong else wanted}; {name} has filters 0 to {convolution.out_channels - 1}")
    if steps < 0:
        raise ValueError(f"steps is {steps}; it must be at least 0")
    if convolution not in [module for _, module in _called(model, nn.Conv2d, shape)]:
        raise ValueError(f"{name} is not called when the network sees an image")
    mean, std = _pixels(model)
    z = torch.stack([_noise(shape, seed, index) for index in wanted]).to(convolution.weight).requires_grad_()
    adam = torch.optim.Adam([z], lr=LR, weight_decay=WEIGHT_DECAY, maximize=True)
    sums: list[Tensor] = []
    rows = torch.arange(len(wanted), device=z.device)

    def add(module: nn.Module, args: Any, output: Tensor) -> None:
        sums.append(output[rows, wanted].sum())  # at once: a ReLU in place may overwrite the output

    with evaluating(model), _hooked([convolution], add), torch.enable_grad():
        for _ in range(steps):
            sums.clear()
            model(mean + std * z)
            (z.grad,) = torch.autograd.grad(torch.stack(sums).sum(), z)
            adam.step()
    images = (mean + std * z.detach()).clamp(0, 1)
    return images if isinstance(filter, Iterable) else images[0]


def spectral_centroid(images: Tensor) -> Tensor:
    """The energy-weighted mean radial frequency of each image (N, C, H, W), in cycles per image: (N,) float64.

    Σ r·|F|² / Σ |F|² over the modes (v, u) of the two-dimensional DFT F of each channel less its mean, and over the channels, with
    r = √(v² + u²), v and u in cycles per image height and width. 0 for an image of constant channels.

    Raises:
        ValueError: anything but (N, C, H, W).
    """
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), not {tuple(images.shape)}")
    centered = images.double() - images.double().mean((2, 3), keepdim=True)
    power = torch.fft.fft2(centered).abs().square().sum(1)
    v, u = (torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=images.device) for n in images.shape[-2:])
    radius = torch.hypot(v[:, None], u[None, :])
    power[:, 0, 0] = 0
    total = power.sum((1, 2))
    flat = total <= 1e-20 * images[0].numel() ** 2  # rounding alone
    return torch.where(flat, 0, (power * radius).sum((1, 2)) / total.clamp(min=1e-300))


def white_noise_centroid(height: int, width: int) -> float:
    """`spectral_centroid` of an image whose energy is spread evenly over all frequencies, as white noise's is expected to be."""
    impulse = torch.zeros(1, 1, height, width)
    impulse[..., 0, 0] = 1
    return float(spectral_centroid(impulse))


class Features(NamedTuple):
    """Maximized filters of one layer: their indices, spectral centroids (len(filters),), and the images (n, C, H, W) of the first n."""

    filters: list[int]
    centroids: np.ndarray
    images: Tensor


def layer_features(
    model: nn.Module,
    *,
    filters: int = 16,
    shown: int = 4,
    steps: int = 30,
    seed: int = 0,
    shape: Sequence[int] | None = None,
    store: Store | None = None,
) -> dict[str, Features]:
    """`maximize` of ``filters`` filters of every convolution, by its name, in forward order; `spectral_centroid` of each image.

    The filters are drawn without replacement by ``seed`` and the layer's name, fewer where a layer has no more: two networks of one
    architecture get the same ones, and fewer are the first of more. The images of the first ``shown`` are kept, in 256 levels.

    Raises:
        ValueError: as `convolutions`; filters or shown below 1.
    """
    if filters < 1 or shown < 1:
        raise ValueError(f"filters is {filters} and shown {shown}; both must be at least 1")
    shape, mark = _shape(model, shape), fingerprint(model)

    def measure(layer: str) -> Features:
        drawn = _drawn(seed, layer).permutation(_find(model, layer)[1].out_channels)[:filters].tolist()
        kept = min(shown, len(drawn))

        def run() -> dict[str, Any]:
            images = maximize(model, layer, drawn, steps=steps, seed=seed, shape=shape).float().cpu()
            pixels = (images[:kept] * 255).round().byte().numpy()
            return {"centroids": spectral_centroid(images).tolist(), "images": base64.b64encode(zlib.compress(pixels.tobytes())).decode()}

        key = {"measure": "maximized", "model": mark, "layer": layer, "filters": drawn, "shown": kept, "steps": steps, "seed": seed,
               "shape": shape}  # fmt: skip
        found = cell(store, key, run)
        pixels = np.frombuffer(bytearray(zlib.decompress(base64.b64decode(found["images"]))), np.uint8).reshape(kept, *shape)
        return Features(drawn, np.array(found["centroids"]), torch.from_numpy(pixels).float() / 255)

    return {layer: measure(layer) for layer in convolutions(model, shape=shape)}


def centroid_rows(found: Mapping[str, Mapping[str, Features]]) -> pd.DataFrame:
    """Mean centroid of each model and layer with its 95 % interval over filters, from model → `layer_features`.

    Columns: ``model``, ``layer``, ``value``, ``ci_low``, ``ci_high``, ``n`` (filters), ``flat`` (those whose image is constant: 0).
    """
    return pd.DataFrame(
        [
            {"model": model, "layer": layer, **dict(zip(("value", "ci_low", "ci_high"), mean_interval(f.centroids), strict=True)),
             "n": len(f.centroids), "flat": int((f.centroids == 0).sum())}
            for model, layers in found.items()
            for layer, f in layers.items()
        ]
    )  # fmt: skip


def deeper_half(layers: Mapping[str, Features]) -> np.ndarray:
    """The centroids of all filters of the deeper half of the layers, the middle one included."""
    return np.concatenate([f.centroids for f in list(layers.values())[len(layers) // 2 :]])


def _shape(model: nn.Module, shape: Sequence[int] | None) -> tuple[int, ...]:
    if shape is not None:
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape is {tuple(shape)}; it must be (channels, height, width)")
        return tuple(int(n) for n in shape)
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ValueError(f"{type(model).__name__} has no convolution")
    layer = _normalize(model)
    side = 32 if max(first.stride) == 1 else 224
    return (first.in_channels if layer is None else layer.mean.numel(), side, side)


def _normalize(model: nn.Module) -> Normalize | None:
    return next((module for module in model.modules() if isinstance(module, Normalize)), None)


def _pixels(model: nn.Module) -> tuple[Tensor | float, Tensor | float]:
    """Mean and std of the space that images are ascended in."""
    layer = _normalize(model)
    return (0.5, 0.25) if layer is None else (layer.mean, layer.std)


def _drawn(*what: Any) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def _noise(shape: Sequence[int], seed: int, index: int) -> Tensor:
    return torch.from_numpy(_drawn(seed, index).uniform(-START, START, tuple(shape)))


@contextmanager
def _hooked(modules: Sequence[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


def _called(model: nn.Module, kinds: Any, shape: Sequence[int] | None) -> list[tuple[str, nn.Module]]:
    """Names and modules of these kinds in the order in which a forward pass first calls them."""
    shape = _shape(model, shape)
    names = {module: name for name, module in model.named_modules() if isinstance(module, kinds)}
    found: dict[nn.Module, None] = {}
    parameter = next(model.parameters())
    with evaluating(model), torch.no_grad(), _hooked(list(names), lambda module, args, output: found.setdefault(module)):
        try:
            model(torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype))
        except RuntimeError as error:
            raise ValueError(f"the network does not take an image of shape {shape} (channels, height, width); give its shape") from error
    return [(names[module], module) for module in found]


def _first(model: nn.Module, shape: Sequence[int] | None) -> tuple[Tensor, nn.Module | None]:
    """The first convolution's filters, and the convolution or batch normalization that is called next."""
    called = [module for _, module in _called(model, nn.Conv2d | nn.BatchNorm2d, shape)]
    for module, following in zip(called, [*called[1:], None], strict=True):
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().cpu().clone(), following
    raise ValueError(f"{type(model).__name__} calls no convolution")


def _find(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Conv2d]:
    names = {module: name for name, module in model.named_modules()}
    try:
        module = model.get_submodule(layer) if isinstance(layer, str) else layer
        name = names[module]
    except (AttributeError, KeyError):
        module, name = None, str(layer)
    if not isinstance(module, nn.Conv2d):
        known = ", ".join(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
        raise ValueError(f"layer is {name or 'the whole network'!r}; it must be a convolution of the network: {known or 'it has none'}")
    return name, module

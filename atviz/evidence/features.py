"""What the filters of each layer respond to, with the spatial scale of it (Itazuri et al. 2019)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..models import fingerprint
from ..saliency import convolutions, image_shape, maximize, spectral_centroid
from .intervals import mean_interval
from .records import Store, cell


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

    The filters are drawn without replacement by ``seed`` and the layer's name: two networks of one architecture get the same filters, and
    a smaller number gives the first filters of a larger one. A layer that has fewer filters gives all of them. The images of the first
    ``shown`` filters are kept, in 256 levels.

    Raises:
        ValueError: as `convolutions`; filters or shown below 1.
    """
    if filters < 1 or shown < 1:
        raise ValueError(f"filters is {filters} and shown {shown}; both must be at least 1")
    shape, mark = image_shape(model, shape), fingerprint(model)

    def measure(layer: str) -> Features:
        channels: Any = model.get_submodule(layer).out_channels
        drawn = _drawn(seed, layer).permutation(channels)[:filters].tolist()
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


def _drawn(*what: Any) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(what).encode()))

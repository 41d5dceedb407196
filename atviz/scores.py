"""Numbers beside the pictures: what saliency maps are like, image by image."""

from __future__ import annotations

import numpy as np
from torch import nn

from . import saliency
from .data import Images
from .models import fingerprint
from .records import Store, cell


def saliency_scores(model: nn.Module, images: Images, *, batch_size: int = 100, store: Store | None = None) -> dict[str, np.ndarray]:
    """Numbers of each image's Grad map for its true class, (n,) each.

    ``sparsity`` (`saliency.gini`), ``edges`` (`saliency.edge_agreement`) and ``coarse`` (`saliency.coarse_share`).
    """

    def run() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"sparsity": [], "edges": [], "coarse": []}
        for x, y in images.batches(batch_size, device=next(model.parameters()).device):
            maps = saliency.grad(model, x, y)
            found["sparsity"] += saliency.gini(maps).tolist()
            found["coarse"] += saliency.coarse_share(maps).tolist()
            found["edges"] += saliency.edge_agreement(maps, x).tolist()
        return found

    key = {"measure": "saliency", "method": "grad", "scores": 3, "model": fingerprint(model), "images": images.digest}
    return {name: np.array(values) for name, values in cell(store, key, run).items()}

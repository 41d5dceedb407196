"""Whether an attack has succeeded: a network's own answers in fp32 decide."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def misclassified(model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor:
    """Which images the model misclassifies, (N,) bool. Only those that seem so by ``logits``, rounded otherwise or in bfloat16, are asked of the model."""
    wrong = logits.argmax(1) != y
    if wrong.any():
        wrong[wrong.clone()] = judged(model, x[wrong], y[wrong])[0]
    return wrong


@torch.no_grad()
def judged(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each image is misclassified, and its cross-entropy, in fp32."""
    with torch.autocast(x.device.type, enabled=False):
        logits = model(x).float()
    return logits.argmax(1) != y, F.cross_entropy(logits, y, reduction="none")

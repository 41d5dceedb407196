"""What attacks climb: a number for each image that is high where the label loses, (N, classes) and (N,) → (N,)."""

from __future__ import annotations

from torch import Tensor

SMALLEST = 1e-12  # of a divisor
CLASSES = {"ce": 1, "dlr": 3, "targeted-dlr": 4}  # that each loss needs, at least


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """The highest score of another class minus the label's: above 0 where an image is misclassified. Scores are logits or probabilities.

    >>> import torch
    >>> margin(torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([1]))
    tensor([-2.])
    """
    return scores.scatter(1, y[:, None], -float("inf")).amax(1) - scores.gather(1, y[:, None])[:, 0]


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio: `margin` divided by the difference of the highest and the third highest logit. Neither a factor nor a
    constant changes it. It needs three classes.

    Source: Croce & Hein 2020 (Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks), eq. 6.
    """
    high = logits.topk(3).values
    return margin(logits, y) / (high[:, 0] - high[:, 2] + SMALLEST)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """The logit of the ``target`` (N,) minus the label's, divided by the difference of the highest logit and the mean of the third and fourth.
    It needs four classes.

    Source: Croce & Hein 2020, eq. 7.
    """
    high = logits.topk(4).values
    difference = (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]
    return difference / (high[:, 0] - (high[:, 2] + high[:, 3]) / 2 + SMALLEST)

"""Which networks a measurement applies to: filters are asked of convolutional networks, and saliency methods refuse what they would get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from .sanity import asked
from .study import Study


def convolutional(module: nn.Module) -> bool:
    """Whether a network has a convolution whose windows overlap.

    A vision transformer has one convolution that cuts the image into patches side by side: its weights are no filters that slide over the
    image. The operations of an exported program are not seen.

    >>> convolutional(nn.Conv2d(3, 8, 3)), convolutional(nn.Conv2d(3, 8, 16, stride=16))
    (True, False)
    """
    return any(isinstance(part, nn.Conv2d) and max(part.kernel_size) > max(part.stride) for part in module.modules())


def applicable(study: Study) -> tuple[Study, str]:
    """The study of its convolutional networks, and a sentence that names those that are left out, "" for none.

    Raises:
        ValueError: none is convolutional.
    """
    kept = [name for name, module in study.models.items() if convolutional(module)]
    if not kept:
        raise ValueError(not_applicable(list(study.models)))
    left = [name for name in study.models if name not in kept]
    return (study.only(kept), f"Left out: {not_applicable(left)}.") if left else (study, "")


def not_applicable(names: list[str]) -> str:
    """Why these networks are left out, in words."""
    verb = "has" if len(names) == 1 else "have"
    return f"{' and '.join(names)} {verb} no convolution whose windows overlap, so that there are no filters to look at"


def usable(methods: Sequence[str], models: Mapping[str, nn.Module], x: Tensor, y: Tensor) -> tuple[list[str], str]:
    """The saliency methods that take all of these networks, and a sentence that says of each other one why not, "" for none.

    Each is tried on the first of the images ``x``, (N, C, H, W) in [0, 1], with its label.
    """
    kept, refused = [], []
    for method in methods:
        try:
            for model in models.values():
                asked(method)(model, x[:1], y[:1])
            kept.append(method)
        except ValueError as error:  # in one sentence, why the method would be wrong on the network
            refused.append(f"{method} ({error})")
    return kept, f"Left out: {'; '.join(refused)}." if refused else ""

"""Captum's methods on a batch of images: with random numbers of their own, and refused where captum would be wrong in silence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models import check_batch, evaluating
from .defaults import DEFAULTS, Arguments
from .gradients import image_seed, mean_image
from .tracing import for_deep_lift, for_lrp

COPIED = {"DeepLift": for_deep_lift, "DeepLiftShap": for_deep_lift, "LRP": for_lrp}
TOGETHER = ("Saliency", "InputXGradient", "LRP", "FeaturePermutation")  # one call for all images
TUNNELED = ("Saliency", "InputXGradient", "IntegratedGradients")  # what `NoiseTunnel` is put around
# captum's arguments that `explain` gives itself, or that would make its result another thing than a map
TAKEN = {"forward_func", "model", "self", "inputs", "target", "kwargs", "additional_forward_args", "return_convergence_delta",
         "return_input_shape", "custom_attribution_func", "draw_baseline_from_distrib", "show_progress"}  # fmt: skip


def explain(name: str, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 0, of: str = "Saliency", **options: Any) -> Tensor:
    """The maps (N, C, H, W) of captum's method ``name``, one of `DEFAULTS`, with ``options`` in place of defaults.

    Images are explained one by one, each from a seed of its own, so that the rest of the batch does not change a map: captum draws
    the noise of a batch at once, and its max-pooling rule of DeepLIFT takes the first image's gradient for all.

    Args:
        of: the method inside ``NoiseTunnel``, one of `TUNNELED`.

    Raises:
        ValueError: an option that the method does not have, or a network that it would be wrong on.
    """
    import captum.attr  # half a second

    check_batch(x, y)
    if name == "FeaturePermutation" and len(x) < 2:
        raise ValueError(f"FeaturePermutation exchanges patches between images, and x holds {len(x)}; give at least 2")
    if name == "NoiseTunnel" and of not in TUNNELED:
        raise ValueError(f"of is {of!r}; NoiseTunnel is put around one of {', '.join(TUNNELED)}")
    inner = of if name == "NoiseTunnel" else name
    kind, outer = getattr(captum.attr, inner), getattr(captum.attr, name)
    _check_options(name, options, signature(kind).parameters, signature(kind.attribute).parameters, signature(outer.attribute).parameters)
    with evaluating(model), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # captum tells of its hooks
        network, base = COPIED[name](model, x) if name in COPIED else model, mean_image(model, x)
        made = {option: options.pop(option) for option in signature(kind).parameters if option in options}
        explainer = kind(network, **made)
        if name in ("KernelShap", "Lime") and "interpretable_model" not in made:
            explainer.interpretable_model = _LeastSquares()
        if name == "NoiseTunnel":
            explainer = captum.attr.NoiseTunnel(explainer)
        maps = []
        for i in [slice(None)] if name in TOGETHER else [slice(k, k + 1) for k in range(len(x))]:
            image, target = x[i].detach().clone().requires_grad_(), y[i]
            with _seeded(image_seed(image, seed), x.device):
                arguments = DEFAULTS[inner](x[i], base) | DEFAULTS[name](x[i], base) | options
                maps.append(_attribute(explainer, name, model, image, target, arguments))
            if name.startswith("DeepLift"):
                _check_complete(name, network, maps[-1], image, target, arguments["baselines"])
    return torch.cat(maps).to(x.dtype)


def _check_options(name: str, options: Arguments, *parameters: Iterable[str]) -> None:
    known = {option: None for each in parameters for option in each if option not in TAKEN}
    if name.startswith("DeepLift"):
        del known["multiply_by_inputs"]  # `_check_complete` needs the product
    if wrong := [option for option in options if option not in known]:
        raise ValueError(f"{name} has no option {wrong[0]!r}; it has {', '.join(known) or 'none'}")


def _attribute(explainer: Any, name: str, model: nn.Module, image: Tensor, target: Tensor, arguments: Arguments) -> Tensor:
    try:
        return explainer.attribute(image, target=target, **arguments).detach()
    except TypeError as error:
        if name == "LRP" and "no rule" in str(error):
            raise ValueError(f"LRP has no rule for a layer of {type(model).__name__}: {error}") from error
        raise
    except RuntimeError as error:
        if name.startswith("DeepLift") and "more than once" in str(error):
            raise ValueError(f"{name} needs a module for each call, and {type(model).__name__} uses one several times") from error
        raise


def _check_complete(name: str, network: nn.Module, maps: Tensor, image: Tensor, target: Tensor, baselines: Tensor) -> None:
    """ValueError unless the map adds up to the change of the logit, which is DeepLIFT's law, up to rounding."""
    with torch.no_grad():
        ends = network(image)[0, target].double(), network(baselines)[:, target].double()
    change, total = float(ends[0] - ends[1].mean()), float(maps.double().sum())
    size = max(float(end.abs().max()) for end in ends)
    if not abs(total - change) <= 0.01 * abs(change) + 0.001 * size:
        raise ValueError(
            f"{name} would be wrong on this network: its map adds up to {total:.4g} and the logit changes by {change:.4g}; "
            "captum has no rule for one of its layers"
        )


class _LeastSquares:
    """The weighted linear fit of captum's Lime and KernelShap, whose own is scikit-learn's."""

    def fit(self, train_data: Any) -> None:
        ((present, outputs, weights),) = train_data  # all samples are one batch
        present, outputs, weights = (each.double().cpu() for each in (present, outputs, weights))
        terms, root = torch.cat([present, torch.ones(len(present), 1)], 1), weights.sqrt()[:, None]
        self.coefficients = torch.linalg.lstsq(root * terms, root * outputs[:, None], driver="gelsd").solution[:-1, 0]

    def representation(self) -> Tensor:
        return self.coefficients


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's and NumPy's global random numbers start from a seed inside the block, and go on afterwards as if nothing had been drawn."""
    state = np.random.get_state()  # noqa: NPY002, captum draws from it
    on = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(on):
            torch.random.default_generator.manual_seed(seed)
            for each in on:
                with torch.cuda.device(each):
                    torch.cuda.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002

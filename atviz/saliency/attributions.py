"""Every attribution method by its name: captum's, and atviz's own."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch import Tensor, nn

from .defaults import DEFAULTS
from .explain import explain
from .gradcam import grad_cam, guided_grad_cam
from .gradients import grad, integrated_gradients, smooth_grad
from .guided import deconvolution, guided_backprop

Method = Callable[[nn.Module, Tensor, Tensor], Tensor]


def attribute(method: str, model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> Tensor:
    """The attribution of the logit of ``y`` to the pixels of each image, by any method that captum has, or one of atviz's own.

    Case, spaces and hyphens of a name do not count: ``DeepLIFT``, ``Input × Gradient``, ``grad-cam``.

    ========================= ==================================================================================================
    method                    defaults; ``options`` are captum's own arguments
    ========================= ==================================================================================================
    `METHODS`, Grad           atviz's own functions with their arguments; Grad is `grad`, of log p_y, and Loss of the cross-entropy
    Deconvolution             `deconvolution`, atviz's own, as is Guided Backprop
    Saliency                  ``abs=False``: signed, the same as Vanilla
    InputXGradient            of the pixels themselves, in [0, 1]
    IntegratedGradients       captum's: 50 Gauss–Legendre points, times (x − baseline); Integrated is without the factor
    DeepLift                  refused where it is not complete: captum has no rule for one of the layers
    DeepLiftShap              10 baselines: the default one with Gaussian noise of σ = 0.1, clipped; refused as DeepLift
    GradientShap              the same 10 baselines, ``n_samples=50``
    LRP                       each module's own ``rule``, or captum's ε-rule; refused where a layer has none
    Occlusion                 windows of an eighth of the side, moved by half of theirs
    FeatureAblation           8 × 8 patches
    FeaturePermutation        8 × 8 patches, exchanged between images: the only map that depends on the rest of the batch
    ShapleyValueSampling      4 × 4 patches, ``n_samples=10`` orders
    ShapleyValues             2 × 2 patches, all 24 orders
    KernelShap, Lime          4 × 4 patches, ``n_samples=100``, fitted by weighted least squares
    LayerGradCam or Grad-CAM  `grad_cam`, of the last layer with a map as output
    GuidedGradCam             `guided_grad_cam`
    NoiseTunnel               ``of="Saliency"``, ``nt_samples=10`` with Gaussian noise of a tenth of each image's range
    ========================= ==================================================================================================

    Where a method needs ``baselines``, the default is zero in the normalized space: the mean of the model's normalizing layer, or
    black without one. In methods with patches, given as ``feature_mask``, each pixel has the number of its whole patch. ``seed``, 0,
    is that of the methods with random numbers; an image's own pixels go into it. Global random numbers stay as they are.

    LRP's ε-rule gives x̂ · ∂f/∂x̂ on a network of ReLUs, where x̂ is the normalized image (Ancona et al. 2018). Other rules show more.

    Args:
        model: [0, 1] → logits; evaluated in eval mode and left as it was.
        x: (N, C, H, W) in [0, 1]; y: (N,) classes.

    Returns:
        A tensor shaped like ``x``.

    Raises:
        ValueError: an unknown name or option; pixels outside [0, 1]; a network that the method would be wrong on.

    For a linear model DeepLIFT is weight times change of the pixel, here from black:

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = nn.init.constant_(model[1].weight, 3.0)
    >>> attribute("DeepLIFT", model, torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([1])).tolist()
    [[[[1.5, 3.0]]]]
    """
    return BY_NAME[find(method)](model, x, y, **options)


def find(method: str) -> str:
    """The name in `BY_NAME` that is meant; ValueError for none."""
    keys = {_key(name): name for name in BY_NAME} | ALIASES
    key = _key(method)
    if key in keys:
        return keys[key]
    if key.startswith(("layer", "neuron", "internal")):
        raise ValueError(f"{method} explains a hidden layer, and its result is not shaped like an image; captum.attr has it")
    near = get_close_matches(key, keys, 1, 0.4)
    hint = f"did you mean {keys[near[0]]!r}? " if near else ""
    raise ValueError(f"unknown attribution method {method!r}; {hint}Known are {', '.join(BY_NAME)}")


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower().replace("×", "x") if letter.isalnum())


# the five sensitivity maps of Itazuri et al. (2019), section 3
METHODS: dict[str, Method] = {
    "Vanilla": partial(grad, score="logit"),
    "Loss": partial(grad, score="loss"),
    "Guided Backprop": guided_backprop,
    "SmoothGrad": partial(smooth_grad, n=50, sigma=0.2, score="logit"),
    "Integrated": integrated_gradients,
}
BY_NAME: dict[str, Callable[..., Tensor]] = {
    **METHODS,
    "Grad": grad,
    "Deconvolution": deconvolution,
    "LayerGradCam": grad_cam,
    "GuidedGradCam": guided_grad_cam,
    **{name: partial(explain, name) for name in DEFAULTS},
}
ALIASES = {
    "gradcam": "LayerGradCam", "gradientxinput": "InputXGradient", "vanillagrad": "Vanilla", "lossgrad": "Loss",
    "guidedbackpropagation": "Guided Backprop", "deconvnet": "Deconvolution", "deepshap": "DeepLiftShap",
}  # fmt: skip
# what a menu offers: the five maps first, then what is fast enough for a slider
ATTRIBUTIONS: dict[str, Method] = METHODS | {
    "Input × Gradient": partial(attribute, "InputXGradient"),
    "Integrated × Difference": partial(attribute, "IntegratedGradients"),
    "DeepLIFT": partial(attribute, "DeepLift"),
}

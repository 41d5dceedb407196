"""Encoders and decoders of AdaIN in the layout of the published VGG-19, whose depth is read off the names of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

DEEPEST = 3  # max-pools before relu4_1, where Huang & Belongie cut their encoder


def build_encoder(state: dict[str, Tensor], source: str | Path, *, pools: int | None = None) -> nn.Sequential:
    """The encoder of a state dict; with ``pools``, cut after the first ReLU that follows as many max-pools, or its last."""
    layers = [*_sequential(state, _pool, source, "encoder"), nn.ReLU()]
    if pools is None:
        return nn.Sequential(*layers)
    pools, passed = min(pools, sum(isinstance(layer, nn.MaxPool2d) for layer in layers)), 0
    for end, layer in enumerate(layers, start=1):  # noqa: B007  used below
        passed += isinstance(layer, nn.MaxPool2d)
        if passed == pools and isinstance(layer, nn.ReLU):
            break
    return nn.Sequential(*layers[:end])


def build_decoder(state: dict[str, Tensor], source: str | Path) -> nn.Sequential:
    """The decoder of a state dict."""
    return _sequential(state, _upsample, source, "decoder")


def mirrored(encoder: nn.Sequential) -> nn.Sequential:
    """An untrained decoder for an encoder: its layers in reverse, without normalization, with nearest upsampling for max-pools."""
    layers: list[nn.Module] = []
    for layer in reversed(encoder):
        if isinstance(layer, nn.MaxPool2d):
            layers.append(_upsample())
        elif isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(layer.out_channels, layer.in_channels, 3), nn.ReLU()]
    decoder = nn.Sequential(*layers[:-1])
    initialize(decoder)
    return decoder


def initialize(network: nn.Sequential) -> None:
    """Draw weights that keep the features' scale from layer to layer (He et al. 2015): PyTorch's own let it vanish."""
    for conv in convolutions(network):
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def _sequential(state: dict[str, Tensor], resample: Callable[[], nn.Module], source: str | Path, what: str) -> nn.Sequential:
    """The nn.Sequential of a state dict: its numbers tell where convolutions stand, and the gaps what stands between them.

    Before a 3×3 convolution comes its padding; before that, in a gap of two, a ReLU, and in one of three, a ReLU and ``resample``.
    """
    layers: list[nn.Module] = []
    try:
        for index in sorted(int(name.removesuffix(".weight")) for name in state if name.endswith(".weight")):
            out_channels, in_channels, side, _ = state[f"{index}.weight"].shape
            pad = [nn.ReflectionPad2d(side // 2)] if side > 1 else []
            between = [nn.ReLU(), resample()][: max(0, index - len(layers) - len(pad))]
            layers += [*between, *pad, nn.Conv2d(in_channels, out_channels, side)]
            if len(layers) != index + 1 or isinstance(layers[0], nn.ReLU):
                raise ValueError
        network = nn.Sequential(*layers)
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        if not layers:
            raise ValueError
    except (ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"{source} holds no {what} in the published layout: tensors 2.weight, 2.bias, 5.weight, … of convolutions that are numbered as in "
            f"an nn.Sequential, not {', '.join(list(state)[:3]) or 'nothing'}"
        ) from error
    return network


def _pool() -> nn.Module:
    return nn.MaxPool2d(2, ceil_mode=True)  # rounded up: the decoder gives at least the content's size


def _upsample() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def convolutions(network: nn.Sequential) -> list[nn.Conv2d]:
    """Its convolutions, first to last."""
    return [layer for layer in network if isinstance(layer, nn.Conv2d)]

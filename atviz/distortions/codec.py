"""Encoders and decoders of AdaIN in the layout of the published VGG-19. The names of their tensors tell how deep they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn


def build_encoder(state: dict[str, Tensor], source: str | Path, *, pools: int | None = None) -> nn.Sequential:
    """The encoder of a state dict; with ``pools``, only up to the first ReLU after that many max-pools, or after its last max-pool.

    Raises:
        ValueError: a state dict in another layout; ``source`` says in the message where it came from.
    """
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
    """The decoder of a state dict; errors as `build_encoder`."""
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
    """Draw weights that keep the scale of the features from layer to layer (He et al. 2015); with PyTorch's default it vanishes."""
    for conv in convolutions(network):
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def convolutions(network: nn.Sequential) -> list[nn.Conv2d]:
    """Its convolutions, first to last."""
    return [layer for layer in network if isinstance(layer, nn.Conv2d)]


def check_pair(encoder: nn.Sequential, decoder: nn.Sequential, names: tuple[str | Path, str | Path]) -> None:
    """ValueError unless the decoder takes what the encoder gives; ``names`` says where the two came from."""
    gives, takes = convolutions(encoder)[-1].out_channels, convolutions(decoder)[0].in_channels
    colors = convolutions(encoder)[0].in_channels, convolutions(decoder)[-1].out_channels
    halved = sum(isinstance(layer, nn.MaxPool2d) for layer in encoder)
    doubled = sum(isinstance(layer, nn.Upsample) for layer in decoder)
    if gives != takes or colors != (3, 3) or halved != doubled:
        raise ValueError(
            f"encoder {names[0]} ({colors[0]} → {gives} channels, halved {halved} times) and decoder {names[1]} ({takes} → {colors[1]}, "
            f"doubled {doubled} times) do not fit together; an encoder takes 3 channels, and its decoder turns what the encoder gives into 3"
        )


def _sequential(state: dict[str, Tensor], resample: Callable[[], nn.Module], source: str | Path, what: str) -> nn.Sequential:
    """The nn.Sequential of a state dict: the numbers in its names are the places of the convolutions, the gaps are other layers.

    A 3×3 convolution has its padding before it. A gap of two is a ReLU and the padding; a gap of three is a ReLU, ``resample`` and
    the padding.
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
    return nn.MaxPool2d(2, ceil_mode=True)  # rounded up, so that the decoder gives at least the content's size


def _upsample() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")

"""Stylizing with AdaIN: an image's features get the channel means and standard deviations of a style's, and are decoded."""

from __future__ import annotations

import hashlib
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import checkpoints, shipped
from .codec import build_decoder, build_encoder, convolutions
from .models import check_pixels, evaluating, fingerprint, read_state
from .styles import load_styles as load_styles
from .styles import procedural as procedural

CHUNK = 2**20  # pixels that `Stylizer` decodes at once: about 0.3 GB of a VGG's activations


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image's channels over its H·W places: (N, C, H, W) → two (N, C, 1, 1)."""
    return features.mean((2, 3), keepdim=True), features.std((2, 3), correction=0, keepdim=True)


def adain(features: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(f − mean(f)) / std(f) · std + mean, channel by channel: its `moments` are ``mean`` and ``std``, to rounding.

    A channel that is constant but for rounding has nothing to scale, and becomes ``mean`` everywhere.

    Source: Huang & Belongie 2017, equation 8, without the ε under the root, which would change the moments.
    """
    own_mean, own_std = moments(features)
    scale = features.detach().square().mean((1, 2, 3), keepdim=True).sqrt()
    return (features - own_mean) * torch.where(own_std > 1e-5 * scale, std / own_std.clamp(min=1e-30), 0) + mean


def toned(style: Tensor, content: Tensor) -> Tensor:
    """Styles in gray, each with the mean and standard deviation of the gray image that it is for: a style gives its texture only.

    (N or 1, C, H′, W′) and (N, 1, H, W) → (N, 1, H′, W′), clamped to [0, 1].

    Source: Gatys et al. 2017 (Controlling Perceptual Factors in Neural Style Transfer), section 5.1, luminance-only transfer.
    """
    return adain(style.mean(1, keepdim=True), *moments(content.to(style.dtype))).clamp(0, 1)


class AdaIN(nn.Module):
    """decoder((1 − α) · f + α · AdaIN(f, style's moments)), with f = encoder(content).

    The encoder takes pixels in [0, 1] to features, the decoder takes features to pixels.

    Source: Huang & Belongie 2017, equations 11 and 14.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        first = next((m for m in encoder.modules() if isinstance(m, nn.Conv2d)), None)
        self.channels = first.in_channels if first else None
        # reflection padding of a feature map needs two pixels
        self.smallest = 2 ** sum(isinstance(m, nn.MaxPool2d) for m in encoder.modules()) + 1

    def forward(self, content: Tensor, style: Tensor, *, alpha: float = 1.0) -> Tensor:
        """Stylize each image by the style of the same place in the batch, or all by one style.

        Args:
            content: (N, 3, H, W) in [0, 1], of any size: what pooling adds to odd sides is cropped off again, and a side too short
                for the encoder is enlarged before and brought back after. One channel is repeated to the encoder's three, and
                the result averaged back to one.
            style: (N or 1, 3 or 1, H′, W′) in [0, 1].
            alpha: how much, in [0, 1]; 0 decodes the content's features as they are.

        Returns:
            (N, 3, H, W) or, for gray content, (N, 1, H, W); clamped to [0, 1].

        Raises:
            ValueError: an alpha outside [0, 1], pixels outside [0, 1], or channels or numbers of images that do not fit.
        """
        check_alpha(alpha)
        for pixels in (content, style):
            check_pixels(pixels)
        if len(style) not in (1, len(content)):
            raise ValueError(f"there are {len(style)} styles for {len(content)} images; there must be one for each, or one for all")
        return self.restyle(content, *moments(self.encode(style)), alpha=alpha)

    def encode(self, x: Tensor) -> Tensor:
        """The encoder's features of images, brought to its channels and, where a side is too short for it, enlarged."""
        return self.encoder(self._fitted(x))

    def restyle(self, content: Tensor, mean: Tensor, std: Tensor, *, alpha: float = 1.0) -> Tensor:
        """`forward`, given the `moments` of the style's features."""
        check_alpha(alpha)
        check_pixels(content)
        fitted = self._fitted(content)
        features = self.encoder(fitted)
        out = self.decoder((1 - alpha) * features + alpha * adain(features, mean, std) if alpha else features)
        out = out[..., : fitted.shape[-2], : fitted.shape[-1]]
        if out.shape[-2:] != content.shape[-2:]:
            out = F.interpolate(out, content.shape[-2:], mode="bilinear", antialias=True)
        out = out.clamp(0, 1).to(content.dtype)
        return out.mean(1, keepdim=True) if content.shape[1] == 1 else out

    def _fitted(self, x: Tensor) -> Tensor:
        parameter = next(self.parameters(), None)
        x = x if parameter is None else x.to(parameter.dtype)
        if self.channels is not None and x.shape[1] != self.channels:
            if x.shape[1] != 1:
                raise ValueError(
                    f"images have {x.shape[1]} channels, but the encoder takes {self.channels}; only one channel can be repeated"
                )
            x = x.expand(-1, self.channels, -1, -1)
        if min(x.shape[-2:]) < self.smallest:
            x = F.interpolate(x, [max(side, self.smallest) for side in x.shape[-2:]], mode="bilinear")
        return x


def check_alpha(alpha: float) -> None:
    """ValueError unless ``alpha`` is in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be in [0, 1] (0 keeps the content, 1 is the style in full)")


def load_adain(encoder: str | Path, decoder: str | Path | None = None) -> AdaIN:
    """An AdaIN network, in eval mode: ``small``, which ships with atviz, a folder that `atviz stylize train` wrote, or two files.

    Args:
        encoder: with a decoder, weights in the layout of pytorch-AdaIN's VGG-19 (1×1, then padded 3×3 convolutions and
            max-pools), safetensors or saved by torch.
            An encoder that is deeper than its decoder is cut to it.

    Raises:
        FileNotFoundError: a file or folder that is not there.
        ValueError: files that hold something else, or that do not fit together.
    """
    if decoder is None:
        folder = shipped("checkpoints", "adain-small") if str(encoder) == "small" else Path(encoder)
        if folder.is_file():
            raise ValueError(f"{folder} is a file; a pair of files needs encoder=PATH and decoder=PATH")
        state, _ = checkpoints.read(folder)
        pair = [{k.removeprefix(part): v for k, v in state.items() if k.startswith(part)} for part in ("encoder.", "decoder.")]
        read_encoder, read_decoder = build_encoder(pair[0], folder), build_decoder(pair[1], folder)
    else:
        read_decoder = build_decoder(read_state(Path(decoder)), decoder)
        pools = sum(isinstance(m, nn.Upsample) for m in read_decoder)
        read_encoder = build_encoder(read_state(Path(encoder)), encoder, pools=pools)
    gives, takes = convolutions(read_encoder)[-1].out_channels, convolutions(read_decoder)[0].in_channels
    colors = convolutions(read_encoder)[0].in_channels, convolutions(read_decoder)[-1].out_channels
    halved = sum(isinstance(layer, nn.MaxPool2d) for layer in read_encoder)
    doubled = sum(isinstance(layer, nn.Upsample) for layer in read_decoder)
    if gives != takes or colors != (3, 3) or halved != doubled:
        raise ValueError(
            f"encoder {encoder} ({colors[0]} → {gives} channels, halved {halved} times) and decoder {decoder} ({takes} → {colors[1]}, doubled "
            f"{doubled} times) do not fit together; an encoder takes 3 channels, and its decoder makes 3 of those that it gives"
        )
    return AdaIN(read_encoder, read_decoder).eval()


class Stylizer:
    """A distortion x → x: each image stylized by one of ``styles``, which the seed and the image's own pixels choose.

    Neither the batch nor its order changes an image's style. Gray images get it `toned`: a network that knows one brightness of
    background fails on another, whatever the texture. Short sides are handled as by `AdaIN`; the result has the shape and type of ``x``.

    Args:
        styles: (S, 3, H, W) in [0, 1]; see `load_styles`.
        alpha: as in `AdaIN`.

    ``key`` says all that the result depends on: hashes of the network's weights and of the styles, alpha and seed.

    Raises:
        ValueError: no styles, or an alpha outside [0, 1].
    """

    def __init__(self, network: AdaIN, styles: Tensor, alpha: float = 1.0, seed: int = 0) -> None:
        check_alpha(alpha)
        check_pixels(styles)
        if not len(styles):
            raise ValueError("there are no styles to choose from")
        self.network, self.styles, self.alpha, self.seed = network, styles, float(alpha), seed
        digest = hashlib.sha256(str(tuple(styles.shape)).encode() + styles.float().cpu().contiguous().numpy().tobytes())
        self.key = f"adain {fingerprint(network)[:24]} styles {digest.hexdigest()[:24]} alpha {self.alpha!r} seed {seed}"
        self._moments: tuple[Tensor, Tensor] | None = None

    def choose(self, x: Tensor) -> Tensor:
        """The number of each image's style, (N,)."""
        chosen = []
        for image in x.detach().float().cpu().contiguous().numpy():
            generator = torch.Generator().manual_seed(zlib.crc32(image.tobytes(), self.seed & 0xFFFFFFFF))
            chosen.append(int(torch.randint(len(self.styles), (1,), generator=generator)))
        return torch.tensor(chosen, dtype=torch.int64)

    def __call__(self, x: Tensor) -> Tensor:
        """Stylize images (N, C, H, W) in [0, 1], each by the style that `choose` gives it."""
        return self.paint(x, self.choose(x))

    @torch.no_grad()
    def paint(self, x: Tensor, index: Tensor) -> Tensor:
        """Stylize images (N, C, H, W) in [0, 1] by the styles of these numbers, (N,)."""
        check_pixels(x)
        self.network.to(x.device)
        parts = max(1, CHUNK // max(math.prod(pixels.shape[-2:]) for pixels in (x, self.styles)))
        with evaluating(self.network):
            pairs = zip(x.split(parts), index.split(parts), strict=True)
            return torch.cat([self.network.restyle(part, *self._wanted(part, index), alpha=self.alpha) for part, index in pairs])

    def _wanted(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] == 1:
            return moments(self.network.encode(toned(self.styles[index.to(self.styles.device)].to(x.device), x)))
        mean, std = self._style_moments(x.device)
        return mean.to(x.device)[index], std.to(x.device)[index]

    def _style_moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._moments is None:  # of every style once
            parts = self.styles.split(max(1, CHUNK // (self.styles.shape[-2] * self.styles.shape[-1])))
            found = [moments(self.network.encode(part.to(device))) for part in parts]
            self._moments = torch.cat([m for m, _ in found]), torch.cat([s for _, s in found])
        return self._moments

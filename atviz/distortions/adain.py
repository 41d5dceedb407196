"""AdaIN: an image's features get the channel means and standard deviations of a style's features, and are decoded."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import shipped
from ..models import check_pixels, checkpoints, read_state
from .codec import build_decoder, build_encoder, check_pair


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image's channels over its H·W places: (N, C, H, W) → two (N, C, 1, 1)."""
    return features.mean((2, 3), keepdim=True), features.std((2, 3), correction=0, keepdim=True)


def adain(features: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(f − mean(f)) / std(f) · std + mean, channel by channel: its `moments` are ``mean`` and ``std``, up to rounding.

    A channel that is constant up to rounding cannot be scaled; it becomes ``mean`` everywhere.

    Source: Huang & Belongie 2017, equation 8, without the ε under the root, which would change the moments.
    """
    own_mean, own_std = moments(features)
    scale = features.detach().square().mean((1, 2, 3), keepdim=True).sqrt()
    return (features - own_mean) * torch.where(own_std > 1e-5 * scale, std / own_std.clamp(min=1e-30), 0) + mean


def toned(style: Tensor, content: Tensor) -> Tensor:
    """Styles in gray, each with the mean and standard deviation of its gray content image: a style then gives its texture only.

    (N or 1, C, H′, W′) and (N, 1, H, W) → (N, 1, H′, W′), clamped to [0, 1].

    Source: Gatys et al. 2017 (Controlling Perceptual Factors in Neural Style Transfer), section 5.1, luminance-only transfer.
    """
    return adain(style.mean(1, keepdim=True), *moments(content.to(style.dtype))).clamp(0, 1)


class AdaIN(nn.Module):
    """decoder((1 − α) · f + α · AdaIN(f, the style's moments)), with f = encoder(content).

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
        """Stylize each image by the style at the same place of the batch, or all images by one style.

        Args:
            content: (N, 3, H, W) in [0, 1], of any size. Sides that are too short for the encoder are enlarged before and reduced after.
                One channel is repeated for the encoder, and the result is averaged back to one channel.
            style: (N or 1, 3 or 1, H′, W′) in [0, 1].
            alpha: strength of the style, in [0, 1]; 0 decodes the content's own features.

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
        """The encoder's features of images in [0, 1]; channels and short sides are handled as in `forward`."""
        return self.encoder(self._fitted(x))

    def restyle(self, content: Tensor, mean: Tensor, std: Tensor, *, alpha: float = 1.0) -> Tensor:
        """`forward` with the `moments` of the style's features instead of the style."""
        check_alpha(alpha)
        check_pixels(content)
        fitted = self._fitted(content)
        features = self.encoder(fitted)
        out = self.decoder((1 - alpha) * features + alpha * adain(features, mean, std) if alpha else features)
        out = out[..., : fitted.shape[-2], : fitted.shape[-1]]  # pooling rounds odd sides up
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
    """An AdaIN network in eval mode: ``small``, which ships with atviz, a folder that `atviz stylize train` wrote, or two files.

    Args:
        encoder, decoder: the two files hold weights in the layout of pytorch-AdaIN's VGG-19 (a 1×1 convolution, then padded 3×3
            convolutions and max-pools), in safetensors or saved by torch. An encoder that is deeper than its decoder is cut to it.

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
    check_pair(read_encoder, read_decoder, (encoder, decoder or encoder))
    return AdaIN(read_encoder, read_decoder).eval()

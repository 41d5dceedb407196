"""Stylizing as a distortion: every image gets one of a set of styles."""

from __future__ import annotations

import hashlib
import math
import zlib

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models import check_images, check_pixels, evaluating, fingerprint
from .adain import AdaIN, check_alpha, moments, toned

KEPT = 1000  # batches whose styles' moments are kept
CHUNK = 2**17  # pixels that are decoded at once, two images of 224 px: their activations fit a CPU's cache


def flat_ground(x: Tensor) -> Tensor:
    """Where all pixels of the 3 × 3 square around a pixel have exactly its color: (N, C, H, W) → (N, 1, H, W) bool.

    The border is replicated.

    >>> import torch
    >>> flat_ground(torch.tensor([0.0, 0.0, 0.0, 0.5]).view(1, 1, 1, 4)).flatten()
    tensor([ True,  True, False, False])
    """
    check_images(x)
    # a max-pool leaves out what is beyond the border: the same as a replicated border, which adds no new value to a square
    highest, lowest = (sign * F.max_pool2d(sign * x, 3, stride=1, padding=1) for sign in (1, -1))
    return (highest == lowest).all(1, keepdim=True)


class Stylizer:
    """A distortion x → x: each image is stylized by one of ``styles``, which the seed and the image's own pixels choose.

    An image gets the same style in every batch and in every order. Gray images get their style `toned`: a network that knows only one
    brightness of the background fails on another, whatever the texture. Short sides are handled as by `AdaIN`. The result has the
    shape and type of ``x``.

    Args:
        styles: (S, 3, H, W) in [0, 1], as `atviz.data.load_styles` gives them.
        alpha: strength of the style, as in `AdaIN`.
        keep_ground: set pixels of `flat_ground` back to the original. The decoder lifts black (the shipped one on Fashion-MNIST, on
            average, to 0.02 at alpha 0 and to 0.14 at alpha 1), and a network that knows only black backgrounds fails on that,
            whatever the texture. The style's texture goes from the ground too, so that this is an upper bound of the correction.
            Small photographs have almost no flat pixel, and almost nothing changes; large ones can have a flat sky or a white ground.

    ``key`` names all that the result depends on: hashes of the network's weights and of the styles, alpha, seed and ``keep_ground``.

    Raises:
        ValueError: no styles, pixels outside [0, 1], or an alpha outside [0, 1].
    """

    def __init__(self, network: AdaIN, styles: Tensor, alpha: float = 1.0, seed: int = 0, *, keep_ground: bool = True) -> None:
        check_alpha(alpha)
        check_pixels(styles)
        if not len(styles):
            raise ValueError("there are no styles to choose from")
        self.network, self.styles, self.alpha, self.seed, self.keep_ground = network, styles, float(alpha), seed, keep_ground
        digest = hashlib.sha256(str(tuple(styles.shape)).encode() + styles.float().cpu().contiguous().numpy().tobytes())
        ground = "kept" if keep_ground else "decoded"
        self.key = f"adain {fingerprint(network)[:24]} styles {digest.hexdigest()[:24]} alpha {self.alpha!r} seed {seed} ground {ground}"
        self._moments: tuple[Tensor, Tensor] | None = None
        self._toned: dict[bytes, tuple[Tensor, Tensor]] = {}

    def choose(self, x: Tensor) -> Tensor:
        """The number of each image's style, (N,)."""
        chosen = []
        for image in x.detach().float().cpu().contiguous().numpy():
            generator = torch.Generator().manual_seed(zlib.crc32(image.tobytes(), self.seed & 0xFFFFFFFF))
            chosen.append(int(torch.randint(len(self.styles), (1,), generator=generator)))
        return torch.tensor(chosen, dtype=torch.int64)

    def __call__(self, x: Tensor, alpha: float | None = None) -> Tensor:
        """Stylize images (N, C, H, W) in [0, 1], each by the style that `choose` gives it; with ``alpha``, at that strength."""
        return self.paint(x, self.choose(x), alpha=alpha)

    @torch.no_grad()
    def paint(self, x: Tensor, index: Tensor, *, alpha: float | None = None) -> Tensor:
        """Stylize images (N, C, H, W) in [0, 1] by the styles of these numbers, (N,); ``alpha`` as in `__call__`."""
        check_pixels(x)
        alpha = self.alpha if alpha is None else alpha
        self.network.to(x.device)
        parts = max(1, CHUNK // max(math.prod(pixels.shape[-2:]) for pixels in (x, self.styles)))
        with evaluating(self.network):
            pairs = zip(x.split(parts), index.split(parts), strict=True)
            painted = torch.cat([self.network.restyle(part, *self._wanted(part, index), alpha=alpha) for part, index in pairs])
        return torch.where(flat_ground(x), x, painted) if self.keep_ground else painted

    def _wanted(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The moments that the features of each image get."""
        if x.shape[1] == 1:  # the style's tone is the image's: they are kept, because a sweep asks for them again at every alpha
            seen = x.float().cpu().contiguous().numpy().tobytes() + index.numpy().tobytes() + str(x.device).encode()
            key = hashlib.sha256(seen).digest()
            if key not in self._toned:
                if len(self._toned) >= KEPT:
                    self._toned.clear()
                self._toned[key] = moments(self.network.encode(toned(self.styles[index.to(self.styles.device)].to(x.device), x)))
            return self._toned[key]
        mean, std = self._style_moments(x.device)
        return mean.to(x.device)[index], std.to(x.device)[index]

    def _style_moments(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The moments of every style, computed once."""
        if self._moments is None:
            parts = self.styles.split(max(1, CHUNK // (self.styles.shape[-2] * self.styles.shape[-1])))
            found = [moments(self.network.encode(part.to(device))) for part in parts]
            self._moments = torch.cat([m for m, _ in found]), torch.cat([s for _, s in found])
        return self._moments

"""Smoothing filters. Both mirror the borders of an image without repeating the edge pixel."""

from __future__ import annotations

from torch import Tensor

from ..models import check_images
from .median import median


def gaussian_blur(x: Tensor, sigma: float, *, kernel_size: int = 7) -> Tensor:
    """Blur with a Gaussian of ``sigma`` pixels on a square of ``kernel_size`` pixels; 0 is the identity.

    A square of 7 pixels limits the effective width: beyond a sigma of about 2 the filter is nearly a plain mean.

    Raises:
        ValueError: a sigma that is negative or NaN, or a kernel that is even or too large for the image.

    >>> import torch
    >>> x = torch.zeros(1, 1, 5, 5)
    >>> x[0, 0, 2, 2] = 1
    >>> gaussian_blur(x, 1, kernel_size=3)[0, 0, 2]
    tensor([0.0000, 0.1238, 0.2042, 0.1238, 0.0000])

    Source: Itazuri et al. 2019, section 4.
    """
    check_images(x)
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"sigma is {sigma}; it must be at least 0 pixels")
    _check_kernel(x, kernel_size)
    if sigma == 0:
        return x.clone()
    from torchvision.transforms.v2.functional import gaussian_blur as blur  # 0.13 s

    return blur(x, [kernel_size, kernel_size], [float(sigma), float(sigma)])


def median_filter(x: Tensor, times: int = 1, *, kernel_size: int = 5) -> Tensor:
    """Replace each pixel, channel by channel, by the median of the square around it, ``times`` times; 0 is the identity.

    Raises:
        ValueError: a number of times that is negative or not whole, or a kernel that is even or too large for the image.

    Source: Itazuri et al. 2019, section 4.
    """
    check_images(x)
    if not times >= 0 or times % 1:
        raise ValueError(f"times is {times}; it must be a whole number of at least 0")
    _check_kernel(x, kernel_size)
    x = x.clone()
    for _ in range(int(times)):
        x = median(x, kernel_size)
    return x


def _check_kernel(x: Tensor, kernel_size: int) -> None:
    if kernel_size < 1 or kernel_size % 2 != 1 or kernel_size // 2 >= min(x.shape[-2:]):
        raise ValueError(f"kernel_size is {kernel_size}; it must be odd, and less than twice the image's shorter side, {min(x.shape[-2:])}")

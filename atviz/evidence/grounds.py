"""Replaced grounds: whether a network still knows an object before the ground of an image of another class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import AnyImages, Images, as_images
from .frequencies import BATCH, as_bytes, partners
from .outcomes import Outcomes, likeliest
from .records import Store
from .sweeps import table
from .wanted import AnyModel, as_module


def replaced_grounds(model: AnyModel, images: AnyImages, mask: Tensor, *, seed: int = 0, store: Store | None = None) -> dict[str, float]:
    """Accuracy on the images that the model gets right, when each has the ground of an image of another class.

    Args:
        mask: (N, H, W) in [0, 1], how much of each pixel the object covers: a drawn image's own, or `flat_silhouettes`.

    Returns:
        ``n``, ``top1``, ``n_correct``, ``acc_on_correct``, ``ci_low`` and ``ci_high``, as `sweeps.table` says of a distortion.

    Raises:
        ValueError: a mask that does not fit the images, images of a single class, without a ground, or whose grounds are all alike,
            so that nothing would be replaced.

    Source: Xiao et al. 2020 (Mixed-Rand), and Moayeri et al. 2022, who compare adversarially trained networks.
    """
    net, held = as_module(model), as_images(images)
    if mask.shape != (len(held), *held.shape[1:]):
        raise ValueError(f"the mask is {tuple(mask.shape)}; for these images it must be {(len(held), *held.shape[1:])}")
    mixed = exchanged(held, mask, partners(held.y, seed))
    clean, hit = (likeliest({"": net}, some, store)[""][:, 0] == held.y.cpu().numpy() for some in (held, mixed))
    (row,) = table(Outcomes({"": clean}, {("", "grounds", 0.0): hit})).to_dict("records")
    return {name: row[name] for name in ("n", "top1", "n_correct", "acc_on_correct", "ci_low", "ci_high")}


def exchanged(images: Images, mask: Tensor, chosen: Tensor) -> Images:
    """The images, each before the ground of the image whose number ``chosen``, (N,), says.

    x + (1 − mask) · (ground of the other − own ground): on a drawn image this takes the own ground's color out of the outline's pixels,
    too, of which x · mask would leave a rim. A ground is the image where the mask is 0; behind the object it is the plane that fits the
    rest of it best (least squares, each channel by itself), so that the other's silhouette does not show in a flat or a shaded ground.
    """
    pairs = zip(images.batches(BATCH), images[chosen].batches(BATCH), mask.split(BATCH), mask[chosen].split(BATCH), strict=True)
    parts, same = [], True
    for (x, _), (other, _), covered, hole in pairs:
        uncovered = 1 - covered.to(x)[:, None]
        parts.append(as_bytes(x + uncovered * (_ground(other, hole) - _ground(x, covered))))
        same &= torch.equal(parts[-1], as_bytes(x))
    if same:
        raise ValueError(f"the grounds of {images.name} are all alike; there is nothing to replace")
    return Images(torch.cat(parts), images.y, images.classes, f"{images.name}, grounds replaced")


def flat_silhouettes(images: Images) -> Tensor:
    """The objects of images with a flat ground, (N, H, W) of 0 and 1: what differs from the median color of the image's border."""
    parts = []
    for x, _ in images.batches(BATCH):
        border = torch.cat([x[:, :, 0], x[:, :, -1], x[..., 0], x[..., -1]], 2).median(2).values
        parts.append((x != border[:, :, None, None]).any(1).float().cpu())
    return torch.cat(parts)


def _ground(x: Tensor, mask: Tensor) -> Tensor:
    """The ground of each image as if there were no object, (N, C, H, W)."""
    seen = (mask.to(x.device) == 0).flatten(1).double()
    if not (seen.sum(1) > 0).all():
        raise ValueError("an image has no pixel whose mask is 0: it shows no ground")
    axes = (torch.linspace(-1, 1, side, dtype=torch.float64, device=x.device) for side in x.shape[-2:])
    plane = F.pad(torch.cartesian_prod(*axes), (0, 1), value=1)  # of each pixel: down, across, 1
    normal = torch.einsum("np,pi,pj->nij", seen, plane, plane)
    right = torch.einsum("np,pi,ncp->nic", seen, plane, x.double().flatten(2))
    fitted = (plane @ torch.linalg.pinv(normal, hermitian=True) @ right).transpose(1, 2).view_as(x)
    return torch.where(seen.bool().view(len(x), 1, *x.shape[-2:]), x, fitted.to(x))

"""Grids of images: pictures, saliency maps, filters, features. Drawn by matplotlib, as seaborn has no images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from ...saliency import SCALES, SIGNED_SCALES, as_shown, signed_as_shown
from .style import NOTE, look, styled


def show(ax: Axes, image: Tensor | None, title: str = "") -> None:
    """An image (C, H, W), clipped to [0, 1], on axes without lines; None leaves them empty."""
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=9.5)
    if image is not None:
        pixels = image.detach().float().clamp(0, 1).cpu().numpy()
        ax.imshow(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)


@styled
def image_grid(
    rows: Sequence[tuple[str, Tensor | Sequence[Tensor | None]]], columns: Sequence[str], *, note: str = "", block: int | None = None,
    colored: Collection[str] = (),
) -> Figure:  # fmt: skip
    """Images in rows and columns, shown clipped to [0, 1].

    Args:
        rows: a label and an image (C, H, W) for each column; None leaves a place empty.
        block: leave a gap after every so many columns. colored: the labels that are names of networks, shown in their colors.
    """
    count = len(columns)
    side = min(1.15, 11 / count)
    figure = Figure(figsize=(side * count + 1.3, (side + 0.05) * len(rows) + 0.6))
    gaps = [1.0 if not block or (column + 1) % (block + 1) else 0.25 for column in range(count + (count - 1) // (block or count))]
    grid = figure.add_gridspec(len(rows), len(gaps), width_ratios=gaps)
    for i, (label, images) in enumerate(rows):
        places = [figure.add_subplot(grid[i, j]) for j, gap in enumerate(gaps) if gap == 1]
        for ax, image, title in zip(places, images, columns if i == 0 else [""] * count, strict=True):
            show(ax, image, title)
        color = look(label)["color"] if label in colored else "black"
        places[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6, color=color)
    figure.supxlabel(note, **NOTE)
    return figure


def saliency_grid(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str], *, scale: str = "map") -> Figure:
    """Images above, below them each network's saliency: Σ_channels |map|, gray, white is strong. The figure says its scale.

    ``images``: (N, C, H, W); ``maps``: network → a tensor like it; ``scale`` as in `saliency.as_shown`.
    """
    shown = as_shown(maps, scale)
    return image_grid([("image", images), *shown.items()], titles, note=SCALES[scale], colored=maps)


def signed_grid(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str], *, scale: str = "map") -> Figure:
    """The same with signed maps, their channels as colors (Itazuri et al. 2019); ``scale`` as in `saliency.signed_as_shown`."""
    shown = signed_as_shown(maps, scale)
    return image_grid([("image", images), *shown.items()], titles, note=SIGNED_SCALES[scale], colored=maps)


@styled
def filter_sheet(filters: Mapping[str, Tensor], *, gain: float = 1.0) -> Figure:
    """First-layer filters, a panel for each network, all on one scale: gain · weight + 1/2, clipped to [0, 1] (Itazuri et al. 2019, Figure 4).

    ``filters``: network → (K, C, h, w), of one or three channels.
    """
    figure = Figure(figsize=(3.2 * len(filters), 3.6))
    panels = figure.subplots(1, len(filters), squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for ax, (name, weights) in zip(panels, filters.items(), strict=True):
        show(ax, _mosaic((gain * weights.detach().float().cpu() + 0.5).clamp(0, 1)))
        ax.set_title(name, color=look(name)["color"])
    said = "weight" if gain == 1 else f"{gain:.3g} · weight"
    figure.supxlabel(f"{said} + 0.5, clipped to [0, 1], on one scale for all: mid-gray is a weight of 0", **NOTE)
    return figure


def _mosaic(tiles: Tensor) -> Tensor:
    """Tiles (K, C, h, w) side by side in about as many rows as columns, with pale lines between them: one image of three channels."""
    zoom = max(1, 24 // tiles.shape[-1])  # narrow lines between small tiles
    tiles = tiles.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    tiles = pad(tiles, (0, 3, 0, 3, 0, 0, 0, rows * columns - len(tiles)), value=torch.nan)
    sheet = tiles.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)[:, :-3, :-3]
    return torch.where(sheet.isnan(), torch.tensor(to_rgb("#cfe3f5"))[:, None, None], sheet)


@styled
def feature_sheet(images: Mapping[str, Mapping[str, Tensor]], labels: Mapping[str, str]) -> Figure:
    """Maximized features, a row for each layer, a block of columns for each network (Itazuri et al. 2019, Figures 3 and 15 to 19).

    ``images``: network → layer → (n, C, H, W); ``labels``: layer → what is said of its row. The place of a layer that a network does not
    have stays empty.
    """
    shown = max(len(pictures) for layers in images.values() for pictures in layers.values())
    padded = lambda pictures: [*pictures, *[None] * (shown - len(pictures))]
    rows = [
        (label, [picture for layers in images.values() for picture in padded(layers.get(layer, []))]) for layer, label in labels.items()
    ]
    figure = image_grid(rows, [""] * shown * len(images), block=shown)
    for ax in figure.axes:
        ax.yaxis.label.set_fontsize(8.5)
        for picture in ax.images:
            picture.set_interpolation("antialiased")  # large images are shown smaller than they are
            ax.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.6)
    for ax, name in zip(figure.axes[::shown], images, strict=False):
        ax.set_title(name, loc="left", color=look(name)["color"])
    beside = 0.07 * max(len(line) for label in labels.values() for line in label.split("\n")) + 0.3 * len(images)  # labels and gaps, inches
    figure.set_figheight(0.4 + len(labels) * (figure.get_figwidth() - beside) / (shown * len(images)))
    return figure

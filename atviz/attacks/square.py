"""The Square attack: random search with squares. It asks for logits alone, so that no masked gradient stops it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..models import check_batch, evaluating, folded, halved, logits_of
from .ball import l2, project
from .checks import check_ball, check_count
from .draws import generators_of, seeds_of, uniform
from .judge import misclassified
from .losses import margin

SHARE = 0.8  # of the image that the first squares cover
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries, after which they cover half as much
CHUNK = 100  # queries, whose random numbers are drawn together
TINY = 1e-12


def square(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str = "linf", queries: int = 5000, seed: int = 0) -> Tensor:
    """Random search: change a square of the image, and keep the change if the margin between label and highest other logit falls.

    For L∞, the search begins with vertical stripes of ±eps, and a square sets each channel of its pixels to +eps or −eps. For L2, it begins with a
    tiling of the ball's surface, and a square takes over the size of the change within another square. Squares shrink as queries go on.

    An image is asked no further as soon as ``model`` misclassifies it, in fp32.

    Args:
        x: (N, C, H, W) float, in [0, 1].
        y: (N,) labels.
        eps: in pixel units, where the range of a pixel is 1.
        queries: forward passes of each image, at most.
        seed: an image's random numbers depend on this and on its pixels, not on the images beside it.

    Returns:
        x_adv like ``x``: ‖x_adv − x‖ ≤ eps·(1 + 1e-6), within [0, 1].

    Raises:
        ValueError: as `pgd`.

    >>> model = torch.nn.Flatten()  # the two pixels of an image are the logits of two classes
    >>> x = torch.tensor([0.2, 0.7]).view(1, 1, 1, 2)
    >>> square(model, x, torch.tensor([1]), eps=0.1, queries=50)
    tensor([[[[0.3000, 0.6000]]]])

    Source: Andriushchenko et al. 2020 (Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search), algorithms 1 to 3, with the
    constants of Croce & Hein 2020.
    """
    check_ball(norm, eps)
    check_count("queries", queries, 1)
    check_batch(x, y)
    x = x.detach()
    if eps == 0 or not len(x):
        return x.clone()
    attack = partial(_square, model, folded(model, x), eps=eps, norm=norm, queries=queries)
    with evaluating(model), torch.no_grad():
        return halved(attack, x, y, seeds_of(x, seed))


def _square(
    model: nn.Module, network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, seeds: Tensor, *, eps: float, norm: str, queries: int
) -> Tensor:
    change, numbers = (_fill, 2 + x.shape[1]) if norm == "linf" else (_exchange, 5 + x.shape[1])
    found, generators = x.clamp(0, 1), generators_of(seeds)
    left = torch.nonzero(~misclassified(model, x, y, logits_of(network, x, y).float()))[:, 0]
    x, y, generators = x[left], y[left], [generators[i] for i in left.tolist()]
    best, highest = found[left], torch.full((len(left),), -float("inf"), device=x.device)
    for query in range(queries):
        if not len(left):
            return found
        if query % CHUNK == 0:
            draws = uniform(x, generators, CHUNK, numbers)
        if query == 0:
            tried = (_stripes if norm == "linf" else _tiles)(x, eps, generators)
        else:
            tried = change(x, best, eps, side(query, *x.shape[2:]), draws[:, query % CHUNK])
        logits = logits_of(network, tried).float()
        margins = margin(logits, y)
        best = torch.where((margins > highest)[:, None, None, None], tried, best)
        highest = highest.maximum(margins)
        if (wrong := misclassified(model, tried, y, logits)).any():
            found[left[wrong]] = tried[wrong]
            left, x, y, best, highest, draws = (rows[~wrong] for rows in (left, x, y, best, highest, draws))
            generators = [generator for generator, gone in zip(generators, wrong.tolist(), strict=True) if not gone]
    found[left] = best
    return found


def side(query: int, height: int, width: int) -> int:
    """The side of a query's square, in pixels.

    >>> [side(query, 32, 32) for query in (1, 11, 100, 1000, 9000)]
    [29, 20, 14, 7, 1]
    """
    share = SHARE / 2 ** bisect_left(HALVED_AFTER, query)
    return min(max(round((share * height * width) ** 0.5), 1), height, width)


def _signs(draws: Tensor) -> Tensor:
    return torch.where(draws < 0.5, -1.0, 1.0)


def _places(draws: Tensor, side: int, length: int) -> Tensor:
    """The pixels that squares at random places cover along one axis of the image: (N,) → (N, side)."""
    return (draws * (length - side + 1)).long()[:, None] + torch.arange(side, device=draws.device)


# --- L∞: the corners of the ball


def _stripes(x: Tensor, eps: float, generators: list[torch.Generator]) -> Tensor:
    return project(x + eps * _signs(uniform(x, generators, x.shape[1], 1, x.shape[3])).to(x), x, eps, "linf")


def _fill(x: Tensor, best: Tensor, eps: float, side: int, draws: Tensor) -> Tensor:
    """Set one square of each image to +eps or −eps, each channel by itself."""
    h, w = x.shape[2:]
    covered = torch.zeros(len(x), h, w, dtype=torch.bool, device=x.device)
    covered[_square_of(draws, side, h, w)] = True
    corner = project(x + eps * _signs(draws[:, 2:]).to(x)[:, :, None, None], x, eps, "linf")
    return torch.where(covered[:, None], corner, best)


def _square_of(draws: Tensor, side: int, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of image, row and column of the squares that two random numbers place, each (N, side, side) after broadcasting."""
    rows, columns = _places(draws[:, 0], side, h), _places(draws[:, 1], side, w)
    return torch.arange(len(draws), device=draws.device)[:, None, None], rows[:, :, None], columns[:, None, :]


# --- L2: the surface of the ball


def _tiles(x: Tensor, eps: float, generators: list[torch.Generator]) -> Tensor:
    """Five by five tiles of `bumps`, each with a sign for each channel and lying one way or the other."""
    c, h, w = x.shape[1:]
    side = max(min(h, w) // 5, 1)
    down, across = h // side, w // side
    draws = uniform(x, generators, c + 1, down, across).repeat_interleave(side, 2).repeat_interleave(side, 3)
    tile = bumps(side).to(x)
    turned = torch.where(draws[:, :1] < 0.5, tile.repeat(down, across), tile.T.repeat(down, across))
    delta, (top, left) = torch.zeros_like(x), ((h - down * side) // 2, (w - across * side) // 2)
    delta[:, :, top : top + down * side, left : left + across * side] = turned * _signs(draws[:, 1:]).to(x)
    return _onto(x, delta, eps)


def _exchange(x: Tensor, best: Tensor, eps: float, side: int, draws: Tensor) -> Tensor:
    """Put `bumps` into one square, and take their size from the change in another one, which is undone there."""
    c, h, w = x.shape[1:]
    side = min(max(side, 3) // 2 * 2 + 1, h, w)  # odd, and at least 3
    delta = best - x
    into, out = _square_of(draws, side, h, w), _square_of(draws[:, 2:], side, h, w)
    pixels = delta.permute(0, 2, 3, 1).clone()  # channels last, as the squares' indices take them
    old = pixels[into]
    unused = (eps**2 - l2(delta) ** 2).clamp(min=0) / c
    pixels[out] = 0
    pixels[into] = 0
    freed = (delta.square().sum((2, 3)) - pixels.square().sum((1, 2)))[:, None, None]  # of both squares, in each channel
    tile = bumps(side).to(x)
    turned = torch.where((draws[:, 4] < 0.5)[:, None, None], tile, tile.T)
    new = turned[..., None] * _signs(draws[:, 5:]).to(x)[:, None, None] + old / _size(old)
    pixels[into] = new / _size(new) * (unused + freed.clamp(min=0)).sqrt()
    return _onto(x, pixels.permute(0, 3, 1, 2), eps)


def _size(squares: Tensor) -> Tensor:
    """The L2 norm of each channel of each square: (N, side, side, C) → (N, 1, 1, C)."""
    return squares.square().sum((1, 2), keepdim=True).sqrt() + TINY


def _onto(x: Tensor, delta: Tensor, eps: float) -> Tensor:
    return project(x + delta * (eps / l2(delta).clamp(min=TINY)), x, eps, "l2")


def bumps(side: int) -> Tensor:
    """Two bumps of opposite sign, one above the other, each highest at its center: (side, side), of norm 1."""
    upper = side // 2
    both = torch.cat([bump(upper, side), -bump(side - upper, side)]) if upper else bump(side, side)
    return both / torch.linalg.vector_norm(both)


def bump(height: int, width: int) -> Tensor:
    """Σ 1/(k + 1)² over the squares of radius k ≥ the distance to the center, of norm 1 (Andriushchenko et al. 2020, eq. 2)."""
    rows, columns = (torch.arange(length) - length // 2 for length in (height, width))
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None, :])
    terms = 1 / torch.arange(1, max(height, width) // 2 + 2).square()
    heights = terms.flip(0).cumsum(0).flip(0)[distance]
    return heights / torch.linalg.vector_norm(heights)

"""Random numbers of each image's own: the images beside it, and those that have left, change nothing."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from .ball import project, random_delta


def seeds_of(x: Tensor, seed: int) -> Tensor:
    """A seed for each image, (N,) int64, made of its pixels and of ``seed``."""
    images = x.detach().float().cpu().contiguous().numpy()
    return torch.tensor([zlib.crc32(image.tobytes(), seed & 0xFFFFFFFF) for image in images], dtype=torch.int64)


def generators_of(seeds: Tensor) -> list[torch.Generator]:
    """A generator for each seed."""
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]


def uniform(like: Tensor, generators: list[torch.Generator], *shape: int) -> Tensor:
    """Numbers from [0, 1), (N, *shape), those of an image from its generator, on the device of ``like``."""
    drawn = [torch.rand(*shape, generator=generator) for generator in generators]
    return torch.stack(drawn).to(like.device) if drawn else torch.empty(0, *shape, device=like.device)


def random_start(x: Tensor, eps: float, norm: str, generators: list[torch.Generator]) -> Tensor:
    """A point for each image, drawn uniformly from its ball."""
    drawn = [random_delta(image, eps, norm, generator) for image, generator in zip(x.split(1), generators, strict=False)]
    return project(x + torch.cat(drawn), x, eps, norm) if drawn else x.clone()

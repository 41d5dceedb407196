"""Many processes that train one network: how they are started, batch norm over all of them, and each one's random numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..attacks.ball import random_delta
from ..models import bf16_is_faster
from .recipes import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

TRADES_START = 0.001  # standard deviation of the noise that the attack of Zhang et al. (2019) begins with
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


def make_fabric(
    *,
    accelerator: str = "auto",
    devices: int | str = 1,
    num_nodes: int = 1,
    strategy: str | DDPStrategy = "auto",
    precision: str | None = None,
) -> Fabric:
    """A Lightning Fabric of these devices, with bfloat16 autocast where the hardware is faster for it.

    Alone, it starts the other processes of its node itself. Under torchrun (``--nproc-per-node D --nnodes N``) and under Slurm (``srun``,
    ``--ntasks-per-node=D --nodes=N``) it is one of the processes that were started, and ``devices`` must be D and ``num_nodes`` N. On
    several nodes without either, each node is told ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK``. All nodes need the same ``ATVIZ_HOME``.

    Raises:
        ValueError: a strategy that does not keep the whole network in each process, which an attack needs, or that starts its processes
            from within; another number of processes than torchrun or Slurm has started.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    if not isinstance(strategy, DDPStrategy) and strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; it must be one of Fabric's {', '.join(STRATEGIES)}, or a DDPStrategy")
    if precision is None:
        device = torch.device("cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu")
        precision = "bf16-mixed" if bf16_is_faster(device) else "32-true"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # not a line for every loop about its precision
    fabric = Fabric(accelerator=accelerator, strategy=strategy, devices=devices, num_nodes=num_nodes, precision=precision)  # type: ignore[arg-type]
    # with one device Fabric would let each of the started processes train a network of its own
    for name, environment in (("torchrun", TorchElasticEnvironment), ("Slurm", SLURMEnvironment)):
        if fabric.world_size == 1 and environment.detect() and (started := environment().world_size()) > 1:
            raise ValueError(
                f"{name} has started {started} processes, but devices is {devices} and num_nodes {num_nodes}; give its numbers to both"
            )
    return fabric


@contextmanager
def synchronized(module: nn.Module, fabric: Fabric) -> Iterator[None]:
    """Within this context the batch norm of ``module`` in training mode is that of the whole batch of all processes.

    In eval mode it communicates with nobody: an attack takes its steps alone. Afterwards every layer is again what it was. Parameters,
    buffers and their names stay the same objects all the time.

    Raises:
        TypeError: a batch norm of a class of its own, whose formula is not known.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm)]
    before = [type(layer) for layer in layers] if fabric.world_size > 1 else []
    for unknown in set(before) - {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}:
        raise TypeError(f"{unknown.__name__} cannot be computed over several processes; train it on one device, or use nn.BatchNorm2d")
    for layer, _ in zip(layers, before, strict=False):
        # not convert_sync_batchnorm: it makes new layers, and the caller's network would keep them
        layer.__class__ = _TogetherOnCpu if fabric.device.type == "cpu" else nn.SyncBatchNorm
        layer.process_group = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=False):
            layer.__class__ = was
            del layer.process_group


class _TogetherOnCpu(_BatchNorm):
    """`nn.SyncBatchNorm` for the CPU, where torch has none. The processes' batches may have different sizes."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.running_mean is None, 0.0, self.eps)
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        wide = x if x.dtype == torch.float64 else x.float()
        own = wide.new_tensor([x.numel() // x.shape[1]])
        *_, n = sums = _Sum.apply(torch.cat([wide.sum(axes), own]))
        mean = sums[:-1] / n
        # the squares of differences, not the difference of squares: with a large mean little would be left of that
        centered = wide - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(axes)) / n
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach() * (n / (n - 1)).detach())
        y = centered * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + (0 if self.bias is None else self.bias.view(shape))
        return y.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, because each process's loss depends on every process's summand."""

    @staticmethod
    def forward(ctx: Any, summand: Tensor) -> Tensor:
        total = summand.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient.contiguous())


def start_of(recipe: Recipe, x: Tensor, fabric: Fabric, generator: torch.Generator) -> dict[str, Tensor]:
    """The attack's random start as its argument; none for a recipe without one. Each image gets the one that it has in a single process:
    the starts of the whole batch are drawn in each process, and those of its own images ``x`` are taken.
    """
    if not recipe.random_start:
        return {}
    whole = x[:1].expand(recipe.batch_size, *x.shape[1:])
    if recipe.attack == "trades":
        drawn = TRADES_START * torch.randn(whole.shape, generator=generator).to(x)
    else:
        drawn = random_delta(whole, recipe.eps * (recipe.noise or 1), recipe.norm, generator)
    return {"random_start": drawn[fabric.global_rank :: fabric.world_size]}


def seed_each(fabric: Fabric, seed: int) -> None:
    """Seed torch's global generators, from which dropout draws, differently in each of several processes; nothing in a single one.

    The same numbers as in a single process cannot be had: there the layers draw for the whole batch.
    """
    if fabric.world_size > 1:
        torch.manual_seed(seed * fabric.world_size + fabric.global_rank)


def as_weights(module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the number format of a network's weights."""
    dtype = next(module.parameters()).dtype
    return ((x.to(dtype), y) for x, y in batches)

"""Passes through a network in eval mode: predictions, and a stand-in that is up to twice as fast where no parameter needs a gradient.

A batch normalization after a convolution is then a scale and a shift of its output. Folded into the weights it costs nothing, forward
or backward.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .inference import device_of, evaluating, logits_of, memory_format, out_of_memory

PROBES = 2  # images on which a folded network is compared with the network itself
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
OWN = {"training", *vars(nn.Module())}  # a module's own attributes: mode, weights and layers are compared otherwise, or do not count
TOLERANCE = 1e-3  # of the logits, relative to their size; 1e-9 in float64


def folded(model: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    """``model`` in eval mode as a function of images, up to rounding, in half to nine tenths of the time; for passes that need no parameter's gradient.

    Every call takes over the weights as they are now. The graph of the network is traced once (`torch.fx`) and compared with the
    network on the first images of ``x`` (N, C, H, W). The network itself is returned where it cannot be traced, answers otherwise than its
    graph (it draws random numbers, for instance), has hooks, or has no convolution. The model is left as it was.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten()).eval()
    >>> x = torch.rand(3, 1, 2, 2)
    >>> torch.allclose(folded(model, x)(x), model(x), atol=1e-6)
    True

    Source: Jacob et al. 2018 (Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference), section 3.2.
    """
    if not len(x) or any(getattr(module, hooks) for module in model.modules() for hooks in HOOKS):
        return model
    known = _KNOWN.get(model)
    if known is None or known.identities != _identities(model) or known.device != x.device:
        known = _KNOWN[model] = _trace(model, x)
    if known.graph is None:
        return model
    known.refresh()
    layout, graph = known.layout, known.graph
    return lambda images: graph(images.contiguous(memory_format=layout))


def halved(call: Callable[..., Tensor], *given: Tensor) -> Tensor:
    """``call(*given)``, whose result has a row for each row of what is given; in halves where memory does not suffice for all at once.

    The result is the same where every row is computed by itself, as in a pass in eval mode. A warning tells of it, once.

    >>> halved(lambda x: 2 * x, torch.arange(3))
    tensor([0, 2, 4])
    """
    try:
        return call(*given)
    except (RuntimeError, MemoryError) as error:
        if len(given[0]) < 2 or not out_of_memory(error):
            raise
    # outside the handler, whose traceback holds what the call had made
    warnings.warn("memory does not suffice for a whole batch; it is taken in halves, with the same result", RuntimeWarning, stacklevel=2)
    middle = len(given[0]) // 2
    return torch.cat([halved(call, *(rows[:middle] for rows in given)), halved(call, *(rows[middle:] for rows in given))])


def predict(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, topk: int = 1, bf16: bool = False) -> Tensor:
    """The ``topk`` likeliest classes of every image, likeliest first: (N, topk) int64 on the CPU, or as many as there are.

    The network is in eval mode, and computes in fp32 unless ``bf16``.
    """
    found, network = [], None
    with evaluating(model):
        for x, _ in batches:
            network = folded(model, x) if network is None else network
            # gradients are off for this forward pass alone: the batches may come from an attack
            with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                logits = halved(partial(logits_of, network), x).float()
                found.append(logits.topk(min(topk, logits.shape[1])).indices.cpu())
    return torch.cat(found) if found else torch.empty(0, topk, dtype=torch.int64)


@dataclass
class _Folded:
    """What is known of a network: its graph, None where it must not be used, and which convolution of the graph stands for which layers."""

    identities: list[Any]
    device: torch.device
    graph: fx.GraphModule | None = None
    layout: torch.memory_format = torch.contiguous_format
    pairs: list[tuple[nn.Conv2d, nn.Conv2d, _BatchNorm | None]] = field(default_factory=list)

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the weights of the network."""
        for target, conv, norm in self.pairs:
            if norm is None:
                weight, bias = conv.weight, conv.bias
            else:
                assert norm.running_mean is not None and norm.running_var is not None
                weight, bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
            target.weight.copy_(weight)
            if target.bias is not None and bias is not None:
                target.bias.copy_(bias)


_KNOWN: WeakKeyDictionary[nn.Module, _Folded] = WeakKeyDictionary()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # a layer without layers of its own is kept as it is: what is random or has a state in it stays so
        return not any(True for _ in m.children()) or super().is_leaf_module(m, module_qualified_name)


def _identities(model: nn.Module) -> list[Any]:
    """What changes where a layer, its weights or another attribute is exchanged, from which the graph was made."""
    modules, tensors = list(model.modules()), chain(model.parameters(), model.buffers())
    values = [
        (name, value if isinstance(value, str | int | float | tuple | None) else id(value))
        for module in modules for name, value in vars(module).items() if name not in OWN
    ]  # fmt: skip
    return [*map(id, modules), *((id(tensor), tensor.dtype) for tensor in tensors), *values]


def _trace(model: nn.Module, x: Tensor) -> _Folded:
    found = _Folded(_identities(model), x.device)
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return found
    with evaluating(model), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        try:
            graph = _Tracer().trace(model)
            network = fx.GraphModule(model, graph)
            found.layout = memory_format(model, device_of(model))
            found.pairs = _fold(network, found.layout)
            found.refresh()
            probe = x[:PROBES]
            if _alike(network(probe.contiguous(memory_format=found.layout)), model(probe)):
                found.graph = network.eval()
        except Exception:  # a network that cannot be traced, for whatever reason, is used as it is
            found.pairs = []
    return found


def _fold(network: fx.GraphModule, layout: torch.memory_format) -> list[tuple[nn.Conv2d, nn.Conv2d, _BatchNorm | None]]:
    """Give the graph convolutions of its own, in place of each convolution and the batch normalization that alone reads its output."""
    modules = dict(network.named_modules())
    pairs = []
    for number, node in enumerate(list(network.graph.nodes)):
        conv = modules.get(node.target) if node.op == "call_module" else None
        if type(conv) is not nn.Conv2d:
            continue
        readers = list(node.users)
        norm = modules.get(readers[0].target) if len(readers) == 1 and readers[0].op == "call_module" else None
        if not (isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None):
            norm = None
        weight = conv.weight
        own = nn.utils.skip_init(  # a weight that is drawn would change the global random numbers
            nn.Conv2d, conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups,
            bias=norm is not None or conv.bias is not None, padding_mode=conv.padding_mode, device=weight.device, dtype=weight.dtype,
        ).to(memory_format=layout)  # fmt: skip
        own.requires_grad_(False)
        network.add_submodule(f"folded{number}", own)
        node.target = f"folded{number}"
        if norm is not None:
            readers[0].replace_all_uses_with(node)
            network.graph.erase_node(readers[0])
        pairs.append((own, conv, norm))
    network.delete_all_unused_submodules()
    network.recompile()
    return pairs


def _alike(a: Tensor, b: Tensor) -> bool:
    near = TOLERANCE if b.dtype != torch.float64 else 1e-9
    return a.shape == b.shape and bool((a - b).abs().max() <= near * b.abs().max())

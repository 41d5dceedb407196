"""Using a network: its mode, its identity, its number format, and checks of what goes in."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

MISFIT = re.compile(
    r"dtype|scalar type|device|\bsizes?\b|shapes?\b|channels|dimension"
)  # of what torch says of images that a layer does not take
PROBES = 8  # images of noise


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over the names and values of all parameters and buffers: what a result's key says of its model.

    Two networks of the same weights may compute otherwise. Modules of which this is known carry a text ``identity``, which counts, too.
    """
    sha = hashlib.sha256()
    for module in model.modules():
        if isinstance(identity := getattr(module, "identity", None), str):
            sha.update(identity.encode())
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):  # a module's own further state
            sha.update(f"{name}{tensor!r}".encode())
            continue
        sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def halve(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model with its floating-point numbers in 16 bits, for storing; the model is rounded to it, so that what is measured
    next is what is stored."""
    state = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    model.load_state_dict(state)
    return state


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """``model`` in eval mode; afterwards, also after an exception, every module is back in the mode it was in."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, training in before.items():
            module.training = training


def check_images(x: Tensor) -> None:
    """ValueError unless ``x`` is (N, C, H, W) and floating-point."""
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"x must be (N, C, H, W) floating-point, not {tuple(x.shape)} {x.dtype}")


def check_pixels(x: Tensor) -> None:
    """ValueError unless ``x`` is (N, C, H, W), floating-point and within [0, 1] up to 1e-6."""
    check_images(x)
    if x.numel():
        low, high = x.aminmax()
        if not (low >= -1e-6 and high <= 1 + 1e-6):
            raise ValueError(f"pixels run from {low:.4g} to {high:.4g}; they must be in [0, 1]: normalization is the model's first layer")


def check_batch(x: Tensor, y: Tensor) -> None:
    """ValueError unless ``x`` are pixels, as by `check_pixels`, and ``y`` are the numbers of their classes, (N,) int64."""
    check_pixels(x)
    if y.shape != x.shape[:1]:
        raise ValueError(f"y has shape {tuple(y.shape)} for {len(x)} images; it must be ({len(x)},)")
    if y.dtype != torch.int64:
        raise ValueError(f"y is {y.dtype}; labels are the numbers of classes, torch.int64 (y.long())")


class Misfit(ValueError):
    """A network and what it is asked for do not fit."""


def logits_of(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor | None = None) -> Tensor:
    """``network(x)``, (N, classes), for images (N, C, H, W) and labels (N,) that it can be asked for.

    Raises:
        Misfit: in one sentence, images that the network does not take (their shape, type or device), an answer that is not
            (N, classes), or, where labels are given, labels that it has no class for and probabilities in place of logits.
    """
    try:
        logits = network(x)
    except RuntimeError as error:
        if out_of_memory(error) or not MISFIT.search(str(error)):
            raise
        reason = " ".join(str(error).split())[:300]
        raise Misfit(f"the network does not take images of {tuple(x.shape[1:])}: {reason} (they are {x.dtype} on {x.device})") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        found = f"values of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise Misfit(f"the network answers {len(x)} images with {found}; it must answer with logits, ({len(x)}, number of classes)")
    if y is not None and len(y) and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise Misfit(f"labels run from {y.min()} to {y.max()}, but the network has {logits.shape[1]} classes, numbered from 0")
    if y is not None and _probable(logits):
        with torch.no_grad():  # logits may add up to one by chance; those of noise do not, too
            noise = torch.rand(PROBES, *x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=x.dtype).to(x.device)
            if _probable(network(noise)):
                raise Misfit("the network answers with probabilities, whose sum is 1; it must answer with logits: leave out its softmax")
    return logits


def _probable(answers: Tensor) -> bool:
    """Whether every row is a probability of each class."""
    rows = answers.detach().float()
    return bool(len(rows)) and rows.shape[1] > 1 and bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-2).all())


def out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice."""
    told = ("out of memory", "can't allocate memory")  # torch has a class of its own only for GPUs
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error).lower() for text in told)


def bf16_is_faster(device: torch.device) -> bool:
    """Whether this hardware multiplies bfloat16 natively: CUDA from compute capability 8 on, CPUs with AVX-512 BF16 or AMX.

    ``ATVIZ_BF16=0`` in the environment says that it does not, so that trainings, attacks and maps are in fp32, as on any other machine.
    """
    if (asked := os.environ.get("ATVIZ_BF16", "")) not in ("", "0", "all"):
        raise ValueError(f"ATVIZ_BF16 is {asked!r}; it must be 0 (never), all (also for accuracy under distortions), or not set")
    if asked == "0":
        return False
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = [getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("avx512_bf16", "amx_tile")]
    return device.type == "cpu" and any(probe() for probe in probes if probe)


def classifies_in_bf16(device: torch.device) -> bool:
    """Whether accuracy under distortions is measured in bfloat16: with ``ATVIZ_BF16=all`` where `bf16_is_faster`; else it is fp32.

    Of a ResNet's decisions on ImageNet, 0.5 to 3.5 % differ from those in fp32 (`benchmarks/README.md`).
    """
    return bf16_is_faster(device) and os.environ.get("ATVIZ_BF16") == "all"


def fast_autocast(device: torch.device, wanted: bool | None = None) -> torch.autocast:
    """Autocast to bfloat16 if ``wanted``, or, for None, where `bf16_is_faster`; else a context that turns autocast off."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_faster(device) if wanted is None else wanted)


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's parameters; the CPU for a network without parameters."""
    return next((tensor.device for tensor in model.parameters()), torch.device("cpu"))


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """How a network's weights lie in memory for training: channels last, which is faster, or contiguous.

    On the CPU a strided 1×1 convolution of fewer than 16 channels needs contiguous weights. Channels last, oneDNN computes wrong
    gradients for it, hangs or crashes (github.com/uxlfoundation/oneDNN/issues/6035).
    """
    narrow = (
        module.in_channels < 16 and module.kernel_size == (1, 1) and max(module.stride) > 1
        for module in model.modules() if isinstance(module, nn.Conv2d)
    )  # fmt: skip
    return torch.contiguous_format if device.type == "cpu" and any(narrow) else torch.channels_last


def answered(module: nn.Module, x: Tensor) -> int:
    """How many logits a network gives for ``x`` (N, C, H, W); it is left as it was.

    Raises:
        ValueError: in one sentence, an image that the network does not take, or an answer that is not (N, classes).
    """
    device = device_of(module)
    try:
        with (
            evaluating(module), torch.no_grad(), torch.autocast(device.type, enabled=False),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        ):  # fmt: skip
            return logits_of(module, x.to(device)).shape[1]
    except Misfit:
        raise
    except Exception as error:  # whatever a network raises
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"the network does not take images of {tuple(x.shape[1:])}: {reason}") from error

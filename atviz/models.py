"""Networks whose first layer normalizes: pixels in [0, 1] go in, logits come out."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

PRETRAINED = ("resnet18", "resnet50", "resnet101")  # torchvision has ImageNet weights of these


class Normalize(nn.Module):
    """(x − mean) / std per channel; ``mean`` and ``std`` are buffers, in [0, 1] units."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Standardize(nn.Module):
    """(x − mean) / max(std, 1/√d) of each image over its own d values, as tf.image.per_image_standardization."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        return (x - mean) / variance.clamp(min=1 / x[0].numel()).sqrt()


class ResNet(nn.Module):
    """He et al.'s residual network of any base width, with torchvision's blocks and parameter names.

    Stage i has ``blocks[i]`` blocks of ``width·2^i`` channels and, from the second on, halves the side. The small-image stem
    is one 3×3 convolution; the large one is ImageNet's 7×7, stride 2, with max-pooling.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], blocks: list[int], width: int, in_channels: int, num_classes: int, small_stem: bool
    ) -> None:
        super().__init__()
        stem = dict(kernel_size=3, padding=1) if small_stem else dict(kernel_size=7, stride=2, padding=3)
        self.conv1 = nn.Conv2d(in_channels, width, bias=False, **stem)  # type: ignore[arg-type]
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        channels = width
        self.stages = [f"layer{i + 1}" for i in range(len(blocks))]
        for i, (stage, count) in enumerate(zip(self.stages, blocks, strict=True)):
            layers: list[nn.Module] = []
            for j in range(count):
                stride, planes = (2 if i and not j else 1), width * 2**i
                shortcut = None
                if stride != 1 or channels != planes * block.expansion:
                    shortcut = nn.Sequential(conv1x1(channels, planes * block.expansion, stride), nn.BatchNorm2d(planes * block.expansion))
                layers.append(block(channels, planes, stride, shortcut))
                channels = planes * block.expansion
            self.add_module(stage, nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.apply(_spread)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.fc(self.avgpool(x).flatten(1))


def _spread(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class AlexNet(nn.Module):
    """AlexNet of any base width, each of its five convolutions followed by batch normalization and ReLU (Itazuri et al. 2019).

    Convolutions of 1, 3, 6, 4 and 4 times ``width`` channels and two fully connected layers of 64 times ``width``: at 64 they, their
    kernels, strides, pooling and dropout are those of torchvision's AlexNet. The small-image stem is one 3×3 convolution of stride 1;
    max-pooling then pads, so that 28 or 32 pixels leave a side of 4, to which larger images are averaged (the large stem: 6).
    The last layer is ``fc``, as a `ResNet`'s.
    """

    def __init__(self, width: int, in_channels: int, num_classes: int, small_stem: bool) -> None:
        super().__init__()
        first = (3, 1, 1) if small_stem else (11, 4, 2)
        layers: list[nn.Module] = []
        channels = in_channels
        # kernel, stride and padding of each convolution
        for i, (planes, shape) in enumerate([(1, first), (3, (5, 1, 2)), (6, (3, 1, 1)), (4, (3, 1, 1)), (4, (3, 1, 1))]):
            layers += [nn.Conv2d(channels, planes * width, *shape), nn.BatchNorm2d(planes * width), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, 2, int(small_stem))] if i in (0, 1, 4) else []
            channels = planes * width
        self.features = nn.Sequential(*layers)
        side, hidden = 4 if small_stem else 6, 64 * width
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(channels * side**2, hidden), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.fc = nn.Linear(hidden, num_classes)
        self.apply(_spread)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.classifier(self.avgpool(self.features(x)).flatten(1)))


# name -> network of (width, in_channels, num_classes, small_stem), default base width
ARCHITECTURES: dict[str, tuple[Callable[[int, int, int, bool], nn.Module], int]] = {
    "small": (partial(ResNet, BasicBlock, [1, 1, 1]), 16),
    "resnet18": (partial(ResNet, BasicBlock, [2, 2, 2, 2]), 64),
    "resnet50": (partial(ResNet, Bottleneck, [3, 4, 6, 3]), 64),
    "resnet101": (partial(ResNet, Bottleneck, [3, 4, 23, 3]), 64),
    "alexnet_bn": (AlexNet, 64),
}


def parse(arch: str) -> tuple[Callable[[int, int, int, bool], nn.Module], int]:
    """How to make ``resnet18``, ``small-w32`` and the like, and the base width; ValueError for an unknown name."""
    match = re.fullmatch(r"(.+?)(?:-w([1-9]\d*))?", arch)
    name = match[1] if match else arch
    if not match or name not in ARCHITECTURES:
        near = get_close_matches(name, ARCHITECTURES, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(ARCHITECTURES)}, each also with a base width (resnet18-w16)"
        raise ValueError(f"unknown architecture {arch!r}; {hint}")
    make, width = ARCHITECTURES[name]
    return make, int(match[2] or width)


def build(
    arch: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    small_stem: bool | None = None,
    standardize: bool = False,
) -> nn.Module:
    """Build a network that takes x (N, in_channels, H, W) in [0, 1] and returns logits (N, num_classes).

    Args:
        arch: ``small`` (three residual blocks, base width 16), ``resnet18``, ``resnet50``, ``resnet101``, ``alexnet_bn``; ``-wN`` sets
            the base width.
        image_size: up to 64 pixels the stem is one 3×3 convolution of stride 1 (of a ResNet without pooling), unless ``small_stem`` says otherwise.
        mean, std: the normalizing layer's, per channel, in [0, 1] units; default 0 and 1.
        weights: a safetensors file or state_dict to start from, or ``imagenet`` for torchvision's. A last layer made for
            another number of classes is left out, so that a new head is fitted.
        standardize: the first layer is `Standardize`, which has no use for ``mean`` and ``std``.

    Raises:
        ValueError: an unknown architecture, a mean or std of the wrong length or beside ``standardize``, or weights that do not fit.
        OSError: ImageNet weights that could not be downloaded.
    """
    make, width = parse(arch)
    if standardize and (mean is not None or std is not None):
        raise ValueError("mean and std are given, but standardize takes those of each image; give one or the other")
    mean, std = [0.0] * in_channels if mean is None else mean, [1.0] * in_channels if std is None else std
    if len(mean) != in_channels or len(std) != in_channels:
        raise ValueError(f"mean has {len(mean)} and std {len(std)} values for {in_channels} channels")
    stem = image_size <= 64 if small_stem is None else small_stem
    network = make(width, in_channels, num_classes, stem)
    model = nn.Sequential(OrderedDict(normalize=Standardize() if standardize else Normalize(mean, std), network=network))
    if weights is not None:
        _fill(model, arch, weights)
    return model


def _fill(model: nn.Sequential, arch: str, weights: str | Path) -> None:
    state = _imagenet(arch) if str(weights) == "imagenet" else read_state(Path(weights))
    # a bare network's parameters, or those of a whole model with its normalizing layer
    target: Any = model if any(name.startswith("network.") for name in state) else model.network
    own = target.state_dict()
    head = {name for name in state if name.split(".")[-2:-1] == ["fc"] and name in own and own[name].shape != state[name].shape}
    wrong = [name for name in state if name not in head and (name not in own or own[name].shape != state[name].shape)]
    absent = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if wrong or absent:
        what = f"{wrong[0]} has no place in" if wrong else f"{absent[0]} is missing for"
        raise ValueError(
            f"{weights} does not fit {arch}: {what} it ({len(wrong)} such tensors too many or misshapen, {len(absent)} missing)"
        )
    target.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items() if name not in head}, strict=False)


def _published(arch: str) -> Any:
    from torchvision.models import get_model_weights

    if arch not in PRETRAINED:
        raise ValueError(f"there are no ImageNet weights for {arch!r}; there are for resnet18, resnet50 and resnet101")
    return get_model_weights(arch)["IMAGENET1K_V1"]


def _imagenet(arch: str) -> dict[str, Tensor]:
    published = _published(arch)
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # a server that cannot be reached; a wrong checksum
        reason = " ".join(str(error).split())
        raise OSError(
            f"the ImageNet weights of {arch} could not be downloaded ({reason}); name a file of them (--weights PATH) or train from "
            "scratch (--weights none)"
        ) from error


def origin(arch: str, weights: str | Path) -> dict[str, str]:
    """Name and SHA-256 of the file of ``weights``: ``file`` and ``sha256``; FileNotFoundError where there is none.

    Of ``imagenet`` it is the first eight digits, which the name of torchvision's file carries: nothing is downloaded for it.
    """
    if str(weights) != "imagenet":
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"there are no weights at {path}")
        with path.open("rb") as file:
            return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    file = _published(arch).url.rpartition("/")[2]
    return {"file": file, "sha256": Path(file).stem.rpartition("-")[2]}


def has_small_stem(weights: str | Path) -> bool:
    """Whether weights are those of a network with the 3×3 stem."""
    if str(weights) == "imagenet":
        return False
    state = {name.removeprefix("network."): tensor for name, tensor in read_state(Path(weights)).items()}
    stem = next((state[name] for name in ("conv1.weight", "features.0.weight") if name in state), None)
    return stem is not None and stem.shape[-1] == 3


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a state_dict saved by torch, without ``module.`` and ``_orig_mod.`` prefixes.

    Nothing but tensors is ever unpickled.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
        tensors = {re.sub(r"^(?:module\.|_orig_mod\.)+", "", name): tensor for name, tensor in state.items()}
        if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise TypeError("not all of its values are tensors")
    except Exception as error:  # each format has errors of its own, of every kind
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise ValueError(
            f"{path} holds no weights: it is neither a safetensors file nor a state_dict of tensors alone ({reason})"
        ) from error
    return tensors


def randomized(model: nn.Module, *, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a model whose layers are drawn anew from the last one down, in each copy one layer more: (name of that layer, copy).

    Cascading randomization (Adebayo et al. 2018). A layer is a module with parameters together with the batch norms that follow it;
    a residual block counts as one. It is initialized as in `build`, batch norms to statistics of 0 and 1, so that the last copy is
    an untrained network. "Last" is the order in which modules are registered, which must be that of the forward pass. The model and
    the global random numbers are left as they are; the copies are in the model's mode and on its device.

    Raises:
        ValueError: a model without layers, or a module that has parameters but no ``reset_parameters``.
    """
    device = next((parameter.device for parameter in model.parameters()), None)
    layers = _layers(changed := deepcopy(model).cpu())
    state = torch.Generator().manual_seed(seed).get_state()
    for name, modules in reversed(layers.items()):
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            for module in modules:
                module.reset_parameters()
                _spread(module)
            state = torch.get_rng_state()
        yield name, deepcopy(changed).to(device)


def _layers(model: nn.Module) -> dict[str, list[Any]]:
    """The modules to initialize in each layer, first layer first."""
    layers: dict[str, list[Any]] = {}
    block = ""
    for name, module in model.named_modules():
        if isinstance(module, BasicBlock | Bottleneck):
            block = name
        if not hasattr(module, "reset_parameters"):
            if next(module.parameters(recurse=False), None) is not None:
                raise ValueError(
                    f"{name or 'the model'}, a {type(module).__name__}, has parameters but no reset_parameters to draw them anew"
                )
            continue
        if block and name.startswith(f"{block}."):
            layer = block
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and layers:
            layer = next(reversed(layers))
        else:
            layer = name
        layers.setdefault(layer, []).append(module)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layers to draw anew")
    return {name.removeprefix("network."): modules for name, modules in layers.items()}


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over the names and values of all parameters and buffers: what a result's key says of its model."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
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


def predict(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, topk: int = 1) -> Tensor:
    """The ``topk`` likeliest classes of every image, likeliest first: (N, topk) int64 on the CPU, or as many as there are; judged in eval mode and fp32."""
    found = []
    with evaluating(model):
        for x, _ in batches:
            # gradients are off for this forward pass alone: the batches may come from an attack
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                logits = model(x)
                found.append(logits.topk(min(topk, logits.shape[1])).indices.cpu())
    return torch.cat(found) if found else torch.empty(0, topk, dtype=torch.int64)


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


def bf16_is_faster(device: torch.device) -> bool:
    """Whether this hardware multiplies bfloat16 natively: CUDA from compute capability 8 on, CPUs with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = [getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("avx512_bf16", "amx_tile")]
    return device.type == "cpu" and any(probe() for probe in probes if probe)


def fast_autocast(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where `bf16_is_faster`, else a context that changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_faster(device))

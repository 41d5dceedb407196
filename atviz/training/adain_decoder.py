"""Training of AdaIN's decoder for an encoder, as in Huang & Belongie (2017)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ..data import Images, load_styles
from ..distortions import AdaIN, adain, build_encoder, convolutions, load_adain, mirrored, moments, toned
from ..models import evaluating, read_state
from .adain_encoder import contents, train_encoder

STYLE_WEIGHT = 10.0  # λ of Huang & Belongie's code
DEEPEST = 3  # max-pools before relu4_1, where Huang & Belongie cut their encoder
Row = dict[str, float]


def train_decoder(
    encoder: nn.Sequential, images: Images, styles: Tensor, *, steps: int, batch: int = 16, lr: float = 1e-3, style_weight: float = STYLE_WEIGHT,
    start: nn.Sequential | None = None, seed: int = 0, device: torch.device | str = "cpu",
) -> tuple[nn.Sequential, list[Row]]:  # fmt: skip
    """Train a decoder for ``encoder`` with Adam on content loss + ``style_weight`` · style loss; the styles of each batch are random.

    With t = AdaIN(f(content), f(style)) and g the decoder, the content loss is the mean of (f(g(t)) − t)², and the style loss
    the mean squared difference of `moments` between g(t) and the style, summed over the first ReLU of every resolution.

    Args:
        styles: (S, 3, H, W) in [0, 1]. If they are as large as the images, a quarter of each batch has itself as its style, so that the
            decoder also learns to reconstruct an image.
        start: a decoder to continue from; default a mirrored encoder with random weights.

    Returns:
        the decoder, and a row for each hundredth of the training with the mean ``content_loss`` and ``style_loss``.

    Raises:
        FloatingPointError: a loss that is not finite.

    Source: Huang & Belongie 2017, equations 11 to 13.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = mirrored(encoder) if start is None else start
    for network in (encoder, decoder):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder.requires_grad_(False)
    optimizer = torch.optim.Adam(decoder.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1, pct_start=0.05)
    history: list[Row] = []
    sums, every = torch.zeros(2), max(1, steps // 100)
    bar = tqdm(contents(images, batch, steps, generator), total=steps, desc="decoder", unit="step")
    with evaluating(encoder):
        for step, (drawn, _, _) in enumerate(bar, start=1):
            content = drawn.to(device)
            style = styles[torch.randint(len(styles), (batch,), generator=generator)].to(device)
            gray = (content == content[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
            style = torch.where(gray, toned(style, content[:, :1]), style)
            if style.shape == content.shape:
                style[: batch // 4] = content[: batch // 4]
            wanted = [moments(layer) for layer in _layers(encoder, style)]
            target = adain(encoder(content), *wanted[-1])
            found = _layers(encoder, decoder(target))
            content_loss = F.mse_loss(found[-1], target)
            pairs = [(a, b) for layer, goal in zip(found, wanted, strict=True) for a, b in zip(moments(layer), goal, strict=True)]
            style_loss = torch.stack([F.mse_loss(a, b) for a, b in pairs]).sum()
            loss = content_loss + style_weight * style_loss
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss of the decoder became {loss.item()} in step {step}; a lower lr than {lr} may help")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            sums += torch.tensor([content_loss.item(), style_loss.item()])
            if step % every == 0:
                history.append({"step": step, "content_loss": float(sums[0]) / every, "style_loss": float(sums[1]) / every})
                bar.set_postfix(content=f"{history[-1]['content_loss']:.3f}", style=f"{history[-1]['style_loss']:.3f}", refresh=False)
                sums.zero_()
    return decoder.cpu(), history


def train_pair(
    encoder: str, images: Images, styles: str, *, steps: int, encoder_steps: int, batch: int, lr: float, style_weight: float, seed: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:  # fmt: skip
    """Train a decoder for an encoder; return the tensors and the model card that `atviz stylize train` writes.

    Args:
        encoder: ``small``, which ships with atviz; ``new``, a small one that is trained first; or a file of weights in the published
            layout, which is cut at relu4_1.
        styles: as in `load_styles`; there are 2000 procedural ones.

    Raises:
        ValueError, FileNotFoundError: as `load_styles` and `read_state`; steps, a batch, an lr or a style weight that is not positive; an
            encoder that does not take 3 channels; images that are too small for it.
    """
    numbers = {"steps": steps, "encoder_steps": encoder_steps, "batch_size": batch, "lr": lr, "style_weight": style_weight}
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value}; it must be positive")
    side = max(images.shape[1:])
    pool = load_styles(styles, n=2000, size=side, seed=seed + 1)
    start, metrics = None, dict[str, float]()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    began = time.perf_counter()
    if encoder == "new":
        network, start, metrics = train_encoder(images, steps=encoder_steps, seed=seed)
    elif encoder == "small":
        network = load_adain("small").encoder  # type: ignore[assignment]
    else:
        network = build_encoder(read_state(Path(encoder)), encoder, pools=DEEPEST)
    takes, least = convolutions(network)[0].in_channels, AdaIN(network, nn.Identity()).smallest
    if takes != 3:
        raise ValueError(f"{encoder} begins with {takes} channels; an encoder takes the 3 of an image (a decoder begins with more)")
    if min(images.shape[1:]) < least:
        raise ValueError(f"images are {images.shape[1]}×{images.shape[2]} pixels; this encoder needs at least {least}×{least}, see size")
    decoder, history = train_decoder(
        network, images, pool, steps=steps, batch=batch, lr=lr, style_weight=style_weight, start=start, seed=seed, device=device
    )
    metrics |= {name: history[-1][name] for name in ("content_loss", "style_loss")} | {"seconds": round(time.perf_counter() - began, 1)}
    state = {
        f"{part}.{name}": tensor for part, net in [("encoder", network), ("decoder", decoder)] for name, tensor in net.state_dict().items()
    }
    recipe = {
        "name": "adain", "encoder": encoder if encoder in ("new", "small") else Path(encoder).name, "styles": styles, "steps": steps,
        "encoder_steps": encoder_steps if encoder == "new" else 0, "batch_size": batch, "lr": lr, "style_weight": style_weight,
    }  # fmt: skip
    described = {"name": images.name, "train": len(images), "train_digest": images.digest, "size": side}
    card = {"model": {"kind": "adain"}, "recipe": recipe, "data": described, "seed": seed, "metrics": metrics, "history": history}
    return state, card


def _layers(encoder: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The features after the first ReLU of every resolution, and the encoder's output."""
    found, fresh = [], True
    for layer in encoder:
        x = layer(x)
        if isinstance(layer, nn.ReLU) and fresh:
            found.append(x)
        fresh = isinstance(layer, nn.MaxPool2d) or (fresh and not isinstance(layer, nn.ReLU))
    return found if found[-1] is x else [*found, x]

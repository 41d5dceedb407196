"""Training of AdaIN's small encoder, on painted images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ..data import STYLE_KINDS, Images, procedural
from ..distortions import convolutions, initialize, mirrored

WIDTHS = (32, 64)  # channels before and after the one max-pool; with a second one, 28 pixels would become 7 × 7 places: no outline is left
NO_KIND = len(STYLE_KINDS)  # the class of an image that is not painted


def small_encoder() -> nn.Sequential:
    """An untrained encoder for small images: the layers of the published VGG up to relu2_2, half as wide; one feature sees 14 × 14 pixels."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    one, two = WIDTHS
    for before, after, pooled in [(3, one, False), (one, one, False), (one, two, True), (two, two, False)]:
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if pooled else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3), nn.ReLU()]
    encoder = nn.Sequential(*layers)
    initialize(encoder)
    with torch.no_grad():  # the 1×1 convolution takes pixels to [−2, 2] instead of normalizing them as VGG does
        encoder[0].weight.copy_(4 * torch.eye(3)[..., None, None])  # type: ignore[operator]
        encoder[0].bias.fill_(-2)  # type: ignore[operator]
    return encoder


def paint(x: Tensor, textures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paint gray images (N, 1, H, W): the object with one texture, shaded by its gray, and the black around it with another.

    A quarter of the images gets plain colors instead of textures, and half is not painted. Returned are the images (N, 3, H, W) and the
    number of each object's texture (N,), −1 for none.
    """
    n = len(x)
    inner, outer = torch.randint(len(textures), (2, n), generator=generator)
    how = torch.randint(4, (n,), generator=generator)
    fill, around = textures[inner], textures[outer]
    plain = (how == 1).view(-1, 1, 1, 1)
    fill, around = (torch.where(plain, t[:, :, :1, :1], t) for t in (fill, around))
    inside = (10 * x).clamp(0, 1)
    painted = inside * fill * (0.35 + 0.65 * x) + (1 - inside) * around
    return torch.where((how > 1).view(-1, 1, 1, 1), x.expand(-1, 3, -1, -1), painted), torch.where(how == 0, inner, -1)


def contents(images: Images, batch: int, steps: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """``steps`` batches of content images in color (gray ones go through `paint`), their labels, and the kinds of their textures."""
    _, height, width = images.shape
    textures = procedural(1000, size=max(height, width), seed=int(torch.randint(2**31, (1,), generator=generator)))[..., :height, :width]
    for _ in range(steps):
        index = torch.randint(len(images), (batch,), generator=generator)
        x, drawn = next(images[index].batches(batch))[0], torch.full((batch,), -1)
        if x.shape[1] == 1:
            x, drawn = paint(x, textures, generator)
        yield x, images.y[index], torch.where(drawn < 0, NO_KIND, drawn % len(STYLE_KINDS))


def train_encoder(
    images: Images, *, steps: int = 1500, batch: int = 32, lr: float = 2e-3, seed: int = 0
) -> tuple[nn.Sequential, nn.Sequential, dict[str, float]]:
    """Train the small encoder on three tasks: the class of an image, the kind of its texture, and its reconstruction by a decoder.

    Without the third task, the features would lose colors and places. Afterwards every channel is scaled to a mean square of 1 over such
    images, so that no layer or channel dominates the style loss.

    Returns:
        encoder; decoder, from which `train_decoder` can start; ``class_accuracy``, ``texture_accuracy`` and ``reconstruction_mse`` over
        the last hundred batches.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = small_encoder()
        decoder = mirrored(encoder)
        head = nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * WIDTHS[-1], len(images.classes) + NO_KIND + 1))
    for network in (encoder, decoder):
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters(), *decoder.parameters()], lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    sums = torch.zeros(3)
    bar = tqdm(contents(images, batch, steps, generator), total=steps, desc="small encoder", unit="step")
    for step, (x, y, kind) in enumerate(bar):
        features = encoder(x)
        what, texture = head(features).split([len(images.classes), NO_KIND + 1], 1)
        mistake = F.mse_loss(decoder(features)[..., : x.shape[-2], : x.shape[-1]], x)
        loss = F.cross_entropy(what, y) + F.cross_entropy(texture, kind) + 300 * mistake
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step >= steps - 100:
            sums += torch.tensor([(what.argmax(1) == y).float().mean(), (texture.argmax(1) == kind).float().mean(), mistake.item()])
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    normalize(encoder, next(contents(images, 512, 1, generator))[0], decoder)
    found = (sums / min(100, steps)).tolist()
    return encoder, decoder, dict(zip(("class_accuracy", "texture_accuracy", "reconstruction_mse"), found, strict=True))


@torch.no_grad()
def normalize(encoder: nn.Sequential, x: Tensor, decoder: nn.Sequential) -> None:
    """Scale every channel after a ReLU to a mean square of 1 over images ``x``, as in Gatys et al. 2016.

    The next convolution undoes the scale; after the last ReLU it is the decoder's first one. The decoder's output stays the same.
    """
    before = torch.ones(())
    for i, layer in enumerate(encoder):
        if isinstance(layer, nn.Conv2d):
            layer.weight *= before.view(1, -1, 1, 1)
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            conv = encoder[i - 1]
            assert isinstance(conv, nn.Conv2d)
            before = x.square().mean((0, 2, 3)).sqrt().clamp(min=1e-2)  # a channel that is almost never active must not be enlarged
            conv.weight /= before[:, None, None, None]
            assert conv.bias is not None
            conv.bias /= before
            x = x / before[:, None, None]
    convolutions(decoder)[0].weight *= before.view(1, -1, 1, 1)

"""The small encoder of AdaIN, and the painted images that it and its decoder are trained on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from .codec import convolutions, initialize, mirrored
from .data import Images
from .styles import KINDS, procedural

WIDTHS = (32, 64)  # of the small encoder before and after its one max-pool: after a second one, 7 × 7 places would hold no outline


def small_encoder() -> nn.Sequential:
    """An untrained encoder for small images: the published VGG's module order up to relu2_2, half as wide; it sees 14 × 14 pixels."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    one, two = WIDTHS
    for before, after, pooled in [(3, one, False), (one, one, False), (one, two, True), (two, two, False)]:
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if pooled else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3), nn.ReLU()]
    encoder = nn.Sequential(*layers)
    initialize(encoder)
    with torch.no_grad():  # the 1×1 convolution brings pixels to [−2, 2], in place of VGG's own normalization
        encoder[0].weight.copy_(4 * torch.eye(3)[..., None, None])  # type: ignore[operator]
        encoder[0].bias.fill_(-2)  # type: ignore[operator]
    return encoder


def paint(x: Tensor, textures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gray images (N, 1, H, W) painted: what is not black by one texture, shaded as it is, the black around it by another.

    A quarter of them is painted in one color each, and half is left as it is: (N, 3, H, W), and the number of the texture of
    each, −1 for none.
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
    """``steps`` batches of content: images in color as they are, gray ones by `paint`; their labels; their textures' kinds."""
    _, height, width = images.shape
    textures = procedural(1000, size=max(height, width), seed=int(torch.randint(2**31, (1,), generator=generator)))[..., :height, :width]
    for _ in range(steps):
        index = torch.randint(len(images), (batch,), generator=generator)
        x, drawn = next(images[index].batches(batch))[0], torch.full((batch,), -1)
        if x.shape[1] == 1:
            x, drawn = paint(x, textures, generator)
        yield x, images.y[index], torch.where(drawn < 0, len(KINDS), drawn % len(KINDS))


def train_encoder(
    images: Images, *, steps: int = 1500, batch: int = 32, lr: float = 2e-3, seed: int = 0
) -> tuple[nn.Sequential, nn.Sequential, dict[str, float]]:
    """The small encoder, trained to tell what an image shows and which kind of texture it is painted with, and to let a decoder
    paint the image again: a classifier alone would forget colors and places.

    Afterwards every channel is scaled to a mean square of 1 over such images, so that no layer or channel rules the style loss.
    Also returned: the decoder, to start another's training from, and how well both did over the last hundred batches.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = small_encoder()
        decoder = mirrored(encoder)
        head = nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * WIDTHS[-1], len(images.classes) + len(KINDS) + 1))
    for network in (encoder, decoder):
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters(), *decoder.parameters()], lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    sums = torch.zeros(3)
    bar = tqdm(contents(images, batch, steps, generator), total=steps, desc="small encoder", unit="step")
    for step, (x, y, kind) in enumerate(bar):
        features = encoder(x)
        what, texture = head(features).split([len(images.classes), len(KINDS) + 1], 1)
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
    """Scale every channel after a ReLU to a mean square of 1 over images ``x``, the next layer undoing it, at last the decoder's
    first (compare Gatys et al. 2016)."""
    before = torch.ones(())
    for i, layer in enumerate(encoder):
        if isinstance(layer, nn.Conv2d):
            layer.weight *= before.view(1, -1, 1, 1)
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            conv = encoder[i - 1]
            assert isinstance(conv, nn.Conv2d)
            before = x.square().mean((0, 2, 3)).sqrt().clamp(min=1e-2)  # a channel that is hardly ever active is not blown up
            conv.weight /= before[:, None, None, None]
            assert conv.bias is not None
            conv.bias /= before
            x = x / before[:, None, None]
    convolutions(decoder)[0].weight *= before.view(1, -1, 1, 1)

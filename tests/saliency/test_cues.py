"""How well maps point along what each cue adds: parts of known images, and networks whose bias is known."""

import pytest
import torch

from atviz import models, saliency, shipped
from atviz.data import shapetex
from atviz.saliency import cue_alignment, cue_parts

NAMES = ("shape", "texture", "cue")


def noise(n, channels=3, seed=0):
    return torch.randn(n, channels, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_batch_order_and_scale_change_nothing():
    drawn, maps = shapetex(12, cue="conflict", seed=3), noise(12)

    def measured(which, factor=1.0):
        return cue_alignment(factor * maps[which], drawn.images.x[which].float() / 255, drawn.mask[which], drawn.pattern[which])

    whole, order = measured(slice(None)), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled, louder, parts = measured(order), measured(slice(None), 1000.0), [measured(slice(i, i + 5)) for i in (0, 5, 10)]
    for name in NAMES:
        assert shuffled[name].numpy() == pytest.approx(whole[name][order].numpy(), abs=1e-6)
        assert louder[name].numpy() == pytest.approx(whole[name].numpy(), abs=1e-6)
        assert torch.cat([part[name] for part in parts]).numpy() == pytest.approx(whole[name].numpy(), abs=1e-6)


@pytest.mark.parametrize("inside", [0.0, 0.1])
@pytest.mark.parametrize("outside", [0.0, 0.2])
def test_parts_are_those_that_were_added(inside, outside):
    drawn = shapetex(10, seed=4)
    mask, sign = drawn.mask[:, None].double(), 2 * drawn.pattern[:, None].double() - 1
    step = noise(10, seed=1).double()[:, :, :1, :1]
    texture = inside * mask * sign + outside * (1 - mask) * sign
    shape, added = cue_parts(0.3 + step * mask + texture, drawn.mask, drawn.pattern)
    wanted = step * mask
    assert (shape - (wanted - wanted.mean((2, 3), keepdim=True))).abs().max() < 1e-9
    assert (added - (texture - texture.mean((2, 3), keepdim=True))).abs().max() < 1e-9


def test_a_map_along_a_part_is_aligned_with_it():
    drawn = shapetex(30, cue="conflict", seed=5)
    x = drawn.images.x.float() / 255
    shape, texture = cue_parts(x, drawn.mask, drawn.pattern)
    for maps, name, sign in ((shape, "shape", 1), (-shape, "shape", -1), (texture, "texture", 1), (-texture, "texture", -1)):
        found = cue_alignment(maps, x, drawn.mask, drawn.pattern)
        assert found[name].numpy() == pytest.approx(sign)
        assert (found["cue"] * sign * (1 if name == "shape" else -1) > 0.5).all()
    alone = cue_alignment(noise(30), x, drawn.mask, drawn.pattern)
    assert all(abs(alone[name].mean()) < 0.01 for name in NAMES)
    assert all((values == 0).all() for values in cue_alignment(torch.zeros_like(x), x, drawn.mask, drawn.pattern).values())


def test_the_alignment_tells_networks_of_known_bias_apart():
    drawn = shapetex(40, cue="both", seed=6)
    x, y = drawn.images.x.float() / 255, drawn.images.y
    found = {}
    for name in ("shape-only", "texture-only"):
        network = models.load(shipped("checkpoints", "controls", f"{name}-s0")).module
        found[name] = cue_alignment(saliency.grad(network, x, y), x, drawn.mask, drawn.pattern)["cue"].mean()
    assert found["texture-only"] < -0.04 < -0.01 < found["shape-only"]

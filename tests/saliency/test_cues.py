"""How well maps follow outline and texture: maps of one cue alone, SciPy, and networks whose bias is known."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import pearsonr

from atviz import models, saliency, shipped
from atviz.data import WORLDS, shapetex
from atviz.saliency import cue_alignment, cue_parts, cue_shares

NAMES = ("shape", "texture", "cue")


def edges(images):
    """Sobel's gradient by SciPy, (N, H, W)."""
    found = [np.hypot(*(ndimage.sobel(image, axis=axis, mode="nearest") for axis in (0, 1))) for image in images.double().numpy()]
    return torch.from_numpy(np.stack(found)).float()


def noise(n, channels=3, seed=0):
    return torch.randn(n, channels, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("world", WORLDS)
def test_the_sign_says_which_cue_a_map_is_made_of(world):
    drawn = shapetex(40, cue="conflict", seed=0, world=WORLDS[world])
    outline, texture = edges(drawn.mask)[:, None], edges(drawn.pattern)[:, None]
    if WORLDS[world].extent == "inside":
        texture = texture * (drawn.mask[:, None] > 0)
    rough = noise(40, 1).abs() / 2
    for cue, sign in ((outline, 1), (texture, -1)):
        found = cue_shares(cue / cue.std() + rough, drawn.mask, drawn.pattern)["cue"] * sign
        assert (found > 0).double().mean() > 0.8 and found.mean() > 0.3
    alone = cue_shares(noise(40), drawn.mask, drawn.pattern)
    assert all(abs(alone[name].mean()) < 0.05 for name in NAMES)


def test_maps_of_the_very_edges_correlate_fully():
    drawn = shapetex(40, cue="conflict", seed=1, world=WORLDS["faint-fine-shape"])
    assert cue_shares(edges(drawn.mask)[:, None], drawn.mask, drawn.pattern)["shape"].numpy() == pytest.approx(1)
    assert cue_shares(-edges(drawn.pattern)[:, None], drawn.mask, drawn.pattern)["texture"].numpy() == pytest.approx(1)
    filled = cue_shares(torch.ones(40, 3, 32, 32), drawn.mask, drawn.pattern)
    assert all((filled[name] == 0).all() for name in NAMES)


def test_correlations_are_scipys():
    drawn, maps = shapetex(8, cue="both", seed=2), noise(8)
    found = cue_shares(maps, drawn.mask, drawn.pattern)
    for i in range(8):
        near = ndimage.binary_dilation(drawn.mask[i].numpy() > 0, np.ones((3, 3)))
        for name, cue in (("shape", drawn.mask), ("texture", drawn.pattern)):
            expected = pearsonr(maps[i].abs().sum(0).numpy()[near], edges(cue[i : i + 1])[0].numpy()[near]).statistic
            assert float(found[name][i]) == pytest.approx(expected, abs=1e-5)
        assert float(found["cue"][i]) == pytest.approx(float(found["shape"][i] - found["texture"][i]))


@pytest.mark.parametrize("signed", [False, True], ids=["cue_shares", "cue_alignment"])
def test_batch_order_and_scale_change_nothing(signed):
    drawn, maps = shapetex(12, cue="conflict", seed=3), noise(12)

    def measured(which, factor=1.0):
        more = (drawn.images.x[which].float() / 255,) if signed else ()
        return (cue_alignment if signed else cue_shares)(factor * maps[which], *more, drawn.mask[which], drawn.pattern[which])

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

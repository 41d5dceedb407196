import sys

import pytest
import torch

from atviz.attacks import spatial, warp
from atviz.attacks.flow import total_variation

METHODS = ["first-order", "lbfgs"]


@pytest.fixture
def flows(monkeypatch):
    """The flows of `spatial`, in pixels; the chosen one is the last."""
    found = []
    # `atviz.attacks.spatial` is the function; its module has the same name
    monkeypatch.setattr(sys.modules[spatial.__module__], "warp", lambda x, flow: found.append(flow.detach()) or warp(x, flow))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_spatial_attack_fools_and_stays_an_image(trained, fashion, flows, method, loss):
    x, y = fashion.x[:60].float() / 255, fashion.y[:60]
    x_adv = spatial(trained, x, y, method=method)
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert torch.equal(warp(x, flows[-1]).clamp(0, 1), x_adv)
    # what is chosen is at least as good as no flow at all
    variation = 0.05 * total_variation(flows[-1] / 13.5)
    assert (loss(trained, x_adv, y) >= loss(trained, x, y) + variation - 1e-4).all()
    accuracy = lambda x: float((trained(x).argmax(1) == y).float().mean())
    assert accuracy(x_adv) < accuracy(x) / 2
    assert flows[-1].norm(dim=1).mean() < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_heavier_variation_stills_the_flow(trained, batch, flows, method):
    size = []
    for weight in (0, 0.05, 1, 1e3):
        spatial(trained, *batch, tv_weight=weight, method=method, steps=10)
        size.append(float(total_variation(flows[-1]).mean()))
    assert size == sorted(size, reverse=True)
    assert size[-1] < 0.1 * size[1]


def test_lbfgs_finds_no_worse_a_flow(trained, fashion, flows, loss):
    x, y = fashion.x[:40].float() / 255, fashion.y[:40]
    reached = {}
    for method in METHODS:
        x_adv = spatial(trained, x, y, method=method)
        reached[method] = float((loss(trained, x_adv, y) - 0.05 * total_variation(flows[-1] / 13.5)).mean())
    assert reached["lbfgs"] >= reached["first-order"]


@pytest.mark.parametrize("method", METHODS)
def test_spatial_attack_of_an_image_does_not_depend_on_its_batch(trained, batch, method, loss):
    x, y = batch
    whole = spatial(trained, x, y, method=method, steps=5)
    parts = torch.cat([spatial(trained, a, b, method=method, steps=5) for a, b in zip(x.split(3), y.split(3), strict=True)])
    torch.testing.assert_close(loss(trained, whole, y), loss(trained, parts, y), rtol=0.02, atol=0.02)
    others = torch.cat([x[:1], 1 - x[1:]])
    torch.testing.assert_close(loss(trained, spatial(trained, others, y, method=method, steps=5)[:1], y[:1]),
                               loss(trained, whole[:1], y[:1]), rtol=0.02, atol=0.02)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_spatial_attack_in_other_types(trained, batch, dtype, loss):
    x, y = batch
    x_adv = spatial(trained.to(dtype), x.to(dtype), y, steps=3)
    assert x_adv.dtype == dtype
    assert loss(trained.float(), x_adv.float(), y).mean() > loss(trained, x, y).mean() + 0.2


def test_spatial_attack_under_autocast_keeps_the_flow_exact(trained, batch, flows, loss):
    with torch.autocast("cpu", torch.bfloat16):
        x_adv = spatial(trained, *batch, steps=3)
    assert x_adv.dtype == torch.float32 and {flow.dtype for flow in flows} == {torch.float32}
    assert loss(trained, x_adv, batch[1]).mean() > loss(trained, *batch).mean() + 0.2


@pytest.mark.parametrize("method", METHODS)
def test_no_steps_no_gradient_no_change(trained, batch, method, as_model):
    x, y = batch
    still = spatial(trained, x, y, steps=0, method=method)
    assert torch.equal(still, x) and still.data_ptr() != x.data_ptr()
    flat = torch.full((2, 1, 8, 8), 0.3)  # moving its pixels changes nothing
    assert torch.equal(spatial(as_model(lambda z: z.flatten(1)), flat, torch.tensor([0, 1]), method=method), flat)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(steps=-1), "steps is -1"),
        (dict(tv_weight=-0.1), "tv_weight is -0.1"),
        (dict(tv_weight=float("nan")), "tv_weight is nan"),
        (dict(step_size=-1), "step_size is -1"),
        (dict(step_size=float("inf")), "step_size is inf"),
        (dict(method="adam"), "method is 'adam'.*first-order, lbfgs"),
    ],
)
def test_spatial_option_that_cannot_be_meant_is_refused(options, sentence, images, unused):
    with pytest.raises(ValueError, match=sentence):
        spatial(unused, images(2), torch.tensor([0, 1]), **options)

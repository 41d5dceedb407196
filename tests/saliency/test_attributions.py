"""Every attribution method by its name: laws that hold for all, captum's own values, and what is refused."""

import warnings

import captum.attr
import pytest
import torch
from torch import nn

from atviz import models, saliency
from atviz.saliency.attributions import BY_NAME, find

EVERY = [name for name in BY_NAME if name != "FeaturePermutation"]  # the one method whose map depends on the rest of the batch
RANDOM = ["GradientShap", "DeepLiftShap", "ShapleyValueSampling", "KernelShap", "Lime", "NoiseTunnel", "SmoothGrad"]


@pytest.fixture
def plain():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)]
    return nn.Sequential(*layers).eval()


@pytest.fixture
def residual():
    torch.manual_seed(0)
    return models.build("small-w4", num_classes=3, in_channels=1, image_size=16, mean=[0.3], std=[0.4]).eval()


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(1)
    return torch.rand(2, 1, 8, 8, generator=draw), torch.tensor([0, 2])


@pytest.mark.parametrize("name", BY_NAME)
def test_a_map_is_shaped_like_the_images_and_the_network_is_left_as_it_was(name, plain, batch, untouched):
    with untouched(plain.train()):
        maps = saliency.attribute(name, plain, *batch)
    assert maps.shape == batch[0].shape and maps.isfinite().all() and maps.abs().sum() > 0


@pytest.mark.parametrize("name", EVERY)
def test_the_rest_of_the_batch_changes_no_map(name, plain, batch):
    x, y = batch
    together = saliency.attribute(name, plain, x, y)
    alone = torch.cat([saliency.attribute(name, plain, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_are_of_the_seed_and_the_global_ones_go_on(name, plain, batch):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = (saliency.attribute(name, plain, *batch) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(first, saliency.attribute(name, plain, *batch, seed=1))


def test_on_a_residual_network_each_method_answers_or_refuses_in_a_sentence(residual, untouched):
    x, y = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1])
    with untouched(residual):
        for name in BY_NAME:
            try:
                maps = saliency.attribute(name, residual, x, y)
            except ValueError as error:
                assert "\n" not in str(error) and len(str(error)) > 20
            else:
                assert maps.shape == x.shape and maps.isfinite().all()


@pytest.mark.parametrize("name", ["DeepLift", "IntegratedGradients", "ShapleyValues"])
def test_maps_add_up_to_the_change_of_the_logit(name, plain, batch):
    x, y = batch
    maps = saliency.attribute(name, plain, x, y)
    with torch.no_grad():
        change = (plain(x) - plain(torch.zeros_like(x))).gather(1, y[:, None])[:, 0]
    total = maps.sum((1, 2, 3))
    if name == "ShapleyValues":  # each pixel of a patch holds the value of the whole patch
        total = total / (maps[0, 0].numel() / 4)
    torch.testing.assert_close(total, change, rtol=2e-2, atol=2e-3)


def test_deep_lift_is_complete_on_a_network_whose_relus_are_used_twice(residual):
    """captum's DeepLift needs a module for each call; a traced copy has one, and the original stays as it is."""
    x, y = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(2)), torch.tensor([1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError):
            captum.attr.DeepLift(residual).attribute(x.clone().requires_grad_(), target=1)
    maps = saliency.attribute("DeepLIFT", residual, x, y)
    baseline = residual.normalize.mean.expand_as(x[0])[None]
    with torch.no_grad():
        change = float(residual(x)[0, 1] - residual(baseline)[0, 1])
    assert float(maps.sum()) == pytest.approx(change, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize(("name", "options"), [("Saliency", {"abs": False}), ("InputXGradient", {}), ("DeepLift", {}), ("Occlusion", None)])
def test_what_captum_does_rightly_is_captums(name, options, plain, batch):
    x, y = batch
    if options is None:
        options = {"sliding_window_shapes": (1, 2, 2), "strides": (1, 2, 2), "baselines": 0.25}
        mine = saliency.attribute(name, plain, x, y, **options)
    else:
        mine = saliency.attribute(name, plain, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(captum.attr, name)(plain).attribute(x.clone().requires_grad_(), target=y, **options)
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("DeepLIFT", "DeepLift"), ("Input × Gradient", "InputXGradient"), ("input_x_gradient", "InputXGradient"), ("GradientSHAP", "GradientShap"),
     ("grad-cam", "LayerGradCam"), ("guided backprop", "Guided Backprop"), ("smoothgrad", "SmoothGrad"), ("lrp", "LRP")],
)  # fmt: skip
def test_names_are_read_leniently(written, meant):
    assert find(written) == meant


def test_mistakes_get_a_sentence(plain, batch):
    with pytest.raises(ValueError, match="unknown attribution method 'Oclusion'; did you mean 'Occlusion'"):
        saliency.attribute("Oclusion", plain, *batch)
    with pytest.raises(ValueError, match="has no option 'window'; it has"):
        saliency.attribute("Occlusion", plain, *batch, window=3)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        saliency.attribute("Occlusion", plain, batch[0] * 2, batch[1])
    with pytest.raises(ValueError, match="explains a hidden layer"):
        saliency.attribute("LayerActivation", plain, *batch)


def test_captums_noise_tunnel_depends_on_how_many_copies_it_takes_at_a_time(plain, batch):
    """Why `smooth_grad` is atviz's own: its map is the same for every chunk."""
    x, y = batch
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(plain))
    found = []
    for size in (2, 5):
        torch.manual_seed(0)
        maps = tunnel.attribute(x.clone().requires_grad_(), target=y, nt_samples=10, nt_samples_batch_size=size, stdevs=0.1, abs=False)
        found.append(maps.detach())
    assert not torch.allclose(*found, atol=1e-4)
    a, b = (saliency.smooth_grad(plain, x, y, n=10, chunk=chunk) for chunk in (2, 5))
    torch.testing.assert_close(a, b)


def test_a_menu_offers_the_five_maps_first_and_works(plain, batch):
    assert list(saliency.ATTRIBUTIONS)[:5] == list(saliency.METHODS)
    for method in saliency.ATTRIBUTIONS.values():
        assert method(plain, *batch).shape == batch[0].shape

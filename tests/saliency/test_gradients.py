import itertools

import captum.attr
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn
from torch.nn import functional as F

from atviz import saliency

SCORES = {
    "logit": lambda logits, y: logits.gather(1, y[:, None])[:, 0],
    "log_prob": lambda logits, y: logits.log_softmax(1).gather(1, y[:, None])[:, 0],
    "loss": lambda logits, y: F.cross_entropy(logits, y, reduction="none"),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n, c=1, h=8, w=8, seed=0):
    return torch.rand(n, c, h, w, generator=seeded(seed))


@pytest.fixture
def batch(fashion):
    return fashion.x[:6].float() / 255, fashion.y[:6]


# --- gradients


@pytest.mark.parametrize("score", SCORES)
def test_grad_against_autograd_image_by_image(trained, batch, score):
    x, y = batch
    maps = saliency.grad(trained, x, y, score=score)
    assert maps.shape == x.shape and maps.dtype == x.dtype and not maps.requires_grad
    for i in range(len(x)):
        leaf = x[i : i + 1].clone().requires_grad_()
        SCORES[score](trained(leaf), y[i : i + 1]).sum().backward()
        torch.testing.assert_close(maps[i : i + 1], leaf.grad, atol=1e-5, rtol=1e-4)
    trained.zero_grad()


def test_log_prob_is_the_default(trained, batch):
    assert torch.equal(saliency.grad(trained, *batch), saliency.grad(trained, *batch, score="log_prob"))
    torch.testing.assert_close(saliency.grad(trained, *batch), -saliency.grad(trained, *batch, score="loss"))
    assert not torch.allclose(saliency.grad(trained, *batch), saliency.grad(trained, *batch, score="logit"))


@pytest.mark.parametrize("score", ["logit", "log_prob"])
def test_grad_against_captum(trained, batch, score):
    x, y = batch
    scored = trained if score == "logit" else nn.Sequential(trained, nn.LogSoftmax(1))
    expected = captum.attr.Saliency(scored).attribute(x.clone().requires_grad_(), target=y, abs=False)
    torch.testing.assert_close(saliency.grad(trained, x, y, score=score), expected, atol=1e-5, rtol=1e-4)


def test_grad_depends_on_the_class(trained, batch):
    x, y = batch
    assert not torch.allclose(saliency.grad(trained, x, y), saliency.grad(trained, x, (y + 1) % 10))


METHODS = {"grad": saliency.grad, "smooth_grad": lambda *args, **options: saliency.smooth_grad(*args, n=3, **options)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grad_enabled", [True, False])
@pytest.mark.parametrize("x_requires_grad", [True, False])
def test_model_and_images_are_left_alone(mixed, untouched, method, grad_enabled, x_requires_grad):
    x, y = images(3).requires_grad_(x_requires_grad), torch.tensor([0, 1, 2])
    before = x.detach().clone()
    with untouched(mixed), torch.set_grad_enabled(grad_enabled):
        maps = METHODS[method](mixed, x, y)
        assert torch.is_grad_enabled() == grad_enabled
    assert torch.equal(x, before) and x.grad is None and x.requires_grad == x_requires_grad
    assert not maps.requires_grad and maps.abs().max() > 0
    # dropout and batch norm were in eval mode
    assert torch.equal(maps, METHODS[method](mixed.eval(), before, y))


@pytest.mark.parametrize("method", METHODS)
def test_model_is_left_alone_when_it_fails(mixed, untouched, method):
    def fail(module, inputs, output):
        raise RuntimeError("inside the model")

    mixed[0].network.layer2.register_forward_hook(fail)
    with untouched(mixed), pytest.raises(RuntimeError, match="inside the model"):
        METHODS[method](mixed, images(3), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("x", "options", "sentence"),
    [
        (images(2), dict(score="prob"), "score is 'prob'.*log_prob, logit, loss"),
        (images(2) + 1, {}, r"in \[0, 1\]"),
        (images(2) * 255, {}, r"in \[0, 1\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), {}, "uint8"),
        (images(2)[0], {}, "N, C, H, W"),
    ],
)
def test_input_that_cannot_be_meant_is_refused(method, x, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        METHODS[method](nn.Identity(), x, torch.tensor([0, 1]), **options)


@pytest.mark.parametrize("options", [dict(n=0), dict(n=-1), dict(sigma=-0.1), dict(sigma=float("nan")), dict(chunk=0), dict(chunk=-3)])
def test_smooth_grad_refuses_counts_that_count_nothing(linear, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} .*must be at least"):
        saliency.smooth_grad(linear(1, 8, 2), images(2), torch.tensor([0, 1]), **options)


# --- SmoothGrad


@pytest.mark.parametrize(("n", "sigma", "chunk"), [(1, 0.1, None), (7, 0.5, 2), (300, 3.0, None)])
def test_smooth_grad_of_a_linear_model_is_its_weight(linear, n, sigma, chunk):
    model, y = linear(2, 8, 4), torch.tensor([3, 0, 1])
    maps = saliency.smooth_grad(model, images(3, 2), y, n=n, sigma=sigma, chunk=chunk, score="logit")
    torch.testing.assert_close(maps, model.weight[y].detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("score", SCORES)
def test_without_noise_smooth_grad_is_grad(trained, batch, score):
    smooth = saliency.smooth_grad(trained, *batch, n=3, sigma=0, score=score)
    torch.testing.assert_close(smooth, saliency.grad(trained, *batch, score=score), atol=1e-5, rtol=1e-4)


class Square(nn.Module):
    """logit = Σ x²/2, whose gradient is the noisy image itself."""

    def forward(self, x):
        return (x**2 / 2).sum((1, 2, 3))[:, None]


def test_noise_is_gaussian_with_the_range_of_each_image():
    x = images(3, 2, 40, 40)
    x = torch.stack([x[0], 0.4 + 0.1 * x[1], torch.full_like(x[2], 0.3)])
    noise = saliency.smooth_grad(Square(), x, torch.zeros(3, dtype=torch.int64), n=1, sigma=0.2, score="logit") - x
    spread = torch.stack([image.max() - image.min() for image in x])
    torch.testing.assert_close(noise.flatten(1).std(1), 0.2 * spread, rtol=0.05, atol=1e-6)
    standard = (noise[:2] / (0.2 * spread[:2, None, None, None])).flatten().double()
    assert abs(standard.mean()) < 0.05 and abs((standard**4).mean() - 3) < 0.4  # the kurtosis of a Gaussian
    assert abs(np.corrcoef(standard.reshape(2, -1))[0, 1]) < 0.06  # each image has noise of its own


def test_copies_are_averaged_and_independent():
    x, y = images(1, 1, 40, 40), torch.zeros(1, dtype=torch.int64)
    for n in (4, 64):
        noise = saliency.smooth_grad(Square(), x, y, n=n, sigma=0.2, score="logit") - x
        assert noise.std() == pytest.approx(0.2 * float(x.max() - x.min()) / n**0.5, rel=0.1)


def test_seed_decides_the_noise(trained, batch):
    run = lambda seed: saliency.smooth_grad(trained, *batch, n=2, seed=seed)
    assert torch.equal(run(1), run(1))
    assert not torch.allclose(run(1), run(2)) and not torch.allclose(run(0), run(-1))
    before = torch.get_rng_state()
    run(1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("chunk", [1, 3, 7, 10, 1000])
def test_chunk_does_not_change_the_result(trained, batch, chunk):
    expected = saliency.smooth_grad(trained, *batch, n=10)
    torch.testing.assert_close(saliency.smooth_grad(trained, *batch, n=10, chunk=chunk), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("chunk", [1, 4])
def test_chunk_bounds_the_images_in_one_pass(linear, chunk):
    model, seen = linear(1, 8, 2), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    saliency.smooth_grad(model, images(3), torch.tensor([0, 1, 0]), n=10, chunk=chunk)
    assert max(seen) <= chunk and sum(seen) == 30


@pytest.mark.parametrize("method", METHODS)
def test_batch_and_order_do_not_change_a_map(trained, batch, method):
    x, y = batch
    expected = METHODS[method](trained, x, y)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    torch.testing.assert_close(METHODS[method](trained, x[order], y[order]), expected[order], atol=1e-4, rtol=1e-3)
    alone = torch.cat([METHODS[method](trained, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(alone, expected, atol=1e-4, rtol=1e-3)


# --- numbers of maps


def test_magnitude_sums_the_channels():
    maps = torch.tensor([[[[1.0, -2.0]], [[-3.0, 0.5]]]])
    assert saliency.magnitude(maps).tolist() == [[[4.0, 2.5]]]


@given(values=st.lists(st.floats(0, 1e3), min_size=1, max_size=30), scale=st.floats(1e-3, 1e3))
def test_gini_against_its_definition(values, scale):
    naive = sum(abs(a - b) for a, b in itertools.product(values, values)) / (2 * len(values) * sum(values)) if sum(values) > 0 else 0
    maps = torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)
    assert float(saliency.gini(maps)) == pytest.approx(naive, abs=1e-9)
    assert float(saliency.gini(-scale * maps)) == pytest.approx(naive, abs=1e-9)  # neither sign nor scale counts


def test_gini_at_its_ends():
    maps = torch.zeros(4, 3, 5, 4)
    maps[0] = 1
    maps[1, 2, 3, 1] = -7
    maps[2, :, 0, 0] = torch.tensor([3.0, -4.0, 5.0])  # one pixel, in all channels
    torch.testing.assert_close(saliency.gini(maps), torch.tensor([0, 1 - 1 / 20, 1 - 1 / 20, 0], dtype=torch.float64))


ranked = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=40)


@given(pairs=ranked)
def test_rank_correlation_against_scipy_with_ties(pairs):
    a, b = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    constant = len(set(a)) == 1 or len(set(b)) == 1
    expected = 0 if constant else spearmanr(a, b).statistic
    found = saliency.rank_correlation(torch.from_numpy(a)[None], torch.from_numpy(b)[None])
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_of_each_row():
    a, b = torch.randn(5, 300, generator=seeded(1)), torch.randn(5, 300, generator=seeded(2))
    a[1], b[2] = b[1].exp(), -a[2]
    b[3] = 7
    found = saliency.rank_correlation(a, b).tolist()
    expected = [spearmanr(a[i], b[i]).statistic if i != 3 else 0 for i in range(5)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[1:4] == pytest.approx([1, -1, 0])


def edges(x):
    gray = x.double().mean(1).numpy()
    return np.stack([np.hypot(*(scipy.ndimage.sobel(plane, axis, mode="nearest") for axis in (0, 1))) for plane in gray])


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("size", [(8, 8), (5, 12), (28, 28)])
def test_edge_agreement_against_scipy(channels, size):
    # few gray levels, sums exact in single precision: ties are ties for both
    x = (images(4, channels, *size) * 4).round() / 4
    maps = torch.randn(4, 3, *size, generator=seeded(5)) + 0.5 * torch.from_numpy(edges(x))[:, None]
    magnitudes = maps.abs().sum(1).flatten(1)
    expected = [spearmanr(m, e.ravel()).statistic for m, e in zip(magnitudes, edges(x), strict=True)]
    found = saliency.edge_agreement(maps, x)
    assert found.shape == (4,)
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_edges_agree_with_themselves(fashion):
    x = fashion.x[:5].float() / 255
    maps = torch.from_numpy(edges(x))[:, None]
    assert saliency.edge_agreement(maps, x).min() > 0.98
    assert saliency.edge_agreement(-maps, x).min() > 0.98
    assert saliency.edge_agreement(1 / (1 + maps), x).max() < -0.98


@pytest.mark.parametrize("gray", [0, 0.1, 0.3, 1 / 3, 0.7, 1])
def test_edge_agreement_without_edges_is_zero(gray):
    flat, busy = torch.full((2, 3, 9, 7), gray), images(2, 3, 9, 7)
    assert saliency.edge_agreement(busy, flat).tolist() == [0, 0]
    assert saliency.edge_agreement(flat, busy).tolist() == [0, 0]


def test_coarse_share_of_a_wave_is_all_or_nothing():
    grid = torch.arange(32) / 32
    for cycles, share in ((2, 1.0), (4, 1.0), (5, 0.0), (9, 0.0)):
        wave = torch.sin(2 * torch.pi * cycles * grid).expand(1, 3, 32, 32)
        assert float(saliency.coarse_share(wave)) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("size", [(32, 32), (17, 12)])
def test_band_shares_sum_to_one_and_count_numpys_spectrum(size):
    maps = torch.randn(3, 2, *size, generator=seeded(1)).double()
    radii = [2, 4, float("inf")]
    found = saliency.band_shares(maps, radii)
    assert found.sum(1).tolist() == pytest.approx([1] * 3)
    power = (np.abs(np.fft.fftshift(np.fft.fft2(maps.numpy()), axes=(-2, -1))) ** 2).sum(1)
    v, u = (np.arange(n) - n // 2 for n in size)
    distance = np.sqrt(v[:, None] ** 2 + u[None] ** 2)
    for band, (low, high) in enumerate(itertools.pairwise([-1, *radii])):
        expected = (power * ((distance > low) & (distance <= high))).sum((1, 2)) / power.sum((1, 2))
        assert found[:, band].numpy() == pytest.approx(expected)
    assert len(saliency.band_names(radii)) == len(radii)


def test_octaves_reach_no_farther_than_the_finest_wave():
    assert saliency.octaves(28) == [2, 4, 8, float("inf")]
    assert saliency.octaves(32) == [2, 4, 8, float("inf")]
    assert saliency.octaves(224)[-2] == 64
    assert saliency.band_names(saliency.octaves(28)) == ["≤ 2", "2–4", "4–8", "> 8"]


def test_display_is_clipped_at_the_99th_percentile_of_each_map():
    maps = torch.randn(3, 2, 20, 30, generator=seeded(2)) * torch.tensor([1e-3, 1, 1e3]).view(3, 1, 1, 1)
    for shown, each in zip(saliency.display(maps), maps.abs().sum(1).numpy(), strict=True):
        assert shown.numpy() == pytest.approx(np.minimum(each / np.percentile(each, 99), 1), abs=1e-5)
    assert saliency.display(torch.zeros(1, 1, 4, 4)).tolist() == torch.zeros(1, 4, 4).tolist()


@pytest.mark.parametrize("size", [(28, 28), (11, 19)])
def test_similarity_against_scipy_and_scikit_image(size):
    a = torch.randn(4, 3, *size, generator=seeded(3))
    b = a + torch.tensor([0.0, 0.3, 1, 10]).view(4, 1, 1, 1) * torch.randn(4, 3, *size, generator=seeded(4))
    found = saliency.similarity(a, b)
    for i in range(4):
        left, right = (t[i].abs().sum(0).numpy().ravel() for t in (a, b))
        assert float(found["rank"][i]) == pytest.approx(spearmanr(left, right).statistic, abs=1e-9)
        shown = [saliency.display(t[i : i + 1])[0].double().numpy() for t in (a, b)]
        _, full = structural_similarity(*shown, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True)
        inner = full[5 : size[0] - 5, 5 : size[1] - 5]
        assert float(found["ssim"][i]) == pytest.approx(inner.mean(), abs=1e-6)
    assert float(found["ssim"][0]) == pytest.approx(1) and float(found["rank"][0]) == pytest.approx(1)
    assert found["ssim"].tolist() == sorted(found["ssim"].tolist(), reverse=True)


@pytest.mark.parametrize(("a", "b"), [((2, 1, 28, 28), (2, 1, 28, 27)), ((2, 1, 10, 28), (2, 1, 10, 28))])
def test_similarity_of_maps_that_cannot_be_compared_is_refused(a, b):
    with pytest.raises(ValueError, match="one shape, at least 11 pixels"):
        saliency.similarity(torch.rand(a), torch.rand(b))


@pytest.mark.parametrize(
    ("place", "region"),
    [((8, 8), "inside"), ((5, 5), "inside"), ((4, 8), "edge"), ((3, 8), "edge"), ((2, 8), "outside"), ((0, 0), "outside")],
)
def test_region_shares_of_a_single_pixel(place, region):
    # a square from 4 to 11: pixels 3 and 4 have neighbors on both sides of its outline
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 4:12] = 1
    maps = torch.zeros(1, 3, 16, 16)
    maps[0, 1, place[0], place[1]] = -2.0
    shares = saliency.region_shares(maps, mask)
    assert {name: float(v) for name, v in shares.items()} == {name: float(name == region) for name in ("edge", "inside", "outside")}


def test_region_shares_are_shares_of_energy_and_sum_to_one():
    mask = torch.rand(5, 12, 9)
    shares = saliency.region_shares(torch.randn(5, 3, 12, 9), mask)
    torch.testing.assert_close(sum(shares.values()), torch.ones(5, dtype=torch.float64))
    square = torch.zeros(1, 16, 16)
    square[:, 4:12, 4:12] = 1
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 8, 8], maps[0, 0, 4, 8], maps[0, 0, 0, 0] = 3.0, -4.0, 5.0
    assert [float(v) for v in saliency.region_shares(maps, square).values()] == pytest.approx([16 / 50, 9 / 50, 25 / 50])
    assert [float(v) for v in saliency.region_shares(0 * maps, square).values()] == [0, 0, 0]


def test_smoothing_is_smooth_grad_of_as_many_copies_and_leaves_the_model_between(trained, batch):
    trained.train()
    seen = []
    for copies, maps in saliency.smoothing(trained, *batch, n=7, chunk=3):
        assert trained.training
        torch.testing.assert_close(maps, saliency.smooth_grad(trained, *batch, n=copies), rtol=1e-4, atol=1e-7)
        seen.append(copies)
    assert seen == [3, 6, 7]
    assert torch.equal(maps, saliency.smooth_grad(trained, *batch, n=7, chunk=3))

import numpy as np
import pytest
import torch

from atviz import data, shipped
from atviz.distortions import AdaIN, Stylizer, adain, flat_ground, load_adain, moments, toned
from atviz.models import checkpoints


def test_toned_styles_are_gray_and_have_the_image_s_tones(images):
    content, style = 0.4 + 0.2 * images(5, 1), images(5, h=20, w=33, seed=1)
    found = toned(style, content)
    assert found.shape == (5, 1, 20, 33)
    np.testing.assert_allclose(found.mean((2, 3)), content.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(found.std((2, 3), correction=0), content.std((2, 3), correction=0), atol=1e-5)
    gray = style.mean(1).flatten(1)
    assert all(np.corrcoef(a, b)[0, 1] > 0.9999 for a, b in zip(found.flatten(1).numpy(), gray.numpy(), strict=True))
    harsh = toned(style, (content > 0.5).float())
    assert harsh.min() == 0 and harsh.max() == 1  # clamped


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_become_the_style_s(seeded, dtype):
    features = 3 * torch.randn(4, 8, 7, 9, generator=seeded(1), dtype=dtype) + torch.arange(8, dtype=dtype).view(-1, 1, 1)
    style = torch.rand(4, 8, 5, 5, generator=seeded(2), dtype=dtype) ** 2
    mixed = adain(features, *moments(style)).numpy()
    wanted = style.numpy()
    np.testing.assert_allclose(mixed.mean((2, 3)), wanted.mean((2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mixed.std((2, 3)), wanted.std((2, 3)), rtol=1e-5)
    # an increasing affine map of each channel keeps the order of its places
    np.testing.assert_array_equal(mixed.reshape(4, 8, -1).argsort(2), features.numpy().reshape(4, 8, -1).argsort(2))


def test_a_constant_channel_becomes_the_mean():
    features = torch.randn(1, 2, 6, 6)
    features[:, 1] = 0.3
    mixed = adain(features, torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.ones(1, 2, 1, 1))
    assert torch.equal(mixed[:, 1], torch.full((1, 6, 6), 2.0))


def test_the_decoder_is_given_features_with_the_style_s_moments(pair, images):
    encoder, decoder = pair
    content, style = images(3, h=40, w=44), images(3, h=56, w=36, seed=1) ** 2
    given = []
    decoder.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    with torch.no_grad():
        AdaIN(encoder, decoder)(content, style)
        mean, std = moments(encoder(style))
        varies = encoder(content).std((2, 3)) > 1e-4
    got_mean, got_std = moments(given[0])
    assert torch.allclose(got_mean, mean, atol=1e-5)
    assert varies.float().mean() > 0.3
    assert torch.allclose(got_std[varies], std[varies], rtol=1e-3)


def test_alpha_zero_is_the_plain_decode(pair, images):
    encoder, decoder = pair
    content, network = images(2, h=37, w=30), AdaIN(*pair)
    with torch.no_grad():
        plain = decoder(encoder(content))[..., :37, :30].clamp(0, 1)
        assert torch.equal(network(content, images(2, seed=1), alpha=0), plain)
        assert not torch.allclose(network(content, images(2, seed=1) ** 3), plain, atol=1e-3)


def test_alpha_mixes_the_features(pair, images):
    encoder, decoder = pair
    content, style = images(2, h=32, w=32), images(2, h=32, w=32, seed=1) ** 2
    with torch.no_grad():
        c, s = encoder(content), encoder(style)
        own, wanted = moments(c), moments(s)
        normal = torch.where(own[1] > 1e-6, (c - own[0]) / own[1].clamp(min=1e-6), 0)
        mixed = 0.3 * (normal * wanted[1] + wanted[0]) + 0.7 * c
        found = AdaIN(encoder, decoder)(content, style, alpha=0.3)
    assert torch.allclose(found, decoder(mixed).clamp(0, 1), atol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (29, 31), (64, 5), (3, 3), (1, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_gives_that_size(pair, images, size, channels):
    x = images(2, channels, *size)
    with torch.no_grad():
        y = AdaIN(*pair)(x, images(1, h=20, w=33))
    assert y.shape == x.shape
    assert y.min() >= 0 and y.max() <= 1


def test_gray_is_the_mean_of_the_repeated_image(small_pair, images):
    network, gray, style = AdaIN(*small_pair), images(2, 1), images(2, 1, seed=1)
    with torch.no_grad():
        colored = network(gray.expand(-1, 3, -1, -1), style.expand(-1, 3, -1, -1))
        assert torch.allclose(network(gray, style), colored.mean(1, keepdim=True))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf")])
def test_alpha_outside_is_refused(small_pair, images, alpha):
    network = AdaIN(*small_pair)
    for call in (lambda: network(images(1), images(1), alpha=alpha), lambda: Stylizer(network, images(2), alpha=alpha)):
        with pytest.raises(ValueError, match=r"alpha is .*must be in \[0, 1\]"):
            call()


def test_what_does_not_fit_is_refused(small_pair, images):
    network = AdaIN(*small_pair)
    for content, style, message in [
        (images(2, 4), images(2), "images have 4 channels, but the encoder takes 3"),
        (images(3), images(2), "2 styles for 3 images"),
        (images(2) + 1, images(2), "must be in \\[0, 1\\]"),
        (images(2), 255 * images(2), "must be in \\[0, 1\\]"),
        (images(2)[0], images(2), "N, C, H, W"),
    ]:
        with pytest.raises(ValueError, match=message):
            network(content, style)


@torch.no_grad()
def style_distance(network, x, styles):
    """Mean squared difference of the moments of pairs, summed over the small encoder's layers before and after its max-pool, and its last."""
    total = 0.0
    for end in (4, 11, len(network.encoder)):
        ours, theirs = (moments(network.encoder[:end](pixels.expand(-1, 3, -1, -1))) for pixels in (x, styles))
        total += sum((a - b).square().mean().item() for a, b in zip(ours, theirs, strict=True))
    return total


def test_the_small_pair_ships(fashion):
    folder = shipped("checkpoints", "adain-small")
    network, card = load_adain("small"), checkpoints.read_card(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
    assert {"command", "versions", "seed", "metrics", "history"} <= card.keys()
    checkpoints.read(folder)  # its hash is the card's
    assert card["history"][-1]["style_loss"] < card["history"][0]["style_loss"]
    x = fashion.x[:200].float() / 255
    styles = data.procedural(40, size=28, seed=3)
    plain, half, full = (Stylizer(network, styles, alpha, keep_ground=False) for alpha in (0, 0.5, 1))
    assert (plain(x) - x).abs().mean() < 0.08  # alpha 0 gives about the image again
    # why a stylizer keeps flat ground
    black = flat_ground(x) & (x == 0)
    assert plain(x)[black].mean() == pytest.approx(0.02, abs=0.005) and full(x)[black].mean() == pytest.approx(0.14, abs=0.01)
    # alpha 1 takes the larger part of the distance to the style, which is measured as in the training
    given = toned(styles[full.choose(x)], x)
    before, midway, after = (style_distance(network, pixels, given) for pixels in (x, half(x), full(x)))
    assert after < 0.5 * before and after < midway < before

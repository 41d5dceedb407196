import itertools

import pytest
import torch

from atviz.distortions import AdaIN, Stylizer, flat_ground, stylizer, toned


@pytest.fixture
def styles(images):
    return images(10, h=20, w=20, seed=1) ** 2


@pytest.fixture
def in_parts(monkeypatch):
    """At most two images of 28 × 28 pixels are decoded at once."""
    monkeypatch.setattr(stylizer, "CHUNK", 2 * 28 * 28)


def test_an_image_gets_the_same_style_whatever_the_batch(small_pair, images, seeded):
    distort = Stylizer(AdaIN(*small_pair), images(40, h=20, w=20, seed=1) ** 2, seed=3)
    x = images(30, 1)
    together = distort(x)
    order = torch.randperm(30, generator=seeded(1))
    assert torch.equal(distort.choose(x[order]), distort.choose(x)[order])
    assert torch.allclose(distort(x[order]), together[order], atol=1e-5)
    assert torch.allclose(torch.cat([distort(part) for part in x.split(7)]), together, atol=1e-5)
    assert len(distort.choose(x).unique()) > 10
    assert not torch.equal(Stylizer(distort.network, distort.styles, seed=4).choose(x), distort.choose(x))


def test_each_image_is_stylized_by_the_style_chosen_for_it(small_pair, images, styles, in_parts):
    network, x = AdaIN(*small_pair).train(), images(9)
    distort = Stylizer(network, styles, 0.7)
    with torch.no_grad():
        assert torch.allclose(distort(x), network(x, styles[distort.choose(x)], alpha=0.7), atol=1e-5)
    assert network.training


def test_gray_images_get_their_style_in_their_own_tones(small_pair, images, styles, in_parts):
    network, x = AdaIN(*small_pair), images(9, 1) ** 3
    distort = Stylizer(network, styles, 0.7)
    with torch.no_grad():
        assert torch.allclose(distort(x), network(x, toned(styles[distort.choose(x)], x), alpha=0.7), atol=1e-5)
        assert not torch.allclose(distort(x), network(x, styles[distort.choose(x)], alpha=0.7), atol=1e-2)


def test_an_alpha_of_one_call_is_that_of_a_stylizer_of_its_own(small_pair, images, styles):
    network, x = AdaIN(*small_pair), images(3)
    distort = Stylizer(network, styles)
    assert torch.equal(distort(x, 0.3), Stylizer(network, styles, 0.3)(x))
    assert torch.equal(distort(x, 0), Stylizer(network, styles, 0)(x)) and not torch.equal(distort(x, 0), distort(x))
    index = torch.tensor([4, 0, 4])
    assert torch.equal(distort.paint(x, index, alpha=0.3), Stylizer(network, styles, 0.3).paint(x, index))


def test_the_key_says_all_that_the_result_depends_on(encoder, small_pair, styles):
    network = AdaIN(*small_pair)
    keys = [Stylizer(network, styles, a, s).key for a, s in [(1, 0), (0.5, 0), (1, 1)]]
    keys += [
        Stylizer(network, styles, keep_ground=False).key,
        Stylizer(network, styles[:3]).key,
        Stylizer(AdaIN(encoder([64, "M", 64]), small_pair[1]), styles).key,
    ]
    assert len(set(keys)) == len(keys)
    assert Stylizer(network, styles.clone(), 1.0).key == keys[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [0, 1])
def test_flat_ground_stays_as_it_is(small_pair, images, styles, in_parts, channels, alpha):
    x = torch.zeros(5, channels, 28, 28)
    x[..., 10:20, 8:18] = images(5, channels, 10, 10)
    kept, decoded = (Stylizer(AdaIN(*small_pair), styles, alpha, keep_ground=keep)(x) for keep in (True, False))
    inner = torch.zeros(28, 28, dtype=torch.bool)
    inner[9:21, 7:19] = True  # the square, and what touches it
    assert (kept[..., ~inner] == 0).all() and (decoded[..., ~inner] > 0).any()
    assert torch.equal(kept[..., inner], decoded[..., inner])
    noise = images(5, channels)
    assert torch.equal(*(Stylizer(AdaIN(*small_pair), styles, alpha, keep_ground=keep)(noise) for keep in (True, False)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(9, 13), (1, 5), (2, 2)])
def test_flat_ground_against_loops(images, dtype, size):
    h, w = size
    x = images(20, 2, h, w, dtype=dtype).round()
    x[:, :, : h // 2 + 1, w // 3 :] = 1
    x[1] = 0.3
    x[2, 1, 0, 0] += 0.01  # one channel alone
    found = flat_ground(x)
    assert found.shape == (20, 1, h, w) and found.dtype == torch.bool and found[1].all()
    padded = torch.nn.functional.pad(x.double(), [1] * 4, mode="replicate")
    for n, i, j in itertools.product(range(20), range(h), range(w)):
        square = padded[n, :, i : i + 3, j : j + 3]
        assert found[n, 0, i, j] == (square == square[:, 1:2, 1:2]).all()


def test_no_styles_are_refused(small_pair):
    with pytest.raises(ValueError, match="no styles"):
        Stylizer(AdaIN(*small_pair), torch.zeros(0, 3, 8, 8))

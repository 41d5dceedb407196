import pytest
import torch

from atviz.distortions import AdaIN, Stylizer, stylizer, toned


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
    keys += [Stylizer(network, styles[:3]).key, Stylizer(AdaIN(encoder([64, "M", 64]), small_pair[1]), styles).key]
    assert len(set(keys)) == len(keys)
    assert Stylizer(network, styles.clone(), 1.0).key == keys[0]


def test_no_styles_are_refused(small_pair):
    with pytest.raises(ValueError, match="no styles"):
        Stylizer(AdaIN(*small_pair), torch.zeros(0, 3, 8, 8))

"""The Square attack: its ball, its squares, and the authors' own code."""

import pytest
import torch

from atviz.attacks import square
from atviz.attacks.square import bumps, side

EPS = {"linf": 0.03, "l2": 0.6}
norms = pytest.mark.parametrize("norm", EPS)


@norms
def test_stays_in_the_ball_and_does_harm(trained, batch, norm, size, fooled):
    x, y = batch
    for eps in (1e-3, EPS[norm], {"linf": 0.3, "l2": 6.0}[norm]):
        x_adv = square(trained, x, y, eps=eps, norm=norm, queries=200)
        assert (size(x_adv, x, norm) <= eps * (1 + 1e-6)).all() and x_adv.min() >= 0 and x_adv.max() <= 1
    assert fooled(trained, x_adv, y).all()


@norms
def test_the_whole_radius_is_used(linear, images, norm, size):
    model, x = linear(3, 8, 4, scale=0.01), 0.4 + 0.2 * images(5, 3, 8)
    model.bias.data[0] += 100  # no image can be misclassified
    y = torch.zeros(5, dtype=torch.int64)
    x_adv = square(model, x, y, eps=0.1, norm=norm, queries=50)
    assert (size(x_adv, x, norm) >= 0.1 * (1 - 1e-4)).all()
    if norm == "linf":
        assert ((x_adv - x).abs() > 0.1 * (1 - 1e-4)).all()  # every pixel is at a corner


@norms
def test_against_the_authors_code(trained, fashion, norm, fooled):
    published = pytest.importorskip("pyautoattack.square")
    x, y = fashion.x[:100].float() / 255, fashion.y[:100]
    options = dict(eps=EPS[norm], n_queries=150, p_init=0.8, seed=0, resc_schedule=False, verbose=False, device="cpu")
    theirs = published.SquareAttack(trained, norm={"linf": "Linf", "l2": "L2"}[norm], **options)
    found = fooled(trained, square(trained, x, y, eps=EPS[norm], norm=norm, queries=150), y)
    expected = fooled(trained, theirs.perturb(x, y), y)
    # a random search of few queries: the two have different random numbers
    assert 30 < expected.sum() < 90 and abs(int(found.sum()) - int(expected.sum())) <= 8


@pytest.mark.parametrize("length", [3, 5, 7, 13, 25])
def test_the_bumps_are_those_of_the_authors_code(length):
    published = pytest.importorskip("pyautoattack.square")
    theirs = published.SquareAttack(None, norm="L2", device="cpu").eta(length)
    assert any(torch.allclose(bumps(length), way, atol=1e-6) for way in (theirs, theirs.T))


def test_squares_shrink_as_in_the_authors_code():
    published = pytest.importorskip("pyautoattack.square")
    theirs = published.SquareAttack(None, p_init=0.8, n_queries=5000, resc_schedule=False)
    for query in [*range(1, 300), 501, 1000, 1001, 2001, 4000, 4001, 6001, 8001]:
        assert side(query, 28, 28) == max(round((theirs.p_selection(query) * 28 * 28) ** 0.5), 1)


def test_no_gradient_is_asked(trained, batch, fooled, as_model):
    """A network that answers with steps: its gradient is zero everywhere."""
    x, y = batch
    steps = as_model(lambda z: (trained((z * 15).round() / 15) * 4).round() / 4 + 0 * z.sum())
    x_adv = square(steps, x, y, eps=0.1, queries=500)
    assert fooled(steps, x_adv, y).sum() > fooled(steps, x, y).sum() + 4


@pytest.mark.parametrize(
    ("options", "sentence"), [(dict(eps=8), "8/255"), (dict(norm="l1"), "norm is 'l1'"), (dict(queries=0), "queries is 0")]
)
def test_option_that_cannot_be_meant_is_refused(options, sentence, images, unused):
    with pytest.raises(ValueError, match=sentence):
        square(unused, images(2), torch.tensor([0, 1]), **(dict(eps=0.1) | options))

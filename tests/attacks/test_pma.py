"""The probability margin attack: its ball, and its strength beside attacks that take many times as long."""

import pytest
import torch

from atviz.attacks import apgd, pgd, pma

EPS = {"linf": 0.02, "l2": 0.4}


@pytest.fixture
def many(fashion):
    return fashion.x[:100].float() / 255, fashion.y[:100]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_stays_in_the_ball_and_does_harm(trained, batch, norm, size, fooled):
    x, y = batch
    for eps in (1e-3, EPS[norm], 1.0):
        x_adv = pma(trained, x, y, eps=eps, norm=norm, steps=10)
        assert (size(x_adv, x, norm) <= eps * (1 + 1e-6)).all() and x_adv.min() >= 0 and x_adv.max() <= 1
    assert fooled(trained, x_adv, y).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_finds_nearly_all_that_many_more_steps_find(trained, many, norm, fooled):
    x, y = many
    options = dict(eps=EPS[norm], norm=norm)
    found = fooled(trained, pma(trained, x, y, steps=20, **options), y).sum()
    by_targets = fooled(trained, apgd(trained, x, y, loss="targeted-dlr", steps=20, targets=4, **options), y).sum()
    by_pgd = fooled(trained, pgd(trained, x, y, step_size=EPS[norm] / 4, steps=40, **options), y).sum()
    assert 40 < found < 85 and found >= by_targets - 4 and found >= by_pgd


def test_both_halves_of_both_runs_are_needed_for_their_steps(linear):
    """With one step a run only raises the label's probability, and ends where the label is safest; more steps end where it is least safe."""
    model, x, y = linear(1, 8, 2), torch.full((1, 1, 8, 8), 0.5), torch.tensor([1])
    w = (model.weight[0] - model.weight[1]).detach()
    model.bias.data = torch.tensor([0.0, float(w.sum()) / 2 + 5])
    torch.testing.assert_close(pma(model, x, y, eps=0.02, steps=1), x - 0.02 * w.sign())
    torch.testing.assert_close(pma(model, x, y, eps=0.02, steps=50), x + 0.02 * w.sign())


@pytest.mark.parametrize(
    ("options", "sentence"), [(dict(eps=8), "8/255"), (dict(norm="l1"), "norm is 'l1'"), (dict(steps=0), "steps is 0")]
)
def test_option_that_cannot_be_meant_is_refused(options, sentence, images, unused):
    with pytest.raises(ValueError, match=sentence):
        pma(unused, images(2), torch.tensor([0, 1]), **(dict(eps=0.1) | options))

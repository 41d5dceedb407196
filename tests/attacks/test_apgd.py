"""APGD: its ball, closed forms, and the authors' own code."""

import itertools

import pytest
import torch
from torch import nn

from atviz.attacks import apgd, dlr, margin, pgd, targeted_dlr
from atviz.attacks.losses import CLASSES

KINDS = list(itertools.product(["linf", "l2"], CLASSES))
EPS = {"linf": 0.02, "l2": 0.4}


@pytest.fixture
def many(fashion):
    return fashion.x[:100].float() / 255, fashion.y[:100]


@pytest.mark.parametrize(("norm", "loss"), KINDS)
def test_stays_in_the_ball_and_does_harm(trained, batch, norm, loss, size, fooled):
    x, y = batch
    for eps in (1e-3, EPS[norm], 1.0):
        x_adv = apgd(trained, x, y, eps=eps, norm=norm, loss=loss, steps=10)
        assert (size(x_adv, x, norm) <= eps * (1 + 1e-6)).all() and x_adv.min() >= 0 and x_adv.max() <= 1
    assert fooled(trained, x_adv, y).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_the_worst_point_of_a_linear_network_is_reached(linear, norm, loss):
    """Class 1 is the label, class 2 far below: the worst direction is w₀ − w₁. The ball ends long before the boundary."""
    model, x, y = linear(1, 8, 3), torch.full((2, 1, 8, 8), 0.5), torch.tensor([1, 1])
    model.weight.data[2] = 0
    w = (model.weight[0] - model.weight[1]).detach()
    model.bias.data = torch.tensor([0.0, float(w.sum()) / 2 + 5, -1e6])
    worst = w.sign() if norm == "linf" else w / w.norm()
    x_adv = apgd(model, x, y, eps=0.02, norm=norm, loss=loss)
    torch.testing.assert_close(x_adv, x + 0.02 * worst, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("norm", "loss"), KINDS)
def test_against_the_authors_code(trained, many, norm, loss, fooled):
    published = pytest.importorskip("pyautoattack.autopgd_base")
    x, y = many
    options = dict(n_iter=20, norm={"linf": "Linf", "l2": "L2"}[norm], eps=EPS[norm], seed=0, device="cpu")
    if loss == "targeted-dlr":
        theirs = published.APGDAttack_targeted(trained, n_target_classes=3, **options)
    else:
        theirs = published.APGDAttack(trained, n_restarts=1, loss=loss, **options)
    found = fooled(trained, apgd(trained, x, y, eps=EPS[norm], norm=norm, loss=loss, steps=20, targets=3), y)
    expected = fooled(trained, theirs.perturb(x, y), y)
    assert 40 < expected.sum() < 85 and (found != expected).sum() <= 2  # two seeds of theirs differ by as many


@pytest.mark.parametrize(("norm", "loss"), KINDS)
def test_finds_what_pgd_finds_in_as_many_steps(trained, many, norm, loss, fooled):
    x, y = many
    by_pgd = pgd(trained, x, y, eps=EPS[norm], step_size=EPS[norm] / 4, steps=20, norm=norm)
    found = apgd(trained, x, y, eps=EPS[norm], norm=norm, loss=loss, steps=20, targets=3)
    assert fooled(trained, found, y).sum() >= fooled(trained, by_pgd, y).sum() - 1


def test_without_success_the_highest_loss_is_kept(trained, batch, loss, fooled):
    x, y = batch
    short, long = (loss(trained, apgd(trained, x, y, eps=0.002, steps=steps), y) for steps in (1, 50))
    kept = ~fooled(trained, apgd(trained, x, y, eps=0.002, steps=50), y)
    assert kept.sum() > 5 and (long >= short - 1e-5)[kept].all() and (long > loss(trained, x, y))[kept].all()


class Scaled(nn.Sequential):
    def forward(self, x):
        return 1e4 * super().forward(x)


def test_the_ratio_loss_sees_through_saturated_logits(trained, many, fooled):
    """The cross-entropy of logits times 10,000 is flat: PGD finds less, the DLR loss as much as without the factor."""
    x, y = many
    net, eps = Scaled(trained), EPS["linf"]
    blind = fooled(net, pgd(net, x, y, eps=eps, step_size=eps / 4, steps=20), y).sum()
    seen, plain = (fooled(model, apgd(model, x, y, eps=eps, loss="dlr", steps=20), y).sum() for model in (net, trained))
    assert blind < plain - 10 and abs(int(seen - plain)) <= 2


def test_losses_by_hand_and_their_scale():
    logits, y = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 6
    target = (y + 2) % 6
    rows = [sorted(row.tolist(), reverse=True) for row in logits]
    label, goal = logits.gather(1, y[:, None])[:, 0], logits.gather(1, target[:, None])[:, 0]
    other = torch.tensor([max(v for k, v in enumerate(row) if k != c) for row, c in zip(logits.tolist(), y.tolist(), strict=True)])
    torch.testing.assert_close(margin(logits, y), other - label)
    assert ((margin(logits, y) > 0) == (logits.argmax(1) != y)).all()
    torch.testing.assert_close(dlr(logits, y), torch.stack([(o - z) / (r[0] - r[2]) for o, z, r in zip(other, label, rows, strict=True)]))
    expected = [(g - z) / (r[0] - (r[2] + r[3]) / 2) for g, z, r in zip(goal, label, rows, strict=True)]
    torch.testing.assert_close(targeted_dlr(logits, y, target), torch.stack(expected))
    torch.testing.assert_close(dlr(1e3 * logits + 7, y), dlr(logits, y), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(eps=8), "8/255"),
        (dict(norm="l1"), "norm is 'l1'.*linf, l2"),
        (dict(loss="cw"), "loss is 'cw'; it must be one of ce, dlr, targeted-dlr"),
        (dict(steps=0), "steps is 0"),
        (dict(targets=0), "targets is 0"),
    ],
)
def test_option_that_cannot_be_meant_is_refused(options, sentence, images, unused):
    with pytest.raises(ValueError, match=sentence):
        apgd(unused, images(2), torch.tensor([0, 1]), **(dict(eps=0.1) | options))


@pytest.mark.parametrize(("loss", "classes"), [("dlr", 2), ("targeted-dlr", 3)])
def test_a_loss_that_needs_more_classes_is_refused(linear, images, loss, classes):
    with pytest.raises(ValueError, match=f"loss is '{loss}', which needs {classes + 1} classes, but the network has {classes}"):
        apgd(linear(3, 8, classes), images(2, 3, 8), torch.tensor([0, 1]), eps=0.1, loss=loss)

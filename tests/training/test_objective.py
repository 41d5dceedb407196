"""What a batch is trained on, against steps that are written from the papers' pseudo-code."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atviz import models
from atviz.training import objective, recipes


@pytest.fixture
def batch():
    """A network with batch norm in training mode, images of which many pixels are 0 or 1, and labels; in fp64."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 6, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(96, 5)
    ).double()
    x = torch.rand(7, 1, 12, 12, dtype=torch.float64).mul(1.6).sub(0.3).clamp(0, 1)
    for _ in range(3):
        model(x)
    return model, x, torch.arange(7) % 5


def sign(model, x, y):
    """The sign of the gradient of the cross-entropy, in eval mode."""
    x = x.detach().requires_grad_()
    model = deepcopy(model).eval()
    return torch.autograd.grad(F.cross_entropy(model(x), y), x)[0].sign()


def test_fgsm_with_random_start_is_wong_et_als(batch):
    # δ = Uniform(−ε, ε); δ = δ + α · sign(∇ℓ(f(x + δ), y)); δ = max(min(δ, ε), −ε), each within the range of a pixel
    model, x, y = batch
    recipe = recipes.get("fgsm-rs-0.1")
    assert (recipe.step_size, recipe.steps) == (pytest.approx(1.25 * 0.1), 1)
    start = torch.empty_like(x).uniform_(-0.1, 0.1)
    delta = (x + start).clamp(0, 1) - x
    delta = (delta + 0.125 * sign(model, x + delta, y)).clamp(-0.1, 0.1)
    found = objective.attack_of(recipe)(model, x, y, random_start=start)
    torch.testing.assert_close(found, (x + delta).clamp(0, 1), rtol=0, atol=1e-12)
    assert model.training


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.4])
def test_n_fgsm_is_de_jorge_et_als(batch, eps):
    # η = Uniform(−kε, kε); δ = η + α · sign(∇ℓ(f(x + η), y)), with k = 2 and α = ε; nothing is clipped but the range of a pixel
    model, x, y = batch
    recipe = recipes.get(f"n-fgsm-{eps}")
    start = torch.empty_like(x).uniform_(-2 * eps, 2 * eps)
    noisy = (x + start).clamp(0, 1)
    expected = (noisy + eps * sign(model, noisy, y)).clamp(0, 1)
    found = objective.attack_of(recipe)(model, x, y, random_start=start)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert (found - x).abs().max() > 1.5 * eps  # beyond the ball


def trades(model, x, y, start, *, eps, step_size, steps, beta):
    """Images and loss of Zhang et al. 2019, algorithm 1, in fp64."""
    fixed, divergence = deepcopy(model).eval(), nn.KLDivLoss(reduction="sum")
    x_adv = x + start
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = divergence(F.log_softmax(fixed(x_adv), dim=1), F.softmax(fixed(x), dim=1))
        x_adv = x_adv.detach() + step_size * torch.autograd.grad(loss, x_adv)[0].sign()
        x_adv = torch.clamp(torch.min(torch.max(x_adv, x - eps), x + eps), 0, 1)
    model = deepcopy(model).train()
    logits = model(x)
    robust = divergence(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x), dim=1)) / len(x)
    return x_adv.detach(), F.cross_entropy(logits, y) + beta * robust


def test_trades_attack_and_loss_are_zhang_et_als(batch):
    model, x, y = batch
    recipe = recipes.get("trades-0.1", steps=4)
    start = (x + 0.001 * torch.randn_like(x)).clamp(0, 1) - x  # their code first clips behind the first step
    expected, loss = trades(model, x, y, start, eps=0.1, step_size=0.1 * 0.007 / 0.031, steps=4, beta=6.0)
    found = objective.attack_of(recipe)(model, x, y, random_start=start)
    # a step's gradient is of fp32 logits, and near the image itself it is small: few signs may be others
    assert ((found - expected).abs() < 1e-9).double().mean() > 0.99
    trained = objective.loss_of(recipe, model(expected), y, model(x))
    torch.testing.assert_close(trained, loss, rtol=1e-12, atol=0)
    # the attack is worth its name: the answers diverge more than by noise of the same size
    noise = (x + 0.1 * torch.randn_like(x).sign()).clamp(0, 1)
    plain = objective.loss_of(recipe, model(noise), y, model(x))
    assert trained > plain + 0.01


def test_the_gradient_of_trades_flows_through_both_answers(batch):
    y = batch[2]
    clean, attacked = (torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    objective.loss_of(recipes.get("trades-8"), attacked, y, clean).backward()
    again, attacked_again = (t.detach().clone().requires_grad_() for t in (clean, attacked))
    p, q = again.softmax(1), attacked_again.softmax(1)
    (F.nll_loss(p.log(), y) + 6 * (p * (p.log() - q.log())).sum() / 7).backward()
    torch.testing.assert_close(clean.grad, again.grad)
    torch.testing.assert_close(attacked.grad, attacked_again.grad)


def test_any_other_loss_is_the_cross_entropy_in_fp32(batch):
    _, _, y = batch
    logits = torch.randn(7, 5).bfloat16()
    found = objective.loss_of(recipes.get("n-fgsm-8"), logits, y)
    assert found.dtype == torch.float32 and torch.equal(found, F.cross_entropy(logits.float(), y))


def test_free_and_normal_training_have_no_attack_before_the_step():
    assert objective.attack_of(recipes.get("normal")) is None
    assert objective.attack_of(recipes.get("free-8")) is None
    with pytest.raises(ValueError, match="attack 'cw'; it must be none, fgsm, pgd, spatial, free or trades"):
        objective.attack_of(recipes.Recipe("r", attack="cw"))


def test_an_average_follows_the_weights_and_forgets_the_random_ones():
    torch.manual_seed(0)
    model, average = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    expected = average.weight.detach().clone()
    for taken in range(200):
        with torch.no_grad():
            model.weight.add_(torch.randn(1, 2))
        decay = min(0.9, (1 + taken) / (10 + taken))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        objective.follow(average, model, 0.9, taken)
    torch.testing.assert_close(average.weight.detach(), expected)
    assert models.fingerprint(average) != models.fingerprint(model)

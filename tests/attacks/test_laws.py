"""What holds for every attack. A new attack is one entry of `ATTACKS`."""

import itertools
from functools import partial

import pytest
import torch

from atviz.attacks import fgsm, pgd, spatial, warn_if_masked

ATTACKS = {
    "fgsm": partial(fgsm, eps=0.05),
    "pgd": partial(pgd, eps=0.05, step_size=0.02, steps=3),
    "restarts": partial(pgd, eps=0.05, step_size=0.02, steps=2, random_start=True, restarts=2, seed=0),
    "spatial": partial(spatial, steps=2),
    "lbfgs": partial(spatial, steps=2, method="lbfgs"),
}
every = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@every
def test_gives_images_that_do_harm(trained, batch, loss, attack):
    x, y = batch
    x_adv = attack(trained, x, y)
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert loss(trained, x_adv, y).mean() > loss(trained, x, y).mean()


@every
@pytest.mark.parametrize("x_requires_grad", [False, True])
@pytest.mark.parametrize("grad_enabled", [True, False])
def test_inputs_are_left_alone(trained, batch, attack, x_requires_grad, grad_enabled):
    x, y = batch[0].clone(), batch[1].clone()
    x.requires_grad_(x_requires_grad)
    with torch.set_grad_enabled(grad_enabled):
        x_adv = attack(trained, x, y)
        assert torch.is_grad_enabled() == grad_enabled
    assert torch.equal(x, batch[0]) and torch.equal(y, batch[1])
    assert x.requires_grad == x_requires_grad and x.grad is None
    assert not x_adv.requires_grad  # else the graph of the whole attack would live on
    assert not torch.equal(x_adv, x)


def failing_from(call):
    """A hook that raises from the given call of the model on."""
    calls = itertools.count()

    def hook(module, inputs, output):
        if next(calls) >= call:
            raise RuntimeError("inside the model")

    return hook


@pytest.mark.parametrize("name", [*ATTACKS, "warn_if_masked"])
@pytest.mark.parametrize("fails_at", [None, 0, 1])
@pytest.mark.parametrize("grad_enabled", [True, False])
def test_model_is_left_as_it_was(mixed, untouched, images, name, fails_at, grad_enabled):
    run, x, y = ATTACKS.get(name, warn_if_masked), images(side=16), torch.tensor([0, 1, 2, 0, 1, 2])
    if fails_at is not None:
        mixed[0].network.layer2.register_forward_hook(failing_from(fails_at))
    with untouched(mixed), torch.set_grad_enabled(grad_enabled):
        if fails_at is None or (name == "fgsm" and fails_at == 1):  # FGSM calls the model once
            run(mixed, x, y)
        else:
            with pytest.raises(RuntimeError, match="inside the model"):
                run(mixed, x, y)
        assert torch.is_grad_enabled() == grad_enabled


@every
def test_sees_the_model_in_eval_mode(trained, batch, attack):
    expected = attack(trained, *batch)
    assert torch.equal(attack(trained.train(), *batch), expected)


@every
def test_no_gradient_mode_changes_nothing(trained, batch, attack):
    expected = attack(trained, *batch)
    with torch.no_grad():
        assert torch.equal(attack(trained, *batch), expected)


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (torch.full((2, 1, 4, 4), 1 + 2e-6), torch.tensor([0, 1]), r"in \[0, 1\]"),
        (torch.full((2, 1, 4, 4), -2e-6), torch.tensor([0, 1]), r"in \[0, 1\]"),
        (torch.full((2, 1, 4, 4), 255.0), torch.tensor([0, 1]), "255"),
        (torch.full((2, 1, 4, 4), float("nan")), torch.tensor([0, 1]), "nan"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), "uint8"),
        (torch.zeros(1, 4, 4), torch.tensor([0]), "N, C, H, W"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0]), r"y has shape \(1,\)"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([[0], [1]]), "y has shape"),
    ],
)
@pytest.mark.parametrize("attack", [*ATTACKS.values(), partial(fgsm, eps=0), partial(pgd, eps=0, step_size=0.1, steps=1)])
def test_images_that_are_not_pixels_are_refused(unused, attack, x, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        attack(unused, x, y)


@every
@pytest.mark.parametrize("off", [9e-7, -9e-7])
def test_rounding_outside_the_range_is_accepted(linear, attack, off):
    x = torch.full((1, 1, 4, 4), 0.0 if off < 0 else 1.0) + off
    x_adv = attack(linear(1, 4, 2), x, torch.tensor([0]))
    assert x_adv.min() >= 0 and x_adv.max() <= 1

"""What holds for every attack. A new attack is one entry of `ATTACKS`."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atviz import models
from atviz.attacks import apgd, fgsm, pgd, pma, spatial, square, strong, warn_if_masked

pytestmark = pytest.mark.filterwarnings("ignore:robust accuracy of this model may be false")  # some of these networks have two classes

ATTACKS = {
    "fgsm": partial(fgsm, eps=0.05),
    "pgd": partial(pgd, eps=0.05, step_size=0.02, steps=3),
    "restarts": partial(pgd, eps=0.05, step_size=0.02, steps=2, random_start=True, restarts=2, seed=0),
    "apgd": partial(apgd, eps=0.05, steps=4),
    "apgd in L2": partial(apgd, eps=1.0, norm="l2", steps=4),
    "pma": partial(pma, eps=0.05, steps=4),
    "square": partial(square, eps=0.05, queries=30),
    "square in L2": partial(square, eps=1.0, norm="l2", queries=30),
    "strong": partial(strong, eps=0.05, steps=4, targets=2, queries=10),
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
@pytest.mark.parametrize(
    "attack", [*ATTACKS.values(), partial(fgsm, eps=0), partial(pgd, eps=0, step_size=0.1, steps=1), partial(strong, eps=0)]
)
def test_images_that_are_not_pixels_are_refused(unused, attack, x, y, sentence):
    with pytest.raises(ValueError, match=sentence):
        attack(unused, x, y)


@every
@pytest.mark.parametrize("off", [9e-7, -9e-7])
def test_rounding_outside_the_range_is_accepted(linear, attack, off):
    x = torch.full((1, 1, 4, 4), 0.0 if off < 0 else 1.0) + off
    x_adv = attack(linear(1, 4, 2), x, torch.tensor([0]))
    assert x_adv.min() >= 0 and x_adv.max() <= 1


WRONG = {
    "labels of floats": lambda x, y: (x, y.float(), "y is torch.float32; labels are the numbers of classes"),
    "labels of 32 bits": lambda x, y: (x, y.int(), "y is torch.int32"),
    "too few labels": lambda x, y: (x, y[:-1], "y has shape .* for .* images"),
    "labels in a column": lambda x, y: (x, y[:, None], "y has shape"),
    "a label too high": lambda x, y: (x, y + 10, "labels run from .*, but the network has 10 classes, numbered from 0"),
    "a label below 0": lambda x, y: (x, y - 10, "labels run from -"),
    "one image": lambda x, y: (x[0], y[:1], r"x must be \(N, C, H, W\)"),
    "bytes": lambda x, y: ((255 * x).byte(), y, "x must be .* floating-point"),
    "above 1": lambda x, y: (x + 1, y, r"they must be in \[0, 1\]"),
    "not a number": lambda x, y: (x * float("nan"), y, r"they must be in \[0, 1\]"),
    "three channels": lambda x, y: (x.repeat(1, 3, 1, 1)[:, :2], y, "the network does not take images of"),
    "doubles": lambda x, y: (x.double(), y, "the network does not take images of .*float64"),
}


@every
@pytest.mark.parametrize("how", WRONG)
def test_wrong_images_and_labels_are_refused_in_one_sentence_and_change_nothing(trained, batch, attack, how):
    x, y, sentence = WRONG[how](*(part.clone() for part in batch))
    before, state = [module.training for module in trained.modules()], models.fingerprint(trained)
    with pytest.raises(ValueError, match=sentence) as found:
        attack(trained, x, y)
    assert "\n" not in str(found.value)
    assert [module.training for module in trained.modules()] == before and models.fingerprint(trained) == state


@every
@pytest.mark.parametrize("answer", [lambda z: (z, z), lambda z: z[0], lambda z: {"logits": z}], ids=["tuple", "one row", "dict"])
def test_an_answer_that_is_no_logits_is_refused(linear, images, attack, answer):
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = linear(3, 6, 4)

        def forward(self, x):
            return answer(self.net(x))

    with pytest.raises(ValueError, match="it must answer with logits"):
        attack(Odd(), images(side=6), torch.tensor([0, 1, 2, 0, 1, 2]))


@every
def test_probabilities_in_place_of_logits_are_refused(trained, batch, attack):
    ends_in_softmax = torch.nn.Sequential(trained, torch.nn.Softmax(1))
    with pytest.raises(ValueError, match="answers with probabilities, .* leave out its softmax"):
        attack(ends_in_softmax, *batch)
    with pytest.raises(ValueError, match="answers with probabilities"):
        attack(ends_in_softmax, batch[0][:1], batch[1][:1])
    attack(torch.nn.Sequential(trained, torch.nn.LogSoftmax(1)), *batch)


@every
def test_logits_that_add_up_to_one_by_chance_are_no_probabilities(attack):
    x = torch.tensor([0.25, 0.75]).view(1, 1, 1, 2)
    attack(torch.nn.Flatten(), x, torch.tensor([0]))


@every
def test_a_network_on_another_device_is_refused(trained, batch, attack):
    with pytest.raises(ValueError, match="the network does not take images .* on cpu"):
        attack(trained.to("meta"), *batch)


OWN = ["apgd", "apgd in L2", "pma", "square", "square in L2", "strong"]  # each image draws random numbers of its own


@pytest.mark.parametrize("name", OWN)
def test_the_images_beside_an_image_change_nothing(linear, images, name):
    """In doubles, in which no rounding of a batch decides."""
    model, x = linear(2, 9, 5, scale=0.1), images(12, 2, 9).double()
    y = model(x).argmax(1)
    whole, order = ATTACKS[name](model, x, y), torch.tensor([7, 3, 11, 0])
    torch.testing.assert_close(ATTACKS[name](model, x[order], y[order]), whole[order])
    torch.testing.assert_close(torch.cat([ATTACKS[name](model, x[i : i + 1], y[i : i + 1]) for i in range(12)]), whole)


@pytest.mark.parametrize("name", OWN)
def test_random_numbers_follow_the_seed(trained, batch, name):
    first, again, other = (ATTACKS[name](trained, *batch, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    before = torch.get_rng_state()
    ATTACKS[name](trained, *batch)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", OWN)
def test_an_image_is_asked_no_further_once_it_is_misclassified(trained, batch, fooled, name):
    x, y = batch
    seen = []
    hook = trained.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    try:
        x_adv = ATTACKS[name](trained, x, y, eps={"linf": 0.5, "l2": 10.0}[ATTACKS[name].keywords.get("norm", "linf")])
    finally:
        hook.remove()
    wrong = fooled(trained, x, y)
    assert wrong.any() and torch.equal(x_adv[wrong], x[wrong])  # nothing is left to do
    assert fooled(trained, x_adv, y).all() and sum(seen) < 12 * len(x)


@every
def test_a_batch_without_images_stays_one(trained, batch, attack):
    x, y = batch
    assert attack(trained, x[:0], y[:0]).shape == x[:0].shape


@settings(max_examples=120)
@given(data=st.data())
def test_any_attack_stays_in_its_ball_and_in_the_range_and_changes_nothing_else(linear, data):
    """Images of any size, type and value, networks of any number of classes, radii from nothing to everything."""
    channels, side, n, classes = (data.draw(st.integers(1, most)) for most in (4, 9, 5, 7))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    seed, norm = data.draw(st.integers(0, 99)), data.draw(st.sampled_from(["linf", "l2"]))
    model = linear(channels, side, classes, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(n, channels, side, side, generator=draw, dtype=dtype)
    x = data.draw(st.sampled_from([x, x.round(), torch.zeros_like(x), torch.ones_like(x)]))
    y = torch.randint(classes, (n,), generator=draw)
    eps = data.draw(st.sampled_from([0.0, 1e-6, 1 / 255, 0.3, 1.0]))
    options = {"steps": data.draw(st.integers(0, 3)), "step_size": data.draw(st.sampled_from([0.0, 1e-6, 0.1, 10.0]))}
    options |= {"random_start": data.draw(st.booleans()), "step": data.draw(st.sampled_from(["sign", "gradient"])), "norm": norm}
    before, labels, state = x.clone(), y.clone(), models.fingerprint(model)
    attack = data.draw(st.sampled_from([
        partial(pgd, early_stop=data.draw(st.booleans()), **options), partial(apgd, steps=3, norm=norm), partial(pma, steps=3, norm=norm),
        partial(square, queries=20, norm=norm), partial(strong, steps=2, queries=5, norm=norm),
    ]))  # fmt: skip
    x_adv = attack(model, x, y, eps=eps, seed=seed)
    assert x_adv.shape == x.shape and x_adv.dtype == dtype
    size = (x_adv - x).flatten(1).double()
    size = size.abs().amax(1) if norm == "linf" else size.norm(dim=1)
    assert float(size.max()) <= eps * (1 + 1e-6) + 1e-7 and 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    assert torch.equal(x, before) and torch.equal(y, labels) and models.fingerprint(model) == state
    moved = spatial(model, x, y, steps=options["steps"], tv_weight=data.draw(st.sampled_from([0.0, 0.05, 10.0])))
    assert moved.shape == x.shape and moved.dtype == dtype and 0 <= float(moved.min()) <= float(moved.max()) <= 1
    assert torch.equal(x, before)

import itertools

import pytest
import torch
import torchattacks
from torch.nn import functional as F

from atviz.attacks import fgsm, pgd

KINDS = list(itertools.product(["linf", "l2"], ["sign", "gradient"]))
STARTS = [(False, 1), (True, 1), (True, 3)]


def size(x_adv, x, norm):
    """‖x_adv − x‖ of each image, in double."""
    delta = (x_adv.double() - x.double()).flatten(1)
    return delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)


def quarter(eps, norm, step):
    """A step size of about a quarter of the radius: the L2 norm of a sign step is 28, and a unit step moves a pixel by about 1/28."""
    return eps / 4 * {("linf", "gradient"): 28, ("l2", "sign"): 1 / 28}.get((norm, step), 1)


# --- the ball


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize(("random_start", "restarts"), STARTS)
def test_stays_in_the_ball_and_does_harm(trained, batch, norm, step, random_start, restarts, loss, seeded):
    x, y = batch
    eps = {"linf": 0.05, "l2": 1.0}[norm]
    step_size = quarter(eps, norm, step)
    options = dict(norm=norm, step=step, random_start=random_start, restarts=restarts, generator=seeded())
    x_adv = pgd(trained, x, y, eps=eps, step_size=step_size, steps=6, **options)
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert (size(x_adv, x, norm) <= eps * (1 + 1e-6)).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    before, after = loss(trained, x, y), loss(trained, x_adv, y)
    assert after.mean() > before.mean() + 0.5
    assert random_start or (after > before).all()


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 28, 28), (3, 32, 32), (2, 5, 9), (3, 224, 224)])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.2, 0.8)])
def test_stays_in_the_ball_whatever_the_radius(norm, step, shape, bounds, seeded, as_model):
    # rounding x + δ to a float, and summing a norm in single precision, can each push an image out of the ball
    n, d = 4, torch.Size(shape).numel()
    x = (torch.rand(n, *shape, generator=seeded()) * 1.2 - 0.1).clamp(*bounds)
    weight = torch.randn(d, 3, generator=seeded(1))
    model, y, outside = as_model(lambda z: z.flatten(1) @ weight), torch.tensor([0, 1, 2, 0]), {}
    for eps, ratio, random_start in itertools.product([1e-3, 0.01, 8 / 255, 0.1, 0.3, 1.0], [0.1, 1.0], [False, True]):
        options = dict(step_size=ratio * eps, steps=2, norm=norm, step=step, random_start=random_start, generator=seeded(2))
        x_adv = pgd(model, x, y, eps=eps, **options)
        assert x_adv.min() >= 0 and x_adv.max() <= 1
        excess = float((size(x_adv, x, norm) / eps - 1).max())
        if excess > 1e-6:
            outside[eps, ratio, random_start] = excess
    assert not outside


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("linf", 8 / 255), ("l2", 0.5), ("l2", 4.0)])
def test_the_whole_radius_is_used(norm, eps, seeded, as_model):
    x, weight = torch.full((2, 3, 32, 32), 0.5), torch.randn(3 * 32 * 32, 2, generator=seeded(1))
    x_adv = pgd(as_model(lambda z: z.flatten(1) @ weight), x, torch.tensor([0, 1]), eps=eps, step_size=eps, steps=2, norm=norm)
    assert (size(x_adv, x, norm) >= eps * (1 - 1e-4)).all()


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize(("random_start", "restarts"), STARTS)
def test_eps_zero_is_the_identity(trained, batch, norm, step, random_start, restarts):
    x, y = batch
    x_adv = pgd(trained, x, y, eps=0, step_size=0.1, steps=5, norm=norm, step=step, random_start=random_start, restarts=restarts)
    assert torch.equal(x_adv, x) and x_adv.data_ptr() != x.data_ptr()
    assert torch.equal(fgsm(trained, x, y, eps=0), x)


# --- independent implementations


@pytest.mark.parametrize("eps", [2 / 255, 8 / 255, 0.1])
def test_fgsm_against_torchattacks(trained, batch, eps):
    ours, theirs = fgsm(trained, *batch, eps=eps), torchattacks.FGSM(trained, eps=eps)(*batch)
    # a pixel whose gradient is almost zero may fall to either side
    assert ((ours - theirs).abs() < 1e-6).float().mean() > 0.999


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_pgd_against_torchattacks(linear, trained, batch, steps, loss):
    options = dict(eps=0.06, steps=steps)
    model = linear(1, 28, 10)
    theirs = torchattacks.PGD(model, alpha=0.02, random_start=False, **options)(*batch)
    torch.testing.assert_close(pgd(model, *batch, step_size=0.02, **options), theirs, atol=1e-6, rtol=0)
    # on a network, two implementations take different paths after a kink: compare what they reach
    theirs = torchattacks.PGD(trained, alpha=0.02, random_start=False, **options)(*batch)
    ours = pgd(trained, *batch, step_size=0.02, **options)
    torch.testing.assert_close(loss(trained, ours, batch[1]), loss(trained, theirs, batch[1]), rtol=0.02, atol=0.02)
    assert ((ours - theirs).abs() < 1e-6).float().mean() > 0.95


@pytest.mark.parametrize(("eps", "alpha"), [(0.5, 0.2), (2.0, 0.5), (0.1, 1.0)])
def test_l2_pgd_against_torchattacks(trained, batch, eps, alpha):
    theirs = torchattacks.PGDL2(trained, eps=eps, alpha=alpha, steps=5, random_start=False)(*batch)
    ours = pgd(trained, *batch, eps=eps, step_size=alpha, steps=5, norm="l2")
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours, pgd(trained, *batch, eps=eps, step_size=alpha, steps=5, norm="l2", step="gradient"))


def test_first_l2_sign_step_by_hand(linear, images):
    # the step of Zhang & Zhu: a sign step per pixel, length step·√d, then projection to the L2 ball
    model, x, y = linear(3, 8, 4), 0.4 + 0.2 * images(5, 3, 8), torch.tensor([0, 1, 2, 3, 0])
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), y), leaf)
    long = pgd(model, x, y, eps=0.5, step_size=0.1, steps=1, norm="l2", step="sign")
    torch.testing.assert_close(long, x + 0.5 * gradient.sign() / gradient.sign().flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    short = pgd(model, x, y, eps=4.0, step_size=0.02, steps=1, norm="l2", step="sign")
    torch.testing.assert_close(short, x + 0.02 * gradient.sign())
    assert torch.allclose(size(short, x, "l2").float(), torch.full((5,), 0.02 * (3 * 8 * 8) ** 0.5))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_two_class_optimum_is_reached(linear, norm):
    # with two classes the loss rises along w₀ − w₁ alone, so the worst case has a closed form
    model, x, y = linear(1, 8, 2), torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 1])
    w = (model.weight[1] - model.weight[0]).detach()
    best = w.sign() if norm == "linf" else w / w.norm()
    expected = x + 0.2 * torch.stack([best, -best])
    torch.testing.assert_close(pgd(model, x, y, eps=0.2, step_size=0.05, steps=10, norm=norm), expected)
    if norm == "linf":
        torch.testing.assert_close(fgsm(model, x, y, eps=0.2), expected)


def test_fgsm_is_one_step_of_eps(trained, batch):
    assert torch.equal(fgsm(trained, *batch, eps=0.03), pgd(trained, *batch, eps=0.03, step_size=0.03, steps=1))


# --- batches, random starts, restarts


def test_a_seed_is_a_generator_made_anew(trained, batch, seeded):
    x, y = batch
    options = dict(eps=0.05, step_size=0.02, steps=2, random_start=True)
    first, again = (pgd(trained, x, y, **options, seed=3) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(first, pgd(trained, x, y, **options, generator=seeded(3)))
    assert not torch.equal(first, pgd(trained, x, y, **options, seed=4))
    with pytest.raises(ValueError, match="seed is 3, but a generator is given"):
        pgd(trained, x, y, **options, seed=3, generator=seeded())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gradient_of_an_image_does_not_depend_on_its_batch(linear, norm, loss, images):
    # a confident model: averaged over the batch, its gradients would sink below any fixed floor
    model, x, y = linear(1, 8, 3, scale=2.0), images(64, side=8), torch.arange(64) % 3
    y = model(x).argmax(1)
    run = lambda x, y: pgd(model, x, y, eps=1.0, step_size=0.1, steps=1, norm=norm, step="gradient")
    alone = torch.cat([run(x[i : i + 1], y[i : i + 1]) for i in range(64)])
    whole = run(x, y)
    assert loss(model, x, y).min() < 1e-6  # some images are so confident
    torch.testing.assert_close(whole, alone, atol=1e-6, rtol=0)


def test_network_attacked_in_any_batch_size(trained, batch):
    x, y = batch
    whole = pgd(trained, x, y, eps=0.5, step_size=0.2, steps=3, norm="l2")
    parts = torch.cat([pgd(trained, a, b, eps=0.5, step_size=0.2, steps=3, norm="l2") for a, b in zip(x.split(3), y.split(3), strict=True)])
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_is_uniform_in_the_ball(norm, seeded, as_model):
    n, eps = 4000, 0.3
    start = pgd(
        as_model(lambda z: z.flatten(1)), torch.full((n, 1, 1, 2), 0.5), torch.zeros(n, dtype=torch.int64),
        eps=eps, step_size=0, steps=1, norm=norm, random_start=True, generator=seeded(),
    )  # fmt: skip
    delta = (start - 0.5).flatten(1) / eps
    assert delta.mean(0).abs().max() < 0.05
    if norm == "linf":
        share = delta.abs().amax(1) ** 2  # of the square's area within: uniform
    else:
        share = delta.norm(dim=1) ** 2
        angle = (torch.atan2(delta[:, 0], delta[:, 1]) / (2 * torch.pi) + 0.5).sort().values
        assert (angle - torch.linspace(0, 1, n)).abs().max() < 0.03
    assert (share.sort().values - torch.linspace(0, 1, n)).abs().max() < 0.03  # Kolmogorov–Smirnov distance


def test_random_start_follows_its_generator(trained, batch, seeded):
    run = lambda seed: pgd(trained, *batch, eps=0.05, step_size=0.01, steps=1, random_start=True, generator=seeded(seed))
    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.06), ("l2", 1.0)])
def test_restarts_keep_the_best_run_of_each_image(trained, fashion, norm, eps, loss, seeded):
    x, y = fashion.x[:60].float() / 255, fashion.y[:60]
    options = dict(eps=eps, step_size=eps / 3, steps=2, norm=norm, random_start=True)
    draw = seeded(3)
    runs = [pgd(trained, x, y, **options, generator=draw) for _ in range(4)]
    found = pgd(trained, x, y, **options, restarts=4, generator=seeded(3))

    def score(x_adv):
        with torch.no_grad():
            wrong = trained(x_adv).argmax(1) != y
        return list(zip(wrong.tolist(), loss(trained, x_adv, y).tolist(), strict=True))

    scores = [score(run) for run in runs]
    assert len({tuple(s) for s in scores}) == 4  # the runs differ
    got = score(found)
    best = [max(of_image) for of_image in zip(*scores, strict=True)]
    assert all(g >= s for g, s in zip(got, scores[0], strict=True))  # never worse than one run
    assert [wrong for wrong, _ in got] == [wrong for wrong, _ in best]
    # misclassified before correct, then the higher loss
    assert [value for _, value in got] == pytest.approx([value for _, value in best], rel=1e-3)


def test_restarts_prefer_the_misclassified(seeded, as_model):
    # the loss is highest near 0.55, where the image is still classified correctly; near 1 it is not
    def logits(x):
        z = x.flatten(1).mean(1)
        close = (z - 0.55).abs() < 0.1
        zero = torch.zeros_like(z)
        right = torch.stack([zero + 0.1, zero, zero, zero, zero], 1)  # a low p_0, but the largest
        wrong = torch.stack([zero, zero + 0.2, zero - 9, zero - 9, zero - 9], 1)
        return (
            torch.where(close[:, None], right, torch.where((z > 0.5)[:, None], wrong, right + torch.tensor([9.0, 0, 0, 0, 0])))
            + 0 * z[:, None]
        )

    model, y = as_model(logits), torch.zeros(50, dtype=torch.int64)
    x = torch.full((50, 1, 1, 1), 0.5)
    run = pgd(model, x, y, eps=0.5, step_size=0, steps=1, random_start=True, restarts=12, generator=seeded())
    assert (logits(run).argmax(1) == 1).float().mean() > 0.95


# --- what is refused


REFUSED = [
    (dict(eps=8), "8/255"),
    (dict(eps=1.01), "range of a pixel"),
    (dict(eps=-0.1), "eps is -0.1"),
    (dict(eps=float("nan")), "eps is nan"),
    (dict(eps=float("inf"), norm="l2"), "eps is inf"),
    (dict(step_size=-0.1), "step_size is -0.1"),
    (dict(step_size=float("nan")), "step_size is nan"),
    (dict(steps=-1), "steps is -1"),
    (dict(norm="l1"), "norm is 'l1'.*linf, l2"),
    (dict(norm="Linf"), "norm is 'Linf'"),
    (dict(step="newton"), "step is 'newton'.*sign, gradient"),
    (dict(restarts=0), "restarts is 0"),
    (dict(restarts=2), "without random_start"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_option_that_cannot_be_meant_is_refused(options, sentence, images, unused):
    with pytest.raises(ValueError, match=sentence):
        pgd(unused, images(2), torch.tensor([0, 1]), **(dict(eps=0.1, step_size=0.1, steps=1) | options))


def test_large_eps_is_meant_for_l2(linear, images):
    model, x = linear(3, 8, 2), images(2, 3, 8)
    x_adv = pgd(model, x, torch.tensor([0, 1]), eps=12, step_size=6 / 255, steps=2, norm="l2", step="sign")
    assert (size(x_adv, x, "linf") <= 2 * 6 / 255 + 1e-6).all()


# --- early stop


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize(("random_start", "restarts"), STARTS)
def test_early_stop_finds_what_the_whole_attack_finds(trained, batch, norm, step, random_start, restarts, loss, seeded):
    x, y = batch
    eps = {"linf": 0.03, "l2": 0.5}[norm]
    options = dict(eps=eps, step_size=quarter(eps, norm, step), steps=6, norm=norm, step=step, random_start=random_start, restarts=restarts)
    whole, early = (pgd(trained, x, y, **options, early_stop=stop, generator=seeded()) for stop in (False, True))
    fooled_by_whole, fooled = (trained(found).argmax(1) != y for found in (whole, early))
    assert (fooled >= fooled_by_whole).all() and 0 < fooled.sum() < len(y)
    assert size(early, x, norm).max() <= eps * (1 + 1e-5) and early.min() >= 0 and early.max() <= 1
    if restarts == 1:  # who is never misclassified goes the whole way
        assert torch.allclose(early[~fooled], whole[~fooled], atol=1e-5)


def test_early_stop_asks_only_for_those_that_are_left(trained, batch):
    x, y = batch
    seen = []
    hook = trained.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    try:
        found = pgd(trained, x, y, eps=0.3, step_size=0.1, steps=20, early_stop=True)
    finally:
        hook.remove()
    assert sum(seen) < 20 * len(x) / 2
    wrong = trained(x).argmax(1) != y
    assert wrong.any() and torch.equal(found[wrong], x[wrong])  # nothing is left to do
    assert (trained(found).argmax(1) != y).all()


def test_early_stop_is_decided_by_the_model_in_fp32():
    """On a uniform image the two logits tie in bfloat16, and class 0 is taken."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False)).eval()
    model[1].weight.data = torch.tensor([[1, 1, 1, 1], [1.5, 0.5, 1, 1.0001]])
    x, y = torch.full((2, 1, 2, 2), 0.5), torch.tensor([1, 1])
    with torch.autocast("cpu", torch.bfloat16):
        assert (model(x).argmax(1) == 0).all()
        found = pgd(model, x, y, eps=0.1, step_size=0.05, steps=3, early_stop=True, random_start=torch.full_like(x, 0.01))
    assert not torch.equal(found, x + 0.01)  # they seemed to be misclassified at once, and went on

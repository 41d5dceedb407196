import copy
import itertools
import warnings

import pytest
import torch
import torchattacks
from torch import nn
from torch.nn import functional as F

from atviz import attacks, models

KINDS = list(itertools.product(["linf", "l2"], ["sign", "gradient"]))
STARTS = [(False, 1), (True, 1), (True, 3)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, channels=1, side=28, seed=0):
    """Random images with some pixels on the bounds."""
    return (torch.rand(n, channels, side, side, generator=seeded(seed)) * 1.4 - 0.2).clamp(0, 1)


@pytest.fixture
def batch(fashion):
    return fashion.x[:16].float() / 255, fashion.y[:16]


def loss(model, x, y):
    with torch.no_grad():
        return F.cross_entropy(model(x), y, reduction="none")


def size(x_adv, x, norm):
    """‖x_adv − x‖ of each image, in double."""
    delta = (x_adv.double() - x.double()).flatten(1)
    return delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)


# --- what holds for every attack


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize(("random_start", "restarts"), STARTS)
def test_stays_in_the_ball_and_does_harm(trained, batch, norm, step, random_start, restarts):
    x, y = batch
    eps = {"linf": 0.05, "l2": 1.0}[norm]
    # each step about a quarter of the ball's radius: a sign step is 28 long, and a unit step moves a pixel by about 1/28
    step_size = eps / 4 * {("linf", "gradient"): 28, ("l2", "sign"): 1 / 28}.get((norm, step), 1)
    x_adv = attacks.pgd(
        trained,
        x,
        y,
        eps=eps,
        step_size=step_size,
        steps=6,
        norm=norm,
        step=step,
        random_start=random_start,
        restarts=restarts,
        generator=seeded(),
    )
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert (size(x_adv, x, norm) <= eps * (1 + 1e-6)).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    before, after = loss(trained, x, y), loss(trained, x_adv, y)
    assert after.mean() > before.mean() + 0.5
    assert random_start or (after > before).all()


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 28, 28), (3, 32, 32), (2, 5, 9), (3, 224, 224)])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.2, 0.8)])
def test_stays_in_the_ball_whatever_the_radius(norm, step, shape, bounds):
    # Rounding x + δ to a float, and summing a norm in single precision, may each push an image out of the ball.
    n, d = 4, torch.Size(shape).numel()
    x = (torch.rand(n, *shape, generator=seeded()) * 1.2 - 0.1).clamp(*bounds)
    weight = torch.randn(d, 3, generator=seeded(1))
    model, y, outside = lambda_model(lambda z: z.flatten(1) @ weight), torch.tensor([0, 1, 2, 0]), {}
    for eps, ratio, random_start in itertools.product([1e-3, 0.01, 8 / 255, 0.1, 0.3, 1.0], [0.1, 1.0], [False, True]):
        options = dict(step_size=ratio * eps, steps=2, norm=norm, step=step, random_start=random_start, generator=seeded(2))
        x_adv = attacks.pgd(model, x, y, eps=eps, **options)
        assert x_adv.min() >= 0 and x_adv.max() <= 1
        excess = float((size(x_adv, x, norm) / eps - 1).max())
        if excess > 1e-6:
            outside[eps, ratio, random_start] = excess
    assert not outside


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("linf", 8 / 255), ("l2", 0.5), ("l2", 4.0)])
def test_the_whole_radius_is_used(norm, eps):
    x, weight = torch.full((2, 3, 32, 32), 0.5), torch.randn(3 * 32 * 32, 2, generator=seeded(1))
    x_adv = attacks.pgd(lambda_model(lambda z: z.flatten(1) @ weight), x, torch.tensor([0, 1]), eps=eps, step_size=eps, steps=2, norm=norm)
    assert (size(x_adv, x, norm) >= eps * (1 - 1e-4)).all()


def lambda_model(function):
    class Function(nn.Module):
        def forward(self, x):
            return function(x)

    return Function()


@pytest.mark.parametrize(("norm", "step"), KINDS)
@pytest.mark.parametrize(("random_start", "restarts"), STARTS)
def test_eps_zero_is_the_identity(trained, batch, norm, step, random_start, restarts):
    x, y = batch
    x_adv = attacks.pgd(trained, x, y, eps=0, step_size=0.1, steps=5, norm=norm, step=step, random_start=random_start, restarts=restarts)
    assert torch.equal(x_adv, x) and x_adv.data_ptr() != x.data_ptr()
    assert torch.equal(attacks.fgsm(trained, x, y, eps=0), x)


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "restarts", "spatial", "lbfgs"])
@pytest.mark.parametrize("x_requires_grad", [False, True])
@pytest.mark.parametrize("grad_enabled", [True, False])
def test_inputs_are_left_alone(trained, batch, attack, x_requires_grad, grad_enabled):
    x, y = batch[0].clone(), batch[1].clone()
    x.requires_grad_(x_requires_grad)
    with torch.set_grad_enabled(grad_enabled):
        x_adv = RUNS[attack](trained, x, y)
        assert torch.is_grad_enabled() == grad_enabled
    assert torch.equal(x, batch[0]) and torch.equal(y, batch[1])
    assert x.requires_grad == x_requires_grad and x.grad is None
    assert not x_adv.requires_grad  # else the graph of the whole attack would live on
    assert not torch.equal(x_adv, x)


RUNS = {
    "fgsm": lambda model, x, y: attacks.fgsm(model, x, y, eps=0.05),
    "pgd": lambda model, x, y: attacks.pgd(model, x, y, eps=0.05, step_size=0.02, steps=3),
    "restarts": lambda model, x, y: attacks.pgd(
        model, x, y, eps=0.05, step_size=0.02, steps=2, random_start=True, restarts=2, generator=seeded()
    ),
    "spatial": lambda model, x, y: attacks.spatial(model, x, y, steps=2),
    "lbfgs": lambda model, x, y: attacks.spatial(model, x, y, steps=2, method="lbfgs"),
}


def failing_from(call):
    """A hook that raises from the given call of the model on."""
    calls = itertools.count()

    def hook(module, inputs, output):
        if next(calls) >= call:
            raise RuntimeError("inside the model")

    return hook


@pytest.mark.parametrize("attack", [*RUNS, "warn_if_masked"])
@pytest.mark.parametrize("fails_at", [None, 0, 1])
@pytest.mark.parametrize("grad_enabled", [True, False])
def test_model_is_left_as_it_was(mixed, untouched, attack, fails_at, grad_enabled):
    run, x, y = RUNS.get(attack, attacks.warn_if_masked), images(side=16), torch.tensor([0, 1, 2, 0, 1, 2])
    if fails_at is not None:
        mixed[0].network.layer2.register_forward_hook(failing_from(fails_at))
    with untouched(mixed), torch.set_grad_enabled(grad_enabled):
        if fails_at is None or (attack == "fgsm" and fails_at == 1):  # which calls the model once
            run(mixed, x, y)
        else:
            with pytest.raises(RuntimeError, match="inside the model"):
                run(mixed, x, y)
        assert torch.is_grad_enabled() == grad_enabled


def test_attack_sees_the_model_in_eval_mode(trained, batch):
    x, y = batch
    expected = attacks.pgd(trained, x, y, eps=0.05, step_size=0.02, steps=3)
    assert torch.equal(attacks.pgd(trained.train(), x, y, eps=0.05, step_size=0.02, steps=3), expected)


def test_no_gradient_mode_changes_nothing(trained, batch):
    expected = attacks.pgd(trained, *batch, eps=0.05, step_size=0.02, steps=3)
    with torch.no_grad():
        assert torch.equal(attacks.pgd(trained, *batch, eps=0.05, step_size=0.02, steps=3), expected)


# --- oracles


@pytest.mark.parametrize("eps", [2 / 255, 8 / 255, 0.1])
def test_fgsm_against_torchattacks(trained, batch, eps):
    ours, theirs = attacks.fgsm(trained, *batch, eps=eps), torchattacks.FGSM(trained, eps=eps)(*batch)
    # a pixel whose gradient is almost zero may fall to either side
    assert ((ours - theirs).abs() < 1e-6).float().mean() > 0.999


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_pgd_against_torchattacks(linear, trained, batch, steps):
    options = dict(eps=0.06, steps=steps)
    model = linear(1, 28, 10)
    theirs = torchattacks.PGD(model, alpha=0.02, random_start=False, **options)(*batch)
    torch.testing.assert_close(attacks.pgd(model, *batch, step_size=0.02, **options), theirs, atol=1e-6, rtol=0)
    # on a network the paths of two implementations part at kinks: compare what they reach
    theirs = torchattacks.PGD(trained, alpha=0.02, random_start=False, **options)(*batch)
    ours = attacks.pgd(trained, *batch, step_size=0.02, **options)
    torch.testing.assert_close(loss(trained, ours, batch[1]), loss(trained, theirs, batch[1]), rtol=0.02, atol=0.02)
    assert ((ours - theirs).abs() < 1e-6).float().mean() > 0.95


@pytest.mark.parametrize(("eps", "alpha"), [(0.5, 0.2), (2.0, 0.5), (0.1, 1.0)])
def test_l2_pgd_against_torchattacks(trained, batch, eps, alpha):
    theirs = torchattacks.PGDL2(trained, eps=eps, alpha=alpha, steps=5, random_start=False)(*batch)
    ours = attacks.pgd(trained, *batch, eps=eps, step_size=alpha, steps=5, norm="l2")
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours, attacks.pgd(trained, *batch, eps=eps, step_size=alpha, steps=5, norm="l2", step="gradient"))


def test_first_l2_sign_step_by_hand(linear):
    # the step of Zhang & Zhu: a sign step per pixel, length step·√d, then projection to the L2 ball
    model, x, y = linear(3, 8, 4), 0.4 + 0.2 * images(5, 3, 8), torch.tensor([0, 1, 2, 3, 0])
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), y), leaf)
    long = attacks.pgd(model, x, y, eps=0.5, step_size=0.1, steps=1, norm="l2", step="sign")
    torch.testing.assert_close(long, x + 0.5 * gradient.sign() / gradient.sign().flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    short = attacks.pgd(model, x, y, eps=4.0, step_size=0.02, steps=1, norm="l2", step="sign")
    torch.testing.assert_close(short, x + 0.02 * gradient.sign())
    assert torch.allclose(size(short, x, "l2").float(), torch.full((5,), 0.02 * (3 * 8 * 8) ** 0.5))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_two_class_optimum_is_reached(linear, norm):
    # with two classes the loss rises along w₀ − w₁ alone, so the worst case has a closed form
    model, x, y = linear(1, 8, 2), torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 1])
    w = (model.weight[1] - model.weight[0]).detach()
    best = w.sign() if norm == "linf" else w / w.norm()
    expected = x + 0.2 * torch.stack([best, -best])
    torch.testing.assert_close(attacks.pgd(model, x, y, eps=0.2, step_size=0.05, steps=10, norm=norm), expected)
    if norm == "linf":
        torch.testing.assert_close(attacks.fgsm(model, x, y, eps=0.2), expected)


def test_fgsm_is_one_step_of_eps(trained, batch):
    assert torch.equal(attacks.fgsm(trained, *batch, eps=0.03), attacks.pgd(trained, *batch, eps=0.03, step_size=0.03, steps=1))


# --- batches, random starts, restarts


def test_a_seed_is_a_generator_made_anew(trained, batch):
    x, y = batch
    options = dict(eps=0.05, step_size=0.02, steps=2, random_start=True)
    first, again = (attacks.pgd(trained, x, y, **options, seed=3) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(first, attacks.pgd(trained, x, y, **options, generator=seeded(3)))
    assert not torch.equal(first, attacks.pgd(trained, x, y, **options, seed=4))
    with pytest.raises(ValueError, match="seed is 3, but a generator is given"):
        attacks.pgd(trained, x, y, **options, seed=3, generator=seeded())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gradient_of_an_image_does_not_depend_on_its_batch(linear, norm):
    # a confident model: averaged over the batch, its gradients would sink below any fixed floor
    model, x, y = linear(1, 8, 3, scale=2.0), images(64, side=8), torch.arange(64) % 3
    y = model(x).argmax(1)
    run = lambda x, y: attacks.pgd(model, x, y, eps=1.0, step_size=0.1, steps=1, norm=norm, step="gradient")
    alone = torch.cat([run(x[i : i + 1], y[i : i + 1]) for i in range(64)])
    whole = run(x, y)
    assert loss(model, x, y).min() < 1e-6  # some images are so confident
    torch.testing.assert_close(whole, alone, atol=1e-6, rtol=0)


def test_network_attacked_in_any_batch_size(trained, batch):
    x, y = batch
    whole = attacks.pgd(trained, x, y, eps=0.5, step_size=0.2, steps=3, norm="l2")
    parts = torch.cat(
        [attacks.pgd(trained, a, b, eps=0.5, step_size=0.2, steps=3, norm="l2") for a, b in zip(x.split(3), y.split(3), strict=True)]
    )
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_is_uniform_in_the_ball(norm):
    n, eps = 4000, 0.3
    start = attacks.pgd(
        lambda_model(lambda z: z.flatten(1)), torch.full((n, 1, 1, 2), 0.5), torch.zeros(n, dtype=torch.int64),
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


def test_random_start_follows_its_generator(trained, batch):
    run = lambda seed: attacks.pgd(trained, *batch, eps=0.05, step_size=0.01, steps=1, random_start=True, generator=seeded(seed))
    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.06), ("l2", 1.0)])
def test_restarts_keep_the_best_run_of_each_image(trained, fashion, norm, eps):
    x, y = fashion.x[:60].float() / 255, fashion.y[:60]
    options = dict(eps=eps, step_size=eps / 3, steps=2, norm=norm, random_start=True)
    draw = seeded(3)
    runs = [attacks.pgd(trained, x, y, **options, generator=draw) for _ in range(4)]
    found = attacks.pgd(trained, x, y, **options, restarts=4, generator=seeded(3))

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


def test_restarts_prefer_the_misclassified():
    # where the loss is highest, near 0.55, the image is still classified rightly; near 1 it is not
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

    model, y = lambda_model(logits), torch.zeros(50, dtype=torch.int64)
    x = torch.full((50, 1, 1, 1), 0.5)
    run = attacks.pgd(model, x, y, eps=0.5, step_size=0, steps=1, random_start=True, restarts=12, generator=seeded())
    assert (logits(run).argmax(1) == 1).float().mean() > 0.95


# --- the spatially transformed attack

METHODS = ["first-order", "lbfgs"]
SHAPES = [(1, 1, 1), (1, 28, 28), (3, 5, 9), (3, 224, 97), (2, 1, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_flow_leaves_every_bit(shape, dtype):
    x = torch.rand(3, *shape, generator=seeded(), dtype=dtype)
    assert torch.equal(attacks.warp(x, torch.zeros(3, 2, *shape[1:], dtype=dtype)), x)


@pytest.mark.parametrize(("down", "right"), [(0, 1), (2, 0), (-3, 1), (1, -4), (40, -40)])
def test_whole_flow_shifts_the_image_and_repeats_its_border(down, right):
    x = images(2, 3, 11)[..., :9]
    flow = torch.tensor([down, right]).float()[None, :, None, None].expand(2, 2, 11, 9)
    rows, columns = (torch.arange(11) + down).clamp(0, 10), (torch.arange(9) + right).clamp(0, 8)
    assert torch.equal(attacks.warp(x, flow), x[:, :, rows][..., columns])


@pytest.mark.parametrize(("h", "w"), [(7, 7), (6, 11)])
def test_warp_is_grid_sample(h, w):
    x, flow = torch.rand(4, 3, h, w, dtype=torch.float64), 3 * torch.randn(4, 2, h, w, dtype=torch.float64)
    flow.requires_grad_()
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    grid = torch.stack([2 * (column + flow[:, 1]) / (w - 1) - 1, 2 * (row + flow[:, 0]) / (h - 1) - 1], -1)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    ours = attacks.warp(x, flow)
    torch.testing.assert_close(ours, expected)
    weight = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad((weight * image).sum(), flow)[0] for image in (ours, expected)))


def test_total_variation_counts_each_pair_of_neighbors_once():
    flow = torch.randn(2, 2, 4, 5, generator=seeded(), dtype=torch.float64)
    for image, found in zip(flow, attacks._total_variation(flow), strict=True):
        pairs = [(i, j, k, m) for i, j in itertools.product(range(4), range(5)) for k, m in [(i + 1, j), (i, j + 1)] if k < 4 and m < 5]
        by_hand = sum(float((image[:, i, j] - image[:, k, m]).norm()) for i, j, k, m in pairs)
        assert float(found) == pytest.approx(by_hand, rel=1e-3)
    constant = torch.ones(1, 2, 4, 5, requires_grad=True)
    variation = attacks._total_variation(constant)
    (gradient,) = torch.autograd.grad(variation.sum(), constant)
    assert variation.item() == 0 and torch.equal(gradient, torch.zeros_like(gradient))


@pytest.fixture
def flows(monkeypatch):
    """The flows that the attack samples by, in pixels, the chosen one last."""
    found, warp = [], attacks.warp
    monkeypatch.setattr(attacks, "warp", lambda x, flow: found.append(flow.detach()) or warp(x, flow))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_spatial_attack_fools_and_stays_an_image(trained, fashion, flows, method):
    x, y = fashion.x[:60].float() / 255, fashion.y[:60]
    x_adv = attacks.spatial(trained, x, y, method=method)
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert torch.equal(attacks.warp(x, flows[-1]).clamp(0, 1), x_adv)
    # what is chosen is at least as good as no flow at all
    variation = 0.05 * attacks._total_variation(flows[-1] / 13.5)
    assert (loss(trained, x_adv, y) >= loss(trained, x, y) + variation - 1e-4).all()
    accuracy = lambda x: float((trained(x).argmax(1) == y).float().mean())
    assert accuracy(x_adv) < accuracy(x) / 2
    assert flows[-1].norm(dim=1).mean() < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_heavier_variation_stills_the_flow(trained, batch, flows, method):
    size = []
    for weight in (0, 0.05, 1, 1e3):
        attacks.spatial(trained, *batch, tv_weight=weight, method=method, steps=10)
        size.append(float(attacks._total_variation(flows[-1]).mean()))
    assert size == sorted(size, reverse=True)
    assert size[-1] < 0.1 * size[1]


def test_lbfgs_finds_no_worse_a_flow(trained, fashion, flows):
    x, y = fashion.x[:40].float() / 255, fashion.y[:40]
    reached = {}
    for method in METHODS:
        x_adv = attacks.spatial(trained, x, y, method=method)
        reached[method] = float((loss(trained, x_adv, y) - 0.05 * attacks._total_variation(flows[-1] / 13.5)).mean())
    assert reached["lbfgs"] >= reached["first-order"]


def test_lbfgs_is_torchs_for_one_image(linear, flows):
    # where the curvature is positive from the first step on; beyond it the paths part only by the length of the first
    target = torch.randn(1, 2, 6, 6, generator=seeded(), dtype=torch.float64)
    scales = torch.rand(1, 2, 6, 6, generator=seeded(1), dtype=torch.float64) + 1
    gradient = lambda u: 10 * scales * (u - target)
    ours, quasi_newton = torch.zeros_like(target), attacks._QuasiNewton()
    theirs = torch.zeros_like(target).requires_grad_()
    optimizer = torch.optim.LBFGS([theirs], lr=0.5, max_iter=8, history_size=attacks.CURVATURE_PAIRS)

    def closure():
        theirs.grad = gradient(theirs.detach())
        return (5 * scales * (theirs.detach() - target) ** 2).sum()

    for _ in range(8):
        ours = ours - 0.5 * quasi_newton.direction(ours, gradient(ours))
    optimizer.step(closure)
    torch.testing.assert_close(ours, theirs.detach())
    assert (ours - target).norm() < 0.2 * target.norm()


@pytest.mark.parametrize("method", METHODS)
def test_spatial_attack_of_an_image_does_not_depend_on_its_batch(trained, batch, method):
    x, y = batch
    whole = attacks.spatial(trained, x, y, method=method, steps=5)
    parts = torch.cat([attacks.spatial(trained, a, b, method=method, steps=5) for a, b in zip(x.split(3), y.split(3), strict=True)])
    torch.testing.assert_close(loss(trained, whole, y), loss(trained, parts, y), rtol=0.02, atol=0.02)
    others = torch.cat([x[:1], 1 - x[1:]])
    torch.testing.assert_close(loss(trained, attacks.spatial(trained, others, y, method=method, steps=5)[:1], y[:1]),
                               loss(trained, whole[:1], y[:1]), rtol=0.02, atol=0.02)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_spatial_attack_in_other_types(trained, batch, dtype):
    x, y = batch
    x_adv = attacks.spatial(trained.to(dtype), x.to(dtype), y, steps=3)
    assert x_adv.dtype == dtype
    assert loss(trained.float(), x_adv.float(), y).mean() > loss(trained, x, y).mean() + 0.2


def test_spatial_attack_under_autocast_keeps_the_flow_exact(trained, batch, flows):
    with torch.autocast("cpu", torch.bfloat16):
        x_adv = attacks.spatial(trained, *batch, steps=3)
    assert x_adv.dtype == torch.float32 and {flow.dtype for flow in flows} == {torch.float32}
    assert loss(trained, x_adv, batch[1]).mean() > loss(trained, *batch).mean() + 0.2


@pytest.mark.parametrize("method", METHODS)
def test_no_steps_no_gradient_no_change(trained, batch, method):
    x, y = batch
    still = attacks.spatial(trained, x, y, steps=0, method=method)
    assert torch.equal(still, x) and still.data_ptr() != x.data_ptr()
    flat = torch.full((2, 1, 8, 8), 0.3)  # moving its pixels changes nothing
    assert torch.equal(attacks.spatial(lambda_model(lambda z: z.flatten(1)), flat, torch.tensor([0, 1]), method=method), flat)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(steps=-1), "steps is -1"),
        (dict(tv_weight=-0.1), "tv_weight is -0.1"),
        (dict(tv_weight=float("nan")), "tv_weight is nan"),
        (dict(step_size=-1), "step_size is -1"),
        (dict(step_size=float("inf")), "step_size is inf"),
        (dict(method="adam"), "method is 'adam'.*first-order, lbfgs"),
        (dict(x=torch.full((2, 1, 4, 4), 255.0)), "255"),
        (dict(y=torch.tensor([0])), r"y has shape \(1,\)"),
    ],
)
def test_spatial_option_that_cannot_be_meant_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attacks.spatial(lambda_model(unused), **(dict(x=images(2), y=torch.tensor([0, 1])) | options))


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
    (dict(restarts=0), "restarts 0"),
    (dict(restarts=2), "without random_start"),
]


def unused(x):
    raise AssertionError("measured before it was refused")


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_option_that_cannot_be_meant_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attacks.pgd(lambda_model(unused), images(2), torch.tensor([0, 1]), **(dict(eps=0.1, step_size=0.1, steps=1) | options))


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
@pytest.mark.parametrize("eps", [0.1, 0])
def test_images_that_are_not_pixels_are_refused(x, y, sentence, eps):
    with pytest.raises(ValueError, match=sentence):
        attacks.pgd(lambda_model(unused), x, y, eps=eps, step_size=0.1, steps=1)
    with pytest.raises(ValueError, match=sentence):
        attacks.fgsm(lambda_model(unused), x, y, eps=eps)


def test_large_eps_is_meant_for_l2(linear):
    model, x = linear(3, 8, 2), images(2, 3, 8)
    x_adv = attacks.pgd(model, x, torch.tensor([0, 1]), eps=12, step_size=6 / 255, steps=2, norm="l2", step="sign")
    assert (size(x_adv, x, "linf") <= 2 * 6 / 255 + 1e-6).all()


@pytest.mark.parametrize("off", [9e-7, -9e-7])
def test_rounding_outside_the_range_is_accepted(linear, off):
    x = torch.full((1, 1, 4, 4), 0.0 if off < 0 else 1.0) + off
    x_adv = attacks.fgsm(linear(1, 4, 2), x, torch.tensor([0]), eps=0.1)
    assert x_adv.min() >= 0 and x_adv.max() <= 1


# --- false robustness


def with_softmax(model):
    return nn.Sequential(model, nn.Softmax(1))


def rounded(model):
    return lambda_model(lambda x: model((x * 4).round() / 4))


def noisy(model):
    return lambda_model(lambda x: model(x + 0.3 * torch.randn_like(x)))


def saturated(model):
    return lambda_model(lambda x: 1e4 * model(x))


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (with_softmax, "softmax"),
        (rounded, "gradient of 16 of 16 images is exactly zero"),
        (noisy, "changes from call to call"),
        (saturated, "exactly zero"),
    ],
)
def test_masked_gradients_are_warned_of(trained, batch, mask, sentence):
    with pytest.warns(UserWarning, match=f"may be false: .*{sentence}"):
        attacks.warn_if_masked(mask(trained), *batch)


def test_every_reason_is_named(trained, batch):
    with pytest.warns(UserWarning, match="softmax.*; .*changes from call to call"):
        attacks.warn_if_masked(with_softmax(noisy(trained)), *batch)


@pytest.mark.parametrize("training", [False, True])
def test_normal_model_raises_no_warning(trained, batch, training):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attacks.warn_if_masked(copy.deepcopy(trained).train(training), *batch)  # dropout and batch norm are off while it looks
        attacks.warn_if_masked(nn.Sequential(trained, nn.Dropout()).train(training), *batch)
        attacks.warn_if_masked(models.build("small-w4", num_classes=10, in_channels=1), *batch)

"""The training loop: it learns, resumes exactly, stops where it should, and says what went wrong."""

import warnings
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from atviz import attacks, data, models, training
from atviz.training import loop, recipes


@pytest.fixture(scope="module")
def images():
    return data.load("fashion", "train", limit=600), data.load("fashion", "test", limit=200)


@pytest.fixture
def build(images):
    mean, std = images[0].channel_stats()

    def make(seed=0):
        torch.manual_seed(seed)
        return models.build("small-w4", num_classes=10, in_channels=1, image_size=28, mean=mean, std=std)

    return make


NORMAL = recipes.get("normal", epochs=3, batch_size=20, augment="flip")


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_normal_training_learns(images, build):
    history = training.fit(build(), NORMAL, *images)["history"]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["clean"] > 0.3  # chance is 0.1
    assert all(row["robust"] is None for row in history)


def test_adversarial_training_buys_robustness(images, build, fabric):
    recipe = recipes.get("pgd-inf-0.1", epochs=8, batch_size=50, augment="flip", steps=3)
    adversarial, normal = build(), build()
    robust = training.fit(adversarial, recipe, *images)["history"][-1]["robust"]
    training.fit(normal, replace(NORMAL, epochs=8), *images)
    assert robust > loop._probe(normal, recipe, images[1], fabric) + 0.1


def test_spatial_training_buys_robustness_to_flows(images, build, fabric):
    recipe = recipes.get("spatial", epochs=8, batch_size=20, augment="flip", lr=0.03, steps=3)
    spatial, normal = build(), build()
    robust = training.fit(spatial, recipe, *images)["history"][-1]["robust"]
    training.fit(normal, replace(NORMAL, epochs=8, lr=0.03), *images)
    assert robust > loop._probe(normal, recipe, images[1], fabric) + 0.1


def test_the_probe_of_a_spatial_recipe_takes_twice_the_steps_of_half_the_size(images, build, fabric, monkeypatch):
    asked = []
    monkeypatch.setattr(attacks, "spatial", lambda model, x, y, **options: asked.append(options) or x)
    recipe = recipes.get("spatial", preset="code", tv_weight=0.2, steps=7)
    loop._probe(build(), recipe, images[1], fabric)
    assert asked == [{"steps": 14, "step_size": 0.25, "tv_weight": 0.2, "method": "lbfgs"}] * 2


def test_a_recipe_as_json_names_what_its_attack_has():
    described = {name: training.describe(recipes.get(name)) for name in ("normal", "pgd-inf-8", "spatial")}
    assert described["spatial"].keys() - described["pgd-inf-8"].keys() == {"tv_weight", "method"}
    assert described["normal"].keys() == described["pgd-inf-8"].keys()
    assert described["spatial"]["tv_weight"] == 0.05


def test_descriptions_of_shipped_networks_do_not_change_when_recipes_get_fields():
    for name, steps in (("normal", 0), ("pgd-inf-0.1", 20), ("fgsm-0.05", 1), ("spatial", 10)):
        card = models.load(name, dataset="fashion").card["recipe"]
        plain = recipes.get(name, epochs=8, batch_size=64, augment="flip", steps=steps)
        assert list(training.describe(plain).items()) == list(card.items())
        assert training.Recipe.of(card) == replace(plain, milestones=[])
    later = training.describe(recipes.get("n-fgsm-8-ema", warmup=0.5))
    assert {key: later[key] for key in later.keys() - card.keys()} == {"noise": 2.0, "warmup": 0.5, "ema": 0.995}
    free, trades = (training.describe(recipes.get(name)) for name in ("free-8", "trades-8"))
    assert (free["replays"], trades["beta"]) == (8, 6.0) and "beta" not in free and "replays" not in trades


def test_same_seed_same_weights_and_another_seed_others(images, build):
    weights = []
    for seed in (0, 0, 1):
        model = build()
        training.fit(model, replace(NORMAL, epochs=1), *images, seed=seed)
        weights.append(state(model))
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])


class Interrupted(Exception):
    pass


RESUMED = {
    "normal": NORMAL,
    "warm-up and average": recipes.get("n-fgsm-0.1-ema", epochs=3, batch_size=100, augment="flip", warmup=0.9),
    "free": recipes.get("free-0.1", epochs=6, replays=2, batch_size=100, augment="flip"),
    "trades": recipes.get("trades-0.1", epochs=3, batch_size=100, augment="flip", steps=1),
}


@pytest.mark.parametrize("recipe", RESUMED.values(), ids=RESUMED.keys())
def test_an_interrupted_run_ends_with_the_same_weights(images, build, tmp_path, monkeypatch, recipe):
    whole = build()
    expected = training.fit(whole, recipe, *images)

    cut, kept, keep = build(), tmp_path / "run.training", loop.keep

    def keep_then_stop(path, saved, done, of):
        keep(path, saved, done, of)
        if done["epoch"] == 2:
            raise Interrupted

    monkeypatch.setattr(loop, "keep", keep_then_stop)
    with pytest.raises(Interrupted):
        training.fit(cut, recipe, *images, resume=kept)
    monkeypatch.setattr(loop, "keep", keep)

    resumed = build(seed=9)  # other weights, which the kept ones replace
    found = training.fit(resumed, recipe, *images, resume=kept)
    assert same(state(whole), state(resumed))
    assert [row["loss"] for row in found["history"]] == [row["loss"] for row in expected["history"]]


def test_a_loss_that_is_not_finite_stops_with_the_last_good_weights(images, build):
    model, recipe = build(), replace(NORMAL, lr=1e30, epochs=3)
    with pytest.raises(FloatingPointError, match=r"normal became (nan|inf) in epoch \d, step \d.*lower lr than 1e\+30"):
        training.fit(model, recipe, *images)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_underfit_stops_at_the_accuracy_it_is_given(images, build):
    model = build()
    report = training.fit(model, replace(NORMAL, epochs=10, stop_at=0.4), *images)
    reached = float((models.predict(model, images[1].batches(200))[:, 0] == images[1].y).float().mean())
    assert report["stopped_at"] is not None
    assert report["stopped_at"] < 10 * 30
    assert reached >= 0.4
    # no later than the check that first saw it: a step earlier in the schedule of checks it was below
    assert report["history"][-1]["clean"] == pytest.approx(reached)


def test_underfit_that_never_gets_there_says_so(images, build):
    with pytest.warns(UserWarning, match=r"never reached a clean accuracy of 0\.9990"):
        assert training.fit(build(), replace(NORMAL, epochs=1, stop_at=0.999), *images)["stopped_at"] is None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0.5, 0.45, 0.6)], False),
        ([(0.5, 0.45, 0.6), (0.6, 0.5, 0.7)], False),
        ([(0.5, 0.45, 0.6), (0.8, 0.02, 0.8)], True),  # PGD accuracy drops while FGSM's rises: Wong et al. 2020, figure 3
        ([(0.9, 0.01, 0.9)], True),  # never robust at all
        ([(0.15, 0.05, 0.2)], False),  # a network that has not learned anything yet
        ([(0.5, 0.1, 0.12)], False),  # clean images are no better off: batch norm has not settled
    ],
)
def test_what_counts_as_catastrophic_overfitting(rows, expected):
    assert loop._collapsed([{"train_accuracy": a, "robust": r, "clean": c} for a, r, c in rows]) is expected


def test_catastrophic_overfitting_is_reported_with_its_epoch(images, build, monkeypatch):
    monkeypatch.setattr(loop, "_probe", lambda *_: 0.0)
    recipe = recipes.get("fgsm-0.1", epochs=6, batch_size=50, augment="flip")
    with pytest.warns(training.CatastrophicOverfitting, match=r"catastrophic overfitting of fgsm-0.1 in epoch \d: .* under PGD"):
        report = training.fit(build(), recipe, *images)
    assert 1 <= report["collapsed_at"] <= 6


def test_step_schedule_divides_the_rate_after_each_milestone(images, build):
    recipe = replace(NORMAL, schedule="step", milestones=(1, 2), lr=0.05, epochs=3)
    rates = [row["lr"] for row in training.fit(build(), recipe, *images)["history"]]
    assert rates == pytest.approx([0.005, 0.0005, 0.0005])


# --- the recipes of later papers


@pytest.fixture
def exact():
    return training.make_fabric(accelerator="cpu", precision="64-true")


def by_hand(recipe, train, model, *, epochs, steps):
    """Batches as `fit` draws them with seed 0, with optimizer and schedule: (epoch, step, x, y, update)."""
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=epochs * steps + 1, cycle_momentum=False)

    def update(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    model.train()
    for epoch in range(epochs):
        batches = train.batches(recipe.batch_size, shuffle=True, generator=torch.Generator().manual_seed(epoch))
        for step, (x, y) in enumerate(batches):
            yield epoch, step, x.double(), y, update


def test_free_training_is_shafahi_et_als(images, build, exact):
    # δ is kept; for each batch m times: g = ∇ℓ(x + δ, y, θ); θ by its part for θ; δ ← clip(δ + ε · sign(its part for x), −ε, ε)
    recipe = recipes.get("free-0.1", epochs=6, replays=3, batch_size=100, augment=None)
    model = build().double()
    expected = deepcopy(model)
    for _, step, x, y, update in by_hand(recipe, images[0], expected, epochs=2, steps=18):
        delta = delta if step else torch.zeros_like(x)  # noqa: F821  in every epoch from zero, so that a training can go on
        for _ in range(3):
            x_adv = (x + delta).clamp(0, 1).requires_grad_()
            update(F.cross_entropy(expected(x_adv), y))
            delta = (delta + 0.1 * x_adv.grad.sign()).clamp(-0.1, 0.1)
    history = training.fit(model, recipe, *images, fabric=exact)["history"]
    assert len(history) == recipe.passes == 2
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name], rtol=1e-7, atol=1e-9, msg=name)


def test_trades_training_takes_the_gradient_of_both_answers(images, build, exact):
    recipe = recipes.get("trades-0.1", epochs=1, batch_size=100, augment=None, steps=2)
    model, seen = build().double(), []
    expected = deepcopy(model)
    with torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: seen.append(given[0].detach().clone()) if module is model and module.training else None
    ):
        training.fit(model, recipe, *images, fabric=exact)
    assert len(seen) == 12  # clean and attacked images in turn
    for _, step, x, y, update in by_hand(recipe, images[0], expected, epochs=1, steps=6):
        clean, attacked = seen[2 * step : 2 * step + 2]
        assert torch.equal(clean, x) and 0.01 < (attacked - x).abs().max() <= 0.1 * (1 + 1e-9)
        logits, others = expected(x), expected(attacked)
        divergence = F.kl_div(F.log_softmax(others, 1), F.softmax(logits, 1), reduction="batchmean")
        update(F.cross_entropy(logits, y) + 6 * divergence)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name], rtol=1e-7, atol=1e-9, msg=name)


def test_in_a_warm_up_the_radius_grows_from_nothing_and_then_stays(images, build, monkeypatch):
    seen, attack_of = [], loop.attack_of
    monkeypatch.setattr(loop, "attack_of", lambda recipe: seen.append((recipe.eps, recipe.step_size)) or attack_of(recipe))
    recipe = recipes.get("fgsm-rs-0.1", epochs=2, batch_size=100, warmup=0.5)
    training.fit(build(), recipe, *images)
    seen = seen[1:]  # the first looks whether there is such an attack
    assert [eps for eps, _ in seen] == pytest.approx([0.1 * min(1, i / 6) for i in range(12)])
    assert all(step_size == pytest.approx(1.25 * eps) for eps, step_size in seen)
    weights = []
    for share in (0.0, 0.5):
        training.fit(model := build(), replace(recipe, warmup=share), *images)
        weights.append(state(model))
    assert not same(*weights)


def test_in_a_warm_up_no_overfitting_is_seen(images, build, monkeypatch):
    judged = []
    monkeypatch.setattr(loop, "_collapsed", lambda history: judged.append([row["epoch"] for row in history]))
    training.fit(build(), recipes.get("fgsm-0.1", epochs=4, batch_size=200, warmup=0.3), *images)
    assert judged == [[3], [3, 4]]  # the warm-up ends in the second epoch


def test_averaged_weights_are_kept_and_evaluated(images, build, monkeypatch):
    passed, follow = [], loop.follow
    monkeypatch.setattr(loop, "follow", lambda average, model, *how: passed.append(state(model)) or follow(average, model, *how))
    recipe = recipes.get("normal-ema", epochs=3, batch_size=20, augment=None, ema=0.9)
    start, model = build(), build()
    history = training.fit(model, recipe, *images)["history"]
    assert len(passed) == 90
    expected = {name: weight.clone() for name, weight in start.named_parameters()}
    for taken, weights in enumerate(passed):
        decay = min(0.9, (1 + taken) / (10 + taken))
        expected = {name: decay * weight + (1 - decay) * weights[name] for name, weight in expected.items()}
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    hits = models.predict(model, images[1].batches(200))[:, 0] == images[1].y
    assert history[-1]["clean"] == pytest.approx(hits.float().mean().item())


def test_averaged_weights_have_batch_norm_statistics_of_their_own(monkeypatch):
    train, test = (data.load("fashion", split, limit=limit, size=16) for split, limit in (("train", 600), ("test", 200)))
    torch.manual_seed(0)
    model, last, follow = models.build("small-w4", num_classes=10, in_channels=1, image_size=16), {}, loop.follow
    monkeypatch.setattr(loop, "follow", lambda average, model, *how: last.update(state(model)) or follow(average, model, *how))
    # at a large constant rate the weights are far from their average, and their statistics from its own
    recipe = recipes.get("normal-ema", epochs=8, batch_size=10, augment=None, lr=0.2, schedule="step", milestones=())
    training.fit(model, recipe, train, test)
    right = deepcopy(model)
    for layer in right.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all batches
    right.train()
    with torch.no_grad():
        for x, _ in train.batches(50):
            right(x)
    expected = state(right)
    means = [name for name in expected if name.endswith("running_mean")]
    scale = {name: expected[name.replace("mean", "var")].sqrt() for name in means}
    off = lambda found: sum(float(((found[name] - expected[name]) / scale[name]).square().mean().sqrt()) for name in means)
    assert off(state(model)) < 0.5 * off(last)
    agree = models.predict(model, test.batches(200)) == models.predict(right.eval(), test.batches(200))
    assert agree.float().mean() > 0.93


def test_a_loss_that_is_not_finite_leaves_the_last_average(images, build, monkeypatch):
    recipe = replace(recipes.get("normal-ema", epochs=3, batch_size=20, augment="flip"), lr=0.1)
    good, loss_of, steps = [], loop.loss_of, []

    def broken(*given):
        steps.append(1)
        return loss_of(*given) * (float("nan") if len(steps) == 40 else 1)  # in the second epoch

    monkeypatch.setattr(loop, "loss_of", broken)
    accuracy = loop._accuracy
    monkeypatch.setattr(loop, "_accuracy", lambda module, *given, **how: good.append(state(module)) or accuracy(module, *given, **how))
    with pytest.raises(FloatingPointError, match="became nan in epoch 2, step 10"):
        training.fit(model := build(), recipe, *images)
    assert len(good) == 1 and same(state(model), good[0])


def test_mixed_batches_alternate_clean_and_adversarial(images, build, monkeypatch):
    attacked = []
    monkeypatch.setattr(loop, "attack_of", lambda recipe: lambda model, x, y: attacked.append(len(x)) or x)
    training.fit(build(), recipes.get("fgsm-0.1", epochs=1, batch_size=50, mix=True), *images)
    assert len(attacked) == 6  # of 12 batches


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 1000}, "do not fill one batch of 1000"),
        ({"schedule": "cosine"}, "one-cycle or step"),
        ({"attack": "cw"}, "none, fgsm, pgd, spatial, free or trades"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(images, build, changes, message):
    with pytest.raises(ValueError, match=message):
        training.fit(build(), replace(NORMAL, **changes), *images)


def test_nothing_is_warned_of_in_a_plain_run(images, build):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training.fit(build(), replace(NORMAL, epochs=1), *images)

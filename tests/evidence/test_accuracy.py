"""Accuracy on clean and on attacked images: against plain loops, closed forms and SciPy's intervals."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from atviz import attacks, evidence, models
from atviz.data import Images
from atviz.evidence import Store, accuracy, robust_accuracy, true_probability

FILE = sys.modules["atviz.evidence.accuracy"]  # the room exports a function of this name


def pgd(eps):
    return partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=8)


@pytest.mark.parametrize("batch_size", [1, 37, 150, 1000])
def test_accuracy_against_a_plain_loop(trained, images, batch_size):
    with torch.no_grad():
        logits = trained(images.x.float() / 255).tolist()
    ranks = [sorted(range(10), key=lambda c: -row[c]).index(int(label)) for row, label in zip(logits, images.y, strict=True)]
    found = accuracy(trained, images, topk=(1, 3, 10), batch_size=batch_size)
    assert found["n"] == 150
    for k in (1, 3, 10):
        hits = sum(rank < k for rank in ranks)
        interval = binomtest(hits, 150).proportion_ci(method="wilson")
        assert found[f"top{k}"] == hits / 150
        assert (found[f"top{k}_low"], found[f"top{k}_high"]) == pytest.approx((interval.low, interval.high))
    assert found["top1"] < found["top3"] < found["top10"] == 1
    assert list(accuracy(trained, images)) == ["n", "top1", "top1_low", "top1_high"]


def test_data_sets_and_networks_are_taken_as_they_come(trained, images):
    pairs = torch.utils.data.TensorDataset(images.x.float() / 255, images.y)
    loader = torch.utils.data.DataLoader(pairs, batch_size=40, shuffle=True)
    network = models.Network("net", trained, [], (1, 28, 28))
    clean, robust = accuracy(trained, images, topk=(1, 3)), robust_accuracy(trained, images, attack=pgd(0.05))
    survived = robust.pop("survived")
    for net, source in ((trained, pairs), (trained, loader), (network, images), (network, loader)):
        assert accuracy(net, source, topk=(1, 3)) == clean
        found = robust_accuracy(net, source, attack=pgd(0.05))
        assert (found.pop("survived") == survived).all() and found == robust


def test_topk_may_be_one_number(trained, images):
    assert accuracy(trained, images, topk=3) == accuracy(trained, images, topk=(3,))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (dict(model="resnet18"), "the network is of type str; it must be a torch.nn.Module"),
        (dict(model=len), "the network is of type builtin_function_or_method; it must be"),
        (dict(images="cifar10"), "images is of type str; it must be Images"),
        (dict(images=[1]), "images is of type list; it must be Images"),
        (dict(attack="pgd"), "attack is of type str; it must be a function"),
    ],
)
def test_other_types_are_refused_in_one_sentence(images, unused, given, sentence):
    with pytest.raises(TypeError, match=sentence):
        robust_accuracy(**{"model": unused, "images": images, "attack": pgd(0.1), **given})
    if "attack" not in given:
        with pytest.raises(TypeError, match=sentence):
            accuracy(**{"model": unused, "images": images, **given})


@pytest.mark.parametrize("attack", [pgd(0.05), lambda model, x, y: x])
def test_a_bar_goes_over_the_attacked_images(trained, images, monkeypatch, attack):
    bars = []

    class Bar:
        def __init__(self, total, desc, *, batches):
            self.said, self.done = (total, desc, batches), []
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, n):
            self.done.append(n)

    monkeypatch.setattr(FILE, "progress", Bar)
    robust_accuracy(trained, images, attack=attack, batch_size=40)
    (bar,) = bars
    passes = 9 if isinstance(attack, partial) else 2  # eight steps and the judging
    assert bar.said == (150, "attacked images", 4 * passes) and bar.done == [40, 40, 40, 30]


@pytest.mark.parametrize("topk", [(), (0,), (11,), (1, -1)])
def test_topk_beyond_the_classes_is_refused(images, topk, unused):
    with pytest.raises(ValueError, match="topk is .*10 classes"):
        accuracy(unused, images, topk=topk)


@pytest.mark.parametrize(
    "measure",
    [
        accuracy,
        lambda model, images: robust_accuracy(model, images, attack=lambda model, x, y: model(x)),
        lambda model, images: evidence.sweep({"a": model}, images, {"saturate": [4]}),
    ],
)
def test_no_images_are_refused(images, measure, unused):
    with pytest.raises(ValueError, match="fashion holds no images"):
        measure(unused, images[:0])


def test_images_that_do_not_fit_are_refused_before_any_work(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 5))
    attack = pytest.fail  # is not reached
    for measure in (accuracy, partial(robust_accuracy, attack=attack)):
        with pytest.raises(ValueError, match=r"values of shape \(1, 5\); it must be \(1, 10\)"):
            measure(model, images)
        named = models.Network("net", nn.Flatten(), images.classes[::-1], (1, 28, 28)).module
        with pytest.raises(ValueError, match="class 0 is 'T-shirt' in fashion and 'boot' for the network"):
            measure(named, images)


def test_robust_accuracy_against_a_plain_loop(trained, images):
    found = robust_accuracy(trained, images, attack=pgd(0.05), batch_size=64, bf16=False)
    x_adv = torch.cat([pgd(0.05)(trained, x, y) for x, y in images.batches(64)])
    with torch.no_grad():
        clean = (trained(images.x.float() / 255).argmax(1) == images.y).numpy()
        survived = (trained(x_adv).argmax(1) == images.y).numpy()
    assert found["survived"].dtype == bool and (found["survived"] == survived).all()
    assert (found["n"], found["n_correct"]) == (150, clean.sum())
    shares = {"clean": (clean.sum(), 150), "robust": (survived.sum(), 150), "defense_success": ((clean & survived).sum(), clean.sum())}
    for name, (count, of) in shares.items():
        interval = binomtest(int(count), int(of)).proportion_ci(method="wilson")
        assert (found[name], found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx((count / of, interval.low, interval.high))
    assert found.keys() == {"n", "n_correct", "survived"} | {name + end for name in shares for end in ("", "_low", "_high")}
    assert 0 < found["robust"] < found["clean"]


def test_an_image_that_is_misclassified_without_an_attack_is_not_robust():
    """A network that answers with the brighter pixel, and an attack that makes every answer right."""
    images = Images(torch.tensor([[[[9, 1]]], [[[2, 3]]]], dtype=torch.uint8), torch.tensor([0, 0]), ["left", "right"])
    found = robust_accuracy(nn.Flatten(), images, attack=lambda model, x, y: torch.tensor([[[[0.9, 0.1]]]] * len(x)))
    assert found["survived"].tolist() == [True, False] and found["robust"] == 0.5 and found["defense_success"] == 1


@pytest.mark.parametrize(("given", "expected"), [({}, True), ({"early_stop": False}, False)])
def test_an_attack_that_can_stop_early_is_asked_to(trained, images, given, expected):
    seen = []

    def attack(model, x, y, *, early_stop=False):
        seen.append(early_stop)
        return x

    robust_accuracy(trained, images, attack=partial(attack, **given))
    assert set(seen) == {expected}


@pytest.mark.parametrize(("side", "expected"), [(28, 250), (64, 62), (224, 8)])
def test_fewer_large_images_are_attacked_at_a_time(side, expected, monkeypatch):
    n, sizes = expected + 1, []
    images = Images(torch.zeros(n, 1, side, side, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), ["a", "b"])
    monkeypatch.setattr(sys.modules["atviz.evidence.accuracy"], "warn_if_masked", lambda *given: None)

    def attack(model, x, y):
        sizes.append(len(x))
        return x

    robust_accuracy(nn.Sequential(nn.Flatten(), nn.Linear(side * side, 2)), images, attack=attack)
    assert sizes == [expected, 1]


def test_robust_accuracy_falls_with_eps(trained, images):
    found = [robust_accuracy(trained, images, attack=pgd(eps)) for eps in (0.0, 0.01, 0.03, 0.1, 0.5)]
    robust = [row["robust"] for row in found]
    assert robust == sorted(robust, reverse=True)
    assert robust[0] == found[0]["clean"] == accuracy(trained, images)["top1"] and found[0]["defense_success"] == 1
    assert robust[-1] < 0.05


def test_closed_form_robustness_of_a_linear_model():
    # f(x) = w·x decides between two classes; PGD turns an image exactly where eps·‖w‖₁ exceeds its margin
    draw = torch.Generator().manual_seed(0)
    w = torch.randn(64, generator=draw)
    x = torch.randint(64, 192, (200, 1, 8, 8), dtype=torch.uint8, generator=draw)

    class Two(nn.Module):
        def forward(self, x):
            margin = (x - 0.5).flatten(1) @ w
            return torch.stack([margin, torch.zeros_like(margin)], 1)

    margin = ((x.float() / 255 - 0.5).flatten(1).double() @ w.double()).abs()
    images = Images(x, (Two()(x.float() / 255).argmax(1)), ["a", "b"])
    for eps in (0.005, 0.01, 0.02):
        found = robust_accuracy(Two(), images, attack=pgd(eps), bf16=False)
        assert found["clean"] == 1
        assert (found["survived"] == (margin > eps * w.abs().sum()).numpy()).all()


@pytest.mark.parametrize("bf16", [True, False, None])
def test_the_attack_runs_in_the_asked_precision_and_is_judged_in_fp32(images, bf16, monkeypatch):
    seen = {"attack": set(), "judge": set()}

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.who = nn.Linear(28 * 28, 10), "judge"

        def forward(self, x):
            out = self.head(x.flatten(1))
            seen[self.who].add(out.dtype)
            return out

    def attack(model, x, y):
        model.who = "attack"
        model(x)
        model.who = "judge"
        return x

    monkeypatch.setattr(FILE, "bf16_is_faster", lambda device: True)  # None takes the faster one
    monkeypatch.setattr(models.inference, "bf16_is_faster", lambda device: True)
    monkeypatch.setattr(FILE, "warn_if_masked", lambda *args: None)
    robust_accuracy(Spy(), images, attack=attack, bf16=bf16)
    assert seen == {"attack": {torch.float32 if bf16 is False else torch.bfloat16}, "judge": {torch.float32}}


def test_false_robustness_is_warned_of(trained, images):
    ends_in_softmax = nn.Sequential(trained, nn.Softmax(1))
    with pytest.warns(UserWarning, match="softmax"):  # an attack of one's own may do without logits
        robust_accuracy(ends_in_softmax, images, attack=lambda model, x, y: x)
    with pytest.warns(UserWarning, match="softmax"), pytest.raises(ValueError, match="answers with probabilities"):
        robust_accuracy(ends_in_softmax, images, attack=pgd(0.05))


def test_robust_accuracy_is_stored_by_attack_model_and_images(tmp_path, trained, images, counting):
    store, model = Store(tmp_path), counting(trained)
    run = partial(robust_accuracy, store=store)
    first = run(model, images, attack=pgd(0.05))
    computed, model.seen = store.computed, 0
    again = run(model, images, attack=pgd(0.05))
    assert (store.computed, model.seen) == (computed, 1)  # whether the images fit is tried with one
    assert (again.pop("survived") == first.pop("survived")).all() and again == first
    for changed in (
        lambda: run(model, images, attack=pgd(0.06)),
        lambda: run(model, images[:100], attack=pgd(0.05)),
        lambda: run(model, images, attack=partial(attacks.fgsm, eps=0.05)),
        lambda: run(model, images, attack=pgd(0.05), bf16=not models.bf16_is_faster(torch.device("cpu"))),
    ):
        before = store.computed
        changed()
        assert store.computed > before
    before = store.computed
    run(model, images, attack=lambda model, x, y: x)  # has no name to be kept by
    run(model, images, attack=lambda model, x, y: x)
    assert store.computed == before


def test_true_probability_against_softmax(mixed, untouched):
    x, y = torch.rand(5, 1, 16, 16), torch.tensor([0, 1, 2, 2, 1])
    with untouched(mixed):
        found = true_probability(mixed, x, y)
    logits = mixed.eval()(x).detach().double().numpy()
    assert found == pytest.approx([np.exp(row[c]) / np.exp(row).sum() for row, c in zip(logits, y, strict=True)], rel=1e-5)

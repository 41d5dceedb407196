import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from atviz import attacks, distortions, evaluate, models, synthetic
from atviz.data import Images
from atviz.records import Store

COLUMNS = ["model", "distortion", "level", "n", "top1", "n_correct", "acc_on_correct", "ci_low", "ci_high"]
FIXED = {"saturate": [0.5, 1024], "low_pass": [3], "high_pass": [4]}
DRAWN = {"patch_shuffle": [2, 4], "random_modes": [0.5]}


@pytest.fixture
def images(fashion):
    return fashion[:150]


@pytest.fixture
def other(linear):
    """A second, worse model."""
    return linear(1, 28, 10, seed=3, scale=0.1)


class Counting(nn.Module):
    """A model that knows how many images it saw."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, 0

    def forward(self, x):
        self.seen += len(x)
        return self.model(x)


def refuse(*args):
    raise AssertionError("measured before it was refused")


class Unused(nn.Module):
    def forward(self, x):
        refuse()


# --- accuracy


@pytest.mark.parametrize("batch_size", [1, 37, 150, 1000])
def test_accuracy_against_a_plain_loop(trained, images, batch_size):
    with torch.no_grad():
        logits = trained(images.x.float() / 255).tolist()
    ranks = [sorted(range(10), key=lambda c: -row[c]).index(int(label)) for row, label in zip(logits, images.y, strict=True)]
    found = evaluate.accuracy(trained, images, topk=(1, 3, 10), batch_size=batch_size)
    assert found["n"] == 150
    for k in (1, 3, 10):
        hits = sum(rank < k for rank in ranks)
        interval = binomtest(hits, 150).proportion_ci(method="wilson")
        assert found[f"top{k}"] == hits / 150
        assert (found[f"top{k}_low"], found[f"top{k}_high"]) == pytest.approx((interval.low, interval.high))
    assert found["top1"] < found["top3"] < found["top10"] == 1
    assert list(evaluate.accuracy(trained, images)) == ["n", "top1", "top1_low", "top1_high"]


@pytest.mark.parametrize("topk", [(), (0,), (11,), (1, -1)])
def test_topk_beyond_the_classes_is_refused(images, topk):
    with pytest.raises(ValueError, match="topk is .*10 classes"):
        evaluate.accuracy(Unused(), images, topk=topk)


@pytest.mark.parametrize(
    "measure",
    [
        evaluate.accuracy,
        lambda model, images: evaluate.robust_accuracy(model, images, attack=refuse),
        lambda model, images: evaluate.sweep({"a": model}, images, {"saturate": [4]}),
    ],
)
def test_no_images_are_refused(images, measure):
    with pytest.raises(ValueError, match="fashion holds no images"):
        measure(Unused(), images[:0])


# --- robust accuracy


def pgd(eps):
    return partial(attacks.pgd, eps=eps, step_size=eps / 4, steps=8)


def test_robust_accuracy_against_a_plain_loop(trained, images):
    found = evaluate.robust_accuracy(trained, images, attack=pgd(0.05), batch_size=64, bf16=False)
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


def test_robust_accuracy_falls_with_eps(trained, images):
    found = [evaluate.robust_accuracy(trained, images, attack=pgd(eps)) for eps in (0.0, 0.01, 0.03, 0.1, 0.5)]
    robust = [row["robust"] for row in found]
    assert robust == sorted(robust, reverse=True)
    assert robust[0] == found[0]["clean"] == evaluate.accuracy(trained, images)["top1"] and found[0]["defense_success"] == 1
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
        found = evaluate.robust_accuracy(Two(), images, attack=pgd(eps), bf16=False)
        assert found["clean"] == 1
        assert (found["survived"] == (margin > eps * w.abs().sum()).numpy()).all()


@pytest.mark.parametrize("bf16", [True, False])
def test_attack_runs_in_the_precision_asked_for_and_is_judged_in_fp32(images, bf16):
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "bf16_is_faster", lambda device: True)
        patch.setattr(evaluate, "warn_if_masked", lambda *args: None)
        evaluate.robust_accuracy(Spy(), images, attack=attack, bf16=bf16)
    assert seen == {"attack": {torch.bfloat16 if bf16 else torch.float32}, "judge": {torch.float32}}


def test_false_robustness_is_warned_of(trained, images):
    with pytest.warns(UserWarning, match="softmax"):
        evaluate.robust_accuracy(nn.Sequential(trained, nn.Softmax(1)), images, attack=pgd(0.05))


def test_robust_accuracy_is_stored_by_attack_model_and_images(tmp_path, trained, images):
    store, model = Store(tmp_path), Counting(trained)
    run = partial(evaluate.robust_accuracy, store=store)
    first = run(model, images, attack=pgd(0.05))
    computed, seen = store.computed, model.seen
    again = run(model, images, attack=pgd(0.05))
    assert (store.computed, model.seen) == (computed, seen)
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


# --- sweeps


def test_sweep_has_a_row_a_model_distortion_and_level(trained, other, images):
    table = evaluate.sweep({"good": trained, "bad": other}, images, FIXED | DRAWN)
    assert isinstance(table, pd.DataFrame) and list(table.columns) == COLUMNS
    cells = {(m, d, float(v)) for m in ("good", "bad") for d, levels in (FIXED | DRAWN).items() for v in levels}
    assert {(row.model, row.distortion, row.level) for row in table.itertuples()} == cells and len(table) == len(cells) == 14
    assert (table.n == 150).all()
    assert table.groupby("model").n_correct.nunique().eq(1).all()


def plain_loop(model, images, distort):
    """The measure of Zhang & Zhu, section 4.1, one image at a time."""
    kept = correct = right = 0
    with torch.no_grad():
        for x, y in zip(images.x, images.y, strict=True):
            x = x[None].float() / 255
            before, after = (int(model(z).argmax()) == int(y) for z in (x, distort(x)))
            right, correct, kept = right + after, correct + before, kept + (before and after)
    return right / len(images), correct, kept


@pytest.mark.parametrize("name", FIXED | DRAWN)
def test_accuracy_on_correct_against_a_plain_loop(trained, images, name):
    for level in (FIXED | DRAWN)[name]:
        (row,) = evaluate.sweep({"m": trained}, images, {name: [level]}, seed=4).itertuples()
        top1, correct, kept = plain_loop(trained, images, distortions.named(name, level, seed=4))
        assert (row.n, row.top1, row.n_correct, row.acc_on_correct) == (150, top1, correct, kept / correct)
        interval = binomtest(kept, correct).proportion_ci(method="wilson")
        assert (row.ci_low, row.ci_high) == pytest.approx((interval.low, interval.high))
    assert row.acc_on_correct != row.top1


@pytest.mark.parametrize("batch_size", [1, 7, 149, 1000])
def test_sweep_does_not_depend_on_the_batch_size(trained, images, batch_size):
    whole = evaluate.sweep({"m": trained}, images, FIXED | DRAWN, batch_size=150)
    pd.testing.assert_frame_equal(evaluate.sweep({"m": trained}, images, FIXED | DRAWN, batch_size=batch_size), whole)


def test_sweep_does_not_depend_on_the_order_of_images(trained, images):
    by_class = images[images.y.argsort(stable=True)]  # where averaged ratios of batches would differ most
    options = dict(batch_size=20)
    pd.testing.assert_frame_equal(
        evaluate.sweep({"m": trained}, by_class, FIXED, **options), evaluate.sweep({"m": trained}, images, FIXED, **options)
    )


def test_sweep_leaves_the_models_alone(mixed, untouched):
    images = Images(torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8), torch.arange(20) % 3, ["a", "b", "c"])
    with untouched(mixed):
        evaluate.sweep({"m": mixed}, images, FIXED | DRAWN)


def test_seed_decides_what_is_drawn(trained, images):
    sweep = lambda seed: evaluate.outcomes({"m": trained}, images, DRAWN | FIXED, seed=seed).distorted
    one, same, two = sweep(1), sweep(1), sweep(2)
    assert all((one[key] == same[key]).all() for key in one)
    for key in one:
        assert (one[key] == two[key]).all() == (key[1] in FIXED)


def test_all_models_see_the_same_distorted_images(images):
    class Recording(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(x)
            return x.flatten(1)[:, :10]

    one, two = Recording(), Recording()
    evaluate.sweep({"one": one, "two": two}, images, DRAWN)
    assert all(torch.equal(a, b) for a, b in zip(one.seen, two.seen, strict=True))


def test_no_correct_image_gives_nan(images):
    wrong = Images(images.x, (images.y + 1) % 10, images.classes)

    class Oracle(nn.Module):  # always right about the first labels, never about the second
        def forward(self, x):
            return torch.eye(10)[images.y[: len(x)]]

    (row,) = evaluate.sweep({"m": Oracle()}, wrong, {"saturate": [4]}).itertuples()
    assert row.n_correct == row.top1 == 0
    assert math.isnan(row.acc_on_correct) and math.isnan(row.ci_low) and math.isnan(row.ci_high)


def test_identity_keeps_every_correct_image(trained, images):
    (row,) = evaluate.sweep({"m": trained}, images, {"patch_shuffle": [1]}).itertuples()
    assert row.acc_on_correct == 1 and row.ci_high == pytest.approx(1) and row.top1 == row.n_correct / 150


def test_own_functions_can_be_swept(trained, images):
    own = {"negative": {1: lambda x: 1 - x, 0.5: lambda x: 0.5 * x}, "saturate": [8]}
    table = evaluate.sweep({"m": trained}, images, own)
    assert list(zip(table.distortion, table.level, strict=True)) == [("negative", 1), ("negative", 0.5), ("saturate", 8)]
    for row in table.itertuples():
        distort = own["negative"][row.level] if row.distortion == "negative" else distortions.named("saturate", 8)
        top1, correct, kept = plain_loop(trained, images, distort)
        assert (row.top1, row.acc_on_correct) == (top1, kept / correct)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"saturation": [4]}, "did you mean 'saturate'"),
        ({"saturate": [4, -1]}, "saturation level is -1"),
        ({"patch_shuffle": [2, 3]}, "k can be 1, 2, 4, 7"),
        ({"low_pass": [float("nan")]}, "radius is nan"),
        ({"random_modes": [1.5]}, "p is 1.5"),
        ({"negative": [1]}, "unknown distortion"),
    ],
)
def test_distortions_are_refused_before_anything_is_measured(tmp_path, images, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate.sweep({"m": Unused()}, images, {"saturate": [1024]} | wrong, store=Store(tmp_path))
    assert not list(tmp_path.iterdir())


def test_second_sweep_computes_nothing(tmp_path, trained, other, images):
    store, counted = Store(tmp_path), {"a": Counting(trained), "b": Counting(other)}
    first = evaluate.sweep(counted, images, FIXED | DRAWN, store=store)
    assert store.computed == 2 * (1 + 7)  # clean and seven cells a model
    seen = {name: model.seen for name, model in counted.items()}
    again = Store(tmp_path)
    pd.testing.assert_frame_equal(evaluate.sweep(counted, images, FIXED | DRAWN, store=again), first)
    assert (again.computed, again.read) == (0, 16)
    assert {name: model.seen for name, model in counted.items()} == seen


def test_stored_cells_are_keyed_by_what_they_depend_on(tmp_path, trained, images):
    store = Store(tmp_path)

    def computed(*args, **options):
        before = store.computed
        evaluate.sweep(*args, store=store, **options)
        return store.computed - before

    both = {"saturate": [4], "patch_shuffle": [2]}
    assert computed({"m": trained}, images, both) == 3
    assert computed({"renamed": trained}, images, both, batch_size=7) == 0  # neither name nor batch size changes a prediction
    assert computed({"m": trained}, images, both, seed=1) == 1  # only what is drawn depends on the seed
    assert computed({"m": trained}, images, both | {"saturate": [4, 8]}) == 1
    assert computed({"m": trained}, images[:100], both) == 3
    relabeled = Images(images.x, (images.y + 1) % 10, images.classes)
    assert computed({"m": trained}, relabeled, both) == 3
    with torch.no_grad():
        next(trained.parameters()).view(-1)[0] += 1e-3
    assert computed({"m": trained}, images, both) == 3


def test_own_functions_are_never_read_from_the_store(tmp_path, trained, images):
    store = Store(tmp_path)
    run = lambda f: evaluate.sweep({"m": trained}, images, {"saturate": {4: f}}, store=store).top1[0]
    assert run(lambda x: x) == evaluate.accuracy(trained, images)["top1"]
    assert run(torch.zeros_like) < 0.5
    assert (
        evaluate.sweep({"m": trained}, images, {"saturate": [4]}, store=store).top1[0]
        == plain_loop(trained, images, distortions.named("saturate", 4))[0]
    )


class Dimmed:
    """A function of one's own that says what it depends on."""

    def __init__(self, by):
        self.by, self.key = by, f"dimmed by {by}"

    def __call__(self, x):
        return x * self.by


def test_own_functions_with_a_key_are_stored_under_it(tmp_path, trained, images):
    store = Store(tmp_path)
    run = lambda by: evaluate.sweep({"m": trained}, images, {"dim": {1: Dimmed(by)}}, store=store).top1[0]
    first = run(0.5)
    assert store.computed == 2
    assert run(0.5) == first and store.computed == 2
    assert run(0.0) == evaluate.sweep({"m": trained}, images, {"dim": {1: torch.zeros_like}}).top1[0] != first
    assert store.computed == 3


# --- the likeliest classes


@pytest.mark.parametrize("topk", [1, 3, 5])
def test_outcomes_are_of_the_likeliest_classes(trained, images, topk, tmp_path):
    store = Store(tmp_path)
    wanted = {"gaussian_blur": [0, 2.0], "median_filter": [1]}
    results = evaluate.outcomes({"m": trained}, images, wanted, topk=topk, store=store)
    x, y = images.x.float() / 255, images.y
    for (_, name, level), hit in {("m", "clean", 0): results.clean["m"], **results.distorted}.items():
        shown = distortions.named(name, level)(x) if name != "clean" else x
        with torch.no_grad():
            logits = trained(shown)
        above = (logits > logits.gather(1, y[:, None])).sum(1)  # classes likelier than the label
        assert (hit == (above < topk).numpy()).all()
    rows = evaluate.table(results)
    assert list(rows.columns) == [f"top{topk}" if column == "top1" else column for column in COLUMNS]
    assert (rows[f"top{topk}"] == [hit.mean() for hit in results.distorted.values()]).all()
    assert 0 < rows[f"top{topk}"].min() < 1


def test_one_record_holds_the_outcomes_of_every_topk(trained, images, tmp_path):
    store = Store(tmp_path)
    run = lambda topk: evaluate.outcomes({"m": trained}, images, {"median_filter": [1]}, topk=topk, store=store)
    first, fifth = run(1), run(5)
    assert (store.computed, store.read) == (2, 2)
    for one, five in [(first.clean["m"], fifth.clean["m"]), *zip(first.distorted.values(), fifth.distorted.values(), strict=True)]:
        assert (one <= five).all() and one.sum() < five.sum()


def test_fewer_classes_than_are_kept(linear):
    x = torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8)
    few = Images(x, torch.arange(20) % 3, ["a", "b", "c"], "few")
    found = evaluate.outcomes({"m": linear(1, 4, 3)}, few, {"saturate": [4]}, topk=3)
    assert found.clean["m"].all() and all(hit.all() for hit in found.distorted.values())
    with pytest.raises(ValueError, match="topk is 4; it must be between 1 and 3"):
        evaluate.outcomes({"m": Unused()}, few, {"saturate": [4]}, topk=4)


@pytest.mark.parametrize("topk", [0, 6])
def test_topk_beyond_what_is_kept_is_refused(images, topk):
    with pytest.raises(ValueError, match=f"topk is {topk}; it must be between 1 and 5"):
        evaluate.outcomes({"m": Unused()}, images, {"saturate": [4]}, topk=topk)


# --- differences between models


def test_differences_of_a_sweep(trained, other, images):
    results = evaluate.outcomes({"good": trained, "bad": other}, images, FIXED)
    table = evaluate.differences(results, "good", "bad")
    assert list(table.columns) == ["distortion", "level", "model", "baseline", "difference", "ci_low", "ci_high", "n"]
    swept = evaluate.sweep({"good": trained, "bad": other}, images, FIXED).set_index(["model", "distortion", "level"]).acc_on_correct
    assert len(table) == 4 and (table.n == 150).all()
    for row in table.itertuples():
        expected = swept["good", row.distortion, row.level] - swept["bad", row.distortion, row.level]
        assert row.difference == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert (row.model, row.baseline) == ("good", "bad")
        assert row.ci_low <= row.difference <= row.ci_high
    with pytest.raises(ValueError, match="'best'.*good, bad"):
        evaluate.differences(results, "best", "bad")


# --- numbers of single images


def test_true_probability_against_softmax(mixed, untouched):
    x, y = torch.rand(5, 1, 16, 16), torch.tensor([0, 1, 2, 2, 1])
    with untouched(mixed):
        found = evaluate.true_probability(mixed, x, y)
    logits = mixed.eval()(x).detach().double().numpy()
    assert found == pytest.approx([np.exp(row[c]) / np.exp(row).sum() for row, c in zip(logits, y, strict=True)], rel=1e-5)


# --- cue conflict


def test_cue_conflict_counts_what_decides():
    # a model that answers with the class drawn in its first pixel
    said = torch.tensor([0, 0, 0, 1, 1, 2, 3, 0])
    shape = torch.tensor([0, 0, 1, 0, 1, 0, 0, 0])
    texture = torch.tensor([1, 2, 0, 1, 2, 1, 1, 0])  # the last image is no conflict
    images = Images(said.byte().view(8, 1, 1, 1), torch.zeros(8, dtype=torch.int64), list("abcd"))

    class Reads(nn.Module):
        def forward(self, x):
            return torch.eye(4)[(x.flatten() * 255).round().long()]

    found = evaluate.cue_conflict(Reads(), images, shape=shape, texture=texture)
    interval = binomtest(3, 5).proportion_ci(method="wilson")
    expected = {
        "n": 7,
        "shape": 3 / 7,
        "texture": 2 / 7,
        "neither": 2 / 7,
        "shape_bias": 3 / 5,
        "ci_low": interval.low,
        "ci_high": interval.high,
    }
    assert found == pytest.approx(expected)
    swapped = evaluate.cue_conflict(Reads(), images, shape=texture, texture=shape)
    assert swapped["shape_bias"] == pytest.approx(1 - found["shape_bias"])
    neither = evaluate.cue_conflict(Reads(), images[5:7], shape=shape[5:7], texture=texture[5:7])
    assert neither["neither"] == 1 and math.isnan(neither["shape_bias"])


@pytest.mark.parametrize(
    ("shape", "texture", "sentence"),
    [([0, 1], [0, 1], "agree on every image"), ([0, 1, 1], [1, 0], "one of each"), ([0], [1], "one of each")],
)
def test_labels_that_tell_nothing_apart_are_refused(shape, texture, sentence):
    images = Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(ValueError, match=sentence):
        evaluate.cue_conflict(Unused(), images, shape=torch.tensor(shape), texture=torch.tensor(texture))


# --- shape against texture


class Follows(nn.Module):
    """Answers with the first label of an image (shape) for a share of the images, with the second (texture) for the rest."""

    def __init__(self, drawn: synthetic.ShapeTex, share: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(share))
        by_shape = torch.arange(len(drawn.shape)) < share * len(drawn.shape)
        labels = torch.where(by_shape, drawn.shape, drawn.texture)
        self.answers = {x.numpy().tobytes(): label for x, label in zip(drawn.images.x, labels, strict=True)}

    def forward(self, x):
        found = torch.stack([self.answers[image.numpy().tobytes()] for image in (x * 255).round().byte()])
        return nn.functional.one_hot(found, 8).float()


@pytest.fixture(scope="module")
def conflict():
    return synthetic.shapetex(200, cue="conflict", size=16)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_cue_conflict_finds_the_share_that_was_built_in(conflict, share):
    found = evaluate.cue_conflict(Follows(conflict, share), conflict.images, shape=conflict.shape, texture=conflict.texture)
    assert found["shape"] == pytest.approx(share)
    assert found["texture"] == pytest.approx(1 - share)
    assert found["neither"] == pytest.approx(0)
    assert found["shape_bias"] == pytest.approx(share)
    assert found["ci_low"] <= share <= found["ci_high"]
    assert found["n"] == 200


def test_cue_conflict_counts_neither_and_leaves_out_agreement(conflict):
    wrong = evaluate.cue_conflict(
        Follows(conflict, 1.0), conflict.images, shape=conflict.texture.roll(1), texture=conflict.texture.roll(1).add(1) % 8
    )
    assert wrong["neither"] > 0.5
    half = conflict.texture.clone()
    half[:100] = conflict.shape[:100]
    assert evaluate.cue_conflict(Follows(conflict, 1.0), conflict.images, shape=conflict.shape, texture=half)["n"] == 100


def test_cue_conflict_refuses_what_says_nothing(conflict):
    model = Follows(conflict, 1.0)
    with pytest.raises(ValueError, match="agree on every image"):
        evaluate.cue_conflict(model, conflict.images, shape=conflict.shape, texture=conflict.shape)
    with pytest.raises(ValueError, match="one of each"):
        evaluate.cue_conflict(model, conflict.images, shape=conflict.shape[:5], texture=conflict.texture)


def test_an_image_is_distorted_once_for_all_networks_that_are_not_known(tmp_path, trained, linear, fashion):
    calls, store, some = [], Store(tmp_path), fashion[:50]

    def negative(x):
        calls.append(len(x))
        return 1 - x

    negative.key = "negative"
    models = {"a": trained, "b": linear(1, 28, 10)}
    sweep = lambda chosen: evaluate.outcomes(chosen, some, {"negative": {1.0: negative}}, store=store, batch_size=20).distorted
    first = sweep({"a": trained})
    assert calls == [1, 20, 20, 10]  # the first is the check before anything is measured
    both = sweep(models)
    assert calls[4:] == [1, 20, 20, 10]
    assert (both["a", "negative", 1.0] == first["a", "negative", 1.0]).all()
    expected = {m: (model(1 - some.x.float() / 255).argmax(1) == some.y).numpy() for m, model in models.items()}
    assert all((both[m, "negative", 1.0] == hits).all() for m, hits in expected.items())
    sweep(models)
    assert calls[8:] == [1]


def test_recorded_is_what_was_measured_and_computes_nothing(trained, fashion, tmp_path):
    images, store = fashion[:60], Store(tmp_path)
    known = models.fingerprint(trained)
    settings = [{}, {"name": "saturate", "level": 4.0}, {"name": "patch_shuffle", "level": 2, "seed": 3}]
    assert [evaluate.recorded(known, images, store, **given) for given in settings] == [None] * 3
    results = evaluate.outcomes({"m": trained}, images, {"saturate": [4.0], "patch_shuffle": [2]}, seed=3, store=store)
    computed = store.computed
    wanted = [results.clean["m"], results.distorted["m", "saturate", 4.0], results.distorted["m", "patch_shuffle", 2.0]]
    for given, want in zip(settings, wanted, strict=True):
        np.testing.assert_array_equal(evaluate.recorded(known, images, store, **given), want)
    assert evaluate.recorded(known, images, store, "patch_shuffle", 2, seed=4) is None
    assert evaluate.recorded("another", images, store) is None
    assert store.computed == computed

"""Outcomes image by image, and the tables made from them: against plain loops; what the records hold, and under which key."""

import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import nn

from atviz import data, models
from atviz.data import Images, kinds
from atviz.evidence import Store, accuracy, find, likeliest, outcomes, recorded, sweep, table
from atviz.models import Known

FILE = sys.modules["atviz.evidence.outcomes"]  # the room exports a function of this name
COLUMNS = ["model", "distortion", "level", "n", "top1", "n_correct", "acc_on_correct", "ci_low", "ci_high"]
FIXED = {"saturate": [0.5, 1024], "low_pass": [3], "high_pass": [4]}
DRAWN = {"patch_shuffle": [2, 4], "random_modes": [0.5]}


def plain_loop(model, images, distort):
    """The measure of Zhang & Zhu, section 4.1, one image at a time."""
    kept = correct = right = 0
    with torch.no_grad():
        for x, y in zip(images.x, images.y, strict=True):
            x = x[None].float() / 255
            before, after = (int(model(z).argmax()) == int(y) for z in (x, distort(x)))
            right, correct, kept = right + after, correct + before, kept + (before and after)
    return right / len(images), correct, kept


# --- sweeps


def test_sweep_has_one_row_per_model_distortion_and_level(trained, other, images):
    rows = sweep({"good": trained, "bad": other}, images, FIXED | DRAWN)
    assert isinstance(rows, pd.DataFrame) and list(rows.columns) == COLUMNS
    cells = {(m, d, float(v)) for m in ("good", "bad") for d, levels in (FIXED | DRAWN).items() for v in levels}
    assert {(row.model, row.distortion, row.level) for row in rows.itertuples()} == cells and len(rows) == len(cells) == 14
    assert (rows.n == 150).all()
    assert rows.groupby("model").n_correct.nunique().eq(1).all()


@pytest.mark.parametrize("name", FIXED | DRAWN)
def test_accuracy_on_correct_against_a_plain_loop(trained, images, name):
    for level in (FIXED | DRAWN)[name]:
        (row,) = sweep({"m": trained}, images, {name: [level]}, seed=4).itertuples()
        top1, correct, kept = plain_loop(trained, images, find(name).at(level, seed=4))
        assert (row.n, row.top1, row.n_correct, row.acc_on_correct) == (150, top1, correct, kept / correct)
        interval = binomtest(kept, correct).proportion_ci(method="wilson")
        assert (row.ci_low, row.ci_high) == pytest.approx((interval.low, interval.high))
    assert row.acc_on_correct != row.top1


@pytest.mark.parametrize("batch_size", [1, 7, 149, 1000])
def test_sweep_does_not_depend_on_the_batch_size(trained, images, batch_size):
    whole = sweep({"m": trained}, images, FIXED | DRAWN, batch_size=150)
    pd.testing.assert_frame_equal(sweep({"m": trained}, images, FIXED | DRAWN, batch_size=batch_size), whole)


def test_sweep_does_not_depend_on_the_order_of_images(trained, images):
    by_class = images[images.y.argsort(stable=True)]  # where averaged ratios of batches would differ most
    pd.testing.assert_frame_equal(*(sweep({"m": trained}, some, FIXED, batch_size=20) for some in (by_class, images)))


def test_sweep_leaves_the_models_alone(mixed, untouched):
    images = Images(torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8), torch.arange(20) % 3, ["a", "b", "c"])
    with untouched(mixed):
        sweep({"m": mixed}, images, FIXED | DRAWN)


def test_the_seed_decides_what_is_drawn(trained, images):
    drawn = lambda seed: outcomes({"m": trained}, images, DRAWN | FIXED, seed=seed).distorted
    one, same, two = drawn(1), drawn(1), drawn(2)
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
    sweep({"one": one, "two": two}, images, DRAWN)
    assert all(torch.equal(a, b) for a, b in zip(one.seen, two.seen, strict=True))


def test_own_functions_can_be_swept(trained, images):
    own = {"negative": {1: lambda x: 1 - x, 0.5: lambda x: 0.5 * x}, "saturate": [8]}
    rows = sweep({"m": trained}, images, own)
    assert list(zip(rows.distortion, rows.level, strict=True)) == [("negative", 1), ("negative", 0.5), ("saturate", 8)]
    for row in rows.itertuples():
        distort = own["negative"][row.level] if row.distortion == "negative" else find("saturate").at(8)
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
        ({"stylize": [1.5]}, "alpha is 1.5"),
        ({"reverse": [1.5]}, "reverse is 1.5"),
        ({"negative": [1]}, "unknown distortion"),
    ],
)
def test_distortions_are_refused_before_anything_is_measured(tmp_path, images, wrong, sentence, unused):
    with pytest.raises(ValueError, match=sentence):
        sweep({"m": unused}, images, {"saturate": [1024]} | wrong, store=Store(tmp_path))
    assert not list(tmp_path.iterdir())


# --- short forms


def test_one_network_is_called_model(trained, images):
    whole = sweep({"model": trained}, images, FIXED | DRAWN)
    pd.testing.assert_frame_equal(sweep(trained, images, FIXED | DRAWN), whole)
    network = models.Network("net", trained, images.classes, (1, 28, 28))
    for given in (network, {"net": network}):
        pd.testing.assert_frame_equal(sweep(given, images, FIXED | DRAWN), whole.assign(model="net"))
    assert list(likeliest(trained, images)) == ["model"] and list(likeliest(network, images)) == ["net"]
    assert (likeliest(trained, images)["model"] == likeliest({"m": trained}, images, None)["m"]).all()


def test_a_name_alone_stands_for_its_usable_levels(trained, images):
    usable = find("patch_shuffle").usable(images.shape)
    assert usable == [2, 4, 7]
    whole = sweep(trained, images, {"patch_shuffle": usable, "saturate": [4]})
    pd.testing.assert_frame_equal(sweep(trained, images, "patch_shuffle"), whole[:3])
    pd.testing.assert_frame_equal(sweep(trained, images, {"saturate": 4}), whole[3:].reset_index(drop=True))
    both = sweep(trained, images, ["patch_shuffle", "grayscale"])
    assert both.distortion.tolist() == ["patch_shuffle"] * 3 + ["grayscale"] * 4


class Pairs(torch.utils.data.Dataset):
    """Images as torchvision gives them: PIL, with their labels."""

    def __init__(self, images):
        self.images, self.classes = images, images.classes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return Image.fromarray(self.images.x[i, 0].numpy()), int(self.images.y[i])


def test_data_sets_and_loaders_are_measured_as_images(trained, images, tmp_path):
    store = Store(tmp_path)
    expected = sweep(trained, images, FIXED, store=store)
    pairs, computed = Pairs(images), store.computed
    loader = torch.utils.data.DataLoader(pairs, batch_size=40, shuffle=True, drop_last=True)
    for source in (pairs, loader):
        pd.testing.assert_frame_equal(sweep(trained, source, FIXED, store=store), expected)
        assert (outcomes(trained, source, FIXED).clean["model"] == outcomes(trained, images, FIXED).clean["model"]).all()
        assert (likeliest(trained, source)["model"] == likeliest(trained, images)["model"]).all()
        found = recorded(models.fingerprint(trained), source, store, "saturate", 1024)
        assert (found == recorded(models.fingerprint(trained), images, store, "saturate", 1024)).all()
    assert store.computed == computed  # the same images: nothing is measured again


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (dict(models="resnet18"), "the network is of type str; it must be a torch.nn.Module"),
        (dict(images="cifar10"), "images is of type str; it must be Images"),
        (dict(distortions=4), "distortions is of type int; it must be a name"),
        (dict(distortions={"saturate": "4"}), "a level of saturate is of type str"),
    ],
)
def test_other_types_are_refused_in_one_sentence(images, unused, given, sentence):
    class Unread(Pairs):
        def __getitem__(self, i):
            raise AssertionError("read before it was refused")

    for measure in (sweep, outcomes):
        with pytest.raises(TypeError, match=sentence) as error:
            measure(**{"models": unused, "images": Unread(images), "distortions": "saturate", **given})
        assert "\n" not in str(error.value)


# --- the bar


class Bar:
    """What is told to a progress bar."""

    def __init__(self, monkeypatch):
        self.made, self.done = [], []
        monkeypatch.setattr(FILE, "progress", self)

    def __call__(self, total, desc, *, batches):
        self.made.append((total, desc, batches))
        self.total = total
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def update(self, n):
        self.done.append((n, self.total))


def test_one_bar_goes_over_all_networks_and_levels(trained, other, images, tmp_path, monkeypatch):
    bar, store = Bar(monkeypatch), Store(tmp_path)
    sweep({"a": trained, "b": other, "c": trained}, images, FIXED, batch_size=40, store=store)
    assert bar.made == [(150 * 3 * 5, "3 networks, 4 levels", 4 * 3 * 5)] and bar.closed
    # network c is network a under another name, and is still measured: it was not known before
    assert sum(n for n, _ in bar.done) == 150 * 3 * 5 and {n for n, _ in bar.done} == {40, 30}
    bar.done.clear()
    sweep({"a": trained}, images, {"saturate": [0.5, 8]}, store=store)
    assert bar.made[-1] == (150 * 3, "1 network, 2 levels", 2 * 3)
    assert sum(n for n, _ in bar.done) == 150 and bar.total == 150  # what is known takes no time
    likeliest(trained, images)
    assert bar.made[-1][:2] == (150, "1 network")


def test_the_bar_of_streamed_images_counts_the_same(streamed, linear, monkeypatch):
    bar = Bar(monkeypatch)
    sweep({"a": linear(3, 8, 3), "b": linear(3, 8, 3, seed=1)}, streamed[0], {"saturate": [4, 64]}, batch_size=5)
    assert bar.made == [(23 * 2 * 3, "2 networks, 2 levels", 5 * 2 * 3)] and sum(n for n, _ in bar.done) == 23 * 2 * 3


# --- the likeliest classes


@pytest.mark.parametrize("topk", [1, 3, 5])
def test_outcomes_are_of_the_likeliest_classes(trained, images, topk, tmp_path):
    wanted = {"gaussian_blur": [0, 2.0], "median_filter": [1]}
    results = outcomes({"m": trained}, images, wanted, topk=topk, store=Store(tmp_path))
    x, y = images.x.float() / 255, images.y
    for (_, name, level), hit in {("m", "clean", 0): results.clean["m"], **results.distorted}.items():
        with torch.no_grad():
            logits = trained(find(name).at(level)(x) if name != "clean" else x)
        above = (logits > logits.gather(1, y[:, None])).sum(1)  # classes likelier than the label
        assert (hit == (above < topk).numpy()).all()
    rows = table(results)
    assert list(rows.columns) == [f"top{topk}" if column == "top1" else column for column in COLUMNS]
    assert (rows[f"top{topk}"] == [hit.mean() for hit in results.distorted.values()]).all()
    assert 0 < rows[f"top{topk}"].min() < 1


def test_one_record_holds_the_outcomes_of_every_topk(trained, images, tmp_path):
    store = Store(tmp_path)
    run = lambda topk: outcomes({"m": trained}, images, {"median_filter": [1]}, topk=topk, store=store)
    first, fifth = run(1), run(5)
    assert (store.computed, store.read) == (2, 2)
    for one, five in [(first.clean["m"], fifth.clean["m"]), *zip(first.distorted.values(), fifth.distorted.values(), strict=True)]:
        assert (one <= five).all() and one.sum() < five.sum()


def test_fewer_classes_than_are_kept(linear, unused):
    x = torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8)
    few = Images(x, torch.arange(20) % 3, ["a", "b", "c"], "few")
    found = outcomes({"m": linear(1, 4, 3)}, few, {"saturate": [4]}, topk=3)
    assert found.clean["m"].all() and all(hit.all() for hit in found.distorted.values())
    with pytest.raises(ValueError, match="topk is 4; it must be between 1 and 3"):
        outcomes({"m": unused}, few, {"saturate": [4]}, topk=4)


def test_bfloat16_is_asked_for_and_kept_under_a_key_of_its_own(tmp_path, trained, images, counting, monkeypatch):
    store, model = Store(tmp_path), counting(trained)
    whole = likeliest({"m": model}, images, store)["m"]
    for module in ("atviz.models.inference", "atviz.evidence.outcomes"):
        monkeypatch.setattr(sys.modules[module], "bf16_is_faster", lambda device: True, raising=False)
    monkeypatch.delenv("ATVIZ_BF16")
    assert (likeliest({"m": model}, images, store)["m"] == whole).all() and store.read == 1  # not unless it is asked for
    seen = model.seen
    monkeypatch.setenv("ATVIZ_BF16", "all")
    rounded = likeliest({"m": model}, images, store)["m"]
    assert model.seen > seen and store.computed == 2
    assert 0 < (rounded != whole).sum() and (rounded[:, 0] == whole[:, 0]).mean() > 0.95  # ranks behind the first are closer together
    right = recorded(models.fingerprint(model), images, store)
    assert (right == (rounded[:, 0] == images.y.numpy())).all()
    assert "measured in bfloat16" in " ".join(models.Networks.of([models.Network("m", trained, images.classes, None)], baseline="m").notes)


@pytest.mark.parametrize("topk", [0, 6])
def test_topk_beyond_what_is_kept_is_refused(images, topk, unused):
    with pytest.raises(ValueError, match=f"topk is {topk}; it must be between 1 and 5"):
        outcomes({"m": unused}, images, {"saturate": [4]}, topk=topk)


# --- records


def test_a_second_sweep_computes_nothing(tmp_path, trained, other, images, counting):
    store, counted = Store(tmp_path), {"a": counting(trained), "b": counting(other)}
    first = sweep(counted, images, FIXED | DRAWN, store=store)
    assert store.computed == 2 * (1 + 7)  # clean and seven cells a model
    seen = {name: model.seen for name, model in counted.items()}
    again = Store(tmp_path)
    pd.testing.assert_frame_equal(sweep(counted, images, FIXED | DRAWN, store=again), first)
    assert (again.computed, again.read) == (0, 16)
    assert {name: model.seen for name, model in counted.items()} == seen


def test_the_level_that_changes_nothing_is_the_clean_measurement(tmp_path, trained, images, counting):
    counted, store = counting(trained), Store(tmp_path)
    found = outcomes({"m": counted}, images, {"saturate": [2.0], "gaussian_blur": [0.0], "patch_shuffle": [1]}, store=store)
    assert (store.computed, store.read) == (1, 3) and counted.seen < 2 * len(images)
    for hit in found.distorted.values():
        np.testing.assert_array_equal(hit, found.clean["m"])


def test_stored_cells_are_keyed_by_what_they_depend_on(tmp_path, trained, images):
    store = Store(tmp_path)

    def computed(*args, **options):
        before = store.computed
        sweep(*args, store=store, **options)
        return store.computed - before

    both = {"saturate": [4], "patch_shuffle": [2], "reverse": [1]}
    assert computed({"m": trained}, images, both) == 4
    assert computed({"renamed": trained}, images, both, batch_size=7) == 0  # neither name nor batch size changes a prediction
    assert computed({"m": trained}, images, both, seed=1) == 1  # only what is drawn depends on the seed
    assert computed({"m": trained}, images, both, material={"mean": (0.375,)}) == 1  # only the reversal depends on the mean
    assert computed({"m": trained}, images, both, material={"mean": (0.376,)}) == 1
    assert computed({"m": trained}, images, both | {"saturate": [4, 8]}) == 1
    assert computed({"m": trained}, images[:100], both) == 4
    relabeled = Images(images.x, (images.y + 1) % 10, images.classes)
    assert computed({"m": trained}, relabeled, both) == 4
    with torch.no_grad():
        next(trained.parameters()).view(-1)[0] += 1e-3
    assert computed({"m": trained}, images, both) == 4


def test_own_functions_without_a_key_are_never_read_from_the_store(tmp_path, trained, images):
    store = Store(tmp_path)
    run = lambda f: sweep({"m": trained}, images, {"saturate": {4: f}}, store=store).top1[0]
    assert run(lambda x: x) == accuracy(trained, images)["top1"]
    assert run(torch.zeros_like) < 0.5
    top1, *_ = plain_loop(trained, images, find("saturate").at(4))
    assert sweep({"m": trained}, images, {"saturate": [4]}, store=store).top1[0] == top1


def dimmed(by):
    """A function of one's own that says what it depends on."""
    distort = lambda x: x * by
    distort.key = f"dimmed by {by}"
    return distort


def test_own_functions_with_a_key_are_stored_under_it(tmp_path, trained, images):
    store = Store(tmp_path)
    run = lambda by: sweep({"m": trained}, images, {"dim": {1: dimmed(by)}}, store=store).top1[0]
    first = run(0.5)
    assert store.computed == 2
    assert run(0.5) == first and store.computed == 2
    assert run(0.0) == sweep({"m": trained}, images, {"dim": {1: torch.zeros_like}}).top1[0] != first
    assert store.computed == 3


def test_an_image_is_distorted_once_for_all_networks_that_are_not_known(tmp_path, trained, linear, fashion):
    calls, store, some = [], Store(tmp_path), fashion[:50]

    def negative(x):
        calls.append(len(x))
        return 1 - x

    negative.key = "negative"
    models = {"a": trained, "b": linear(1, 28, 10)}
    run = lambda chosen: outcomes(chosen, some, {"negative": {1.0: negative}}, store=store, batch_size=20).distorted
    first = run({"a": trained})
    assert calls == [1, 20, 20, 10]  # the first is the check before anything is measured
    both = run(models)
    assert calls[4:] == [1, 20, 20, 10]
    assert (both["a", "negative", 1.0] == first["a", "negative", 1.0]).all()
    expected = {m: (model(1 - some.x.float() / 255).argmax(1) == some.y).numpy() for m, model in models.items()}
    assert all((both[m, "negative", 1.0] == hits).all() for m, hits in expected.items())
    run(models)
    assert calls[8:] == [1]


def test_recorded_is_what_was_measured_and_computes_nothing(trained, fashion, tmp_path):
    images, store = fashion[:60], Store(tmp_path)
    known, material = models.fingerprint(trained), {"mean": (0.25,)}
    settings = [
        {}, {"name": "saturate", "level": 4.0}, {"name": "patch_shuffle", "level": 2, "seed": 3},
        {"name": "reverse", "level": 1, "material": material},
    ]  # fmt: skip
    assert [recorded(known, images, store, **given) for given in settings] == [None] * 4
    wanted = {"saturate": [4.0], "patch_shuffle": [2], "reverse": [1]}
    results = outcomes({"m": trained}, images, wanted, seed=3, store=store, material=material)
    computed = store.computed
    for given, want in zip(settings, [results.clean["m"], *results.distorted.values()], strict=True):
        np.testing.assert_array_equal(recorded(known, images, store, **given), want)
    assert recorded(known, images, store, "patch_shuffle", 2, seed=4) is None
    assert recorded(known, images, store, "reverse", 1) is None  # about the images' own mean
    assert recorded("another", images, store) is None
    assert store.computed == computed


@pytest.fixture
def streamed(tmp_path, monkeypatch):
    """23 streamed images of three classes, the same images in memory, and the files that have been decoded."""
    for i in range(23):
        path = tmp_path / "set" / "test" / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    held = data.load(f"folder:{tmp_path / 'set'}", "test")
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    images, decoded, attempt = replace(data.load(f"folder:{tmp_path / 'set'}", "test"), workers=0), [], data.streamed.attempt
    monkeypatch.setattr(data.streamed, "attempt", lambda path, size: decoded.append(path) or attempt(path, size))
    return images, held, decoded


def darkened(x):
    return x.mul_(0.5)  # changes what it gets


def test_streamed_images_are_decoded_once_for_all_networks_and_levels(streamed, linear, tmp_path):
    images, held, decoded = streamed
    models, store = {"a": linear(3, 8, 3), "b": linear(3, 8, 3, seed=1)}, Store(tmp_path / "records")
    wanted = {"saturate": [4, 64], "patch_shuffle": [2, 4], "random_modes": [0.3], "own": {1: darkened, 2: torch.neg}}
    found = outcomes(models, images, wanted, seed=3, batch_size=5, store=store)
    assert len(decoded) == 1 + 2 + 23  # the first ones are for the checks of levels and networks
    assert store.computed == 2 * (1 + 5)
    single = {
        (m, name, float(level)): likeliest({m: model}, held, None, name, level, seed=3, batch_size=5, own=own)[m][:, 0] == held.y.numpy()
        for name, levels in wanted.items()
        for level, own in (levels.items() if isinstance(levels, dict) else [(level, None) for level in levels])
        for m, model in models.items()
    }
    order = [(name, float(level), m) for name, levels in wanted.items() for level in levels for m in models]
    assert [(name, level, m) for m, name, level in found.distorted] == order
    assert all((found.distorted[key] == hit).all() for key, hit in single.items())
    assert all((hit == (likeliest(models, held, None)[m][:, 0] == held.y.numpy())).all() for m, hit in found.clean.items())

    decoded.clear()
    wanted.pop("own")
    again = outcomes(models, images, wanted, seed=3, store=store)
    assert len(decoded) == 1 and store.computed == 12  # read
    assert all((again.distorted[key] == found.distorted[key]).all() for key in again.distorted)
    outcomes(models | {"c": linear(3, 8, 3, seed=2)}, images, wanted | {"saturate": [4, 8]}, seed=3, store=store)
    assert len(decoded) == 1 + 1 + 3 + 23 and store.computed == 12 + 2 + 1 + 5


def test_what_is_finished_of_images_in_memory_is_kept(trained, images, tmp_path):
    def broken(x):
        if len(x) > 1:
            raise KeyboardInterrupt
        return x

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        outcomes({"m": trained}, images, {"saturate": [4], "own": {1: broken}}, store=store)
    assert store.computed == 2


def test_a_network_that_does_not_fit_the_images_is_refused(images, trained):
    turned = Images(images.x, images.y, images.classes[::-1])
    known = deepcopy(trained)
    known.known = Known(list(images.classes), (1, 28, 28))
    for wrong, model, said in [(turned, known, "class 0 is"), (images, nn.Linear(28, 10), "does not take images|answers")]:
        with pytest.raises(ValueError, match=said):
            sweep({"m": model}, wrong, {"saturate": [4]})
        with pytest.raises(ValueError, match=said):
            likeliest({"m": model}, wrong, None)

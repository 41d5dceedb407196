"""Fusion and fine-tuning: what is frozen stays as it was, what is joined is what the definition says, what is known is read."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from atviz import checkpoints, data, evaluate, models, recipes, shipped, study, train, transfer
from atviz.records import Store

QUICK = replace(transfer.RECIPE, epochs=2, batch_size=20, lr=0.05, milestones=(1,))


def network(seed, *, channels=1, classes=3, arch="small-w4"):
    torch.manual_seed(seed)
    return models.build(arch, num_classes=classes, in_channels=channels, image_size=16, mean=[0.1 * seed] * channels, std=[0.5] * channels)


@pytest.fixture
def pair():
    return [network(1), network(2)]


@pytest.fixture(scope="module")
def images():
    return data.load("fashion-even", "train", size=16, limit=60), data.load("fashion-even", "test", size=16, limit=50)


@pytest.fixture
def fabric():
    return train.make_fabric(accelerator="cpu", precision="32-true")


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(before, after):
    return {name: torch.equal(before[name], after[name]) for name in before}


@pytest.mark.parametrize("join", transfer.JOINS)
def test_a_fusion_is_one_linear_layer_over_what_the_trunks_say(pair, join):
    fusion = transfer.Fusion(pair, 5, join=join).eval()
    x = torch.rand(4, 1, 16, 16)
    seen = []
    for trunk in pair:
        handle = trunk.network.fc.register_forward_hook(lambda _, given, out: seen.append(given[0] if join == "features" else out))
        trunk.eval()(x)
        handle.remove()
    both = torch.cat(seen, 1)
    assert both.shape[1] == (32 if join == "features" else 6)
    assert torch.allclose(fusion(x), both @ fusion.head.weight.T + fusion.head.bias, atol=1e-5)
    assert fusion(x).shape == (4, 5)


def test_each_trunk_keeps_its_own_normalizing_layer_and_the_given_ones_stay_whole(pair):
    before = [state(trunk) for trunk in pair]
    fusion = transfer.Fusion(pair, 5)
    assert [float(trunk.normalize.mean) for trunk in fusion.trunks] == pytest.approx([0.1, 0.2])
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(1)
    assert all(all(same(b, trunk.state_dict()).values()) for b, trunk in zip(before, pair, strict=True))
    assert isinstance(pair[0].network.fc, nn.Linear)


def test_gradient_reaches_both_trunks_unless_they_are_frozen(pair):
    x, y = torch.rand(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    for frozen in (False, True):
        fusion = transfer.Fusion(pair, 3, frozen=frozen).train()
        nn.functional.cross_entropy(fusion(x), y).backward()
        for trunk in fusion.trunks:
            grads = [parameter.grad for parameter in trunk.parameters()]
            assert all(grad is None for grad in grads) if frozen else all(grad is not None and grad.abs().sum() > 0 for grad in grads)
        assert fusion.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("frozen", [False, True])
def test_what_fitting_changes(pair, images, fabric, frozen):
    fusion = transfer.Fusion(pair, 5, frozen=frozen)
    before = state(fusion)
    train.fit(fusion, QUICK, *images, fabric=fabric)
    changed = {name for name, equal in same(before, fusion.state_dict()).items() if not equal}
    heads = {"head.weight", "head.bias"}
    assert changed == heads if frozen else changed == {name for name in before if "normalize" not in name}


@pytest.mark.parametrize("join", transfer.JOINS)
def test_features_computed_once_train_the_head_that_images_do(pair, images, fabric, join):
    shown, test = images
    torch.manual_seed(5)
    slow = transfer.Fusion(pair, 5, join=join, frozen=True)
    torch.manual_seed(5)
    fast = transfer.Fusion(pair, 5, join=join, frozen=True)
    start = state(fast.head)
    a = train.fit(slow, QUICK, shown, test, seed=3, fabric=fabric)
    b = train.fit(fast.head, QUICK, transfer.features(fast, shown), transfer.features(fast, test), seed=3, fabric=fabric)
    assert not torch.allclose(start["weight"], fast.head.weight, atol=1e-3)
    assert torch.allclose(slow.head.weight, fast.head.weight, atol=1e-4)
    assert [row["loss"] for row in a["history"]] == pytest.approx([row["loss"] for row in b["history"]], rel=1e-4)
    hits = [models.predict(slow, test.batches(50)), models.predict(fast.head, transfer.features(fast, test).batches(7))]
    assert torch.equal(*hits)


@pytest.mark.parametrize(
    ("trunks", "options", "said"),
    [
        (lambda: [], {}, "there are 0 trunks; one or two"),
        (lambda: [network(1), network(2), network(3)], {}, "there are 3 trunks"),
        (lambda: [network(1), network(1)], {}, "the two trunks are the same network"),
        (lambda: [network(1), network(2, channels=3)], {}, "images of 1 and 3 channels"),
        (lambda: [nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())], {}, "network.fc, is NoneType; it must be Linear"),
        (lambda: [network(1)], {"join": "images"}, "join is 'images'; it must be features or logits"),
    ],
)
def test_what_cannot_be_joined_is_refused(trunks, options, said):
    with pytest.raises(ValueError, match=said):
        transfer.Fusion(trunks(), 3, **options)


@pytest.fixture
def trunks():
    return {"STD": [network(1), network(2)], "ADV": [network(3), network(4)]}


def test_transfer_tests_every_combination_in_every_run_and_reads_it_back(trunks, images, fabric, tmp_path):
    store = Store(tmp_path)
    found = transfer.transfer(trunks, *images, QUICK, runs=3, limit=40, store=store, fabric=fabric)
    assert list(found.outcomes) == ["STD", "ADV", "STD+STD", "ADV+ADV", "STD+ADV"]
    assert {hits.shape for hits in found.outcomes.values()} == {(3, 50)}
    assert store.computed == 15
    assert len(found.curves) == 15 * 2
    last = found.curves[found.curves.epoch == 2].set_index(["model", "run"]).clean
    for row in found.by_run.itertuples():  # the curve ends at the final accuracy
        assert last[row.model, row.run] == pytest.approx(row.value)
    again = Store(tmp_path)
    other = transfer.transfer(trunks, *images, QUICK, runs=3, limit=40, store=again, fabric=fabric)
    assert (again.computed, again.read) == (0, 15)
    pd.testing.assert_frame_equal(other.curves, found.curves)
    assert all(np.array_equal(other.outcomes[name], hits) for name, hits in found.outcomes.items())
    for changed in ({"seed": 7}, {"join": "logits"}, {"frozen": True}, {"limit": 41}):
        fresh = Store(tmp_path)
        transfer.transfer({"STD": trunks["STD"]}, *images, QUICK, **{"runs": 1, "limit": 40, "fabric": fabric, "store": fresh} | changed)
        assert (fresh.computed, fresh.read) == (2, 0), changed


def test_the_networks_take_turns_and_a_pair_is_never_twice_the_same(trunks):
    names = {id(network): f"{kind}{i}" for kind, networks in trunks.items() for i, network in enumerate(networks)}

    def chosen(combination, run):
        return [names[id(network)] for network in transfer._chosen(combination, trunks, run)]

    assert [chosen("STD", run) for run in range(3)] == [["STD0"], ["STD1"], ["STD0"]]
    assert [chosen("ADV+ADV", run) for run in range(2)] == [["ADV0", "ADV1"], ["ADV1", "ADV0"]]
    assert [chosen("STD+ADV", run) for run in range(2)] == [["STD0", "ADV0"], ["STD1", "ADV1"]]


def test_frozen_transfer_equals_fitting_the_whole_fusion(trunks, images, fabric):
    shown, test = images
    found = transfer.transfer({"STD": trunks["STD"]}, shown, test, QUICK, runs=1, seed=4, frozen=True, fabric=fabric)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        fusion = transfer.Fusion(trunks["STD"], 5, frozen=True)
    train.fit(fusion, QUICK, shown, test, seed=4, fabric=fabric)
    assert found.table.value[1] == pytest.approx(evaluate.accuracy(fusion, test)["top1"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runs": 0}, "runs is 0 and limit is None; each must be at least 1"),
        ({"limit": 0}, "limit is 0"),
        ({"join": "both"}, "join is 'both'"),
        ({"trunks": lambda t: {"STD": t["STD"][:1]}}, "there are 1 trunks of kind 'STD'; there must be two or more"),
        ({"trunks": lambda t: {"NRM": t["STD"]}}, "2 trunks of kind 'NRM'"),
        ({"trunks": lambda t: {"STD": [t["STD"][0]] * 2}}, "the two trunks are the same network"),
        ({"test": lambda: data.load("fashion", "test", limit=10)}, "the training images have 5 classes"),
    ],
)
def test_what_cannot_be_transferred_is_refused_before_any_work(trunks, images, change, said, monkeypatch):
    monkeypatch.setattr(train, "fit", lambda *args, **kwargs: pytest.fail("it trained"))
    given = change.pop("trunks", lambda t: t)(trunks)
    test = change.pop("test", lambda: images[1])()
    with pytest.raises(ValueError, match=said):
        transfer.transfer(given, images[0], test, QUICK, **change)


def test_gray_images_for_color_networks_and_the_reverse(images, fabric):
    gray = images[0]
    color = transfer.recolored(gray, 3)
    assert torch.equal(color.x, gray.x.repeat(1, 3, 1, 1))
    assert (transfer.recolored(color, 1).x.int() - gray.x.int()).abs().max() <= 1  # the luma's weights sum to 0.9999
    red = data.Images(torch.tensor([200, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), torch.tensor([0]), ["red"])
    assert transfer.recolored(red, 1).x.item() == pytest.approx(0.299 * 200, abs=1)
    with pytest.raises(ValueError, match="has 1 channels and the network takes 4; only 1 and 3"):
        transfer.recolored(gray, 4)
    colored = {"STD": [network(1, channels=3), network(2, channels=3)]}
    assert transfer.transfer(colored, *images, QUICK, runs=1, fabric=fabric).outcomes["STD"].shape == (1, 50)


def hits(*runs):
    return np.array([[c == "1" for c in run] for run in runs])


def test_numbers_of_made_up_outcomes():
    outcomes = {"STD+STD": hits("1100", "1000"), "ADV+ADV": hits("0000", "1000"), "STD+ADV": hits("1111", "1101")}
    curves = pd.DataFrame([{"model": "STD+ADV", "run": r, "epoch": 1, "loss": 1.0, "clean": v} for r, v in enumerate((0.5, 0.7))])
    found = transfer.Transferred(outcomes, curves)
    row = found.table.set_index("model").loc["STD+ADV"]
    assert (row.value, row.runs, row.n) == (0.875, 2, 4)
    assert row.sd == pytest.approx(np.sqrt(0.125**2 * 2))
    assert row.ci_high - row.value == pytest.approx(1.959964 * np.std([1, 1, 0.5, 1], ddof=1) / 2)
    assert found.better_pair == "STD+STD"
    value, low, high = found.difference("STD+ADV", "STD+STD")
    per_image = np.array([0, 0.5, 0.5, 1])
    assert value == 0.5
    assert (high - low) / 2 == pytest.approx(1.959964 * per_image.std(ddof=1) / 2)
    assert found.differences([("STD+ADV", "STD+STD")]).pair.tolist() == ["STD+ADV − STD+STD"]
    band = found.bands.iloc[0]
    assert (band.value, band.high - band.value) == pytest.approx((0.6, np.sqrt(0.02)))


def test_a_fashion_study_moves_from_one_half_of_the_classes_to_the_other():
    for dataset, ends in {"fashion": ("fashion-odd", "fashion-even"), "fashion-even": ("fashion-even", "fashion-odd")}.items():
        found = transfer.task(study.Settings(dataset))
        assert (found.source.dataset, found.target) == ends
    train_, test = (data.load("fashion-odd", split) for split in ("train", "test"))
    whole = data.load("fashion", "test")
    assert (len(train_), len(test), test.classes) == (5000, 1000, whole.classes[1::2])
    assert torch.equal(test.x, whole.x[whole.y % 2 == 1])
    assert torch.equal(test.y, whole.y[whole.y % 2 == 1] // 2)


def test_what_a_profile_and_the_settings_ask_for():
    full = transfer.task(study.Settings("shapetex", "full"), target="svhn")
    assert (full.source.dataset, full.target, full.effort.runs, full.effort.limit) == ("shapetex", "svhn", 3, None)
    assert full.recipe == replace(transfer.RECIPE, augment=None)  # Itazuri et al.'s; a digit is not mirrored
    mine = transfer.task(study.Settings("shapetex"), runs=5, target_limit=100, tune_epochs=6, frozen=True)
    assert (mine.target, mine.effort.runs, mine.effort.limit) == ("fashion", 5, 100)
    assert (mine.recipe.epochs, mine.recipe.milestones, mine.recipe.augment) == (6, (2, 4), None)


def test_the_zoo_fine_tunes_what_ships(monkeypatch):
    monkeypatch.setattr(train, "fit", lambda *_, **__: pytest.fail("trained"))
    for dataset in ("fashion", "folder:cifar10"):
        task = transfer.task(study.Settings(dataset, "zoo"))
        assert (task.source.dataset, task.target, task.source.profile) == ("fashion-odd", "fashion-even", "quick")
        assert {kind: len(networks) for kind, networks in transfer.sources(task.source).items()} == {"STD": 2, "ADV": 2, "RND": 2}


@pytest.mark.parametrize(
    ("dataset", "given", "said"),
    [
        ("cifar10", {"target": "cifar10"}, "hold the same images"),
        ("fashion", {"target": "fashion-even"}, "hold the same images"),
        ("cifar10", {"target": "cifar11"}, "did you mean 'cifar10'"),
        ("fashion", {"runs": -1}, "runs is -1; it must be at least 0"),
        ("fashion", {"join": "x"}, "join is 'x'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(dataset, given, said):
    with pytest.raises(ValueError, match=said):
        transfer.task(study.Settings(dataset), **given)


def test_smoke_from_training_to_outcomes():
    settings = study.Settings(profile="smoke")
    found = transfer.task(settings, runs=1).run()
    assert set(found.outcomes) == set(transfer.COMBINATIONS)
    assert {h.shape for h in found.outcomes.values()} == {(1, 100)}


def test_the_quick_trunks_ship_in_16_bits_and_are_the_ones_a_study_would_train():
    folder = shipped("checkpoints", "transfer")
    source = transfer.task(study.Settings()).source
    wanted = {study.Study(replace(source, seed=s)).folder(name).name for s in (0, 1) for name in ("normal", "pgd-inf-0.1")}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == wanted
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1e6
    test = data.load("fashion-odd", "test")
    for name in wanted:
        tensors, card = checkpoints.read(folder / name)
        assert {t.dtype for t in tensors.values()} == {torch.float16, torch.int64}
        model, _ = study.load_checkpoint(folder / name)
        assert card["data"]["test_digest"] == test.digest
        assert evaluate.accuracy(model, test)["top1"] == pytest.approx(card["metrics"]["clean"], abs=2 / len(test))
        adversarial = recipes.Recipe(**card["recipe"]).adversarial
        assert (card["metrics"]["robust"] > 0.3) == adversarial


def test_sources_are_what_ships_and_the_same_networks_before_training():
    found = transfer.sources(transfer.task(study.Settings()).source)
    assert {kind: len(networks) for kind, networks in found.items()} == {"STD": 2, "ADV": 2, "RND": 2}
    prints = [models.fingerprint(network) for networks in found.values() for network in networks]
    assert len(set(prints)) == 6
    assert all(transfer.channels(network) == 1 for networks in found.values() for network in networks)

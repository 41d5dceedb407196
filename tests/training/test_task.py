"""The task of fine-tuning: which networks, on what, and how much of it."""

from dataclasses import replace

import pytest
import torch

from atviz import data, evidence, models, shipped, training
from atviz.models import checkpoints
from atviz.training import Plan, Trainer, backbones, loop, recipes, task
from atviz.training.fusion import channels


def trained(*_, **__):
    pytest.fail("trained")


def test_fashions_networks_are_fine_tuned_from_one_half_of_the_classes_to_the_other():
    for dataset, ends in {"fashion": ("fashion-odd", "fashion-even"), "fashion-even": ("fashion-even", "fashion-odd")}.items():
        found = task(Plan(dataset))
        assert (found.source.dataset, found.target) == ends
    train, test = (data.load("fashion-odd", split) for split in ("train", "test"))
    whole = data.load("fashion", "test")
    assert (len(train), len(test), test.classes) == (5000, 1000, whole.classes[1::2])
    assert torch.equal(test.x, whole.x[whole.y % 2 == 1])
    assert torch.equal(test.y, whole.y[whole.y % 2 == 1] // 2)


def test_what_a_profile_and_the_arguments_ask_for():
    full = task(Plan("shapetex", "full"), target="svhn")
    assert (full.source.dataset, full.target, full.effort.runs, full.effort.limit) == ("shapetex", "svhn", 3, None)
    assert full.recipe == replace(training.RECIPE, augment=None)  # that of Itazuri et al.; a digit is not mirrored
    mine = task(Plan("shapetex"), runs=5, target_limit=100, tune_epochs=6, frozen=True)
    assert (mine.target, mine.effort.runs, mine.effort.limit) == ("fashion", 5, 100)
    assert (mine.recipe.epochs, mine.recipe.milestones, mine.recipe.augment) == (6, (2, 4), None)


def test_a_task_describes_itself():
    row = task(Plan(), join="logits", runs=2).described
    assert not any("test images" in name for name in row)  # all are measured, after every epoch
    assert (row["trained on"], row["fine-tuned on"], row["STD"], row["ADV"]) == ("fashion-odd", "fashion-even", "normal", "pgd-inf-0.1")
    assert (row["runs"], row["images per run"], row["epochs"], row["joined"], row["backbones"]) == (2, 300, 12, "logits", "trained")


def test_the_zoo_fine_tunes_what_ships(monkeypatch):
    monkeypatch.setattr(loop, "fit", trained)
    for dataset in ("fashion", "folder:cifar10"):
        found = task(Plan(dataset, "zoo"))
        assert (found.source.dataset, found.target, found.source.profile) == ("fashion-odd", "fashion-even", "quick")
        assert {kind: len(networks) for kind, networks in backbones(found.source).items()} == {"STD": 2, "ADV": 2, "RND": 2}


@pytest.mark.parametrize(
    ("dataset", "given", "said"),
    [
        ("cifar10", {"target": "cifar10"}, "hold the same images"),
        ("fashion", {"target": "fashion-even"}, "hold the same images"),
        ("cifar10", {"target": "cifar11"}, "did you mean 'cifar10'"),
        ("fashion", {"runs": -1}, "runs is -1; it must be at least 1"),
        ("fashion", {"target_limit": 0}, "target_limit is 0; it must be at least 1"),
        ("fashion", {"tune_epochs": 0}, "tune_epochs is 0; it must be at least 1"),
        ("fashion", {"join": "x"}, "join is 'x'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(dataset, given, said):
    with pytest.raises(ValueError, match=said):
        task(Plan(dataset), **given)


def test_smoke_from_training_to_outcomes():
    found = task(Plan(profile="smoke"), runs=1).run()
    assert set(found.outcomes) == set(training.COMBINATIONS)
    assert {h.shape for h in found.outcomes.values()} == {(1, 100)}


def test_the_curves_of_the_quick_profile_are_of_all_test_images():
    found = task(Plan(), runs=1, target_limit=64, tune_epochs=2, frozen=True).run()
    last = found.curves[found.curves.epoch == 2].set_index("model").clean
    assert {hits.shape for hits in found.outcomes.values()} == {(1, 1000)}
    assert last.to_dict() == pytest.approx({name: hits.mean() for name, hits in found.outcomes.items()})


def test_the_quick_backbones_ship_in_16_bits_and_are_the_ones_a_plan_would_train():
    folder = shipped("checkpoints", "transfer")
    source = task(Plan()).source
    wanted = {Trainer(replace(source, seed=s)).folder(name).name for s in (0, 1) for name in ("normal", "pgd-inf-0.1")}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == wanted
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1e6
    test = data.load("fashion-odd", "test")
    for name in wanted:
        tensors, card = checkpoints.read(folder / name)
        assert {t.dtype for t in tensors.values()} == {torch.float16, torch.int64}
        assert card["data"]["test_digest"] == test.digest
        found = evidence.accuracy(models.load(folder / name).module, test)["top1"]
        assert found == pytest.approx(card["metrics"]["clean"], abs=2 / len(test))
        adversarial = recipes.Recipe.of(card["recipe"]).adversarial
        assert (card["metrics"]["robust"] > 0.3) == adversarial


def test_backbones_are_what_ships_and_the_same_networks_before_training(monkeypatch):
    monkeypatch.setattr(loop, "fit", trained)
    found = backbones(task(Plan()).source)
    assert {kind: len(networks) for kind, networks in found.items()} == {"STD": 2, "ADV": 2, "RND": 2}
    prints = [models.fingerprint(network) for networks in found.values() for network in networks]
    assert len(set(prints)) == 6
    assert all(channels(network) == 1 for networks in found.values() for network in networks)

"""Networks that ship: small files, measured as they are, found by a run without training."""

import json
import re

import pytest
import torch
from typer.testing import CliRunner

from atviz import data, evidence, home, models, shipped
from atviz.app.cli import app
from atviz.evidence import zoo
from atviz.models import checkpoints
from atviz.training import Plan, Trainer, loop, recipes

SMALL = Plan("shapetex", "smoke", models=("normal", "pgd-inf-8"))


def trained(*_, **__):
    pytest.fail("trained")


@pytest.fixture(scope="module")
def published():
    trainer = Trainer(SMALL)
    return {name: zoo.publish(trainer.obtain(name), SMALL) for name in SMALL.names}


def test_what_is_kept_is_half_precision_and_measured_as_kept(published):
    for name, folder in published.items():
        assert folder == home() / "checkpoints" / "zoo" / f"shapetex-small-w4-{name}-s0"
        state, card = checkpoints.read(folder)
        assert {t.dtype for t in state.values()} == {torch.float16, torch.int64}
        original, _ = checkpoints.read(Trainer(SMALL).folder(name))
        assert all(torch.equal(state[key], t.half() if t.is_floating_point() else t) for key, t in original.items())
        model = models.load(folder).module
        assert {t.dtype for t in model.parameters()} == {torch.float32}
        assert card["metrics"]["clean"] == evidence.accuracy(model, SMALL.images.test)["top1"]
        assert card["attack"] == {"eps": 8 / 255, "step_size": 2 / 255, "steps": 40}
        assert card["metrics"]["robust"] <= card["metrics"]["clean"]
        assert card["recipe"]["name"] == name


def test_a_run_of_the_zoo_reads_its_networks_and_trains_nothing(published, monkeypatch):
    monkeypatch.setattr(loop, "fit", trained)
    plan = Plan("shapetex", "zoo", test_limit=50)
    assert (plan.names, plan.scale.arch, plan.scale.eval_steps) == (("normal", "pgd-inf-8"), "small-w4", 40)
    trainer = Trainer(plan)
    assert list(trainer.networks) == ["normal", "pgd-inf-8"]
    assert {name: trainer.folder(name) for name in plan.names} == published
    study = evidence.Study(trainer.networks, plan.images.test, scale=plan.scale)
    assert study.attack.keywords["steps"] == 40
    assert models.fingerprint(models.load("normal", dataset="shapetex").module) == models.fingerprint(trainer.networks.baseline.module)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ("normal", "pgd-inf-4")}, "no network 'pgd-inf-4' of shapetex; it holds normal, pgd-inf-8"),
        ({"dataset": "cifar100"}, "the zoo holds no networks of cifar100"),
        ({"epochs": 3}, "epochs is 3, but the profile zoo trains nothing"),
        ({"seed": 1}, "seed is 1, but the profile zoo trains nothing"),
        ({"arch": "small"}, "arch is 'small'; the zoo's networks of shapetex are small-w4"),
    ],
)
def test_what_the_zoo_cannot_do_is_refused(published, settings, message):
    with pytest.raises(ValueError, match=message):
        Plan(**{"dataset": "shapetex", "profile": "zoo"} | settings)


def test_verify_measures_again_and_finds_a_boast(published, tmp_path):
    found = zoo.verify(published["normal"], "shapetex")
    assert found.keys() == {"clean", "robust"}
    assert all(same and value == claimed for value, claimed, same in found.values())
    state, card = checkpoints.read(published["normal"])
    card["metrics"]["robust"] += 0.1
    checkpoints.save(tmp_path / "boast", state, card)
    assert not zoo.verify(tmp_path / "boast", "shapetex")["robust"][2]
    with pytest.raises(ValueError, match="other test images than fashion's"):
        zoo.verify(published["normal"], "fashion")


def test_a_network_outside_the_zoo_has_no_robust_accuracy(published):
    found = zoo.verify(Trainer(SMALL).folder("normal"), "shapetex")
    assert found.keys() == {"clean"} and found["clean"][2]


def test_the_command_lists_and_verifies_the_zoo(published):
    listed = CliRunner().invoke(app, ["models", "list"]).output
    for name, folder in published.items():
        metrics = checkpoints.read_card(folder)["metrics"]
        assert re.search(rf"{folder.name} +{name} +{metrics['clean']:.4f} +{metrics['robust']:.4f} +0 ", listed)
    done = CliRunner().invoke(app, ["models", "verify", "--dataset", "shapetex"])
    assert done.exit_code == 0, done.output
    assert done.output.count("robust accuracy") == 2 and "DIFFERS" not in done.output
    assert CliRunner().invoke(app, ["models", "verify", "--dataset", "cifar100"]).exit_code == 2


def test_the_backbones_that_ship_are_not_published_again(monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(shipped("checkpoints").parent))
    monkeypatch.setattr(loop, "fit", trained)
    assert zoo.publish_backbones() == shipped("checkpoints", "transfer")


# --- what ships

FASHION = ["normal", "underfit", "pgd-inf-0.1", "pgd-inf-0.05", "pgd-inf-0.025", "pgd-inf-0.0125", "pgd-l2-1.5", "pgd-l2-1.0", "pgd-l2-0.5",
           "fgsm-0.1", "fgsm-0.05", "spatial"]  # fmt: skip


def test_twelve_networks_of_the_embedded_set_ship_in_half_precision():
    held = checkpoints.zoo("fashion")
    assert recipes.in_order(held) == FASHION
    assert sum(file.stat().st_size for file in shipped("checkpoints", "zoo").rglob("*")) < 12e6
    for name, folder in held.items():
        state, card = checkpoints.read(folder)  # the hash is the card's
        assert {t.dtype for t in state.values()} == {torch.float16, torch.int64}
        assert card["data"]["train"] == 10_000 and card["data"]["test"] == 2_000
        assert card["recipe"]["steps"] == {"pgd": 20, "fgsm": 1, "spatial": 10}.get(card["recipe"]["attack"], 0), name
        assert "/" not in json.dumps(card["data"])


@pytest.mark.parametrize("dataset", ["cifar10", "folder:images/cifar10"])
def test_six_networks_of_cifar10_ship_in_half_precision(dataset):
    held = checkpoints.zoo(dataset)
    assert recipes.in_order(held) == ["normal", "underfit", "pgd-inf-8", "pgd-inf-4", "pgd-l2-8", "fgsm-8"]
    for folder in held.values():
        state, card = checkpoints.read(folder)
        assert {t.dtype for t in state.values()} == {torch.float16, torch.int64}
        assert card["model"]["arch"] == "resnet18-w16"
        assert (card["data"]["train"], card["data"]["test"]) == (20_000, 10_000)
        assert card["recipe"]["steps"] == {"pgd": 10, "fgsm": 1}.get(card["recipe"]["attack"], 0)
        assert card["attack"]["steps"] == 40
        assert card["metrics"]["robust"] < card["metrics"]["clean"]


@pytest.mark.parametrize("name", FASHION)
def test_the_shipped_networks_are_as_good_as_their_cards_say(name, whole):
    network = models.load(name, dataset="fashion")
    found = evidence.accuracy(network.module, whole, batch_size=100)["top1"]
    assert found == pytest.approx(network.card["metrics"]["clean"], abs=2 / len(whole))


@pytest.fixture(scope="module")
def whole():
    return data.load("fashion", "test")

"""A study trains what is missing, once, and reads it ever after."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from atviz import checkpoints, train
from atviz.notebook import Notebook, open_study
from atviz.study import Settings, Study

SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100}


@pytest.fixture(scope="module")
def study():
    found = Study(Settings(**SMALL))
    assert list(found.models) == ["normal", "underfit", "pgd-inf-0.1"]
    return found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"models": ("normal", "pgd-inf")}, "unknown recipe 'pgd-inf'"),
        ({"models": ("normal", "underfit")}, "adversarially trained one"),
        ({"models": ("pgd-inf-8",)}, "there must be normal"),
        ({"models": ("normal", "pgd-inf-8", "normal")}, "not all different"),
        ({"arch": "resnet20"}, "did you mean 'resnet"),
        ({"seed": -1}, "seed is -1"),
        ({"epochs": -2}, "epochs is -2"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_a_second_study_trains_nothing_and_measures_nothing(study, monkeypatch):
    first = study.outcomes({"saturate": [4.0], "patch_shuffle": [2]})
    study.robustness()
    monkeypatch.setattr(train, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = Study(Settings(**SMALL))
    second = again.outcomes({"saturate": [4.0], "patch_shuffle": [2]})
    again.robustness()
    assert again.store.computed == 0
    assert again.store.read > 0
    assert all((first.distorted[key] == second.distorted[key]).all() for key in first.distorted)


def test_what_training_depends_on_names_its_checkpoint(study):
    here = study.folder("pgd-inf-0.1")
    for change in ({"seed": 1}, {"epochs": 3}, {"train_limit": 299}, {"arch": "small-w8"}, {"train_steps": 2}):
        assert Study(Settings(**SMALL | change)).folder("pgd-inf-0.1") != here
    assert Study(Settings(**SMALL | {"models": ("normal", "pgd-inf-0.1")})).folder("pgd-inf-0.1") == here


def test_underfit_is_stopped_at_the_adversarial_networks_accuracy(study):
    assert study.recipe("underfit").stop_at == study.cards["pgd-inf-0.1"]["metrics"]["clean"]
    other = Study(Settings(**SMALL | {"models": ("underfit", "normal", "fgsm-0.05", "pgd-inf-0.1")}))
    assert other.adversarial == "fgsm-0.05"


def test_a_card_tells_how_to_make_the_network_again(study):
    card = checkpoints.read_card(study.folder("pgd-inf-0.1"))
    assert card["recipe"]["eps"] == 0.1
    assert card["recipe"]["steps"] == 1
    assert card["data"]["train"] == 300
    assert card["data"]["train_digest"] == study.train_images.digest
    assert card["versions"]["torch"] == torch.__version__
    assert "/" not in card["data"]["name"]  # no path of this machine
    assert not list(study.folder("pgd-inf-0.1").parent.glob("*.training"))


def test_a_network_answers_as_it_did_when_its_card_was_written(study):
    for name in study.models:
        assert study.outcomes({}).clean[name].mean() == pytest.approx(study.cards[name]["metrics"]["clean"], abs=0.011)


def test_findings_are_paired_differences_of_the_named_networks(study, tmp_path):
    notebook = Notebook(study.settings, name="demo", out=str(tmp_path))
    hit = {"normal": np.array([1, 1, 0, 0] * 25, bool), "underfit": np.ones(100, bool), "pgd-inf-0.1": np.array([1, 1, 1, 0] * 25, bool)}
    notebook.compare_shares("robust", hit)
    said = notebook.conclude().data
    row = json.loads((tmp_path / "findings" / "demo.json").read_text())[0]
    assert (row["normal"], row["underfit"], row["adversarial"], row["verdict"]) == (0.5, 1.0, 0.75, "agrees")
    assert row["difference"] == 0.25
    assert "50.0 % → 75.0 % (+25.0" in said


def test_tables_and_figures_go_to_the_folder_or_nowhere(study, tmp_path):
    from matplotlib.figure import Figure
    from PIL import Image

    for out in (str(tmp_path), ""):
        notebook = Notebook(study.settings, name="demo", out=out)
        assert notebook.table([{"a": 1}], "numbers").a.tolist() == [1]
        assert notebook.figure(Figure(), "empty", "A caption with ε.").data.startswith(b"\x89PNG")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")) == [
        "figures/demo_1-empty.png",
        "tables/demo_numbers.csv",
    ]
    with Image.open(tmp_path / "figures" / "demo_1-empty.png") as image:
        assert image.info["Description"] == "A caption with ε."


def test_open_study_refuses_an_unknown_setting():
    with pytest.raises(TypeError, match="profil"):
        open_study("demo", profil="quick")
    assert {field.name for field in dataclasses.fields(Settings)} >= {"dataset", "profile", "models", "seed"}


@pytest.mark.parametrize(("dataset", "lr"), [("shapetex", 0.1), ("shapetex-shape", 0.1), ("shapetex-texture", 0.05)])
def test_drawn_images_are_not_mirrored_and_textures_are_learned_slowly(dataset, lr):
    recipe = Study(Settings(dataset=dataset, **SMALL)).recipe("normal")
    assert (recipe.augment, recipe.lr) == (None, lr)  # a mirrored stripe is another class

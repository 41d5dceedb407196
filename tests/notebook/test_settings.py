"""Settings: from a notebook's variables and back."""

import re
from pathlib import Path

import pytest

from atviz.distortions import Stylizer
from atviz.notebook import Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 2.0}, "alpha is 2.0; it must be in [0, 1]"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"adain": "a,b,c"}, "adain is 'a,b,c'; it must be small, a folder, or two files: ENCODER,DECODER"),
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),  # a plan refuses as ever
        ({"models": ("normal", "normal")}, "two networks are named normal"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Settings(**settings)


def test_what_a_notebook_leaves_empty_is_left_to_the_profile():
    empty = {
        "models": [],
        "arch": "",
        "weights": "",
        "baseline": "",
        "subject": "",
        "classes": "",
        "size": 0,
        "train_limit": 0,
        "test_limit": 0,
        "epochs": 0,
        "train_steps": 0,
        "seed": 0,
    }
    assert Settings.of(empty) == Settings()
    assert (Settings.of(empty).models, Settings.of(empty).arch, Settings.of(empty).size, Settings.of(empty).seed) == (None, None, None, 0)
    given = Settings.of({"models": ["normal", "fgsm-0.1"], "epochs": 3, "weights": "none", "alpha": 0.0, "levels": [4.0], "__name__": "x"})
    assert given == Settings(models=("normal", "fgsm-0.1"), epochs=3, weights="none", alpha=0.0)
    assert Settings.of(empty, epochs=2, seed=3) == Settings(epochs=2, seed=3)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(profile="zoo"),
        Settings(models=("a=normal", "fgsm-0.1"), subject="a", arch="small-w8", epochs=3, size=32, seed=1, alpha=0.5, weights="none"),
    ],
    ids=["defaults", "zoo", "own"],
)
def test_literals_are_what_a_notebook_writes(settings):
    assert Settings.of(settings.literals) == settings
    assert all(value is not None for value in settings.literals.values())
    assert isinstance(settings.literals["models"], list)


def test_a_run_is_described_with_what_the_profile_decided():
    said = Settings(profile="smoke").described
    assert (said["models"], said["arch"], said["weights"]) == (["normal", "underfit", "pgd-inf-0.1"], "small-w4", "none")
    assert Settings(profile="smoke", models=("normal", "underfit", "pgd-inf-0.1"), subject="pgd-inf-0.1", arch="small-w4").described == said
    assert (said["baseline"], said["subject"]) == ("normal", "pgd-inf-0.1")
    zoo = Settings(profile="zoo").described
    assert (len(zoo["models"]), zoo["arch"]) == (12, "small")


def test_the_stylizer_is_of_the_settings():
    made, other = Settings(alpha=0.5, seed=3).stylizer(32), Settings(alpha=0.5, seed=4).stylizer(32)
    assert isinstance(made, Stylizer)
    assert (made.alpha, made.seed, len(made.styles)) == (0.5, 3, 40)
    assert made.key != other.key
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        Settings(styles="nowhere").stylizer(32)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in nowhere"):
        Settings(adain="nowhere").stylizer(32)
    folder = Path(__file__).parents[2] / "checkpoints" / "adain-small"
    assert Settings(adain=str(folder)).stylizer(32).key == Settings().stylizer(32).key

"""Profiles: how much work each does, and the defaults of each data set."""

import pytest

from atviz import training
from atviz.training import recipes


@pytest.mark.parametrize("name", ["smoke", "quick", "full"])
def test_profiles_are_found_by_name(name):
    assert training.profile(name).name == name


def test_a_larger_profile_does_no_less_work():
    smoke, quick, full = (training.profile(name) for name in ("smoke", "quick", "full"))
    for field in ("train_limit", "test_limit", "epochs", "train_steps", "eval_steps", "saliency_images", "smooth_copies"):
        amounts = [getattr(p, field) or float("inf") for p in (smoke, quick, full)]  # None: all images
        assert amounts == sorted(amounts), field


def test_unknown_profile_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'quick'"):
        training.profile("quik")


@pytest.mark.parametrize(
    ("dataset", "eps"), [("fashion", 0.1), ("fashion-full", 0.1), ("cifar10", 8 / 255), ("folder:/somewhere", 8 / 255)]
)
def test_robustness_is_measured_at_the_usual_radius(dataset, eps):
    assert training.eval_eps(dataset) == eps
    robust = recipes.get(training.default_models(dataset)[-1])
    assert robust.adversarial and robust.eps == pytest.approx(eps)


def test_the_models_of_itazuri_are_standard_and_fgsm_trained():
    assert training.default_models("imagenet", "itazuri") == ["normal", "fgsm-0.005"]
    adversarial = recipes.get("fgsm-0.005", preset="itazuri")
    assert (adversarial.attack, adversarial.norm, adversarial.eps, adversarial.step_size, adversarial.steps) == (
        "fgsm",
        "linf",
        0.005,
        0.005,
        1,
    )

"""Plans: what cannot be is refused in a sentence, and each network's recipe is what the paper or the profile says."""

from dataclasses import FrozenInstanceError

import pytest

from atviz.training import Plan

SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"models": ("normal", "pgd-inf")}, "unknown recipe 'pgd-inf'"),
        ({"models": ("normal", "underfit")}, "adversarially trained one"),
        ({"models": ("normal", "timm5:x")}, "unknown way to name a network 'timm5:'; did you mean 'timm:'"),
        ({"arch": "resnet20"}, "did you mean 'resnet"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"epochs": -2}, "epochs is -2; it must be at least 1"),
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"train_limit": 0}, "train_limit is 0"),
        ({"test_limit": -5}, "test_limit is -5"),
        ({"train_steps": 0}, "train_steps is 0"),
        ({"preset": "text"}, "unknown preset 'text'"),
        ({"weights": "nowhere.pth"}, "no weights at nowhere.pth"),
        ({"weights": "imagenet"}, "no ImageNet weights for 'small'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(settings, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Plan(**settings)


def test_a_plan_is_a_value():
    plan = Plan(**SMALL)
    assert plan == Plan(**SMALL) != Plan(**SMALL, seed=1) and hash(plan) == hash(Plan(**SMALL))
    with pytest.raises(FrozenInstanceError):
        plan.seed = 3


def test_the_profile_decides_what_is_not_given():
    plan = Plan()
    assert (plan.names, plan.pair) == (("normal", "underfit", "pgd-inf-0.1"), ("normal", "pgd-inf-0.1"))
    assert Plan("cifar10").names == ("normal", "underfit", "pgd-inf-8")
    assert (plan.scale.arch, plan.scale.epochs, plan.scale.train_limit, plan.initial, plan.start) == ("small", 8, 10_000, None, None)
    mine = Plan(arch="small-w8", epochs=3, train_limit=299, test_limit=50, train_steps=2).scale
    assert (mine.arch, mine.epochs, mine.train_limit, mine.test_limit, mine.train_steps) == ("small-w8", 3, 299, 50, 2)
    assert mine.eval_steps == plan.scale.eval_steps


def test_images_are_loaded_as_the_plan_says():
    images = Plan(**SMALL, size=20).images
    assert (len(images.train), len(images.test), images.train.shape, images.test.shape) == (300, 100, (1, 20, 20), (1, 20, 20))


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        (dict(models=("underfit", "normal", "fgsm-0.05")), ("underfit", "normal")),  # as they are named
        (dict(models=("a=normal", "b=pgd-inf-8"), subject="a"), ("b", "a")),
        (dict(models=("normal", "spatial", "pgd-inf-8"), subject="pgd-inf-8"), ("normal", "pgd-inf-8")),
        (dict(models=("normal", "spatial", "pgd-inf-8"), baseline="spatial"), ("spatial", "normal")),
        (dict(models=("pgd-inf-8",)), ("pgd-inf-8", None)),
        (dict(subject="underfit"), ("normal", "underfit")),
        (dict(profile="zoo", baseline="fgsm-0.1"), ("fgsm-0.1", "normal")),
    ],
)
def test_the_first_network_is_the_baseline_and_the_second_the_subject_unless_they_are_named(given, pair):
    assert Plan(**given).pair == pair


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(models=("normal",), subject="pgd"), "unknown subject 'pgd'"),
        (dict(baseline="normal", subject="normal"), "baseline and subject are both 'normal'; they must be two networks"),
        (dict(models=("normal", "normal")), "two networks are named normal; give one of them a name of its own, such as mine=normal"),
        (dict(classes="nowhere.csv"), "there is no file nowhere.csv"),
    ],
)
def test_roles_of_no_network_and_names_of_two_are_refused(given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Plan(**given)


def test_the_first_network_of_a_kind_is_found_among_those_that_atviz_trains(tmp_path):
    plan = Plan(models=("underfit", "std=normal", "fgsm-0.05", "adv=pgd-inf-0.1"))
    assert (plan.first(adversarial=False), plan.first(adversarial=True)) == ("std", "fgsm-0.05")
    assert plan.recipes == {"underfit": "underfit", "std": "normal", "fgsm-0.05": "fgsm-0.05", "adv": "pgd-inf-0.1"}
    with pytest.raises(ValueError, match="there must be an adversarially trained one, such as pgd-inf-8"):
        Plan(models=("normal",)).first(adversarial=True)


def test_images_come_at_the_size_that_loaded_networks_were_trained_at(tmp_path):
    for name, size in (("a", 20), ("b", 24)):
        (tmp_path / f"{name}.py").write_text(
            f"from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear({size**2}, 10))\n"
        )
    reference = lambda name, size: f"{name}=python:{tmp_path / name}.py:make?size={size}&mean=0&std=1"
    plan = Plan(models=(reference("a", 20),), test_limit=20)
    assert plan.images.test.shape == (1, 20, 20) and list(plan.loaded) == ["a"] and not plan.recipes
    both = (reference("a", 20), reference("b", 24))
    with pytest.raises(ValueError, match="trained at different sizes \\(a at 20 and b at 24 pixels\\); choose one with --size"):
        Plan(models=both).images  # noqa: B018
    assert Plan(models=both, size=24, test_limit=20).images.test.shape == (1, 24, 24)


def recipe(plan, name="normal", *, side=28, count=300, **changes):
    return plan.recipe(name, side=side, count=count, **changes)


def test_the_profile_sets_epochs_and_steps_of_the_papers_recipes():
    plan = Plan(**SMALL, models=("normal", "spatial", "pgd-inf-8"))
    for name in ("spatial", "pgd-inf-8"):
        found = recipe(plan, name)
        assert (found.steps, found.epochs, found.schedule, found.mix) == (1, 1, "one-cycle", False)
    assert recipe(plan, "spatial").step_size == 0.1


def test_train_steps_shorten_multi_step_attacks_alone():
    names = ("normal", "pgd-inf-8", "trades-8", "fgsm-rs-8", "n-fgsm-8", "free-8")
    quick, brief = Plan("cifar10", models=names), Plan("cifar10", models=names, train_steps=1)
    assert [recipe(quick, name).steps for name in names] == [0, 5, 5, 1, 1, 1]
    for name in names:
        same, short = recipe(quick, name, side=32), recipe(brief, name, side=32)
        if name in ("pgd-inf-8", "trades-8"):
            assert (short.steps, short.step_size) == (1, short.eps)  # a single step reaches the edge of the ball
        else:
            assert short == same
    assert recipe(quick, "trades-8").step_size == pytest.approx(8 / 255 * 7 / 31)
    assert (recipe(quick, "free-8").epochs, recipe(quick, "free-8").passes) == (8, 1)
    code = Plan(models=names, preset="code")
    assert [(recipe(code, name).steps, recipe(code, name).mix) for name in names[1:4]] == [(20, True), (10, False), (1, True)]


def test_a_batch_is_never_larger_than_the_training_set():
    assert (recipe(Plan(), count=40).batch_size, recipe(Plan()).batch_size, recipe(Plan("cifar10")).batch_size) == (40, 64, 128)


def test_underfit_stops_where_it_is_told():
    assert recipe(Plan(), "underfit", stop_at=0.7).stop_at == 0.7
    assert recipe(Plan()).stop_at is None


def test_the_preset_code_keeps_its_own_numbers_unless_some_are_given():
    settings = SMALL | {"models": ("normal", "spatial", "pgd-inf-8"), "preset": "code"}
    plan, short = Plan(**settings), Plan(**settings, epochs=7, train_steps=4)
    facts = lambda plan, name: (lambda r: (r.epochs, r.milestones, r.steps, r.batch_size, r.mix))(recipe(plan, name))
    assert facts(plan, "normal") == (11, (5, 8), 0, 64, False)
    assert facts(plan, "pgd-inf-8") == (21, (10, 16), 20, 64, True)
    assert facts(plan, "spatial") == (20, (8, 14), 50, 64, True)
    assert facts(short, "normal") == (7, (3, 5), 0, 64, False)
    assert facts(short, "pgd-inf-8") == (7, (3, 5), 4, 64, True)
    assert facts(short, "spatial") == (7, (3, 5), 4, 64, True)
    # a rate that falls before the first epoch would be another rate
    assert recipe(Plan(**settings, epochs=1)).milestones == (1, 1)


def test_the_preset_itazuri_takes_its_models_and_at_full_scale_its_epochs():
    quick = Plan(dataset="shapetex", train_limit=300, preset="itazuri")
    assert quick.names == quick.pair == ("normal", "fgsm-0.005")
    facts = lambda plan: (lambda r: (r.epochs, r.milestones, r.lr, r.weight_decay, r.augment))(recipe(plan, "fgsm-0.005", side=32))
    assert facts(quick) == (8, (3, 5), 0.1, 1e-4, None)
    full = dict(dataset="shapetex", profile="full", train_limit=300, preset="itazuri", models=("normal", "fgsm-0.005"))
    assert facts(Plan(**full))[:2] == (90, (30, 60))
    assert facts(Plan(**full, epochs=9))[:2] == (9, (3, 6))


@pytest.mark.parametrize(
    ("dataset", "size", "preset", "augment"),
    [
        ("imagenet", 224, "paper", "resized-crop-flip"),
        ("imagenet", 224, "itazuri", "resized-crop-flip"),
        ("food101", 224, "itazuri", "resized-crop-flip"),
        ("food101", 224, "paper", "flip"),
        ("tiny-imagenet", 64, "itazuri", "flip"),
        ("cifar10", 32, "itazuri", "crop-flip"),
        ("cifar10", 224, "itazuri", "resized-crop-flip"),
        ("svhn", 224, "itazuri", None),
    ],
)
def test_large_images_are_cropped_at_random_areas_where_the_paper_does(dataset, size, preset, augment):
    assert recipe(Plan(dataset=dataset, preset=preset), side=size, count=2).augment == augment


@pytest.mark.parametrize(("dataset", "lr"), [("shapetex", 0.1), ("shapetex-shape", 0.1), ("shapetex-texture", 0.05)])
def test_drawn_images_are_not_mirrored_and_textures_are_learned_slowly(dataset, lr):
    found = recipe(Plan(dataset=dataset, **SMALL), side=32)
    assert (found.augment, found.lr) == (None, lr)  # a mirrored stripe is another class


# --- weights to start from


@pytest.mark.parametrize(
    ("settings", "weights", "side"),
    [
        ({"dataset": "tiny-imagenet", "profile": "full"}, "imagenet", 224),
        ({"dataset": "tiny-imagenet:there", "profile": "full", "size": 96}, "imagenet", 96),
        ({"dataset": "caltech256", "profile": "full"}, "imagenet", 224),
        ({"dataset": "caltech256", "profile": "full", "arch": "resnet18-w16"}, None, None),
        ({"dataset": "caltech256", "profile": "full", "weights": "none"}, None, None),
        ({"dataset": "tiny-imagenet", "profile": "quick"}, None, None),
        ({"dataset": "tiny-imagenet", "profile": "quick", "arch": "resnet18", "weights": "imagenet"}, "imagenet", 224),
        ({"dataset": "cifar10", "profile": "full"}, None, None),
    ],
)
def test_full_scale_starts_from_imagenet_where_the_paper_does(settings, weights, side):
    found = Plan(**settings)
    assert (found.initial, found.images.size) == (weights, side)
    assert found.start == (weights and {"file": "resnet18-f37072fd.pth", "sha256": "f37072fd"})


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [({"profile": "smoke"}, 1), ({"profile": "quick"}, 8), ({"profile": "full"}, 11), ({"profile": "full", "epochs": 3}, 3)],
)
def test_fine_tuning_takes_the_profiles_epochs_below_full_scale(tmp_path, settings, epochs):
    weights = tmp_path / "start.safetensors"
    weights.touch()
    found = recipe(Plan("tiny-imagenet", arch="small-w4", weights=str(weights), size=16, **settings), side=16)
    assert (found.epochs, found.lr) == (epochs, 0.01)

"""Recipes: each name states its threat model, and each preset is what its paper or its code says."""

from dataclasses import replace

import pytest

from atviz.training import recipes

# spec, table 1.2: name, attack, norm, eps, step size, steps; in 255ths for L∞, and for L2 steps
PAPER = [
    ("pgd-inf-8", "pgd", "linf", 8 / 255, 4 / 255, 20),
    ("pgd-inf-4", "pgd", "linf", 4 / 255, 2 / 255, 20),
    ("pgd-inf-2", "pgd", "linf", 2 / 255, 1 / 255, 20),
    ("pgd-inf-1", "pgd", "linf", 1 / 255, 1 / 255, 20),
    ("pgd-l2-12", "pgd", "l2", 12, 6 / 255, 20),
    ("pgd-l2-8", "pgd", "l2", 8, 4 / 255, 20),
    ("pgd-l2-4", "pgd", "l2", 4, 2 / 255, 20),
    ("fgsm-8", "fgsm", "linf", 8 / 255, 8 / 255, 1),
    ("fgsm-4", "fgsm", "linf", 4 / 255, 4 / 255, 1),
    ("normal", "none", "linf", 0, 0, 0),
    ("underfit", "none", "linf", 0, 0, 0),
]
# the radii for small images: a tenth of the L2 radii, with the same steps
SMALL = [
    ("pgd-l2-1.2", "pgd", "l2", 1.2, 6 / 255, 20),
    ("pgd-l2-0.8", "pgd", "l2", 0.8, 4 / 255, 20),
    ("pgd-l2-0.4", "pgd", "l2", 0.4, 2 / 255, 20),
    ("pgd-inf-0.1", "pgd", "linf", 0.1, 0.05, 20),
    ("fgsm-0.1", "fgsm", "linf", 0.1, 0.1, 1),
    ("fgsm-0.005", "fgsm", "linf", 0.005, 0.005, 1),
    ("pgd-inf-16", "pgd", "linf", 16 / 255, 8 / 255, 20),
]


@pytest.mark.parametrize(("name", "attack", "norm", "eps", "step_size", "steps"), PAPER + SMALL)
def test_name_states_the_threat_model(name, attack, norm, eps, step_size, steps):
    recipe = recipes.get(name)
    assert (recipe.name, recipe.attack, recipe.norm, recipe.steps) == (name, attack, norm, steps)
    assert recipe.eps == pytest.approx(eps, rel=1e-12)
    assert recipe.step_size == pytest.approx(step_size, rel=1e-12)
    # sign steps for L2 too, no random start and adversarial batches only: the defaults that the spec marks
    assert (recipe.step, recipe.random_start, recipe.mix) == ("sign", False, False)
    assert recipe.adversarial == (attack != "none")


# the papers' numbers: Wong et al. 2020 (α = 1.25 ε), de Jorge et al. 2022 (k = 2, α = ε), Shafahi et al. 2019 (m = 8, steps of ε),
# Zhang et al. 2019 (ε = 0.031, 10 steps of 0.007, β = 1/λ = 6)
FAST = [
    ("fgsm-rs-8", "fgsm", 8 / 255, 10 / 255, 1, {"random_start": True}),
    ("n-fgsm-8", "fgsm", 8 / 255, 8 / 255, 1, {"random_start": True, "noise": 2}),
    ("free-8", "free", 8 / 255, 8 / 255, 1, {"replays": 8}),
    ("trades-0.031", "trades", 0.031, 0.007, 10, {"random_start": True, "beta": 6}),
    ("n-fgsm-0.1-ema", "fgsm", 0.1, 0.1, 1, {"random_start": True, "noise": 2, "ema": 0.995}),
    ("normal-ema", "none", 0, 0, 0, {"ema": 0.995}),
]
LATER = {"random_start": False, "noise": 0, "replays": 1, "beta": 0, "warmup": 0, "ema": 0}


@pytest.mark.parametrize(("name", "attack", "eps", "step_size", "steps", "others"), FAST)
def test_recipes_of_later_papers_have_their_numbers(name, attack, eps, step_size, steps, others):
    recipe = recipes.get(name)
    assert (recipe.name, recipe.attack, recipe.norm, recipe.step, recipe.steps) == (name, attack, "linf", "sign", steps)
    assert (recipe.eps, recipe.step_size) == (pytest.approx(eps, rel=1e-12), pytest.approx(step_size, rel=1e-12))
    assert {field: getattr(recipe, field) for field in LATER} == LATER | others
    code = recipes.get(name, preset="code")
    assert code.mix == (attack == "fgsm") and code.epochs == (11 if name == "normal-ema" else 21)


def test_averaging_changes_nothing_else():
    for name in ("pgd-inf-1", "pgd-l2-8", "spatial"):
        for preset in recipes.PRESETS:
            plain, averaged = (recipes.get(n, preset=preset, image_size=32) for n in (name, f"{name}-ema"))
            assert averaged == replace(plain, name=f"{name}-ema", ema=0.995)
    with pytest.raises(ValueError, match="unknown recipe 'underfit-ema'"):
        recipes.get("underfit-ema")


@pytest.mark.parametrize(("epochs", "replays", "passes"), [(30, 1, 30), (8, 8, 1), (30, 8, 4), (3, 8, 1), (16, 4, 4)])
def test_replays_divide_the_epochs(epochs, replays, passes):
    assert recipes.get("free-8", epochs=epochs, replays=replays).passes == passes


@pytest.mark.parametrize(
    ("name", "steps", "step_size"),
    [
        ("pgd-inf-8", 20, 4 / 255),
        ("pgd-inf-8", 5, 4 / 255),
        ("pgd-inf-8", 2, 4 / 255),
        ("pgd-inf-8", 1, 8 / 255),  # as FGSM
        ("pgd-inf-1", 5, 1 / 255),
        ("trades-0.031", 5, 0.007),
        ("trades-0.031", 2, 0.0155),
        ("pgd-l2-8", 1, 4 / 255),  # a sign step's length is not its size
        ("spatial", 1, 0.1),
    ],
)
def test_few_steps_still_reach_the_edge_of_the_ball(name, steps, step_size):
    brief = recipes.in_steps(recipes.get(name), steps)
    assert (brief.steps, brief.step_size) == (steps, pytest.approx(step_size, rel=1e-12))
    assert replace(brief, steps=20, step_size=1) == replace(recipes.get(name), steps=20, step_size=1)


def test_a_warm_up_grows_the_radius_and_the_step_from_nothing():
    recipe = recipes.get("pgd-inf-0.1", warmup=0.25)
    found = [(now.eps, now.step_size) for now in map(recipe.at, (0, 0.125, 0.25, 1))]
    assert found == [(0, 0), (0.05, 0.025), (0.1, 0.05), (0.1, 0.05)]
    assert recipe.at(0.3) is recipe and recipes.get("pgd-inf-0.1").at(0) == recipes.get("pgd-inf-0.1")
    assert replace(recipe.at(0.1), eps=0.1, step_size=0.05) == recipe


@pytest.mark.parametrize("changes", [{"replays": 0}, {"ema": 1.0}, {"ema": -0.1}, {"warmup": 1.5}])
def test_a_field_out_of_its_range_is_refused(changes):
    with pytest.raises(ValueError, match=r"they must be at least 1, in \[0, 1\) and in \[0, 1\]"):
        recipes.get("pgd-inf-8", **changes)


def test_spatial_weighs_the_variation_as_the_paper_does():
    recipe = recipes.get("spatial")
    assert (recipe.attack, recipe.tv_weight, recipe.method, recipe.steps, recipe.mix) == ("spatial", 0.05, "first-order", 10, False)
    assert recipe.adversarial


@pytest.mark.parametrize(
    ("name", "epochs", "milestones"),
    [
        ("normal", 5 + 3 + 3, (5, 8)),
        ("underfit", 5 + 3 + 3, (5, 8)),
        ("fgsm-8", 10 + 6 + 5, (10, 16)),
        ("pgd-inf-8", 10 + 6 + 5, (10, 16)),
        ("pgd-l2-4", 10 + 6 + 5, (10, 16)),
        ("spatial", 8 + 6 + 6, (8, 14)),
    ],
)
def test_preset_code_is_what_the_authors_ran(name, epochs, milestones):
    recipe = recipes.get(name, preset="code")
    assert (recipe.epochs, recipe.milestones, recipe.schedule) == (epochs, milestones, "step")
    assert (recipe.lr, recipe.momentum, recipe.weight_decay, recipe.batch_size) == (0.01, 0.9, 5e-4, 64)
    assert recipe.mix == recipe.adversarial


def test_presets_differ_in_the_attack_where_the_spec_says_so():
    for name in [*recipes.PAPER_MODELS, "pgd-inf-0.1"]:
        paper, code = recipes.get(name), recipes.get(name, preset="code")
        assert paper == recipes.get(name, preset="paper")
        assert (code.attack, code.norm, code.eps, code.steps, code.step) == (paper.attack, paper.norm, paper.eps, paper.steps, paper.step)
        assert code.step_size == (0.5 / 255 if name == "pgd-inf-1" else paper.step_size)
    spatial = recipes.get("spatial", preset="code")
    assert (spatial.method, spatial.steps, spatial.step_size, spatial.tv_weight) == ("lbfgs", 10 * 5, 0.5, 0.05)


def test_small_radii_and_changes_hold_in_both_presets():
    recipe = recipes.get("pgd-l2-8", preset="code", image_size=32, epochs=2)
    assert (recipe.eps, recipe.epochs) == (pytest.approx(0.8), 2)


@pytest.mark.parametrize(
    ("side", "augment"), [(224, "resized-crop-flip"), (65, "resized-crop-flip"), (64, "crop-flip"), (None, "resized-crop-flip")]
)
@pytest.mark.parametrize("name", ["normal", "fgsm-0.005", "pgd-inf-8"])
def test_preset_itazuri_is_that_papers_schedule(name, side, augment):
    recipe = recipes.get(name, preset="itazuri", image_size=side)
    assert (recipe.epochs, recipe.milestones, recipe.schedule, recipe.batch_size) == (90, (30, 60), "step", 256)
    assert (recipe.lr, recipe.momentum, recipe.weight_decay, recipe.augment, recipe.mix) == (0.1, 0.9, 1e-4, augment, False)
    paper = recipes.get(name)
    assert [getattr(recipe, key) for key in ("attack", "eps", "step_size", "steps")] == [
        getattr(paper, key) for key in ("attack", "eps", "step_size", "steps")
    ]
    assert recipes.lasting(recipe, 30).milestones == (10, 20)


def test_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="unknown preset 'codes'; known are paper, code, itazuri"):
        recipes.get("normal", preset="codes")


def test_paper_models_are_the_eleven_of_the_table():
    assert recipes.PAPER_MODELS == [row[0] for row in PAPER]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("normal", "normal"),
        ("fgsm-8", "FGSM ε=8/255"),
        ("pgd-inf-8", "PGD L∞ ε=8/255, 20 steps"),
        ("pgd-l2-1.2", "PGD L2 ε=1.2, 20 steps"),
        ("spatial", "spatial, 10 steps"),
        ("fgsm-rs-8", "FGSM ε=8/255, random start"),
        ("n-fgsm-0.1", "N-FGSM ε=0.1"),
        ("free-8", "Free ε=8/255, 8 replays"),
        ("trades-8", "TRADES ε=8/255, β=6, 10 steps"),
    ],
)
def test_title_says_the_threat_model(name, title):
    assert recipes.get(name).title == title
    if name == "spatial":
        assert recipes.get(name, preset="code").title == "spatial, 50 L-BFGS steps"


def test_changes_replace_fields_and_nothing_else():
    before, after = recipes.get("pgd-inf-8"), recipes.get("pgd-inf-8", epochs=3, mix=True)
    assert (after.epochs, after.mix) == (3, True)
    changed = {field for field in vars(before) if getattr(before, field) != getattr(after, field)}
    assert changed == {"epochs", "mix"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pgd-inf", "pgd-inf-"),
        ("pgd_inf_8", "pgd-inf-8"),
        ("Normal", "normal"),
        ("fgsm-8/255", "fgsm-8"),
        ("pgd-inf-0", "pgd-inf-"),
        ("pgd-l2-0.0", "pgd-l2-"),
        ("pgd-inf--8", "pgd-inf-8"),
        ("Spatial", "did you mean 'spatial'"),
        ("resnet18", "known are"),
        ("nfgsm-8", "n-fgsm-8"),
        ("trade-8", "did you mean 'trades-8'"),
        ("free-0", "free-8"),
        ("", "known are"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(ValueError, match="unknown recipe") as error:
        recipes.get(name)
    assert repr(name) in str(error.value) and hint in str(error.value)


@pytest.mark.parametrize("name", ["pgd-inf-256", "pgd-inf-8.0", "fgsm-1.5", "n-fgsm-300"])
def test_eps_beyond_the_range_of_a_pixel_is_refused(name):
    with pytest.raises(ValueError, match="larger than the range of a pixel"):
        recipes.get(name)


def test_unknown_field_is_refused_by_name():
    with pytest.raises(ValueError, match="no field 'epoch'.*epochs"):
        recipes.get("normal", epoch=3)


@pytest.mark.parametrize(("side", "eps"), [(224, 8), (64, 8), (32, 0.8), (28, 0.8), (None, 8)])
def test_whole_l2_radii_count_tenths_on_small_images_and_the_step_stays(side, eps):
    recipe = recipes.get("pgd-l2-8", image_size=side)
    assert recipe.eps == pytest.approx(eps)
    assert recipe.step_size == pytest.approx(4 / 255)
    assert recipes.get("pgd-l2-0.5", image_size=side).eps == 0.5


@pytest.mark.parametrize(
    ("name", "epochs", "total", "falls"),
    [("normal", 0, 11, (5, 8)), ("pgd-inf-8", 0, 21, (10, 16)), ("normal", 22, 22, (10, 16)), ("fgsm-4", 1, 1, (1, 1))],
)
def test_fine_tuning_follows_the_authors_code(name, epochs, total, falls):
    plain = recipes.get(name)
    found = recipes.fine_tuned(plain)
    found = recipes.lasting(found, epochs or found.epochs)
    assert (found.epochs, found.milestones, found.schedule) == (total, falls, "step")
    assert (found.lr, found.batch_size, found.momentum, found.weight_decay) == (0.01, 64, 0.9, 5e-4)
    assert (found.attack, found.eps, found.steps) == (plain.attack, plain.eps, plain.steps)


def test_recipes_are_listed_by_kind_the_strongest_first():
    names = [
        "fgsm-rs-8",
        "free-8",
        "spatial",
        "n-fgsm-8-ema",
        "fgsm-4",
        "trades-8",
        "n-fgsm-8",
        "pgd-l2-0.5",
        "pgd-inf-1",
        "underfit",
        "pgd-inf-8",
        "pgd-l2-1.5",
        "normal",
        "fgsm-8",
    ]
    assert recipes.in_order(names) == [
        "normal",
        "underfit",
        "pgd-inf-8",
        "pgd-inf-1",
        "pgd-l2-1.5",
        "pgd-l2-0.5",
        "trades-8",
        "free-8",
        "n-fgsm-8",
        "n-fgsm-8-ema",
        "fgsm-rs-8",
        "fgsm-8",
        "fgsm-4",
        "spatial",
    ]


@pytest.mark.parametrize(("eps", "text"), [(8 / 255, "8/255"), (0.1, "0.1"), (0.0125, "0.0125"), (1, "255/255")])
def test_eps_in_words(eps, text):
    assert recipes.eps_text(eps) == text

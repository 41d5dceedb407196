"""A study: networks with roles, measured on the same images, each measurement once."""

from dataclasses import replace
from functools import partial

import pytest

from atviz import distortions, evidence
from atviz.data import Images
from atviz.evidence import Store, Study
from atviz.models import Network, Networks
from atviz.training import profile


@pytest.fixture
def study(trained, other, fashion, tmp_path):
    networks = [
        Network(name, module, fashion.classes, (1, 28, 28)) for name, module in (("plain", trained), ("third", trained), ("adv", other))
    ]
    scale = replace(profile("smoke"), saliency_images=12)
    return Study(Networks.of(networks, baseline="plain", subject="adv"), fashion[:80], Store(tmp_path), scale=scale)


def test_networks_are_named_and_have_roles(study):
    assert list(study.models) == ["plain", "third", "adv"]
    assert study.roles == {"baseline": "plain", "subject": "adv", "comparable": False}
    assert all(study.models[name] is network.module for name, network in study.networks.items())


def test_measurements_are_those_of_each_network_and_a_second_study_computes_nothing(study):
    wanted = {"saturate": [4.0], "patch_shuffle": [2], "reverse": [1]}
    negative = partial(distortions.saturate, level=8)
    run = lambda s: (
        s.outcomes(wanted, topk=3),
        s.robustness(),
        s.saliency_scores(),
        s.saliency_stability(negative),
        s.saliency_similarities(),
    )
    results, robust, scores, stable, alike = run(study)
    expected = evidence.outcomes(study.models, study.images, wanted, topk=3)
    assert all((hits == expected.distorted[key]).all() for key, hits in results.distorted.items())
    for name, module in study.models.items():
        own = evidence.saliency_scores(module, study.saliency_images, copies=4)
        assert own.keys() == scores.keys() and all((own[measure] == scores[measure][name]).all() for measure in own)
        assert (evidence.stability(module, study.saliency_images, negative)["rank"] == stable["rank"][name]).all()
        assert robust[name]["robust"] == evidence.robust_accuracy(module, study.images, attack=study.attack)["robust"]
    assert alike["rank"].shape == (12, 3, 3)
    computed = study.store.computed
    again = replace(study, store=Store(study.store.folder))
    run(again)
    assert computed and (again.store.computed, again.store.read > 0) == (0, True)


@pytest.mark.parametrize(
    ("cards", "comparable"),
    [
        (("normally", "adversarially"), True),
        (("adversarially", "normally"), False),
        (("normally", "normally"), False),
        (("", "adversarially"), False),
    ],
)
def test_only_an_adversarially_against_a_normally_trained_network_is_the_papers_comparison(study, cards, comparable):
    said = dict(zip((study.baseline, study.subject), cards, strict=True))
    networks = [replace(n, card={"trained": said.get(n.name, "")}) for n in study.networks.values()]
    asked = replace(study, networks=Networks.of(networks, baseline="plain", subject="adv"))
    assert asked.comparable == asked.roles["comparable"] == comparable


def test_a_study_of_some_of_its_networks_fills_the_roles_that_are_left(study):
    roles = lambda s: (s.baseline, None if s.alone else s.subject)
    assert roles(study.only(["plain", "adv"])) == ("plain", "adv")
    assert roles(study.only(["third", "adv"])) == ("third", "adv")
    assert roles(study.only(["plain", "third"])) == ("plain", "third")
    assert roles(study.only(["adv"])) == ("adv", None)
    assert roles(study.only(["plain"])) == ("plain", None) and study.only(["plain"]).pair.alone


def test_the_attack_is_that_of_table_1(study, fashion):
    assert study.attack.keywords == {"eps": 0.1, "step_size": 0.025, "steps": 2}
    cifar = replace(study, images=Images(fashion.x, fashion.y, fashion.classes, "cifar10"))
    assert cifar.attack.keywords == {"eps": 8 / 255, "step_size": 2 / 255, "steps": 2}


@pytest.mark.parametrize(
    ("recipe", "eps"),
    [({"attack": "pgd", "norm": "linf", "eps": 0.05}, 0.05), ({"attack": "fgsm", "norm": "linf", "eps": 0.02}, 0.02),
     ({"attack": "pgd", "norm": "l2", "eps": 1.5}, 0.1), ({"attack": "spatial", "norm": "linf", "eps": 0}, 0.1), ({}, 0.1)],
)  # fmt: skip
def test_the_ball_is_that_of_the_subjects_training(study, recipe, eps):
    networks = [replace(n, card={"recipe": recipe} if n.name == "adv" else {}) for n in study.networks.values()]
    trained = replace(study, networks=Networks.of(networks, baseline=study.baseline, subject=study.subject))
    assert trained.eps == eps
    assert trained.attack.keywords["eps"] == 0.1  # all networks are attacked alike


def test_wordnet_ids_are_shown_as_words(study):
    classes = ["n01443537", *study.images.classes[1:]]
    renamed = replace(study, images=replace(study.images, classes=classes))
    assert renamed.class_names == ["goldfish", *classes[1:]] and study.class_names == study.images.classes
    assert "goldfish" in renamed.gallery(10)[2]


def test_the_gallery_shows_as_many_classes_as_it_can(study):
    x, y, titles = study.gallery(10)
    assert x.shape == (10, 1, 28, 28) and 0 <= x.min() < x.max() <= 1
    assert len(set(y.tolist())) == 10 and titles == [study.images.classes[i] for i in y]
    assert (study.gallery(10)[0] == x).all() and (replace(study, seed=1).gallery(10)[0] != x).any()
    assert len(study.gallery(500)[0]) == 80


def test_saliency_is_of_the_scales_number_of_images(study):
    assert len(study.saliency_images) == 12
    assert len(replace(study, scale=profile("full")).saliency_images) == 80
    assert study.saliency_images.digest != replace(study, seed=1).saliency_images.digest


def test_stylizer_and_mean_are_the_given_ones_else_made(study):
    assert study.mean == (round(float(study.images.x.double().mean() / 255), 4),)
    assert (study.stylizer.alpha, study.stylizer.seed) == (1, 0)
    given = replace(study, material={"mean": [0.25], "stylizer": study.stylizer})
    assert given.mean == (0.25,) and given.stylizer is study.stylizer
    hit = given.outcomes({"reverse": [1]}).distorted["plain", "reverse", 1.0]
    by_hand = evidence.outcomes(study.models, study.images, {"r": {1: partial(distortions.reverse, mean=(0.25,))}}).distorted[
        "plain", "r", 1.0
    ]
    assert (hit == by_hand).all()


def test_a_pair_is_the_two_roles_and_roles_can_be_given_to_others(study):
    assert list(study.pair.models) == ["plain", "adv"] and study.pair.roles == study.roles
    turned = study.with_roles("third", "plain")
    assert (turned.baseline, turned.subject) == ("third", "plain") and list(turned.models) == list(study.models)
    assert len(replace(study, saliency_limit=5).saliency_images) == 5


def test_modules_at_hand_become_a_study(trained, other, fashion):
    study = Study.of({"a": trained, "b": other}, fashion[:40])
    assert (study.baseline, study.subject, study.comparable) == ("a", "b", False)
    assert study.outcomes({}).clean["a"].mean() == evidence.accuracy(trained, fashion[:40])["top1"]
    assert (Study.of({"a": trained, "b": other}, fashion[:40], subject="a").baseline) == "b"
    one = Study.of(trained, fashion[:40])
    assert one.alone and list(one.models) == ["model"]


def test_of_more_classes_those_of_the_images_are_taken(trained, fashion):
    few = fashion[fashion.y < 2]
    two = Images(few.x, few.y, fashion.classes[:2])
    known = Network("net", trained, fashion.classes, (1, 28, 28))
    study = Study.of({"mine": known}, two)
    x, _ = next(two.batches(10))
    assert (study.models["mine"](x) == trained(x)[:, :2]).all()
    assert study.networks.notes == ["mine: judged on 2 of its 10 classes: logits of other classes are left out"]


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"a": "resnet18"}, "networks holds a value of type str; it must hold modules"),
        ({}, "networks holds nothing"),
        (3, "networks holds a value of type int; it must hold modules"),
    ],
)
def test_what_is_no_network_is_refused(networks, fashion, message):
    with pytest.raises(TypeError, match=message):
        Study.of(networks, fashion[:4])

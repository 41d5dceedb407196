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
    assert study.roles == {"baseline": "plain", "subject": "adv"}
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
    trained = replace(study, networks=Networks.of(networks, **study.roles))
    assert trained.eps == eps
    assert trained.attack.keywords["eps"] == 0.1  # all networks are attacked alike


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
    assert turned.roles == {"baseline": "third", "subject": "plain"} and list(turned.models) == list(study.models)
    assert len(replace(study, saliency_limit=5).saliency_images) == 5

"""The study that a notebook's parameters describe: missing networks are trained once, and results are measured once."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from atviz import data, training
from atviz.app import pipeline
from atviz.evidence import Claim, compare_maps, compare_outcomes, findings
from atviz.notebook import Page, Settings, open_page, open_study, reruns, study_of
from atviz.papers import zhang_zhu_findings
from atviz.papers.itazuri import IMAGENET_MEAN
from atviz.training import loop

SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100}


@pytest.fixture(scope="module")
def study():
    found = study_of(Settings(**SMALL))
    assert list(found.models) == ["normal", "underfit", "pgd-inf-0.1"]
    assert (found.baseline, found.subject) == ("normal", "pgd-inf-0.1")
    return found


def test_a_second_study_trains_nothing_and_measures_nothing(study, monkeypatch):
    wanted = {"saturate": [4.0], "patch_shuffle": [2], "stylize": [1.0], "reverse": [1.0]}
    first = study.outcomes(wanted)
    scores, alike = study.saliency_scores(), study.saliency_similarities()
    study.robustness()
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = study_of(Settings(**SMALL))
    second = again.outcomes(wanted)
    again.robustness()
    for measure, values in again.saliency_scores().items():
        assert all(np.array_equal(v, scores[measure][name]) for name, v in values.items())
    assert all(np.array_equal(v, alike[measure]) for measure, v in again.saliency_similarities().items())
    assert again.store.computed == 0
    assert again.store.read > 0
    assert all((first.distorted[key] == second.distorted[key]).all() for key in first.distorted)


def test_a_network_answers_as_it_did_when_its_card_was_written(study):
    for name, network in study.networks.items():
        assert study.outcomes({}).clean[name].mean() == pytest.approx(network.card["metrics"]["clean"], abs=0.011)


def test_findings_are_paired_differences_of_the_named_networks(study, tmp_path):
    page = Page("demo", out=str(tmp_path))
    hit = {"normal": np.array([1, 1, 0, 0] * 25, bool), "underfit": np.ones(100, bool), "pgd-inf-0.1": np.array([1, 1, 1, 0] * 25, bool)}
    page.note(findings.of_shares(zhang_zhu_findings.CLAIMS["robust"], hit, **study.roles), None)
    said = page.conclude().data
    row = json.loads((tmp_path / "findings" / "demo.json").read_text())[0]
    assert (row["baseline"], row["underfit"], row["subject"], row["verdict"]) == (0.5, 1.0, 0.75, "agrees")
    assert row["difference"] == 0.25
    assert "50.0 % (normal) → 75.0 % (pgd-inf-0.1) (+25.0" in said


def test_findings_are_of_the_levels_that_a_paper_speaks_of(study):
    found = compare_outcomes(study, study.outcomes({"saturate": [4.0, 1024.0], "patch_shuffle": [2, 7]}))
    assert [(f.claim.measure, f.claim.level) for f in found] == [("saturate", 1024), ("patch_shuffle", 2)]
    maps = compare_maps(study)
    assert [f.claim.measure for f in maps] == [
        f"{prefix}{number}" for prefix in ("", "grad_") for number in ("sparsity", "edges", "coarse")
    ]
    assert {f.n for f in maps} == {len(study.saliency_images)}
    assert all(isinstance(f.claim, Claim) for f in found + maps)


def test_a_notebooks_variables_that_are_settings_make_its_study():
    parameters = {"profile": "smoke", "models": [], "seed": 3, "out": "somewhere", "levels": [1], "__name__": "__main__"}
    page = open_page("demo", parameters)
    assert (page.settings, page.name, page.out) == (Settings(profile="smoke", seed=3), "demo", "somewhere")
    for opened in (open_page, open_study):
        with pytest.raises(ValueError, match="did you mean 'quick'"):
            opened("demo", {"profile": "quik"})
    study, page = open_study("demo", {**SMALL, "models": [], "mean": [0.25]})
    assert (page.settings, study.mean) == (Settings(**SMALL), (0.25,))
    assert study.seed == 0 and study.scale.train_limit == 300


def test_colors_are_reversed_about_the_mean_of_the_training_images(study):
    train = data.load("fashion", limit=300)
    assert study.mean == (round(train.channel_stats()[0][0], 4),)
    zoo = study_of(Settings(profile="zoo", test_limit=20))
    assert zoo.mean == (round(zoo.networks["normal"].card["model"]["mean"][0], 4),)
    assert study_of(Settings(**SMALL), mean=[0.123456]).mean == (0.1235,)


def test_a_study_knows_the_other_seeds_that_have_been_trained(study):
    assert all(not other.others for other in study.others)
    trained = {other.networks["normal"].card["seed"] for other in study_of(Settings(**SMALL)).others}
    reruns({**SMALL, "models": ["normal", "pgd-inf-0.1"]}, [7])
    found = study_of(Settings(**SMALL)).others
    assert {other.networks["normal"].card["seed"] for other in found} == trained | {7}
    for other in found:  # the networks differ, and nothing else: the same images, distortions and styles
        assert list(other.networks) == ["normal", "pgd-inf-0.1"] and other.seed == study.seed
        assert other.networks["normal"].card["sha256"] != study.networks["normal"].card["sha256"]


def test_reruns_are_of_the_other_seeds(study):
    others = reruns({**SMALL, "models": ["normal", "pgd-inf-0.1"], "seed": 0}, [0, 1, 1])
    assert [other.seed for other in others] == [1]
    assert reruns(SMALL, []) == []
    (other,) = others
    assert list(other.models) == ["normal", "pgd-inf-0.1"]
    assert other.networks["normal"].card["seed"] == 1
    assert other.networks["normal"].card["sha256"] != study.networks["normal"].card["sha256"]


def test_the_attack_is_that_of_table_1_at_the_data_sets_eps(study):
    assert isinstance(study.attack, partial)
    assert study.attack.keywords == {"eps": 0.1, "step_size": 0.025, "steps": study.scale.eval_steps}


def bright(folder, split, names, n, shape):
    for label, name in enumerate(names):
        (folder / split / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(np.full((*shape, 3), 200 * label + i % 40, dtype=np.uint8)).save(folder / split / name / f"{i}.png")


def test_a_streamed_study_trains_and_reads_again(tmp_path):
    for split, n in (("train", 40), ("val", 20)):
        bright(tmp_path, split, "ab", n, (24, 20))
    settings = Settings(f"imagenet:{tmp_path}", "smoke", arch="small-w4", size=66, train_limit=64, test_limit=20, preset="itazuri")
    study = study_of(settings)
    assert isinstance(settings.images.train, data.Streamed)
    assert study.mean == tuple(round(v, 4) for v in IMAGENET_MEAN)
    first = study.robustness()
    x, y, titles = study.gallery(4)
    assert x.shape == (4, 3, 66, 66) and titles == [study.images.classes[i] for i in y]
    card = study.networks["fgsm-0.005"].card
    assert card["recipe"]["augment"] == "resized-crop-flip"
    assert card["model"]["image_size"] == 66 and card["data"]["train_digest"] == settings.images.train.digest
    again = study_of(settings)
    assert all((again.robustness()[name]["survived"] == row["survived"]).all() for name, row in first.items())
    assert again.store.computed == 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Tiny ImageNet's layout: two classes, bright above and bright below, 16 pixels, 20 + 6 images of each."""
    root, draw, rows = tmp_path_factory.mktemp("sets") / "tiny-imagenet-200", np.random.default_rng(0), []
    for c, wnid in enumerate(["n01", "n02"]):
        for i in range(26):
            pixels = draw.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[8 * c : 8 * c + 8] += 120
            name = f"{wnid}_{i}.JPEG"
            path = root / "train" / wnid / "images" / name if i < 20 else root / "val" / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            rows += [f"{name}\t{wnid}\t0\t0\t15\t15\n"] if i >= 20 else []
    (root / "wnids.txt").write_text("n01\nn02\n")
    (root / "words.txt").write_text("n01\tup\nn02\tdown\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    return root


@pytest.mark.filterwarnings("ignore::atviz.training.CatastrophicOverfitting")  # an epoch of 40 images decides nothing
def test_images_that_are_enlarged_train_and_are_measured_at_their_side(tiny):
    settings = Settings(dataset=f"tiny-imagenet:{tiny}", profile="smoke", size=24)
    study = study_of(settings)
    assert settings.images.test.x.shape[2:] == (16, 16)
    result = study.outcomes({"patch_shuffle": [3]})  # 3 divides 24 and not 16
    assert len(result.clean["normal"]) == 12
    study.robustness()
    assert study.gallery(2)[0].shape == (2, 3, 24, 24)
    assert study.networks["normal"].card["model"]["image_size"] == 24
    assert pipeline.default_name(settings).startswith("smoke-tiny-imagenet-")


def test_a_spatial_network_is_described_in_the_table_of_cards():
    study = study_of(Settings(**SMALL, models=("normal", "spatial")))
    assert study.subject == "spatial"
    assert "spatial, 1 steps" in training.card_table(study.networks)["trained on"].tolist()

"""Findings with their rivals: each rival is the measurement that it names."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from atviz import distortions, evidence
from atviz.data import Images
from atviz.evidence import Store, Study, compare_maps, compare_outcomes, find, findings, mean_interval, saliency_scores
from atviz.evidence.compare import _untrained, by_method
from atviz.evidence.instruments import MAPS, named
from atviz.models import Network, Networks
from atviz.training import profile


def study_of(images, store, **modules):
    """A study whose first network is the baseline and whose last is the subject."""
    cards = {name: {"trained": "normally"} for name in modules} | {[*modules][-1]: {"trained": "adversarially"}}
    networks = [Network(name, module, images.classes, tuple(images.shape), cards[name]) for name, module in modules.items()]
    scale = replace(profile("smoke"), saliency_images=12)
    roles = {"baseline": networks[0].name, "subject": networks[-1].name}
    return Study(Networks.of(networks, **roles), images, store, scale=scale)


@pytest.fixture
def study(trained, other, fashion, tmp_path):
    return study_of(fashion[:80], Store(tmp_path), plain=trained, underfit=other, adv=other)


class Brighter(nn.Module):
    """Answers with class 1 for an image whose mean is above a threshold: all that it knows is brightness."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, x):
        score = (x.mean((1, 2, 3)) - self.threshold) * 50
        return torch.stack([-score, score], 1)


class Left(nn.Module):
    """Answers with class 1 for an image that is brighter on the right: a shift of brightness changes nothing."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(50.0))

    def forward(self, x):
        score = (x[..., 4:].mean((1, 2, 3)) - x[..., :4].mean((1, 2, 3))) * self.gain
        return torch.stack([-score, score], 1)


@pytest.fixture
def halves():
    """Images that are dark at the left and bright at the right, or all dark: both networks above classify them."""
    x = torch.randint(0, 20, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    y = torch.arange(60) % 2
    x[y == 1, :, :, 4:] += 200
    x[y == 0, :, :, :4] += 25
    return Images(x, y, ["dark", "half bright"], "halves")


def rivals(finding):
    return {rival.name: rival for rival in finding.rivals}


def test_a_finding_that_brightness_gives_is_found_out(halves, tmp_path):
    study = study_of(halves, Store(tmp_path), brightness=Brighter(0.2), place=Left())
    (found,) = (
        f
        for f in compare_outcomes(study, study.outcomes({"high_pass": [2.0, 4.0], "high_pass_dark": [4.0]}))
        if f.claim.measure == "high_pass"
    )
    assert rivals(found)["brightness"].value == pytest.approx(0)  # the finding's filter keeps the mean
    dark = findings.of_accuracy(found.claim, *_outcomes(study, "high_pass_dark", 4.0), **study.roles)
    assert rivals(found)["removed mean"].value == dark.difference
    # a distortion that lowers nothing but the brightness: saturating these images to level 1024 blackens them
    (shown,) = compare_outcomes(study, study.outcomes({"stylize": [0.0, 1.0]}))
    assert rivals(shown).keys() == set(shown.claim.rivals)


def _outcomes(study, measure, level):
    results = study.outcomes({measure: [level]})
    return results.clean, {name: results.distorted[name, measure, level] for name in study.networks}


@pytest.mark.parametrize(
    ("name", "part"),
    [("brightness", distortions.brightness_alone), ("contrast", distortions.contrast_alone),
     ("ball", lambda x, d: distortions.within_ball(x, d, 0.1))],
)  # fmt: skip
@pytest.mark.parametrize(("measure", "level"), [("saturate", 1024.0), ("gaussian_blur", 2.0), ("median_filter", 5.0)])
def test_a_part_of_a_distortion_is_measured_alone_in_the_claims_unit(study, name, part, measure, level):
    (found,) = compare_outcomes(study, study.outcomes({measure: [level]}))
    own = study.outcomes({"mine": {1.0: lambda x: part(x, find(measure).at(level)(x))}})
    hit = {n: own.distorted[n, "mine", 1.0] for n in study.networks}
    expected = findings.of_accuracy(found.claim, own.clean, hit, **study.roles)
    rival = rivals(found)[name]
    assert (rival.kind, rival.value, rival.ci_low) == ("alone", expected.difference, expected.ci_low)


def test_the_underfit_network_takes_the_subjects_place(study):
    (found,) = compare_outcomes(study, study.outcomes({"saturate": [1024.0]}))
    assert rivals(found)["underfit"].value == found.difference  # here it is the same network
    alone = replace(study, networks=study.pair.networks)
    (found,) = compare_outcomes(alone, alone.outcomes({"saturate": [1024.0]}))
    assert rivals(found)["underfit"].kind == "unmeasured" and "no underfit network" in rivals(found)["underfit"].note


def test_another_comparison_than_the_papers_stands_without_a_verdict(study):
    networks = [replace(network, card={}) for network in study.networks.values()]
    other = replace(study, networks=Networks.of(networks, baseline=study.baseline, subject=study.subject))
    (judged,), (found,) = (compare_outcomes(s, s.outcomes({"saturate": [4.0, 1024.0]})) for s in (study, other))
    assert (found.verdict, found.judged, found.doubts) == ("not judged", "not judged", []) and judged.verdict != "not judged"
    assert (found.difference, found.ci_low, found.ci_high) == (judged.difference, judged.ci_low, judged.ci_high)
    assert rivals(found)["levels"].agree == rivals(judged)["levels"].agree
    assert "report" not in found.clause and findings.sentence([found, found]).endswith(
        "this comparison is another one, and gets no verdict."
    )


def test_a_network_that_is_alone_has_no_findings(study):
    one = study.only(["adv"])
    assert compare_outcomes(one, one.outcomes({"saturate": [1024.0]})) == compare_maps(one) == []
    assert by_method(one, "sparsity") == {}


def test_guessing_is_what_is_left_when_predictions_change_places(halves, tmp_path):
    constant = Brighter(-1.0)  # always class 1: half of the images are right, all of class 1
    study = study_of(halves, Store(tmp_path), plain=Left(), constant=constant)
    (found,) = compare_outcomes(study, study.outcomes({"saturate": [1024.0]}))
    # of the images that it classifies correctly, all of class 1, guessing class 1 gets all right; the other one guesses half of both
    assert rivals(found)["guessing"].value == pytest.approx(1 - 0.5)
    one = study_of(halves, Store(tmp_path), a=constant, b=Brighter(-1.0))
    (found,) = compare_outcomes(one, one.outcomes({"patch_shuffle": [2]}))
    assert rivals(found)["guessing"].note == "both networks are within 5 points of guessing"


@pytest.mark.parametrize(("measure", "level"), [("median_filter", 5.0), ("reverse", 1.0), ("saturate", 1024.0)])
def test_guessing_is_in_the_unit_of_the_claim(study, measure, level):
    (found,) = compare_outcomes(study, study.outcomes({measure: [level]}))
    y, clean = study.images.y.numpy(), study.outcomes({}).clean
    values = {}
    for name in ("plain", "adv"):
        counted = clean[name] if found.claim.unit == "accuracy on correct" else np.ones(len(y), bool)
        answers = evidence.likeliest({name: study.models[name]}, study.images, None, measure, level)[name][counted, 0]
        right = np.mean(answers[:, None] == y[counted][None])  # every answer with every label
        values[name] = clean[name].mean() - right if found.claim.unit == "drop of top-1 accuracy" else right
    assert rivals(found)["guessing"].value == pytest.approx(values["adv"] - values["plain"])


def test_levels_are_those_on_the_claims_side_of_the_original(study):
    results = study.outcomes({"saturate": [0.25, 1.0, 2.0, 4.0, 64.0, 1024.0]})
    below, above = sorted(compare_outcomes(study, results), key=lambda f: f.claim.level)
    assert (rivals(below)["levels"].of, rivals(above)["levels"].of) == (2, 3)
    differences = evidence.differences(results, "adv", "plain").set_index("level").difference
    assert (rivals(above)["levels"].ci_low, rivals(above)["levels"].ci_high) == (differences.loc[4:].min(), differences.loc[4:].max())
    (single,) = compare_outcomes(study, study.outcomes({"saturate": [1024.0]}))
    assert rivals(single)["levels"].note == "this is the only level"


def test_a_style_is_measured_against_the_decoder_alone(study):
    (found,) = compare_outcomes(study, study.outcomes({"stylize": [0.0, 0.5, 1.0]}))
    results = study.outcomes({"stylize": [0.0, 1.0]})
    given = {n: results.clean[n] & results.distorted[n, "stylize", 0.0] for n in study.networks}
    hit = {n: results.distorted[n, "stylize", 1.0] for n in study.networks}
    assert found.difference == findings.of_shares(found.claim, hit, given=given, **study.roles).difference
    assert found.claim.label == "accuracy on correct at α = 0, stylized"
    decoder = evidence.differences(results, "adv", "plain").set_index("level").difference[0.0]
    assert (rivals(found)["decoder"].kind, rivals(found)["decoder"].value) == ("aside", decoder)
    (same,) = compare_outcomes(study, study.outcomes({"stylize": [1.0]}))  # α = 0 is measured where it was not asked for
    assert same.difference == found.difference


def test_seeds_give_a_t_interval_over_trainings(study, linear):
    (found,) = compare_outcomes(study, study.outcomes({"saturate": [1024.0]}))
    assert rivals(found)["seeds"].note == "one training of each network"
    others = [
        replace(study, networks=study_of(study.images, None, plain=linear(1, 28, 10, seed=s), adv=linear(1, 28, 10, seed=s + 5)).networks)
        for s in (1, 2)
    ]
    (found,) = compare_outcomes(replace(study, others=others), study.outcomes({"saturate": [1024.0]}))
    each = [evidence.differences(s.outcomes({"saturate": [1024.0]}), "adv", "plain").difference[0] for s in (study, *others)]
    seeds = rivals(found)["seeds"]
    assert (seeds.value, seeds.ci_low, seeds.ci_high, seeds.of) == (*mean_interval(np.array(each)), 3)


def test_findings_of_maps_are_of_smooth_grad_and_of_grad(study):
    found = {f.claim.measure: f for f in compare_maps(study)}
    assert list(found) == ["sparsity", "edges", "coarse", "grad_sparsity", "grad_edges", "grad_coarse"]
    for method, measure in (("SmoothGrad", "edges"), ("Grad", "grad_edges")):
        scores = {n: saliency_scores(m, study.saliency_images, method=method, copies=4) for n, m in study.models.items()}
        assert found[measure].difference == pytest.approx((scores["adv"]["edges"] - scores["plain"]["edges"]).mean())
        blank = rivals(found[measure])["blank ground"]
        assert blank.value == pytest.approx((scores["adv"]["edges_object"] - scores["plain"]["edges_object"]).mean())
        assert blank.kind == "instead"
    assert rivals(found["coarse"])["untrained"].kind == "alone"
    flat = replace(study, networks=Networks.of([Network(n, nn.Flatten(), [], None) for n in "ab"], baseline="a", subject="b"))
    row = named(MAPS)["sparsity"]
    assert _untrained(flat, row, next(iter(row.claims.values()))).note == "Flatten has no layers to draw anew"
    assert rivals(found["sparsity"])["methods"].of == len(by_method(study, "sparsity")) > 5


def test_a_method_that_is_wrong_on_a_network_is_left_out(study, monkeypatch):
    kept = by_method(study, "sparsity", ("Grad", "Vanilla"))
    assert kept.keys() == {"Grad", "Vanilla"}
    scores = {n: saliency_scores(m, study.saliency_images, method="Vanilla") for n, m in study.pair.models.items()}
    assert kept["Vanilla"] == mean_interval(scores["adv"]["sparsity"] - scores["plain"]["sparsity"])

    def refused(self, method="SmoothGrad"):
        raise ValueError("captum has no rule for this layer")

    monkeypatch.setattr(Study, "saliency_scores", refused)
    assert by_method(study, "sparsity", ("DeepLift",)) == {}

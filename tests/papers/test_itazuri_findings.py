"""The claims of Itazuri et al. that are not of one instrument: values, intervals and rivals against numbers made by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from atviz import saliency
from atviz.evidence import LIKENESS, Transferred, layer_features, mean_interval, unpaired_difference
from atviz.papers import itazuri_findings as it
from atviz.training import untrained

ASKED = {"filters": 4, "shown": 1, "steps": 2, "seed": 0, "shape": (1, 28, 28)}


def rivals(finding):
    return {rival.name: rival for rival in finding.rivals}


def numbers(thing):
    value = thing.difference if hasattr(thing, "difference") else thing.value
    return value, thing.ci_low, thing.ci_high


def welch(a, b):
    """The difference of two means with Welch's interval, from the textbook."""
    u, v = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    df = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
    value, half = a.mean() - b.mean(), stats.t.ppf(0.975, df) * np.sqrt(u + v)
    return value, value - half, value + half


# layer_findings


@pytest.fixture(scope="module")
def trio(study_of):
    return study_of()


@pytest.fixture(scope="module")
def asked(trio):
    return ASKED | {"store": trio.store}


def norms(study):
    return {kind: it.first_layers(study.models, effective=kind == "effective", shape=study.images.shape) for kind in ("norm", "effective")}


@pytest.fixture(scope="module")
def features(trio, asked):
    networks = {**trio.models, "untrained": untrained(trio.networks.baseline, 1)}
    return {name: layer_features(model, **asked) for name, model in networks.items()}


def deep(layers):
    centroids = [layer.centroids for layer in layers.values()]
    assert len(centroids) == 9
    return np.concatenate(centroids[4:])


def first_filters(model):
    """The first convolution's filters, and those with the scale that batch normalization gives them: (K, C · h · w) each."""
    name = saliency.convolutions(model, shape=(1, 28, 28))[0]
    convolution, bn = model.get_submodule(name), model.get_submodule(name.replace("conv", "bn"))
    weight = convolution.weight.detach().flatten(1).double()
    gain = bn.weight.detach().double() / (bn.running_var.double() + bn.eps).sqrt()
    return weight.numpy(), (weight * gain[:, None]).numpy()


def test_norms_are_of_the_first_filters(trio):
    found = norms(trio)
    for name, model in trio.models.items():
        for kind, filters in zip(("norm", "effective"), first_filters(model), strict=True):
            assert found[kind][name] == pytest.approx(np.sqrt((filters**2).sum(1)), rel=1e-5)
        assert not np.allclose(found["norm"][name], found["effective"][name], rtol=0.01)


def test_layer_findings_are_welchs_over_filters(trio, features, asked):
    known = norms(trio)
    norm, centroid = it.layer_findings(trio, known, features, **asked)
    cases = {
        norm: {name: known["norm"][name] for name in trio.models},
        centroid: {name: deep(features[name]) for name in features},
    }
    for finding, values in cases.items():
        adv, normal, underfit = (values[name] for name in (trio.subject, "normal", "underfit"))
        assert numbers(finding) == pytest.approx(welch(adv, normal), rel=1e-6)
        assert (finding.baseline, finding.underfit, finding.subject) == pytest.approx((normal.mean(), underfit.mean(), adv.mean()))
        assert (finding.n, finding.unit, finding.percent) == (len(adv), "filters", False)
        rival = rivals(finding)["underfit"]
        assert numbers(rival) == pytest.approx(welch(underfit, normal), rel=1e-6) and rival.kind == "alone"
        assert rivals(finding)["seeds"].kind == "unmeasured"
    batch_norm, drawn = rivals(norm)["batch norm"], rivals(centroid)["untrained"]
    assert numbers(batch_norm) == pytest.approx(welch(known["effective"][trio.subject], known["effective"]["normal"]), rel=1e-6)
    assert batch_norm.kind == "instead"
    assert numbers(drawn) == pytest.approx(welch(deep(features["untrained"]), deep(features["normal"])), rel=1e-6) and drawn.kind == "alone"
    assert tuple(rivals(norm)) == it.CLAIMS["first_layer_norm"].rivals and tuple(rivals(centroid)) == it.CLAIMS["centroid"].rivals


def test_networks_that_are_not_there_are_unmeasured_rivals(trio, features, asked):
    pair = trio.pair
    found = it.layer_findings(pair, norms(pair), {name: features[name] for name in pair.models}, **asked)
    assert [finding.underfit for finding in found] == [None, None]
    assert [rivals(finding)["underfit"].note for finding in found] == ["there is no underfit network"] * 2
    assert rivals(found[1])["untrained"].note == "there is no untrained network"


def test_seeds_of_the_layers_are_measured_as_asked(trio, features, asked, study_of):
    other = study_of(seed=1)
    found = it.layer_findings(replace(trio, others=[other]), norms(trio), features, **asked)
    again = norms(other)["norm"]
    centroids = {name: deep(layer_features(other.models[name], **asked)) for name in (other.subject, "normal")}
    for finding, values in zip(found, (again, centroids), strict=True):
        each = np.array([finding.difference, values[other.subject].mean() - values["normal"].mean()])
        assert numbers(rivals(finding)["seeds"]) == pytest.approx(mean_interval(each)) and rivals(finding)["seeds"].of == 2


# guided_finding


def test_guided_backprop_is_held_against_one_half():
    drawn = np.random.default_rng(0).uniform(0, 1, (20, 3)) * [0.2, 0.4, 1] + [0.1, 0.5, 0]
    found = it.guided_finding(drawn)
    assert LIKENESS[:2] == ("rank", "signed")
    for thing, column in ((found, drawn[:, 0]), (rivals(found)["signs"], drawn[:, 1])):
        low, high = stats.t.interval(0.95, 19, column.mean() - 0.5, stats.sem(column))
        assert numbers(thing) == pytest.approx((column.mean() - 0.5, low, high))
    assert (found.baseline, found.subject) == (0.5, pytest.approx(drawn[:, 0].mean()))
    assert (found.n, found.unit, found.verdict, rivals(found)["signs"].kind) == (20, "draws of weights", "agrees", "instead")
    assert found.doubts and found.doubts[0].startswith("by the signed values it is +")
    assert it.guided_finding(drawn[:, [1, 0, 2]]).verdict == "disagrees"


# transfer_findings


def outcomes(seed=0, images=200, runs=3, **shares):
    draw = np.random.default_rng(seed)
    return {name.replace("_", "+"): draw.random((runs, images)) < share for name, share in shares.items()}


def curves(**accuracies):
    """``model=[accuracy by epoch]``: two runs, one 0.01 below and one 0.01 above."""
    return pd.DataFrame(
        [
            {"model": name.replace("_", "+"), "run": run, "epoch": epoch + 1, "loss": 1.0, "clean": value + side}
            for name, values in accuracies.items()
            for run, side in enumerate((-0.01, 0.01))
            for epoch, value in enumerate(values)
        ]
    )


SHARES = {"STD": 0.5, "ADV": 0.7, "STD_STD": 0.6, "ADV_ADV": 0.8, "STD_ADV": 0.75}
RISING = {"STD": [0.1, 0.2, 0.3, 0.5], "ADV": [0.1, 0.4, 0.65, 0.7]}


@pytest.fixture
def tuned():
    return Transferred(outcomes(**SHARES), curves(**RISING))


def test_the_mixed_pair_is_held_against_the_better_pair(tuned):
    fusion, _ = it.transfer_findings(tuned, 28, "fashion-odd")
    mixed, std, adv = (tuned.outcomes[name].mean(0) for name in ("STD+ADV", "STD+STD", "ADV+ADV"))
    assert numbers(fusion) == mean_interval(mixed - adv) and (fusion.baseline, fusion.subject) == pytest.approx((adv.mean(), mixed.mean()))
    assert (fusion.names, fusion.n, fusion.images) == (("ADV+ADV", "STD+ADV"), 200, "fine-tuned on fashion-odd, 10_ensemble_transfer")
    chosen = rivals(fusion)["chosen pair"]
    assert numbers(chosen) == pytest.approx(mean_interval(mixed - (std + adv) / 2)) and chosen.kind == "instead"
    assert rivals(fusion)["seeds"].kind == "unmeasured"
    swapped = Transferred(outcomes(**SHARES | {"STD_STD": 0.9}), tuned.curves)
    assert it.transfer_findings(swapped, 28, "t")[0].names == ("STD+STD", "STD+ADV")


def test_one_network_is_held_against_the_other(tuned):
    _, single = it.transfer_findings(tuned, 28, "fashion-odd")
    assert numbers(single) == mean_interval(tuned.outcomes["ADV"].mean(0) - tuned.outcomes["STD"].mean(0))
    assert (single.names, single.verdict, single.images) == (("STD", "ADV"), "agrees", "fine-tuned on fashion-odd, 10_ensemble_transfer")
    assert tuple(rivals(single)) == ("unfinished", "seeds")


@pytest.mark.parametrize(
    ("side", "expected", "words"), [(28, "higher", "low"), (64, "higher", "low"), (65, "lower", "high"), (224, "lower", "high")]
)
def test_above_64_pixels_the_paper_expects_the_normal_network_to_be_better(tuned, side, expected, words):
    fusion, single = it.transfer_findings(tuned, side, "t")
    assert single.claim.expected == expected and f"of {words} resolution" in single.claim.label
    assert single.verdict == ("agrees" if expected == "higher" else "disagrees")
    assert fusion.claim == it.CLAIMS["fusion"] and it.CLAIMS["single"].expected == "higher"


@pytest.mark.parametrize(
    ("std", "adv", "value"),
    [([0.1, 0.2, 0.3, 0.5], [0.1, 0.4, 0.65, 0.7], 0.2 - 0.05), ([0.1, 0.2, 0.3, 0.3], [0.1, 0.2, 0.3, 0.6], -0.3),
     ([0, 0, 0, 0, 0, 0.3, 0.5, 0.6], [0, 0, 0, 0, 0, 0.5, 0.5, 0.6], 0.3 - 0.1), ([0, 0.3, 0.4, 0.5, 0.7], [0, 0.3, 0.6, 0.6, 0.6], 0.2)],
)  # fmt: skip
def test_unfinished_is_what_std_gained_more_than_adv_in_the_last_quarter(std, adv, value):
    """Positive where STD still catches up: so much of a lead of ADV a longer training may take away."""
    found = Transferred(outcomes(**SHARES), curves(STD=std, ADV=adv))
    rival = rivals(it.transfer_findings(found, 28, "t")[1])["unfinished"]
    assert rival.value == pytest.approx(value) and rival.kind == "alone"


def test_fewer_than_four_epochs_are_no_quarter():
    found = Transferred(outcomes(**SHARES), curves(STD=[0.1, 0.2, 0.3], ADV=[0.1, 0.2, 0.3]))
    rival = rivals(it.transfer_findings(found, 28, "t")[1])["unfinished"]
    assert (rival.kind, rival.note) == ("unmeasured", "there are fewer than four epochs")


def test_unpaired_difference_is_the_textbooks():
    a, b = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.7, 0.2, 0.1])
    assert unpaired_difference(a, b) == pytest.approx(welch(a, b))

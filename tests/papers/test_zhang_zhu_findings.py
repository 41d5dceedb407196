"""The claims of Zhang & Zhu that are not of one instrument: values, intervals and rivals against numbers made by hand."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from atviz import attacks, evidence, models, saliency
from atviz.data import WORLDS, shapetex
from atviz.evidence import (
    Outcomes,
    Store,
    Study,
    crossed,
    mean_interval,
    paired_difference,
    rank_interval,
    robust_accuracy,
    unpaired_difference,
)
from atviz.models import Networks
from atviz.papers import zhang_zhu_findings as zz


@pytest.fixture(scope="module")
def study(study_of):
    """Networks that are trained for a moment; the subject is the PGD-trained one."""
    found = study_of(models=("normal", "underfit", "pgd-inf-0.1", "spatial"))
    return found.with_roles("normal", "pgd-inf-0.1")


def rivals(finding):
    return {rival.name: rival for rival in finding.rivals}


def numbers(thing):
    value = thing.difference if hasattr(thing, "difference") else thing.value
    return value, thing.ci_low, thing.ci_high


def hits(study, shown):
    """Which images each network classifies correctly as they are ``shown``: by hand."""
    with torch.no_grad():
        return {name: (model(shown).argmax(1) == study.images.y).numpy() for name, model in study.models.items()}


def pixels(study):
    return study.images.x.float() / 255


# accuracy_findings


def test_accuracies_are_shares_of_the_images_with_paired_intervals(study):
    clean, robust = zz.accuracy_findings(study)
    survived = {name: row["survived"] for name, row in study.robustness().items()}
    for finding, hit in ((clean, hits(study, pixels(study))), (robust, survived)):
        assert (finding.baseline, finding.underfit, finding.subject) == tuple(
            hit[name].mean() for name in ("normal", "underfit", "pgd-inf-0.1")
        )
        assert numbers(finding) == paired_difference(hit["pgd-inf-0.1"], hit["normal"])
        assert finding.n == 100 and finding.percent
        assert rivals(finding).keys() == set(finding.claim.rivals)
    assert numbers(rivals(robust)["underfit"]) == paired_difference(survived["underfit"], survived["normal"])
    assert rivals(robust)["underfit"].kind == "alone"
    assert (clean.claim.expected, robust.claim.expected) == ("lower", "higher")


def test_without_an_underfit_network_that_rival_is_unmeasured(study):
    _, robust = zz.accuracy_findings(study.pair)
    assert rivals(robust)["underfit"].note == "there is no underfit network"


def with_history(study, accuracies):
    card = {"history": [{"epoch": i + 1, "clean": value} for i, value in enumerate(accuracies)]}
    changed = [replace(n, card=card) if n.name == study.subject else n for n in study.networks.values()]
    return replace(study, networks=Networks.of(changed, baseline=study.baseline, subject=study.subject))


@pytest.mark.parametrize(
    ("accuracies", "value"),
    [([0.1, 0.2, 0.5, 0.7], -0.2), ([0.1, 0.2, 0.5, 0.4], 0.1), ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.75], -0.15),
     ([0.9, 0.1, 0.2, 0.3, 0.4], -0.1)],
)  # fmt: skip
def test_unfinished_training_is_what_the_last_quarter_of_the_epochs_gained(study, accuracies, value):
    """Negative where the accuracy still rises: of a loss of accuracy, this much more training would take away."""
    clean, _ = zz.accuracy_findings(with_history(study, accuracies))
    assert rivals(clean)["unfinished"].value == pytest.approx(value)
    assert rivals(clean)["unfinished"].kind == "alone"


@pytest.mark.parametrize("accuracies", [[], [0.1], [0.1, 0.2, 0.3]])
def test_fewer_than_four_epochs_have_no_last_quarter(study, accuracies):
    clean, _ = zz.accuracy_findings(with_history(study, accuracies))
    assert rivals(clean)["unfinished"].kind == "unmeasured"


def test_seeds_are_trainings_with_a_t_interval(made_of, linear, fashion, tmp_path):
    runs = [
        made_of(fashion[:100], Store(tmp_path), plain=linear(1, 28, 10, seed=s), adv=linear(1, 28, 10, seed=s + 10, scale=0.3))
        for s in range(3)
    ]
    clean, robust = zz.accuracy_findings(replace(runs[0], others=runs[1:]))
    gains = [{kind: row[kind] for kind in ("clean", "robust")} for run in runs for row in run.robustness().values()]
    for kind, finding in (("clean", clean), ("robust", robust)):
        each = np.array([adv[kind] - plain[kind] for plain, adv in zip(gains[::2], gains[1::2], strict=True)])
        seeds = rivals(finding)["seeds"]
        assert numbers(seeds) == pytest.approx(mean_interval(each)) and (seeds.of, seeds.kind) == (3, "seeds")
        assert finding.difference == pytest.approx(each[0])
    alone, _ = zz.accuracy_findings(runs[0])
    assert rivals(alone)["seeds"].kind == "unmeasured"


def test_noise_is_of_the_image_and_of_the_seed_alone():
    x = torch.rand(12, 3, 9, 7)
    noise = zz.Noise(0.1, 3)
    shown = noise(x)
    assert torch.equal(torch.cat([noise(part) for part in x.split(5)]), shown)
    assert torch.equal(noise(x.flip(0)).flip(0), shown)
    assert (shown - x).abs().max() <= 0.1 + 1e-6 and 0 <= shown.min() and shown.max() <= 1
    assert not torch.equal(zz.Noise(0.1, 4)(x), shown)
    assert len({zz.Noise(eps, seed).key for eps in (0.1, 0.2) for seed in (3, 4)}) == 4
    change = noise(torch.full((2, 1, 5, 5), 0.5) + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1)) - 0.5
    assert (change[0] - (change[1] - 0.1)).abs().max() > 0.05  # two images have two noises


def test_noise_is_uniform():
    gray = 0.3 + 0.4 * torch.rand(4, 1, 100, 100)  # nothing is clipped
    change = (zz.Noise(0.1, 0)(gray) - gray).flatten().numpy()
    counts, _ = np.histogram(change, bins=10, range=(-0.1, 0.1))
    assert counts.sum() == len(change) and (abs(counts / 4000 - 1) < 0.08).all()


def test_the_rival_noise_is_the_difference_under_noise(made_of, trained, linear, fashion, tmp_path):
    study = made_of(fashion[:100], Store(tmp_path), plain=trained, adv=linear(1, 28, 10))
    _, robust = zz.accuracy_findings(study)
    hit = hits(study, zz.Noise(0.1, 0)(pixels(study)))
    assert numbers(rivals(robust)["noise"]) == paired_difference(hit["adv"], hit["plain"])
    assert rivals(robust)["noise"].kind == "alone"
    before = study.store.computed
    zz.accuracy_findings(study)
    assert study.store.computed == before  # all of it is kept
    zz.accuracy_findings(replace(study, seed=1))
    assert study.store.computed == before + 2  # another seed's noise, for both networks


class Rounded(nn.Module):
    """The network behind a rounding to 256 levels, which changes no test image, and whose gradient is zero."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x * 255).round() / 255)


def test_a_hidden_gradient_is_found_out(made_of, trained, fashion, tmp_path):
    study = made_of(fashion[:100], Store(tmp_path), plain=trained, hidden=Rounded(trained))
    with pytest.warns(UserWarning, match="the gradient of 64 of 64 images is exactly zero"):
        _, robust = zz.accuracy_findings(study)
    own, hidden = study.robustness()["hidden"]["robust"], rivals(robust)["hidden gradient"]
    assert own == hits(study, pixels(study))["hidden"].mean()  # the attack did nothing
    assert robust.difference > 0.4 and abs(hidden.value) < 0.1 and hidden.kind == "instead"
    with torch.enable_grad():
        x_adv = study.attack(trained, pixels(study), study.images.y)
    assert hidden.value + robust.baseline == pytest.approx(hits(study, x_adv)["hidden"].mean(), abs=0.03)
    assert (
        hidden.note
        == f"with its own gradient {100 * own:.1f} % survive, with the baseline's {100 * (hidden.value + robust.baseline):.1f} %"
    )
    assert any(doubt.startswith("with the baseline's gradient it is ") for doubt in robust.doubts)


def test_a_gradient_that_shows_fools_the_network_more_than_anothers(made_of, trained, linear, fashion, tmp_path):
    study = made_of(fashion[:100], Store(tmp_path), plain=linear(1, 28, 10), shown=trained)
    _, robust = zz.accuracy_findings(study)
    assert rivals(robust)["hidden gradient"].value > robust.difference


def test_through_attacks_with_the_other_networks_gradient(trained, linear, fashion, tmp_path):
    other, (x, y) = linear(1, 28, 10), next(fashion[:40].batches(40))
    pgd = partial(attacks.pgd, eps=0.1, step_size=0.025, steps=3)
    attack = zz.Through(other, pgd)
    assert torch.equal(attack(trained, x, y), pgd(other, x, y)) and not torch.equal(attack(trained, x, y), pgd(trained, x, y))
    keys = [
        attack.key,
        zz.Through(trained, pgd).key,
        zz.Through(other, partial(pgd, steps=4)).key,
        zz.Through(other, partial(pgd, eps=0.2)).key,
    ]
    assert all(keys.count(key) == 1 for key in keys)
    store = Store(tmp_path)
    for _ in range(2):  # each is measured once
        for network in (other, trained):
            robust_accuracy(trained, fashion[:40], attack=zz.Through(network, pgd), store=store)
    robust_accuracy(trained, fashion[:40], attack=pgd, store=store)
    assert store.computed == 4  # the two, the attack itself, and the clean images


# shape_bias_finding


class Says(nn.Module):
    """Answers each of the images that it knows with a label of its own."""

    def __init__(self, *known):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answers = {x.numpy().tobytes(): label for images, labels in known for x, label in zip(images.x, labels, strict=True)}

    def forward(self, x):
        found = torch.stack([self.answers[image.numpy().tobytes()] for image in (x * 255).round().byte()])
        return nn.functional.one_hot(found, 8).float() + 0 * self.weight


N, SIDE = 40, 16
DRAWN = shapetex(N, cue="conflict", seed=5, size=SIDE)
FAINT = shapetex(N, cue="conflict", seed=1, size=SIDE, step=zz.STEP)
AGREEING = shapetex(N, cue="both", seed=1, size=SIDE, step=zz.STEP)


def decided(drawn, shape, texture):
    """Labels: of the first images the shape's, of the last the texture's, and between them of neither."""
    place = torch.arange(N)
    neither = torch.tensor([min({0, 1, 2} - {int(s), int(t)}) for s, t in zip(drawn.shape, drawn.texture, strict=True)])
    return torch.where(place < shape, drawn.shape, torch.where(place >= N - texture, drawn.texture, neither))


def says(shape, texture, *, faint=(20, 20), agreeing=N):
    """A network that decides so many conflicts by shape and by texture, others where the cues are as large, and knows ``agreeing`` images."""
    return Says(
        (DRAWN.images, decided(DRAWN, shape, texture)),
        (FAINT.images, decided(FAINT, *faint)),
        (AGREEING.images, decided(AGREEING, agreeing, 0)),
    )


@pytest.fixture(autouse=True)
def other_worlds(monkeypatch):
    """No rows of other worlds, unless a test puts some there."""
    found = [pd.DataFrame()]
    monkeypatch.setattr("atviz.evidence.crossed.rows", lambda table: found[0])
    return found


def shape_bias(**networks):
    return zz.shape_bias_finding(networks, DRAWN, baseline="normal", subject="adv")


def test_the_shape_bias_is_of_the_images_that_a_cue_decides():
    found = shape_bias(normal=[says(10, 30)], adv=[says(24, 8)], other=[says(0, 40)])
    assert (found.baseline, found.subject, found.difference) == (0.25, 0.75, 0.5)
    place = np.arange(N)
    expected = paired_difference(place < 24, place < 10, given_a=(place < 24) | (place >= 32), given_b=place >= 0)
    assert numbers(found) == expected and found.n == N
    assert (found.images, found.verdict) == ("drawn images, 00_controls", "agrees")
    assert rivals(found).keys() == {"larger cue", "worlds", "seeds"}
    assert (rivals(found)["seeds"].kind, rivals(found)["seeds"].note) == ("unmeasured", "one training of each network")


def test_the_larger_cue_is_taken_away():
    found = shape_bias(normal=[says(10, 30, faint=(16, 24))], adv=[says(30, 10, faint=(8, 32), agreeing=30)])
    rival, place = rivals(found)["larger cue"], np.arange(N)
    assert rival.kind == "instead" and numbers(rival) == paired_difference(place < 8, place < 16)
    assert rival.value == pytest.approx(-0.2) and rival.note == "at that step the subject classifies 75 % of the images whose cues agree"
    assert found.doubts == [f"{rival.words} it is {rival.number(percent=True)}"]
    assert torch.equal(FAINT.mask, shapetex(N, cue="conflict", seed=1, size=SIDE).mask)  # the same images in other colors


@pytest.mark.parametrize("agreeing", [1, 4])
def test_other_worlds_count_where_training_moves_to_shape(agreeing, other_worlds):
    worlds = [name for name in WORLDS if name != "inside"]
    rows = [
        vars(crossed.Cell(world, norm=norm, eps=eps, seed=seed)) | {"clean": 0.9, "robust": 0.5, "n": 100, "shape": share, "texture": 1 - share, "neither": 0.0}
        for i, world in enumerate([*worlds, "inside"])
        for seed in range(3)
        for norm, eps, share in (("none", 0.0, 0.1 + 0.01 * seed), ("linf", 0.05, 0.9 if i < agreeing or world == "inside" else 0.1 + 0.02 * (seed == 1)))
    ]  # fmt: skip
    other_worlds[0] = pd.DataFrame(rows)
    found = shape_bias(normal=[says(10, 30)], adv=[says(24, 8)])
    assert (rivals(found)["worlds"].agree, rivals(found)["worlds"].of) == (agreeing, 6)
    assert ("choice of the world: the same at only 1 of 6" in found.doubts) == (agreeing == 1)


def test_the_step_is_as_long_as_the_textures():
    """The two colors of a texture are ± 0.05 in each channel from the silhouette's: that far apart, in RGB."""
    assert zz.STEP == pytest.approx(np.linalg.norm([2 * 0.05] * 3))


def test_seeds_have_welchs_interval_over_trainings():
    shapes = {"normal": [10, 14, 12, 20], "adv": [30, 28, 34]}
    made = {name: [says(k, N - k) for k in values] for name, values in shapes.items()}
    found = shape_bias(**made, control=[says(0, 40)])  # another kind's single training takes nothing away
    seeds = rivals(found)["seeds"]
    adv, normal = (np.array(shapes[name][:3]) / N for name in ("adv", "normal"))
    assert numbers(seeds) == pytest.approx(unpaired_difference(adv, normal)) and (seeds.kind, seeds.of) == ("seeds", 3)
    assert seeds.note == "3 trainings of each"
    # by hand: Welch's standard error and degrees of freedom
    a, b = adv.var(ddof=1) / 3, normal.var(ddof=1) / 3
    df = (a + b) ** 2 / (a**2 / 2 + b**2 / 2)
    assert seeds.ci_high - seeds.value == pytest.approx(evidence.intervals.t_quantile(df) * np.sqrt(a + b))
    assert found.difference == 0.5  # that of the first


# relation


def made_up(monkeypatch, made_of, linear, fashion, names, robust, clean, read, distortion):
    """A study with these accuracies of its networks, and accuracies on correct ``read``: level → one for each network."""
    study = made_of(fashion[:10], None, **{name: linear(1, 28, 10, seed=i) for i, name in enumerate(names)})
    rows = {name: {"robust": r, "clean": c} for name, r, c in zip(names, robust, clean, strict=True)}
    place = np.arange(1000)
    right = {name: place < 1000 * c for name, c in zip(names, clean, strict=True)}
    hit = {}
    for level, shares in read.items():
        for name, share in zip(names, shares, strict=True):
            hit[name, distortion, float(level)] = (place < share * right[name].sum()) | ~right[name]  # what was wrong before does not count
    asked = []
    monkeypatch.setattr(Study, "robustness", lambda self: rows)
    monkeypatch.setattr(Study, "outcomes", lambda self, wanted, **_: asked.append(wanted) or Outcomes(right, hit))
    return study, asked


ROBUST = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75]
CLEAN = [0.9, 0.8, 0.85, 0.7, 0.75, 0.6, 0.65, 0.5]
UP, DOWN = [0.2, 0.1, 0.3, 0.4, 0.5, 0.7, 0.6, 0.8], [0.8, 0.6, 0.7, 0.5, 0.4, 0.3, 0.1, 0.2]


@pytest.mark.parametrize(
    ("measure", "distortion", "level", "below", "values", "verdict"),
    [("invariance", "saturate", 1024, 0.5, UP, "agrees"), ("invariance", "saturate", 1024, 2, DOWN, "disagrees"),
     ("sensitivity", "patch_shuffle", 2, 1, DOWN, "agrees"), ("sensitivity", "patch_shuffle", 2, 1, UP, "disagrees")],
)  # fmt: skip
def test_a_relation_is_a_rank_correlation_over_the_networks(
    monkeypatch, made_of, linear, fashion, measure, distortion, level, below, values, verdict
):
    read = {level: values, 4: values[::-1], 8: values}
    study, asked = made_up(monkeypatch, made_of, linear, fashion, list("abcdefgh"), ROBUST, CLEAN, read, distortion)
    found = zz.relation(study, measure, [below, 4, 8, float(level)])
    assert asked == [{distortion: [level, 4, 8]}]  # on the claim's side of the original image
    assert found.difference == pytest.approx(spearmanr(ROBUST, values).statistic)
    assert numbers(found) == pytest.approx(rank_interval(np.array(ROBUST), np.array(values)))
    assert (found.baseline, found.subject, found.n, found.unit, found.percent) == (0, found.difference, 8, "networks", False)
    assert found.verdict == verdict
    clean, levels = rivals(found)["clean accuracy"], rivals(found)["levels"]
    assert clean.kind == "alone" and clean.value == pytest.approx(spearmanr(-np.array(CLEAN), values).statistic)
    assert numbers(clean) == pytest.approx(rank_interval(-np.array(CLEAN), np.array(values)))
    # the reversed level says the opposite
    assert (levels.kind, levels.agree, levels.of) == ("count", 2, 3)
    assert (levels.ci_low, levels.ci_high) == pytest.approx(tuple(sorted((found.difference, -found.difference))), abs=0.05)


def test_fewer_than_five_networks_have_no_relation(study):
    assert len(study.networks) == 4
    assert all(zz.relation(study, measure, [4.0]) is None for measure in zz.RELATED)


def test_a_relation_is_measured_on_networks(made_of, trained, fashion, tmp_path):
    modules = {}
    for i in range(5):
        copy = models.build("small-w4", num_classes=10, in_channels=1, image_size=28)
        copy.load_state_dict(trained.state_dict())
        with torch.no_grad():
            for weight in copy.parameters():
                weight += 0.06 * i * weight.std(correction=0) * torch.randn(weight.shape)
        modules[f"n{i}"] = copy.eval()
    study = made_of(fashion[:100], Store(tmp_path), **modules)
    found = zz.relation(study, "invariance", [8.0, 1024.0])
    table = evidence.table(study.outcomes({"saturate": [8.0, 1024.0]})).set_index(["distortion", "level", "model"]).acc_on_correct
    robust = np.array([row["robust"] for row in study.robustness().values()])
    read = {level: np.array([table["saturate", level, name] for name in modules]) for level in (8.0, 1024.0)}
    assert numbers(found) == pytest.approx(rank_interval(robust, read[1024.0]))
    other, levels = rank_interval(robust, read[8.0])[0], rivals(found)["levels"]
    assert (levels.ci_low, levels.ci_high) == pytest.approx(tuple(sorted((found.difference, other)))) and levels.of == 2


# spatial_finding


def test_without_a_spatial_network_there_is_no_distance(study):
    assert zz.spatial_finding(study.pair) is None


def ranks(study, name):
    """1 − the rank correlation of a network's SmoothGrad with the subject's, image by image: by hand."""
    x, y = next(study.saliency_images.batches(100))
    own, other = (
        saliency.smooth_grad(study.models[n], x, y, n=study.scale.smooth_copies).abs().sum(1).flatten(1).numpy()
        for n in (study.subject, name)
    )
    return np.array([1 - spearmanr(a, b).statistic for a, b in zip(own, other, strict=True)])


def test_the_distance_is_that_of_smooth_grad_to_the_subjects(study):
    found = zz.spatial_finding(study)
    far, near, underfit = (ranks(study, name) for name in ("spatial", "normal", "underfit"))
    assert (found.baseline, found.subject) == pytest.approx((near.mean(), far.mean()), abs=1e-3)
    assert numbers(found) == pytest.approx(mean_interval(far - near), abs=1e-3)
    assert (found.n, found.names, found.percent) == (len(study.saliency_images), ("normal", "spatial"), False)
    assert numbers(rivals(found)["underfit"]) == pytest.approx(mean_interval(underfit - near), abs=1e-3)
    names = list(study.networks)
    s, n, b = (names.index(name) for name in (study.subject, "spatial", "normal"))
    by_choice = [
        mean_interval((1 - alike[:, s, n]) - (1 - alike[:, s, b]))
        for method in ("SmoothGrad", "Grad")
        for alike in study.saliency_similarities(method).values()
    ]
    methods = rivals(found)["methods"]
    verdicts = [evidence.verdict_of(found.claim, low, high) for _, low, high in by_choice]
    assert (methods.agree, methods.of) == (verdicts.count(found.verdict), 4)
    values = [value for value, _, _ in by_choice]
    assert numbers(methods) == pytest.approx((found.difference, min(values), max(values)))


def test_the_baseline_itself_is_as_far_as_the_baseline(study):
    twins = [replace(study.networks[old], name=new) for new, old in (("normal", "normal"), ("spatial", "normal"), ("pgd", "pgd-inf-0.1"))]
    twins = replace(study, networks=Networks.of(twins, baseline="normal", subject="pgd"))
    found = zz.spatial_finding(twins)
    assert numbers(found) == (0, 0, 0) and found.verdict == "agrees" and found.baseline == found.subject > 0
    assert (rivals(found)["methods"].agree, rivals(found)["underfit"].kind) == (4, "unmeasured")

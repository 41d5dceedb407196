"""The tables of Itazuri et al., and the numbers behind their figures, for small studies."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from atviz import attacks, evidence
from atviz.data import Images
from atviz.distortions import Stylizer
from atviz.evidence import Store
from atviz.models import Networks
from atviz.papers import itazuri, itazuri_findings, readable

FILTERS = {"gaussian_blur": [0.0, 1.0, 3.0], "median_filter": [0, 2]}


@pytest.fixture(scope="module")
def study(study_of):
    found = study_of(preset="itazuri")
    assert list(found.models) == ["normal", "fgsm-0.005"]
    return found


@pytest.fixture(scope="module")
def trio(study_of):
    return study_of()


def with_images(study, images):
    """The study on other images, with copies of its networks that are said to be of those images' classes."""
    copies = [replace(n, module=deepcopy(n.module), classes=images.classes) for n in study.networks.values()]
    return replace(study, images=images, networks=Networks.of(copies, baseline=study.baseline, subject=study.subject))


def as_imagenet(study):
    """The study as if its images were ImageNet's, and its networks of the paper's architecture."""
    images = study.images
    named = Images(images.x, images.y, [f"class {i}" for i in range(1000)], "imagenet")
    return replace(with_images(study, named), scale=replace(study.scale, arch="alexnet_bn"))


def test_table_1_holds_what_is_measured(study):
    rows = itazuri.table(study, 1, eps=(0.005, 0.1)).set_index(["model", "setting"])
    assert len(rows) == 8 and rows.paper.isna().all() and rows.paper_sd.isna().all()
    images = study.images
    for name, model in study.models.items():
        clean = evidence.accuracy(model, images, topk=(1, 5))
        for k in (1, 5):
            row = rows.loc[name, f"top-{k}"]
            assert (row.measure, row.n, row.value, row.ci_low) == (f"top{k}", 100, clean[f"top{k}"], clean[f"top{k}_low"])
        right = torch.cat([model(x).argmax(1) == y for x, y in images.batches(100)])
        (x, y), generator = next(images.batches(100)), torch.Generator().manual_seed(0)
        attack = partial(attacks.pgd, eps=0.1, step_size=0.025, steps=5, random_start=True, generator=generator)
        robust = evidence.robust_accuracy(model, images, attack=attack, bf16=False)
        row = rows.loc[name, "defense success, PGD L∞, eps 0.1"]
        assert (row.measure, row.n) == ("defense_success", int(right.sum()))
        assert row.value == pytest.approx(robust["defense_success"], abs=0.03) and row.ci_low <= row.value <= row.ci_high
        # the success rate is among the correctly classified: it may exceed the clean accuracy
        assert rows.loc[name, "defense success, PGD L∞, eps 0.005"].value >= row.value
    assert len(x) == len(y) == 100


def test_a_second_table_is_read(study):
    first = itazuri.table(study, 1)
    again = replace(study, store=Store(study.store.folder))
    assert itazuri.table(again, 1).equals(first) and again.store.computed == 0 and again.store.read > 0
    shown = readable(first)
    assert shown.shape == (2, 5) and shown.loc["normal", "top-1"].endswith("]")


def test_several_runs_are_averaged(study, study_of):
    other = study_of(preset="itazuri", seed=1)
    both = itazuri.table(study, 1, others=[other])
    runs = [itazuri.table(study, 1), itazuri.table(other, 1)]
    assert both.value.tolist() == pytest.approx(np.mean([run.value for run in runs], axis=0))
    assert both.sd.tolist() == pytest.approx(np.std([run.value for run in runs], axis=0, ddof=1))
    assert (both.runs == 2).all() and (runs[1].runs == 1).all() and runs[1].sd.isna().all()
    assert not runs[0].value.equals(runs[1].value)
    assert ((both.ci_low <= both.value) & (both.value <= both.ci_high)).all()
    assert " ± " in readable(both).loc["normal", "top-1"]
    with pytest.raises(ValueError, match="the runs have the seeds 0, 1, 1; each run must have a seed of its own"):
        itazuri.table(study, 1, others=[other, other])


def test_the_papers_values_of_table_1_stand_beside(study):
    rows = itazuri.table(as_imagenet(study), 1, eps=(0.005, 0.02)).set_index(["model", "setting"])
    assert rows.paper["normal", "top-1"] == pytest.approx(0.5828) and rows.paper_sd["normal", "top-1"] == pytest.approx(0.0018)
    assert rows.slip["normal", "top-1"] == "55.28 in T2" and rows.slip["normal", "top-5"] == ""
    assert rows.paper["fgsm-0.005", "defense success, PGD L∞, eps 0.005"] == pytest.approx(0.7155)
    assert np.isnan(rows.paper["normal", "defense success, PGD L∞, eps 0.02"])  # not the paper's


def test_few_classes_have_no_top_5(study):
    few = study.images[study.images.y < 5]
    found = itazuri.table(with_images(study, Images(few.x, few.y, few.classes[:5])), 1)
    assert set(found.measure) == {"top1", "defense_success"}


@pytest.mark.parametrize(
    ("number", "options", "message"),
    [(9, {}, "no table 9; there is 1, 2"), (1, {"eps": (0.01, 0)}, "eps is 0"), (1, {"eps": (4,)}, "eps is 4")],
)
def test_what_cannot_be_is_refused(study, number, options, message):
    with pytest.raises(ValueError, match=message):
        itazuri.table(study, number, **options)


def hits(trio, name, distort, topk):
    """By hand: whether the label is among the ``topk`` likeliest classes of each distorted image."""
    with torch.no_grad():
        logits = trio.models[name](distort(trio.images.x.float() / 255))
    return (logits.argsort(1, descending=True)[:, :topk] == trio.images.y[:, None]).any(1).numpy()


def test_accuracies_are_of_all_images_clean_and_filtered(trio):
    rows = itazuri.accuracies(trio, FILTERS).set_index(["model", "distortion", "level", "measure"])
    assert len(rows) == 3 * 2 * (1 + 3 + 2)
    for (name, distortion, level, measure), row in rows.iterrows():
        distort = (lambda x: x) if distortion == "clean" else evidence.find(distortion).at(level)
        assert (row.n, row.value) == (100, pytest.approx(hits(trio, name, distort, int(measure[3:])).mean()))
        assert row.ci_low <= row.value <= row.ci_high
    clean = rows.xs("clean", level="distortion").droplevel("level").value
    for distortion in FILTERS:  # level 0 is the original
        pd.testing.assert_series_equal(rows.xs((distortion, 0), level=("distortion", "level")).value, clean)
    assert (rows.xs("top1", level="measure").value < rows.xs("top5", level="measure").value).all()


def test_the_area_is_the_mean_difference_of_the_curves(trio):
    values = itazuri.accuracies(trio, FILTERS).set_index(["distortion", "measure", "level", "model"]).value
    rows = itazuri.areas(trio, FILTERS)
    assert [tuple(row) for row in rows[["distortion", "measure", "levels"]].to_numpy()] == [
        ("gaussian_blur", "top1", 3), ("median_filter", "top1", 2), ("gaussian_blur", "top5", 3), ("median_filter", "top5", 2)
    ]  # fmt: skip
    for row in rows.itertuples():
        curves = values.xs((row.distortion, row.measure), level=("distortion", "measure")).unstack("model")
        assert row.difference == pytest.approx((curves[trio.subject] - curves["normal"]).mean())
        assert row.ci_low <= row.difference <= row.ci_high and row.n == 100
        assert (row.model, row.baseline) == (trio.subject, "normal")


def test_the_interval_of_the_area_is_paired(trio):
    row = itazuri.areas(trio, FILTERS).iloc[0]
    per_image = np.mean(
        [
            hits(trio, trio.subject, evidence.find("gaussian_blur").at(level), 1).astype(float)
            - hits(trio, "normal", evidence.find("gaussian_blur").at(level), 1)
            for level in FILTERS["gaussian_blur"]
        ],
        axis=0,
    )
    drawn = per_image[np.random.default_rng(1).integers(100, size=(10_000, 100))].mean(1)
    assert row.difference == pytest.approx(per_image.mean())
    assert (row.ci_low, row.ci_high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.0034)  # a third of a hit


def test_table_2_is_clean_reversed_and_stylized(trio):
    rows = itazuri.table(trio, 2)
    assert rows.setting.tolist() == [f"{s}, top-{k}" for s in ("clean", "reversed", "stylized") for k in (1, 5)] * 3
    assert list(dict.fromkeys(rows.model)) == list(trio.models)
    found = rows.set_index(["model", "setting"]).value
    mean = trio.images.x.float().mean((0, 2, 3)) / 255
    for name in trio.models:
        for k in (1, 5):
            assert found[name, f"clean, top-{k}"] == pytest.approx(hits(trio, name, lambda x: x, k).mean())
            turned = hits(trio, name, lambda x: 2 * mean[:, None, None] - x, k).mean()
            assert found[name, f"reversed, top-{k}"] == pytest.approx(turned, abs=0.021)  # the mean is rounded to four decimals
            assert found[name, f"stylized, top-{k}"] == pytest.approx(hits(trio, name, trio.stylizer, k).mean(), abs=0.03)
    assert rows.paper.isna().all() and rows.paper_sd.isna().all()  # the paper has no such data set
    shown = readable(rows)
    assert list(shown.index) == list(trio.models) and shown.shape[1] == 6


def test_table_2_is_about_the_studys_mean(trio):
    own = itazuri.table(trio, 2)
    assert itazuri.table(replace(trio, material={"mean": trio.mean}), 2).equals(own)
    turned = itazuri.table(replace(trio, material={"mean": (0.9,)}), 2)
    assert (turned.value != own.value)[own.setting.str.startswith("reversed")].any()
    assert (turned.value == own.value)[~own.setting.str.startswith("reversed")].all()
    with pytest.raises(ValueError, match="mean has 3 values for 1 channels"):
        itazuri.table(replace(trio, material={"mean": (0.1, 0.2, 0.3)}), 2)


def test_the_reversal_is_kept_in_the_records(trio):
    about = lambda mean: replace(trio, material={"mean": (mean,)})
    about(0.375).outcomes({"reverse": [1]})
    before = trio.store.computed
    about(0.375).outcomes({"reverse": [1]}, topk=5)
    assert trio.store.computed == before
    about(0.376).outcomes({"reverse": [1]})
    assert trio.store.computed == before + len(trio.models)


def test_the_papers_values_of_table_2_stand_beside_for_its_networks(study_of, monkeypatch):
    trio = as_imagenet(study_of(models=("normal", "fgsm-0.005", "pgd-inf-0.1")))
    monkeypatch.setattr(itazuri, "IMAGENET_MEAN", trio.mean)
    rows = itazuri.table(trio, 2).set_index(["model", "setting"])
    assert (rows.paper["normal", "reversed, top-1"], rows.paper_sd["normal", "reversed, top-1"]) == pytest.approx((0.1318, 0.0017))
    assert rows.paper["fgsm-0.005", "stylized, top-5"] == pytest.approx(0.1186)
    assert rows.slip["normal", "clean, top-1"] == "58.28 in T1"
    assert rows.paper["pgd-inf-0.1"].isna().all() and rows.paper.notna().sum() == 12
    monkeypatch.undo()  # about another mean it is not the paper's number
    assert itazuri.table(trio, 2).paper.notna().sum() == 8
    weak = replace(trio, material={"stylizer": Stylizer(trio.stylizer.network, trio.stylizer.styles, alpha=0.5)})
    found = itazuri.table(weak, 2)
    assert found[found.setting.str.startswith("stylized")].paper.isna().all()


def test_stylized_images_keep_their_flat_ground(trio):
    """A network that knows the ground alone answers the same, stylized or not."""
    ground = next(trio.images.batches(100))[0]
    flat = np.pad(ground.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    squares = np.stack([flat[..., i : i + 28, j : j + 28] for i in range(3) for j in range(3)])
    blank = torch.from_numpy((squares == squares[0]).all(0))
    assert blank.float().mean() > 0.2
    painted = trio.stylizer(ground)
    assert torch.equal(painted[blank], ground[blank])
    assert (painted[~blank] - ground[~blank]).abs().mean() > 0.05


def test_the_claims_are_where_they_are_measured():
    assert not hasattr(itazuri, "CLAIMS")
    assert list(itazuri_findings.CLAIMS) == ["first_layer_norm", "centroid", "guided_dependence", "fusion", "single"]
    assert {claim.paper for claim in itazuri_findings.CLAIMS.values()} == {"Itazuri et al."}

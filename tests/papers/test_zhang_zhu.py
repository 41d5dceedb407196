"""Every table and figure of Zhang & Zhu, for a small study."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from atviz import distortions, evidence, saliency
from atviz.models import Networks
from atviz.notebook import figures
from atviz.papers import readable, zhang_zhu, zhang_zhu_findings

MODELS = ("normal", "underfit", "pgd-inf-0.1", "spatial")


@pytest.fixture(scope="module")
def study(study_of):
    return study_of(models=MODELS, subject="pgd-inf-0.1")


@pytest.fixture(scope="module")
def color(study_of):
    """A study with the network of the papers' color sets."""
    return study_of(models=("normal", "pgd-inf-8"))


def drawn(study, number, **options):
    found = zhang_zhu.figure(study, number, **options)
    return found, getattr(figures, found.kind)(**found.content)


@pytest.mark.parametrize(
    ("name", "classes", "dataset"),
    [("cifar10", 10, "cifar10"), ("folder:cifar10", 10, "cifar10"), ("folder:CIFAR-10", 10, "cifar10"), ("cifar100", 100, ""), ("fashion", 10, ""),
     ("tiny-imagenet", 200, "tiny-imagenet"), ("tiny-imagenet", 20, ""), ("caltech256", 257, "caltech256")],
)  # fmt: skip
def test_a_part_of_a_data_set_is_not_the_papers(name, classes, dataset):
    assert zhang_zhu.paper_dataset(name, classes) == dataset


@pytest.mark.parametrize("number", range(1, 9))
def test_every_table_has_a_row_for_each_network_and_setting(study, number):
    rows = zhang_zhu.table(study, number)
    settings = {1: 2, 2: 2, 3: 5, 7: 3, 8: 3}.get(number, 8)
    assert list(dict.fromkeys(rows.model)) == list(MODELS)
    assert (rows.groupby("model").setting.nunique() == settings).all() and len(rows) == settings * len(MODELS)
    assert ((rows.ci_low <= rows.value) & (rows.value <= rows.ci_high)).all()
    assert rows.paper.isna().all() and (rows.slip == "").all()  # the paper has no such data set
    shown = readable(rows)
    assert list(shown.index) == list(MODELS)
    if number > 1:  # shares of the images that a network classifies correctly: of how many is said
        right = study.outcomes({}).clean
        assert shown.pop("n correct").tolist() == [f"{right[name].sum():,}" for name in MODELS]
    assert shown.shape[1] == settings
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", cell) for cell in shown.to_numpy().ravel())
    over_all = readable(rows, top1=True)
    assert over_all.shape == shown.shape and all(re.fullmatch(r"\d+\.\d", cell) for cell in over_all.to_numpy().ravel())


def test_tables_hold_what_is_measured(study):
    right = study.outcomes({"saturate": [0.25], "patch_shuffle": [2], "low_pass": [3.0]})
    for number, setting, key in [
        (4, "0.25", ("saturate", 0.25)),
        (7, "2 × 2", ("patch_shuffle", 2)),
        (3, "low-pass, radius 3", ("low_pass", 3)),
    ]:
        rows = zhang_zhu.table(study, number, radius=3).set_index(["model", "setting"])
        for name in MODELS:
            clean = right.clean[name]
            row = rows.loc[(name, setting)]
            assert row.top1 == right.distorted[name, *key].mean()
            assert row.n == clean.sum() and row.value == pytest.approx((clean & right.distorted[name, *key]).sum() / clean.sum())
    first = zhang_zhu.table(study, 1)
    for name, measured in study.robustness().items():
        clean, robust = first[first.model == name].value
        assert (clean, robust) == (measured["clean"], measured["robust"])
    assert set(first.setting) == {"clean", "PGD L∞, eps 0.1, 2 steps"}
    levels = zhang_zhu.table(study, 5, levels=[2.0, 3.0, 64.0])
    assert set(levels.setting) == {"3", "64"}


def test_the_papers_own_values_stand_beside_with_their_slips(color, monkeypatch):
    monkeypatch.setattr(zhang_zhu, "paper_dataset", lambda name, classes: "cifar10")
    rows = zhang_zhu.table(color, 4)
    found = rows.set_index(["model", "setting"])
    assert found.paper["normal", "0.25"] == pytest.approx(0.2736)
    assert found.paper["pgd-inf-8", "64"] == pytest.approx(0.5898)
    assert found.slip["pgd-inf-8", "64"] == "non-monotone"
    shown = readable(rows)
    assert re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\] \(27\.36\)", shown.loc["normal", "0.25"])
    assert shown.loc["pgd-inf-8", "64"].endswith("] (58.98†)")
    robust = zhang_zhu.table(color, 1)
    assert robust.paper.notna().tolist() == [True, False] * 2  # eps 0.1 is not the paper's attack


def test_table_3_names_no_eps_and_is_held_against_the_subject(color, monkeypatch):
    monkeypatch.setattr(zhang_zhu, "paper_dataset", lambda name, classes: "caltech256")
    rows = zhang_zhu.table(color, 3).set_index(["model", "setting"])
    assert rows.paper["pgd-inf-8", "low-pass, radius 4"] == pytest.approx(0.711)
    assert rows.slip["pgd-inf-8", "low-pass, radius 4"] == "eps not given"


def test_table_3_holds_the_paper_against_the_filters_that_keep_the_mean(color, monkeypatch):
    monkeypatch.setattr(zhang_zhu, "paper_dataset", lambda name, classes: "caltech256")
    paper = zhang_zhu.table(color, 3).set_index(["model", "setting"]).paper
    kept, dark = ("high-pass, radius 4", "a tenth of the modes removed"), (", mean removed", ", the mean among them")
    assert [paper["normal", name] for name in kept] == pytest.approx([0.165, 0.735])
    assert paper[[("normal", name + end) for name, end in zip(kept, dark, strict=True)]].isna().all()


def test_table_3_is_measured_with_the_mean_and_without(study):
    rows = zhang_zhu.table(study, 3, radius=4).set_index(["model", "setting"]).top1
    x, y = next(study.images.batches(100))
    mean, high = x.mean((2, 3), keepdim=True), x - distortions.low_pass(x, 4.0)  # low-pass keeps the mean
    for name, model in study.models.items():
        for setting, shown in (("high-pass, radius 4", high + mean), ("high-pass, radius 4, mean removed", high)):
            with torch.no_grad():
                assert rows[name, setting] == pytest.approx(float((model(shown).argmax(1) == y).float().mean()), abs=0.011)
    pairs = [
        rows.xs(setting, level="setting")
        for setting in ("a tenth of the modes removed", "a tenth of the modes removed, the mean among them")
    ]
    assert not pairs[0].equals(pairs[1])


def test_figure_1_shows_what_is_measured(study):
    """Filters keep the mean, stylizing keeps the flat ground, and in every image at least one patch is moved."""
    content = zhang_zhu.figure(study, 1, images=100).content
    shown = dict(zip(content["columns"], map(torch.stack, zip(*(images for _, images in content["rows"]), strict=True)), strict=True))
    x = shown["clean"]
    assert len(x) == 100
    for name in ("low-pass 4", "high-pass 4", "modes"):
        assert torch.allclose(shown[name].mean((2, 3)), x.mean((2, 3)), atol=1e-5)
        assert ((shown[name] - x).abs().amax((1, 2, 3)) > 0.01).all()
    corner = (x[..., :2, :2] == 0).all(-1).all(-1).all(1)  # black there, as far as the square around the first pixel reaches
    assert corner.sum() > 50 and (shown["stylized"][corner][..., 0, 0] == 0).all()
    for k in (2, 4):
        moved = shown[f"{k} × {k}"]
        assert (moved != x).flatten(1).any(1).all()
        assert torch.equal(moved.flatten(1).sort(1).values, x.flatten(1).sort(1).values)


def smooth(study, x, y):
    return {name: saliency.smooth_grad(model, x, y, n=study.scale.smooth_copies) for name, model in study.models.items()}


def test_figure_8_is_smooth_grad_with_the_studys_copies(study):
    found = zhang_zhu.figure(study, 8, images=4).content["maps"]
    x, y, _ = study.gallery(4)
    expected = smooth(study, x, y)
    assert list(found) == [study.baseline, study.subject, "spatial"]
    for name, maps in found.items():
        assert torch.allclose(maps, expected[name], rtol=1e-4, atol=1e-7)
        assert not torch.allclose(maps, saliency.grad(study.models[name], x, y), rtol=0.1)
    more = replace(study, scale=replace(study.scale, smooth_copies=7))
    assert not torch.allclose(zhang_zhu.figure(more, 8, images=4).content["maps"]["normal"], expected["normal"], rtol=0.01)


def test_figure_2_is_smooth_grad_of_three_versions(study):
    drawing = zhang_zhu.figure(study, 2, images=3)
    names = [study.baseline, "underfit", study.subject]
    x, y, _ = study.gallery(3)
    assert drawing.content["columns"] == ["clean", *names, "saturated", *names, "stylized", *names]
    for block, shown in enumerate((x, distortions.saturate(x, 1024), study.stylizer(x))):
        expected = saliency.as_shown(smooth(study, shown, y), "map")
        for i, (_, row) in enumerate(drawing.content["rows"]):
            assert torch.allclose(row[4 * block], shown[i], atol=1e-6)
            for column, name in enumerate(names):
                assert torch.allclose(row[4 * block + 1 + column], expected[name][i], atol=1e-3)
    assert drawing.caption.startswith("Figure 2. SmoothGrad")


def test_the_claims_are_where_they_are_measured():
    assert not hasattr(zhang_zhu, "CLAIMS")
    assert list(zhang_zhu_findings.CLAIMS) == ["clean", "robust", "shape_bias", "invariance", "sensitivity", "spatial_distance"]
    assert {claim.paper for claim in zhang_zhu_findings.CLAIMS.values()} == {"Zhang & Zhu"}


@pytest.mark.parametrize("number", range(1, 11))
def test_every_figure_is_drawn_with_its_caption(study, number):
    found, figure = drawn(study, number)
    assert found.name == f"figure-{number}"
    assert found.caption.startswith(f"Figure {number}. ")
    assert figure.axes
    images = [ax for ax in figure.axes if ax.images]
    expected = {1: 5 * 9, 2: 5 * 12, 3: 6 * 9, 4: 5 * 9, 5: 0, 6: 4, 7: 0, 8: 8 * 4, 9: 8 * 5, 10: 8 * 5}[number]
    assert len(images) == expected


@pytest.mark.parametrize("number", [8, 9, 10])
def test_saliency_is_drawn_of_distorted_images_too(study, number):
    x, _, _ = study.gallery(3)
    for version, expected in {"clean": x, "saturated": distortions.saturate(x, 1024), "stylized": study.stylizer(x)}.items():
        found, figure = drawn(study, number, images=3, version=version, scale="shared")
        assert np.asarray(figure.axes[0].images[0].get_array()) == pytest.approx(expected[0, 0].numpy(), abs=1e-6)
        assert f"{version} images" in found.caption
        assert "one scale" in figure.get_supxlabel()


def test_curves_are_those_of_the_table(study):
    rows = zhang_zhu.table(study, 6, levels=[0.5, 1024.0])
    found = zhang_zhu.figure(study, 5, levels=[0.5, 2.0, 1024.0])
    assert (found.kind, found.content["original"], found.content["chance"]) == ("distortion_curves", 2, 0.1)
    for name in MODELS:
        low, same, high = found.content["rows"].query("model == @name").acc_on_correct
        assert [low, high] == pytest.approx(rows[rows.model == name].value.tolist())
        assert same == 1
    assert zhang_zhu.figure(study, 5, levels=[0.5, 1024.0]).content["original"] is None


def test_figure_6_shows_what_the_networks_believe(study):
    _, strip = drawn(study, 6, levels=[2, 4])
    bars = [patch.get_width() for patch in strip.axes[3].patches]
    x, y, _ = study.gallery(1)
    assert bars == pytest.approx([100 * evidence.true_probability(study.models[name], x, y)[0] for name in MODELS], abs=1e-3)


def without(study, name):
    kept = [network for network in study.networks.values() if network.name != name]
    return replace(study, networks=Networks.of(kept, baseline=study.baseline, subject=study.subject))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: zhang_zhu.table(s, 9), "no table 9; the paper has 1 to 8"),
        (lambda s: zhang_zhu.figure(s, 0), "no figure 0; the paper has 1 to 10"),
        (lambda s: zhang_zhu.figure(s, 4, images=-1), "images is -1"),
        (lambda s: zhang_zhu.figure(s, 10, version="blurred"), "version is 'blurred'; it must be one of clean, saturated, stylized"),
        (lambda s: zhang_zhu.figure(s, 2, scale="log"), "scale is 'log'"),
        (lambda s: zhang_zhu.figure(without(s, "spatial"), 8), "Figure 8 is of a network named spatial, and the study has normal, "),
    ],
)
def test_what_the_paper_does_not_have_is_refused(study, call, message):
    with pytest.raises(ValueError, match=message):
        call(study)


def test_table_2_is_of_the_stylized_images_of_the_study(study):
    rows = zhang_zhu.table(study, 2).set_index(["model", "setting"])
    x = study.images.x.float() / 255
    painted = study.stylizer(x)
    for name, model in study.models.items():
        hit = (model(painted).argmax(1) == study.images.y).numpy()
        clean = study.outcomes({}).clean[name]
        assert rows.value[name, "stylized"] == pytest.approx(np.mean(hit[clean]), abs=0.03)
        assert rows.value[name, "clean"] == clean.mean()
    assert isinstance(rows, pd.DataFrame)

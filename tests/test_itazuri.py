"""The tables of Itazuri et al., and the numbers behind their figures, for a small study."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from atviz import distortions, itazuri, zhang_zhu
from atviz.data import Images
from atviz.notebook import Notebook
from atviz.study import Settings

SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100}
FILTERS = {"gaussian_blur": [0.0, 1.0, 3.0], "median_filter": [0, 2]}


@pytest.fixture(scope="module")
def study():
    return Notebook(Settings(**SMALL))


def hits(study, name, distort, topk):
    """By hand: whether the label is among the ``topk`` likeliest classes of each distorted image."""
    with torch.no_grad():
        logits = study.models[name](distort(study.test_images.x.float() / 255))
    return (logits.argsort(1, descending=True)[:, :topk] == study.test_images.y[:, None]).any(1).numpy()


def test_accuracies_are_of_all_images_clean_and_filtered(study):
    rows = itazuri.accuracies(study, FILTERS).set_index(["model", "distortion", "level", "measure"])
    assert len(rows) == 3 * 2 * (1 + 3 + 2)
    for (name, distortion, level, measure), row in rows.iterrows():
        distort = (lambda x: x) if distortion == "clean" else distortions.named(distortion, level)
        assert (row.n, row.value) == (100, pytest.approx(hits(study, name, distort, int(measure[3:])).mean()))
        assert row.ci_low <= row.value <= row.ci_high
    clean = rows.xs("clean", level="distortion").droplevel("level").value
    for distortion in FILTERS:  # level 0 is the original
        pd.testing.assert_series_equal(rows.xs((distortion, 0), level=("distortion", "level")).value, clean)
    assert (rows.xs("top1", level="measure").value < rows.xs("top5", level="measure").value).all()


def test_the_area_is_the_mean_difference_of_the_curves(study):
    values = itazuri.accuracies(study, FILTERS).set_index(["distortion", "measure", "level", "model"]).value
    rows = itazuri.areas(study, FILTERS)
    assert [tuple(row) for row in rows[["distortion", "measure", "levels"]].to_numpy()] == [
        ("gaussian_blur", "top1", 3), ("median_filter", "top1", 2), ("gaussian_blur", "top5", 3), ("median_filter", "top5", 2)
    ]  # fmt: skip
    for row in rows.itertuples():
        curves = values.xs((row.distortion, row.measure), level=("distortion", "measure")).unstack("model")
        assert row.difference == pytest.approx((curves[study.adversarial] - curves["normal"]).mean())
        assert row.ci_low <= row.difference <= row.ci_high and row.n == 100
        assert (row.model, row.baseline) == (study.adversarial, "normal")


def test_the_interval_of_the_area_is_paired(study):
    row = itazuri.areas(study, FILTERS).iloc[0]
    per_image = np.mean(
        [
            hits(study, study.adversarial, distortions.named("gaussian_blur", level), 1).astype(float)
            - hits(study, "normal", distortions.named("gaussian_blur", level), 1)
            for level in FILTERS["gaussian_blur"]
        ],
        axis=0,
    )
    drawn = per_image[np.random.default_rng(1).integers(100, size=(10_000, 100))].mean(1)
    assert row.difference == pytest.approx(per_image.mean())
    assert (row.ci_low, row.ci_high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.0034)  # a third of a hit


def test_table_2_is_clean_reversed_and_stylized(study):
    rows = itazuri.table(study, 2)
    assert rows.setting.tolist() == [f"{s}, top-{k}" for s in ("clean", "reversed", "stylized") for k in (1, 5)] * 3
    assert list(dict.fromkeys(rows.model)) == list(study.models)
    found = rows.set_index(["model", "setting"]).value
    mean = study.train_images.x.float().mean((0, 2, 3)) / 255
    for name in study.models:
        for k in (1, 5):
            assert found[name, f"clean, top-{k}"] == pytest.approx(hits(study, name, lambda x: x, k).mean())
            turned = hits(study, name, lambda x: 2 * mean[:, None, None] - x, k).mean()
            assert found[name, f"reversed, top-{k}"] == pytest.approx(turned, abs=0.021)  # the mean is rounded to four decimals
            assert found[name, f"stylized, top-{k}"] == pytest.approx(hits(study, name, study.stylizer, k).mean(), abs=0.03)
    assert rows.paper.isna().all() and rows.paper_sd.isna().all()  # the paper has no such data set
    shown = zhang_zhu.readable(rows)
    assert list(shown.index) == list(study.models) and shown.shape[1] == 6


def test_reversal_is_about_the_imagenet_mean_for_imagenet_and_else_about_the_images_own(study):
    own = itazuri.reversal(study)
    assert own.keywords["mean"] == (round(float(study.train_images.x.double().mean() / 255), 4),)
    assert itazuri.reversal(study, [0.25]).keywords["mean"] == (0.25,)
    imagenet = SimpleNamespace(settings=SimpleNamespace(kind="imagenet"))
    assert itazuri.reversal(imagenet).keywords["mean"] == (0.485, 0.456, 0.406)
    with pytest.raises(ValueError, match="mean has 3 values for 1 channels"):
        itazuri.table(study, 2, mean=[0.1, 0.2, 0.3])


def test_the_reversal_is_kept_in_the_records(study):
    wanted = {"reverse": {1: itazuri.reversal(study, [0.375])}}
    study.outcomes(wanted)
    before = study.store.computed
    study.outcomes(wanted, topk=5)
    assert study.store.computed == before
    study.outcomes({"reverse": {1: itazuri.reversal(study, [0.376])}})
    assert study.store.computed == before + len(study.models)


def test_the_papers_values_stand_beside_for_its_networks(monkeypatch):
    study = Notebook(Settings(**SMALL, models=("normal", "fgsm-0.005", "pgd-inf-0.1")))
    study.models  # noqa: B018  trained on other images
    images, names = study.test_images, [str(i) for i in range(1000)]
    study.__dict__["test_images"] = Images(images.x, images.y, names, "imagenet")
    study.profile.__dict__["arch"] = "alexnet_bn"
    monkeypatch.setattr(itazuri, "IMAGENET_MEAN", itazuri.reversal(study).keywords["mean"])
    rows = itazuri.table(study, 2).set_index(["model", "setting"])
    assert (rows.paper["normal", "reversed, top-1"], rows.paper_sd["normal", "reversed, top-1"]) == pytest.approx((0.1318, 0.0017))
    assert rows.paper["fgsm-0.005", "stylized, top-5"] == pytest.approx(0.1186)
    assert rows.slip["normal", "clean, top-1"] == "58.28 in T1"
    assert rows.paper["pgd-inf-0.1"].isna().all() and rows.paper.notna().sum() == 12


def test_what_the_paper_does_not_have_is_refused(study):
    with pytest.raises(ValueError, match="no table 3"):
        itazuri.table(study, 3)

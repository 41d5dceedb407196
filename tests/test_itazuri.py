"""The paper's tables, for a small study."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from atviz import attacks, data, evaluate, itazuri, zhang_zhu
from atviz.notebook import Notebook
from atviz.study import Settings

SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100, "preset": "itazuri"}


@pytest.fixture(scope="module")
def study():
    found = Notebook(Settings(**SMALL))
    assert list(found.models) == ["normal", "fgsm-0.005"]
    return found


def test_table_1_holds_what_is_measured(study):
    rows = itazuri.table(study, 1, eps=(0.005, 0.1)).set_index(["model", "setting"])
    assert len(rows) == 8 and rows.paper.isna().all() and rows.paper_sd.isna().all()
    images = study.test_images
    for name, model in study.models.items():
        clean = evaluate.accuracy(model, images, topk=(1, 5))
        for k in (1, 5):
            row = rows.loc[name, f"top-{k}"]
            assert (row.measure, row.n, row.value, row.ci_low) == (f"top{k}", 100, clean[f"top{k}"], clean[f"top{k}_low"])
        right = torch.cat([model(x).argmax(1) == y for x, y in images.batches(100)])
        (x, y), generator = next(images.batches(100)), torch.Generator().manual_seed(0)
        attack = functools.partial(attacks.pgd, eps=0.1, step_size=0.025, steps=5, random_start=True, generator=generator)
        robust = evaluate.robust_accuracy(model, images, attack=attack, bf16=False)
        row = rows.loc[name, "defense success, PGD L∞, eps 0.1"]
        assert (row.measure, row.n) == ("defense_success", int(right.sum()))
        assert row.value == pytest.approx(robust["defense_success"], abs=0.03) and row.ci_low <= row.value <= row.ci_high
        # the success rate is among the correctly classified: it may exceed the clean accuracy
        assert rows.loc[name, "defense success, PGD L∞, eps 0.005"].value >= row.value
    assert len(x) == len(y) == 100


def test_a_second_table_is_read(study):
    first = itazuri.table(study, 1)
    again = Notebook(Settings(**SMALL))
    again.__dict__["models"] = study.models
    assert itazuri.table(again, 1).equals(first) and again.store.computed == 0 and again.store.read > 0
    shown = zhang_zhu.readable(first)
    assert shown.shape == (2, 4) and shown.loc["normal", "top-1"].endswith("]")


def test_the_papers_own_values_stand_beside(study, monkeypatch):
    images = study.test_images
    many = data.Images(images.x, images.y, [f"class {i}" for i in range(1000)], "imagenet")
    monkeypatch.setitem(study.__dict__, "test_images", many)
    monkeypatch.setitem(study.__dict__, "profile", replace(study.profile, arch="alexnet_bn"))
    rows = itazuri.table(study, 1, eps=(0.005, 0.02)).set_index(["model", "setting"])
    assert rows.paper["normal", "top-1"] == pytest.approx(0.5828) and rows.paper_sd["normal", "top-1"] == pytest.approx(0.0018)
    assert rows.slip["normal", "top-1"] == "55.28 in T2" and rows.slip["normal", "top-5"] == ""
    assert rows.paper["fgsm-0.005", "defense success, PGD L∞, eps 0.005"] == pytest.approx(0.7155)
    assert np.isnan(rows.paper["normal", "defense success, PGD L∞, eps 0.02"])  # not the paper's


def test_few_classes_have_no_top_5(study, monkeypatch):
    keep = study.test_images.y < 5
    few = study.test_images[keep]
    monkeypatch.setitem(study.__dict__, "test_images", data.Images(few.x, few.y, few.classes[:5]))
    assert set(itazuri.table(study, 1).measure) == {"top1", "defense_success"}


@pytest.mark.parametrize(
    ("number", "options", "message"),
    [(9, {}, "no table 9; there is 1"), (1, {"eps": (0.01, 0)}, "eps is 0"), (1, {"eps": (4,)}, "eps is 4")],
)
def test_what_cannot_be_is_refused(study, number, options, message):
    with pytest.raises(ValueError, match=message):
        itazuri.table(study, number, **options)

"""Every network keeps one look, and figures depend on nothing but their rows."""

import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb

from atviz.models import checkpoints
from atviz.notebook import figures
from atviz.notebook.figures import look
from atviz.training.recipes import PAPER_MODELS

NAMES = ["normal", "underfit", "pgd-inf-0.1"]
RECIPES = ["normal", "underfit", "pgd-inf-8", "pgd-l2-1.2", "fgsm-8", "spatial"]


def interval(value):
    return {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}


def curves():
    return pd.DataFrame(
        [
            {"model": m, "level": v, "acc_on_correct": 0.5 + i / 10, **interval(0.5 + i / 10)}
            for i, m in enumerate(NAMES)
            for v in (2.0, 4.0)
        ]
    )


def values(*columns, names=NAMES):
    """Rows of every network at every combination of two values of each column, or of the values that are given."""
    index = pd.MultiIndex.from_product([names, *(column[1:] for column in columns)], names=["model", *(column[0] for column in columns)])
    rows = index.to_frame(index=False)
    return rows.assign(**{key: [interval(0.2 + 0.6 * i / len(rows))[key] for i in range(len(rows))] for key in interval(0)})


def areas():
    area = {"model": "pgd-inf-0.1", "baseline": "normal", "distortion": "blur", "measure": "top1", "difference": 0.1}
    return pd.DataFrame([area | {"ci_low": 0.05, "ci_high": 0.15}])


IMAGES = torch.linspace(0, 1, 2 * 36).view(2, 1, 6, 6)
MAPS = {name: (IMAGES - 0.5) * (i + 1) for i, name in enumerate(NAMES)}
SHARES = {name: np.array([0.1, 0.5, 0.4]) for name in NAMES}
DRAWN = {
    "accuracy_bars": lambda: figures.accuracy_bars(values(("measure", "clean", "attacked"))),
    "training_curves": lambda: figures.training_curves(
        pd.DataFrame([{"model": m, "epoch": e, "clean": 0.5, "robust": None if m == "normal" else 0.4} for m in NAMES for e in (1, 2)])
    ),
    "distortion_curves": lambda: figures.distortion_curves(curves(), xlabel="level", log=True, original=2, chance=0.1, mark=4.0),
    "difference_bars": lambda: figures.difference_bars(
        pd.DataFrame({"level": [2.0, 4.0], "difference": [0.1, 0], "ci_low": [0.05, -0.3], "ci_high": [0.15, 0.1]}), label="level", xlabel=""
    ),
    "reading_points": lambda: figures.reading_points(
        values(("level", 2.0, 4.0)).assign(distortion="blur", at=0.5).rename(columns={"value": "acc_on_correct"}), at="at", xlabel="share",
        titles={"blur": "blurred"},
        labels="level",
    ),
    "score_boxes": lambda: figures.score_boxes(values(("measure", "gini"), ("image", *range(5))), {"gini": "Gini"}),
    "band_lines": lambda: figures.band_lines(values(("band", "0–1", "1–2")), ["0–1", "1–2"]),
    "matrices": lambda: figures.matrices({"likeness": np.array([[1, -0.001], [-0.001, 1]])}, NAMES[:2]),
    "centroid_curves": lambda: figures.centroid_curves(values(("layer", "conv1", "conv2")), ylabel="cycles", noise=1.0),
    "likeness_points": lambda: figures.likeness_points(
        values(("method", "Grad", "Loss"), ("measure", "ssim")).rename(columns={"model": "pair"}), {"ssim": "SSIM"}
    ),
    "cascade_curves": lambda: figures.cascade_curves(values(("method", "Grad"), ("step", "fc", "conv"), ("measure", "ssim")), {"ssim": "SSIM"}),
    "signed_areas": lambda: figures.signed_areas(
        values(("distortion", "blur"), ("level", 1.0, 2.0), ("measure", "top1")), areas(), labels={"blur": "σ"}, chance={"top1": 0.1},
        titles={"top1": "top-1"},
    ),
    "learning_curves": lambda: figures.learning_curves(values(("epoch", 1, 2)).rename(columns={"ci_low": "low", "ci_high": "high"})),
    "accuracy_intervals": lambda: figures.accuracy_intervals(values(), values(("run", 1, 2))),
    "deciding": lambda: figures.deciding(
        pd.DataFrame([{"world": "inside", "eps": e, "measure": "by shape", "value": e, "ci_low": 0.0, "ci_high": 1.0} for e in (0.0, 0.1, 0.2)]),
        {"inside": (0.2, 0.1)},
    ),
    "coefficients": lambda: figures.coefficients(
        {"L∞": pd.DataFrame({"title": ["shape"], "coefficient": [1.0], "ci_low": [0.5], "ci_high": [1.5]})}
    ),
    "instruments_by_world": lambda: figures.instruments_by_world(
        pd.DataFrame({"instrument": ["saturate"], "world": ["inside"], "rho": [0.9], "verdict": ["reliable"]}),
        pd.DataFrame({"instrument": ["saturate"], "verdict": ["reliable"]}),
        {"saturate": "saturated"},
    ),
    "instruments_by_kind": lambda: figures.instruments_by_kind(
        pd.DataFrame({"instrument": ["saturate"], "kind": ["shuffled"], "order": [-1.0], "expected": [-1], "verdict": ["right"]}),
        {"saturate": "saturated"},
    ),
    "fourier_maps": lambda: figures.fourier_maps({"normal": np.eye(5)}),
    "dose_curves": lambda: figures.dose_curves(values(("distortion", "grayscale"), ("dose", 1.0, 0.5), ("feature", "color"))),
    "bias_curve": lambda: figures.bias_curve(
        pd.DataFrame({"eps": [0.0, 0.1], "shape_bias": [0.3, 0.8], "ci_low": [0.2, 0.7], "ci_high": [0.4, 0.9]}),
        pd.DataFrame({"network": ["normal", "pgd-inf-0.1"], "eps": [0, 0.1], "shape_bias": [0.3, 0.8]}),
        {"shape-only": 1.0},
    ),
    "instrument_panels": lambda: figures.instrument_panels(
        values(("instrument", "blur")).rename(columns={"model": "network"}).assign(shape_bias=[0.0, 0.5, 1.0]), {"blur": "blurred"}
    ),
    "image_grid": lambda: figures.image_grid([("row", IMAGES)], ["a", "b"], note="note", block=1),
    "saliency_grid": lambda: figures.saliency_grid(IMAGES, MAPS, ["a", "b"]),
    "signed_grid": lambda: figures.signed_grid(IMAGES, MAPS, ["a", "b"]),
    "filter_sheet": lambda: figures.filter_sheet({name: torch.ones(1, 1, 3, 3) for name in NAMES}),
    "feature_sheet": lambda: figures.feature_sheet({name: {"conv": IMAGES} for name in NAMES}, {"conv": "conv"}),
    "probability_strip": lambda: figures.probability_strip(IMAGES, SHARES, ["a", "b"]),
    "exploration": lambda: figures.exploration(
        IMAGES[:1], IMAGES[1:], MAPS, MAPS, SHARES, classes=["a", "b", "c"], label=1, note="note"
    ),
    "words": lambda: figures.words("Nothing is drawn."),
}  # fmt: skip


def test_every_figure_is_in_the_table():
    assert set(figures.__all__) == set(DRAWN) | {"MARK", "likeliest", "look", "rendered"}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_bytes_whatever_the_users_settings_and_leaves_them_alone(name):
    first = figures.rendered(DRAWN[name](), "png", dpi=40)
    assert first.startswith(b"\x89PNG")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.facecolor": "red", "lines.marker": "o", "axes.grid": False}):
        before = dict(mpl.rcParams)
        assert figures.rendered(DRAWN[name](), "png", dpi=40) == first
        assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_files_are_the_same_bytes_each_time_and_carry_their_caption():
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        first, second = (figures.rendered(DRAWN["distortion_curves"](), kind, caption="What it shows.", dpi=50) for _ in range(2))
        assert first == second
        assert first.startswith(start)
        assert b"What it shows." in first


def test_one_color_for_a_network_in_every_figure():
    rows = values(("measure", "clean"), names=NAMES[::-1])
    bar = figures.accuracy_bars(rows).axes[0].patches[-1].get_facecolor()
    curve = DRAWN["distortion_curves"]().axes[0].lines[0].get_color()
    assert to_rgb(curve) == pytest.approx(bar[:3], abs=1e-3)
    assert to_rgb(curve) == to_rgb(look("normal")["color"])


def test_looks_differ_by_color_and_by_marker_and_pale_with_eps():
    assert len({look(k)["color"] for k in RECIPES}) == len({look(k)["marker"] for k in RECIPES}) == len(RECIPES)
    darkness = [1 - np.mean(to_rgb(look(f"pgd-inf-{eps}")["color"])) for eps in (1, 2, 4, 8)]
    assert darkness == sorted(darkness)
    assert look("pgd-inf-0.1")["color"] != look("pgd-inf-8")["color"]
    assert look("pgd-l2-0.8") == look("pgd-l2-8")


@pytest.mark.parametrize("names", [PAPER_MODELS, list(checkpoints.zoo("fashion"))], ids=["paper", "embedded set"])
def test_networks_of_one_study_are_told_apart_in_gray_by_marker_and_filling(names):
    assert len(names) >= 11
    assert len({(look(name)["marker"], look(name)["fillstyle"]) for name in names}) == len(names)


def test_networks_side_by_side_are_told_apart_in_gray_by_marker_or_line():
    assert len({(look(k)["marker"], look(k)["linestyle"]) for k in RECIPES}) == len(RECIPES)


def test_pairs_are_told_apart_from_single_networks_and_from_each_other():
    looks = {name: look(name) for name in ("STD", "ADV", "STD+STD", "ADV+ADV", "STD+ADV", "RND+RND")}
    assert len({look["marker"] for look in looks.values()}) == 6
    assert looks["STD"]["color"] == looks["STD+STD"]["color"] == look("normal")["color"]
    assert len({looks[name]["color"] for name in ("STD+STD", "ADV+ADV", "STD+ADV", "RND+RND")}) == 4


def test_the_users_own_networks_are_told_apart_and_keep_their_looks():
    names = [f"timm:own-{i}" for i in range(40)]
    looks = [look(name) for name in names]
    known = {(look(name)["color"], look(name)["marker"]) for name in (*PAPER_MODELS, "untrained", "shape-only", "texture-only")}
    seen = [(each["color"], each["marker"]) for each in looks]
    assert len(set(seen)) == len(names) and not known & set(seen)
    assert len({each["color"] for each in looks[:10]}) == 10
    assert len({(each["marker"], each["fillstyle"]) for each in looks[:10]}) == 10
    assert [look(name) for name in reversed(names)] == looks[::-1]

"""Figures are functions of rows: what is drawn is what the rows say."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb

from atviz import checkpoints, plots, recipes

NAMES = ["normal", "underfit", "pgd-inf-0.1"]


@pytest.fixture
def rows():
    return pd.DataFrame(
        [{"model": m, "distortion": "saturate", "level": v, "acc_on_correct": 0.5 + i / 10, "ci_low": 0.4 + i / 10, "ci_high": 0.6 + i / 10, "top1": 0.4}
         for i, m in enumerate(NAMES) for v in (2.0, 4.0, 1024.0)]
    )  # fmt: skip


def test_curves_draw_the_rows_in_percent_with_their_bands(rows):
    ax = plots.distortion_curves(rows, xlabel="level", log=True, original=2, chance=0.1).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    for i, name in enumerate(NAMES):
        assert list(lines[name].get_xdata()) == [2, 4, 1024]
        assert lines[name].get_ydata() == pytest.approx([50 + 10 * i] * 3)
    bands = [c.get_paths()[0].vertices[:, 1] for c in ax.collections]
    assert [(band.min(), band.max()) for band in bands] == [pytest.approx((40 + 10 * i, 60 + 10 * i)) for i in range(3)]
    assert "%" in ax.get_ylabel()


def test_one_color_for_a_model_in_every_figure(rows):
    curve = next(line for line in plots.distortion_curves(rows, xlabel="").axes[0].lines if line.get_label() == "normal").get_color()
    accuracy = pd.DataFrame([{"model": m, "measure": "clean", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6} for m in reversed(NAMES)])
    bar = plots.accuracy_bars(accuracy).axes[0].containers[-1].patches[0].get_facecolor()
    assert to_rgb(curve) == pytest.approx(bar[:3], abs=1e-3)


def test_looks_differ_by_color_and_by_marker_and_pale_with_eps():
    kinds = ["normal", "underfit", "pgd-inf-8", "pgd-l2-1.2", "fgsm-8", "spatial"]
    assert len({plots.look(k)["color"] for k in kinds}) == len({plots.look(k)["marker"] for k in kinds}) == len(kinds)
    darkness = [1 - np.mean(to_rgb(plots.look(f"pgd-inf-{eps}")["color"])) for eps in (1, 2, 4, 8)]
    assert darkness == sorted(darkness)
    assert plots.look("pgd-inf-0.1")["color"] != plots.look("pgd-inf-8")["color"]
    assert plots.look("pgd-l2-0.8") == plots.look("pgd-l2-8")


def test_saliency_scales(rows):
    images = torch.rand(2, 3, 8, 8)
    maps = {"normal": torch.rand(2, 3, 8, 8), "pgd-inf-8": 0.01 * torch.rand(2, 3, 8, 8)}

    def shown(scale):
        figure = plots.saliency_grid(images, maps, ["a", "b"], scale=scale)
        return [np.asarray(ax.images[0].get_array()) for ax in figure.axes[2:]], figure.get_supxlabel()

    values = [m.abs().sum(0).numpy() for each in maps.values() for m in each]
    own, said = shown("map")
    for picture, value in zip(own, values, strict=True):
        assert picture == pytest.approx(np.minimum(value / np.percentile(value, 99), 1), abs=1e-5)
    assert "own" in said
    shared, said = shown("shared")
    top = np.percentile(np.stack(values), 99)
    for picture, value in zip(shared, values, strict=True):
        assert picture == pytest.approx(np.minimum(value / top, 1), abs=1e-5)
    assert shared[2].max() < 0.05 < own[2].max()
    assert "one scale" in said
    with pytest.raises(ValueError, match="map or shared"):
        shown("log")


def test_differences_are_drawn_with_their_intervals():
    rows = pd.DataFrame({"level": [2.0, 4.0], "difference": [0.1, -0.2], "ci_low": [0.05, -0.3], "ci_high": [0.15, -0.1]})
    ax = plots.difference_bars(rows, label="level", xlabel="points")
    ax = ax.axes[0]
    assert ax.collections[1].get_offsets()[:, 0].tolist() == pytest.approx([10, -20])
    assert [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()] == [pytest.approx([5, 15]), pytest.approx([-30, -10])]


def test_gray_and_color_images_and_values_outside_the_range_are_shown():
    for channels in (1, 3):
        figure = plots.image_grid([("row", 3 * torch.rand(2, channels, 6, 6) - 1)], ["a", "b"])
        shown = figure.axes[0].images[0].get_array()
        assert 0 <= shown.min() <= shown.max() <= 1


def test_a_figure_leaves_the_settings_of_its_caller_alone(rows):
    before = dict(mpl.rcParams)
    plots.distortion_curves(rows, xlabel="")
    assert dict(mpl.rcParams) == before


def test_every_figure_can_be_written(rows, tmp_path):
    history = pd.DataFrame(
        [{"model": m, "epoch": e, "clean": 0.5, "robust": None if m == "normal" else 0.4} for m in NAMES for e in (1, 2)]
    )
    scores = pd.DataFrame([{"model": m, "measure": "sparsity", "value": v} for m in NAMES for v in np.linspace(0, 1, 9)])
    figures = [plots.training_curves(history), plots.score_boxes(scores, {"sparsity": "Gini"}),
               plots.probability_strip(torch.rand(3, 1, 6, 6), {m: np.array([0.1, 0.5, 0.9]) for m in NAMES}, ["a", "b", "c"])]  # fmt: skip
    for i, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2000


def test_signed_maps_are_gray_at_zero_and_clipped_at_three_deviations():
    maps = torch.randn(4, 3, 32, 32) * torch.tensor([1e-6, 1, 5, 1e6])[:, None, None, None]
    maps[:, :, 0, 0] = 0
    shown = plots.signed(maps)
    assert shown[:, :, 0, 0].unique().tolist() == [0.5]
    for each, picture in zip(maps, shown, strict=True):
        expected = np.clip(each.numpy() / (3 * each.numpy().std(ddof=1)), -1, 1) / 2 + 0.5
        np.testing.assert_allclose(picture.numpy(), expected, atol=1e-5)
    assert torch.equal(plots.signed(torch.zeros(1, 1, 4, 4)), torch.full((1, 1, 4, 4), 0.5))


def test_bias_curve_draws_means_seeds_and_controls():
    rows = pd.DataFrame({"eps": [0.0, 0.01], "shape_bias": [0.3, 0.8], "ci_low": [0.2, 0.7], "ci_high": [0.4, 0.9]})
    seeds = pd.DataFrame({"network": ["normal", "normal", "pgd-inf-0.01"], "eps": [0, 0, 0.01], "shape_bias": [0.25, 0.35, 0.8]})
    ax = plots.bias_curve(rows, seeds, {"shape-only": 1.0, "texture-only": 0.0}).axes[0]
    assert ax.lines[0].get_ydata() == pytest.approx([30, 80])
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == [100, 0]
    drawn = [y for points in ax.collections[1:] for y in points.get_offsets()[:, 1]]
    assert drawn == pytest.approx([25, 35, 80])


def test_instrument_panels_draw_each_reading_at_the_true_bias():
    values = [("saturate-1024", n, v, b) for n, v, b in (("shape-only", 0.9, 1.0), ("texture-only", 0.1, 0.0), ("normal", 0.4, 0.3))]
    rows = pd.DataFrame(
        [{"instrument": i, "network": n, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.1, "shape_bias": b} for i, n, v, b in values]
    )
    figure = plots.instrument_panels(rows, {"saturate-1024": "saturated"})
    ax = figure.axes[0]
    assert ax.get_title() == "saturated"
    assert [tuple(box.lines[0].get_xydata()[0]) for box in ax.containers] == [pytest.approx(p) for p in ((100, 0.9), (0, 0.1), (30, 0.4))]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["shape-only", "texture-only", "normal"]


def test_a_mark_points_at_its_level(rows):
    plain, marked = (plots.distortion_curves(rows, xlabel="", mark=mark).axes[0] for mark in (None, 4.0))
    (line,) = [line for line in marked.lines if line.get_color() == plots.MARK]
    assert set(line.get_xdata()) == {4.0}
    assert len(marked.lines) == len(plain.lines) + 1


@pytest.fixture
def probability():
    draw = np.random.default_rng(0)
    return {name: draw.dirichlet(np.ones(40)) for name in NAMES}


def test_few_classes_are_all_shown_and_of_many_the_likeliest_and_the_true_one(probability):
    few = {name: p[:7] for name, p in probability.items()}
    assert plots.likeliest(few, 2) == list(range(7))
    highest = np.max(list(probability.values()), axis=0)
    rare = int(highest.argmin())
    chosen = plots.likeliest(probability, rare)
    assert chosen == sorted({*np.argsort(-highest)[: plots.SHOWN_CLASSES], rare})
    assert rare not in plots.likeliest(probability, None)


@pytest.mark.parametrize("label", [3, None])
def test_exploration_draws_each_networks_picture_map_and_bars(probability, label):
    image, shown = torch.rand(2, 1, 3, 8, 8)
    seen, maps = ({name: torch.rand(1, c, 8, 8) for name in NAMES} for c in (3, 1))
    classes = [f"class {i}" for i in range(40)]
    figure = plots.exploration(image, shown, seen, maps, probability, classes=classes, label=label, note="A note.")
    pictures = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    wanted = [image, *seen.values(), shown, *maps.values()]
    for picture, want in zip(pictures, wanted, strict=True):
        np.testing.assert_allclose(picture, want[0].permute(1, 2, 0).squeeze().numpy())
    chosen = plots.likeliest(probability, label)
    for ax, name in zip(figure.axes[9:], NAMES, strict=True):
        assert [
            bar.get_width() for bar in ax.patches if bar.get_facecolor()[:3] == pytest.approx(to_rgb(plots.look(name)["color"]), abs=1e-6)
        ] == (pytest.approx([100 * probability[name][c] for c in chosen]))
    names = [tick.get_text() for tick in figure.axes[9].get_yticklabels()]
    assert [name for name in names if "true" in name] == ([] if label is None else ["class 3 (true)"])


def test_files_are_the_same_bytes_each_time_and_carry_their_caption(rows):
    draw = lambda: plots.distortion_curves(rows, xlabel="level")
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        first, second = (plots.rendered(draw(), kind, caption="What it shows.", dpi=50) for _ in range(2))
        assert first == second
        assert first.startswith(start)
        assert b"What it shows." in first


@pytest.mark.parametrize("names", [recipes.PAPER_MODELS, list(checkpoints.zoo("fashion"))], ids=["paper", "embedded set"])
def test_networks_of_one_study_are_told_apart_in_gray_by_marker_and_filling(names):
    assert len(names) >= 11
    assert len({(plots.look(name)["marker"], plots.look(name)["fillstyle"]) for name in names}) == len(names)


def test_networks_side_by_side_are_told_apart_in_gray_by_marker_or_line():
    kinds = ["normal", "underfit", "pgd-inf-8", "pgd-l2-1.2", "fgsm-8", "spatial"]
    assert len({(plots.look(k)["marker"], plots.look(k)["linestyle"]) for k in kinds}) == len(kinds)


def test_filters_are_drawn_on_one_scale():
    filters = {"normal": torch.linspace(-1, 1, 5 * 9).view(5, 1, 3, 3), "pgd-inf-8": torch.full((5, 3, 3, 3), 0.1)}
    for gain in (1.0, 0.5):
        figure = plots.filter_sheet(filters, gain=gain)
        for ax, (name, weights) in zip(figure.axes, filters.items(), strict=True):
            shown = np.asarray(ax.images[0].get_array())
            assert ax.get_title() == name
            # 24 pixels a filter and lines of 3: the second row begins at 27, with the fourth of five in three columns
            fourth = shown[27:51:8, 0:24:8]
            expected = np.clip(gain * weights[3].numpy() + 0.5, 0, 1).transpose(1, 2, 0)
            assert fourth == pytest.approx(np.broadcast_to(expected, (3, 3, 3)))
        assert ("0.5 · weight" in figure.get_supxlabel()) == (gain == 0.5)


def test_features_stand_in_their_layer_and_network():
    images = {name: {layer: torch.rand(2, 1, 4, 4) for layer in ("conv1", "conv2")} for name in ("normal", "pgd-inf-8")}
    figure = plots.feature_sheet(images, {"conv1": "first", "conv2": "second"})
    axes = np.array(figure.axes).reshape(2, 4)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["first", "second"]
    for i, layer in enumerate(("conv1", "conv2")):
        expected = [picture[0].numpy() for name in images for picture in images[name][layer]]
        assert all((ax.images[0].get_array() == e).all() for ax, e in zip(axes[i], expected, strict=True))


def test_centroid_curves_draw_the_rows_in_their_order():
    rows = pd.DataFrame(
        [{"model": m, "layer": layer, "value": v + i, "ci_low": v + i - 1, "ci_high": v + i + 2}
         for i, m in enumerate(NAMES) for v, layer in ((5, "conv1"), (3, "a.conv"))]
    )  # fmt: skip
    ax = plots.centroid_curves(rows, ylabel="cycles", noise=9.0).axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert lines == {name: [5 + i, 3 + i] for i, name in enumerate(NAMES)} | {"white noise": [9, 9]}
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["conv1", "a.conv"]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (2, 7)


def test_signed_maps_on_one_scale_keep_their_magnitudes():
    maps = {"untrained": 0.1 * torch.randn(2, 3, 16, 16), "normal": torch.randn(2, 3, 16, 16)}
    images = torch.rand(2, 3, 16, 16)
    every = torch.cat(list(maps.values())).numpy()

    def shown(scale):
        figure = plots.signed_grid(images, maps, ["a", "b"], scale=scale)
        pictures = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
        np.testing.assert_allclose(pictures[1], images[1].permute(1, 2, 0))
        return pictures[2:], figure.get_supxlabel()

    each = [(name, i) for name in maps for i in range(2)]
    for scale, said in (("map", "own standard deviations"), ("shared", "all maps on one scale")):
        pictures, note = shown(scale)
        assert said in note
        for (name, i), picture in zip(each, pictures, strict=True):
            values = maps[name][i].numpy()
            deviation = (values if scale == "map" else every).std(ddof=1)
            expected = np.clip(values / (3 * deviation), -1, 1) / 2 + 0.5
            np.testing.assert_allclose(picture, expected.transpose(1, 2, 0), atol=1e-5)
    with pytest.raises(ValueError, match="scale is 'both'"):
        plots.signed_grid(images, maps, ["a", "b"], scale="both")


LIKENESS = {"rank": "rank correlation of magnitudes", "ssim": "SSIM"}


def test_likeness_points_are_the_rows_with_the_look_of_the_trained_network():
    names = ["untrained and normal", "untrained and pgd-inf-0.1", "normal and pgd-inf-0.1"]
    rows = pd.DataFrame(
        [{"pair": p, "method": m, "measure": k, "value": (v := 0.1 * i + 0.2 * j + 0.05 * n), "ci_low": v - 0.02, "ci_high": v + 0.03}
         for i, p in enumerate(names) for j, m in enumerate(["Vanilla", "Loss"]) for n, k in enumerate(LIKENESS)]
    )  # fmt: skip
    figure = plots.likeness_points(rows, LIKENESS)
    assert [ax.get_title() for ax in figure.axes] == list(LIKENESS.values())
    for n, ax in enumerate(figure.axes):
        for i, points in enumerate(ax.containers):
            assert points.lines[0].get_ydata() == pytest.approx([0.1 * i + 0.05 * n, 0.1 * i + 0.2 + 0.05 * n])
            assert points.lines[2][0].get_segments()[0][:, 1] == pytest.approx([0.1 * i + 0.05 * n - 0.02, 0.1 * i + 0.05 * n + 0.03])
    colors = [points.lines[0].get_color() for points in figure.axes[0].containers]
    assert colors == [plots.look("normal")["color"], plots.look("pgd-inf-0.1")["color"], "#000000"]


def test_cascade_curves_draw_each_networks_steps_in_their_order():
    steps = ["none", "fc", "conv1"]
    rows = pd.DataFrame(
        [{"model": m, "method": f, "step": s, "measure": k, "value": (v := 1 - 0.3 * i - 0.1 * j - 0.05 * n), "ci_low": v - 0.02, "ci_high": v + 0.02}
         for i, m in enumerate(["normal", "pgd-inf-0.1"]) for n, f in enumerate(["Vanilla", "Loss"]) for j, s in enumerate(steps) for k in LIKENESS]
    )  # fmt: skip
    figure = plots.cascade_curves(rows, LIKENESS)
    assert [ax.get_title() for ax in figure.axes] == ["Vanilla", "Loss", "", ""]
    for ax, n in zip(figure.axes, (0, 1, 0, 1), strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        for i, name in enumerate(["normal", "pgd-inf-0.1"]):
            assert lines[name].get_ydata() == pytest.approx([1 - 0.3 * i - 0.1 * j - 0.05 * n for j in range(3)])
            assert lines[name].get_color() == plots.look(name)["color"]
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == steps
    assert "rank correlation" in figure.axes[0].get_ylabel() and figure.axes[2].get_ylabel() == "SSIM"


def test_the_area_between_two_curves_has_the_color_of_the_upper_one():
    values = {"normal": [0.9, 0.5, 0.3], "underfit": [0.8, 0.4, 0.2], "pgd-inf-0.1": [0.7, 0.5, 0.5]}
    rows = pd.DataFrame(
        [{"model": m, "distortion": "blur", "level": float(i), "measure": "top1", "value": v, "ci_low": v - 0.02, "ci_high": v + 0.02}
         for m, line in values.items() for i, v in enumerate(line)]
    )  # fmt: skip
    area = {"model": "pgd-inf-0.1", "baseline": "normal", "distortion": "blur", "measure": "top1"}
    areas = pd.DataFrame([area | {"difference": 0.0, "ci_low": -0.031, "ci_high": 0.03}])
    (ax,) = plots.signed_areas(rows, areas, labels={"blur": "σ"}, chance={"top1": 0.1}, titles={"top1": "top-1"}).axes
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    for name, line in values.items():
        assert lines[name] == pytest.approx([100 * v for v in line])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("σ", "top-1") and "+0.0 [−3.1, +3.0] points" in ax.get_title()
    filled = {}
    for collection in ax.collections[-2:]:
        corners = np.concatenate([path.vertices for path in collection.get_paths()])
        filled[tuple(collection.get_facecolor()[0][:3])] = corners[:, 0].min(), corners[:, 0].max()
    # they cross at level 1
    assert filled[to_rgb(plots.look("normal")["color"])] == (0, 1)
    assert filled[to_rgb(plots.look("pgd-inf-0.1")["color"])] == (1, 2)


def test_learning_curves_draw_the_means_of_the_runs_with_their_bands():
    rows = pd.DataFrame(
        [
            {"model": m, "epoch": e, "value": v + e / 10, "low": v, "high": v + 0.2}
            for m, v in (("STD", 0.3), ("STD+ADV", 0.5))
            for e in (1, 2)
        ]
    )
    ax = plots.learning_curves(rows).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["STD+ADV"].get_ydata() == pytest.approx([60, 70])
    bands = [c.get_paths()[0].vertices[:, 1] for c in ax.collections]
    assert [(band.min(), band.max()) for band in bands] == [pytest.approx((30, 50)), pytest.approx((50, 70))]


def test_accuracy_intervals_draw_interval_mean_and_runs():
    rows = pd.DataFrame([{"model": m, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.2} for m, v in (("STD", 0.3), ("ADV", 0.5))])
    runs = pd.DataFrame([{"model": m, "value": v} for m, v in (("STD", 0.25), ("STD", 0.35), ("ADV", 0.5))])
    ax = plots.accuracy_intervals(rows, runs).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["STD", "ADV"]
    bars = [c.get_segments()[0][:, 0].tolist() for c in ax.collections if hasattr(c, "get_segments")]
    assert bars == [pytest.approx([20, 50]), pytest.approx([40, 70])]
    dots = [c.get_offsets()[:, 0].tolist() for c in ax.collections if not hasattr(c, "get_segments")]
    assert dots == [pytest.approx(d) for d in ([30], [25, 35], [50], [50])]


def test_pairs_are_told_apart_from_single_networks_and_from_each_other():
    looks = {name: plots.look(name) for name in ("STD", "ADV", "STD+STD", "ADV+ADV", "STD+ADV", "RND+RND")}
    assert len({look["marker"] for look in looks.values()}) == 6
    assert looks["STD"]["color"] == looks["STD+STD"]["color"] == plots.look("normal")["color"]
    assert len({looks[name]["color"] for name in ("STD+STD", "ADV+ADV", "STD+ADV", "RND+RND")}) == 4


def test_bars_of_different_kinds_are_told_apart_in_gray():
    kinds = ["normal", "underfit", "pgd-inf-0.1", "pgd-l2-1.0", "fgsm-0.1", "spatial"]
    rows = pd.DataFrame([{"model": k, "measure": "clean", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6} for k in kinds])
    bars = plots.accuracy_bars(rows).axes[0].patches
    assert len({bar.get_hatch() for bar in bars}) == len(kinds)

"""Grids of images show the pixels that they are given, on the scale that they name."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from atviz.notebook import figures
from atviz.notebook.figures.probabilities import SHOWN_CLASSES
from atviz.saliency import signed

NAMES = ["normal", "underfit", "pgd-inf-0.1"]


def pictures(figure):
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def test_gray_and_color_images_and_values_outside_the_range_are_shown():
    for channels in (1, 3):
        images = 3 * torch.rand(2, channels, 6, 6) - 1
        shown = pictures(figures.image_grid([("row", images)], ["a", "b"]))
        for picture, image in zip(shown, images, strict=True):
            np.testing.assert_allclose(picture, image.clamp(0, 1).permute(1, 2, 0).squeeze())


def test_rows_columns_blocks_and_empty_places():
    one = torch.zeros(1, 4, 4)
    figure = figures.image_grid([("first", [one] * 4), ("second", [one, None, one, one])], list("abcd"), note="a note", block=2)
    assert [ax.get_title() for ax in figure.axes] == [*"abcd", "", "", "", ""]
    assert [bool(ax.images) for ax in figure.axes] == [True] * 5 + [False] + [True] * 2
    assert (figure.axes[0].get_ylabel(), figure.axes[4].get_ylabel(), figure.get_supxlabel()) == ("first", "second", "a note")
    left = [ax.get_position().x0 for ax in figure.axes[:4]]
    assert left[2] - left[1] > 1.15 * (left[1] - left[0]) == pytest.approx(1.15 * (left[3] - left[2]))


def test_saliency_scales():
    images = torch.rand(2, 3, 8, 8)
    maps = {"normal": torch.rand(2, 3, 8, 8), "pgd-inf-8": 0.01 * torch.rand(2, 3, 8, 8)}

    def shown(scale):
        figure = figures.saliency_grid(images, maps, ["a", "b"], scale=scale)
        return pictures(figure)[2:], figure.get_supxlabel()

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


def test_signed_maps_are_gray_at_zero_and_clipped_at_three_deviations():
    maps = torch.randn(4, 3, 32, 32) * torch.tensor([1e-6, 1, 5, 1e6])[:, None, None, None]
    maps[:, :, 0, 0] = 0
    shown = signed(maps)
    assert shown[:, :, 0, 0].unique().tolist() == [0.5]
    for each, picture in zip(maps, shown, strict=True):
        expected = np.clip(each.numpy() / (3 * each.numpy().std(ddof=1)), -1, 1) / 2 + 0.5
        np.testing.assert_allclose(picture.numpy(), expected, atol=1e-5)
    assert torch.equal(signed(torch.zeros(1, 1, 4, 4)), torch.full((1, 1, 4, 4), 0.5))


def test_signed_maps_on_one_scale_keep_their_magnitudes():
    maps = {"untrained": 0.1 * torch.randn(2, 3, 16, 16), "normal": torch.randn(2, 3, 16, 16)}
    images = torch.rand(2, 3, 16, 16)
    every = torch.cat(list(maps.values())).numpy()

    def shown(scale):
        figure = figures.signed_grid(images, maps, ["a", "b"], scale=scale)
        np.testing.assert_allclose(pictures(figure)[1], images[1].permute(1, 2, 0))
        return pictures(figure)[2:], figure.get_supxlabel()

    each = [(name, i) for name in maps for i in range(2)]
    for scale, said in (("map", "own standard deviations"), ("shared", "all maps on one scale")):
        found, note = shown(scale)
        assert said in note
        for (name, i), picture in zip(each, found, strict=True):
            values = maps[name][i].numpy()
            deviation = (values if scale == "map" else every).std(ddof=1)
            expected = np.clip(values / (3 * deviation), -1, 1) / 2 + 0.5
            np.testing.assert_allclose(picture, expected.transpose(1, 2, 0), atol=1e-5)
    with pytest.raises(ValueError, match="scale is 'both'"):
        figures.signed_grid(images, maps, ["a", "b"], scale="both")


def test_filters_are_drawn_on_one_scale():
    filters = {"normal": torch.linspace(-1, 1, 5 * 9).view(5, 1, 3, 3), "pgd-inf-8": torch.full((5, 3, 3, 3), 0.1)}
    for gain in (1.0, 0.5):
        figure = figures.filter_sheet(filters, gain=gain)
        for ax, (name, weights) in zip(figure.axes, filters.items(), strict=True):
            shown = np.asarray(ax.images[0].get_array())
            assert ax.get_title() == name
            # 24 pixels a filter and lines of 3: the second row begins at 27, with the fourth of five in three columns
            assert shown.shape == (51, 78, 3)
            fourth = shown[27:51:8, 0:24:8]
            expected = np.clip(gain * weights[3].numpy() + 0.5, 0, 1).transpose(1, 2, 0)
            assert fourth == pytest.approx(np.broadcast_to(expected, (3, 3, 3)))
            for pale in (shown[25, 25], shown[-1, -1]):  # a line, and the place of a sixth
                assert pale == pytest.approx(to_rgb("#cfe3f5"))
        assert ("0.5 · weight" in figure.get_supxlabel()) == (gain == 0.5)


def test_features_stand_in_their_layer_and_network():
    images = {name: {"conv1": torch.rand(2, 1, 4, 4), "conv2": torch.rand(1, 1, 4, 4)} for name in ("normal", "pgd-inf-8")}
    figure = figures.feature_sheet(images, {"conv1": "first", "conv2": "second"})
    axes = np.array(figure.axes).reshape(2, 4)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["first", "second"]
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["normal", "", "pgd-inf-8", ""]
    for row, places, layer in zip(axes, ((0, 1, 2, 3), (0, 2)), ("conv1", "conv2"), strict=True):
        expected = [picture[0].numpy() for name in images for picture in images[name][layer]]
        assert [j for j, ax in enumerate(row) if ax.images] == list(places)
        assert all((row[j].images[0].get_array() == e).all() for j, e in zip(places, expected, strict=True))


@pytest.fixture
def probability():
    draw = np.random.default_rng(0)
    return {name: draw.dirichlet(np.ones(40)) for name in NAMES}


def bars(ax, name):
    color = pytest.approx(to_rgb(figures.look(name)["color"]), abs=1e-6)
    return [bar.get_width() for bar in ax.patches if bar.get_facecolor()[:3] == color]


def test_a_strip_shows_the_true_class_of_every_image_for_every_network(probability):
    figure = figures.probability_strip(torch.rand(3, 1, 6, 6), {name: p[:3] for name, p in probability.items()}, ["a", "b", "c"])
    assert [ax.get_title() for ax in figure.axes[:3]] == ["a", "b", "c"]
    for j, ax in enumerate(figure.axes[3:]):
        assert [bars(ax, name) for name in NAMES] == [[pytest.approx(100 * probability[name][j])] for name in NAMES]
    assert [tick.get_text() for tick in figure.axes[3].get_yticklabels()] == NAMES


def test_few_classes_are_all_shown_and_of_many_the_likeliest_and_the_true_one(probability):
    few = {name: p[:7] for name, p in probability.items()}
    assert figures.likeliest(few, 2) == list(range(7))
    highest = np.max(list(probability.values()), axis=0)
    rare = int(highest.argmin())
    chosen = figures.likeliest(probability, rare)
    assert chosen == sorted({*np.argsort(-highest)[:SHOWN_CLASSES], rare})
    assert rare not in figures.likeliest(probability, None)


@pytest.mark.parametrize("label", [3, None])
def test_exploration_draws_each_networks_picture_map_and_bars(probability, label):
    image, shown = torch.rand(2, 1, 3, 8, 8)
    seen, maps = ({name: torch.rand(1, c, 8, 8) for name in NAMES} for c in (3, 1))
    classes = [f"class {i}" for i in range(40)]
    figure = figures.exploration(image, shown, seen, maps, probability, classes=classes, label=label, note="A note.")
    wanted = [image, *seen.values(), shown, *maps.values()]
    for picture, want in zip(pictures(figure), wanted, strict=True):
        np.testing.assert_allclose(picture, want[0].permute(1, 2, 0).squeeze().numpy())
    chosen = figures.likeliest(probability, label)
    for ax, name in zip(figure.axes[9:], NAMES, strict=True):
        assert bars(ax, name) == pytest.approx([100 * probability[name][c] for c in chosen])
    names = [tick.get_text() for tick in figure.axes[9].get_yticklabels()]
    assert [name for name in names if "true" in name] == ([] if label is None else ["class 3 (true)"])

"""Instruments: every row is the function that it names, at its levels; and a new row is all that a new instrument needs."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from atviz import distortions as d
from atviz import saliency
from atviz.data import shapetex
from atviz.evidence import (
    ITAZURI,
    ZHANG_ZHU,
    Instrument,
    Store,
    Study,
    compare_maps,
    compare_outcomes,
    completed,
    controls,
    find,
    map_numbers,
    outcomes,
    reliability,
    saliency_scores,
    sweep,
)
from atviz.evidence.instruments import ACCURACY, INSTRUMENTS, MAPS, Said, key, named, sliders
from atviz.models import Network, Networks

MEAN = (0.3,)
USUAL = {
    "patch_shuffle": 4,
    "patch_rotate": 2,
    "random_modes": 0.4,
    "random_modes_code": 0.4,
    "random_modes_dark": 0.4,
    "stylize": 0.8,
    "reverse": 0.75,
}
FUNCTIONS = {
    "stylize": lambda x, level, stylizer: stylizer(x, alpha=level),
    "saturate": lambda x, level: d.saturate(x, level),
    "gaussian_blur": lambda x, level: d.gaussian_blur(x, level),
    "median_filter": lambda x, level: d.median_filter(x, level),
    "low_pass": lambda x, level: d.low_pass(x, level),
    "brightness": lambda x, level: d.shift(x, level),
    "high_pass": lambda x, level: d.high_pass(x, level, keep_mean=True),
    "high_pass_dark": lambda x, level: d.high_pass(x, level),
    "random_modes": lambda x, level, generator: d.random_modes(x, level, keep_mean=True, generator=generator),
    "random_modes_dark": lambda x, level, generator: d.random_modes(x, level, generator=generator),
    "patch_shuffle": lambda x, level, generator: d.patch_shuffle(x, level, generator=generator),
    "reverse": lambda x, level: x + level * (d.reverse(x, mean=MEAN * x.shape[1]) - x),
    "low_pass_code": lambda x, level: d.low_pass(x, level, preset="code"),
    "high_pass_code": lambda x, level: d.high_pass(x, level, preset="code"),
    "random_modes_code": lambda x, level, generator: d.random_modes(x, level, symmetric=False, generator=generator),
}


def usual(name):
    """A level that changes images of every size below."""
    return USUAL.get(name, (find(name).judged or (3,))[-1])


DRAWN = ("random_modes", "patch_shuffle", "patch_rotate", "channel_shuffle", "random_modes_code", "random_modes_dark")
MEASURED = [i for i in INSTRUMENTS if i.judged or i.said]


def draw(n, h=28, w=28, *, channels=1):
    return torch.rand(n, channels, h, w, generator=torch.Generator().manual_seed(0))


def suited(name, n, h, w, channels=1):
    """Images of a size that a distortion takes."""
    return draw(n, h, h if name == "patch_rotate" else w, channels=3 if name == "channel_shuffle" else channels)


@pytest.fixture(scope="module")
def material():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 8, 3), nn.ReLU())
        network = d.AdaIN(encoder, d.mirrored(encoder))
        return {"stylizer": d.Stylizer(network, torch.rand(20, 3, 8, 8)), "mean": MEAN}


# --- each row


@pytest.mark.parametrize("name", named(ACCURACY))
def test_a_distortion_is_the_function_at_its_level(name, material):
    x, level = draw(3, 8, 8, channels=3), usual(name)
    material = material | {"mean": MEAN * 3}
    given = {"generator": torch.Generator().manual_seed(9)} if name in DRAWN else {}
    given |= {"stylizer": material["stylizer"]} if name == "stylize" else {}
    found = find(name).at(level, seed=9, material=material)(x)
    torch.testing.assert_close(found, FUNCTIONS.get(name, getattr(d, name, None))(x, level, **given), atol=1e-6, rtol=0)
    assert not torch.allclose(found, x, atol=1e-3)


@pytest.mark.parametrize("name", named(ACCURACY))
@pytest.mark.parametrize("size", [(4, 4), (28, 28), (32, 16)])
def test_batches_of_any_size_give_the_same_images(name, size, material):
    x, level, instrument = suited(name, 12, *size), usual(name), find(name)
    whole = instrument.at(level, seed=5, material=material)(x)
    for batch in (1, 5, 7):
        distort = instrument.at(level, seed=5, material=material)
        torch.testing.assert_close(torch.cat([distort(part) for part in x.split(batch)]), whole, atol=1e-5, rtol=0)
    assert (name in DRAWN) != torch.equal(instrument.at(level, seed=6, material=material)(x), whole)


@pytest.mark.parametrize("name", named(ACCURACY))
@pytest.mark.parametrize(("size", "channels"), [((28, 28), 1), ((16, 32), 3)])
def test_one_image_alone_is_distorted_as_in_its_place(name, size, channels, material):
    x, level, instrument = suited(name, 9, *size, channels), usual(name), find(name)
    given = {"seed": 5, "material": material | {"mean": (0.3,) * channels}}
    whole = instrument.at(level, **given)(x)
    for place in (0, 1, 6):
        distort = instrument.at(level, before=place, **given)
        torch.testing.assert_close(distort(x[place : place + 1])[0], whole[place], atol=1e-5, rtol=0)
        if place < 8:  # and the next one after it
            torch.testing.assert_close(distort(x[place + 1 : place + 2])[0], whole[place + 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "hint"), [("saturation", "saturate"), ("patch-shuffle", "patch_shuffle"), ("lowpass", "low_pass"), ("?", "known are")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name, hint):
    with pytest.raises(ValueError, match="unknown distortion") as error:
        find(name)
    assert repr(name) in str(error.value) and hint in str(error.value)


@pytest.mark.parametrize("name", ["saturate", "patch_shuffle", "stylize", "reverse"])
def test_a_part_of_a_distortion_is_a_distortion(name, material):
    x, level, instrument = draw(4, 8, 8), usual(name), find(name)
    made = {"seed": 3, "material": material}
    shown = instrument.at(level, **made)(x)
    for part, function in (
        ("brightness", d.brightness_alone),
        ("contrast", d.contrast_alone),
        ("ball-0.05", lambda x, s: d.within_ball(x, s, 0.05)),
    ):
        alone = find(f"{name}/{part}")
        assert alone.needs == instrument.needs and not alone.claims and alone not in sliders()
        torch.testing.assert_close(alone.at(level, **made)(x), function(x, shown), atol=1e-6, rtol=0)
    for wrong in ("sharpness", "ball", "brightness-1", "ball-x"):
        with pytest.raises(ValueError, match="has no part"):
            find(f"{name}/{wrong}")


def test_a_number_of_maps_is_no_distortion():
    with pytest.raises(ValueError, match="unknown distortion 'sparsity'"):
        find("sparsity")


def test_every_row_is_named_once_and_states_what_is_expected_of_it_where_it_is_judged():
    assert len({i.name for i in INSTRUMENTS}) == len(INSTRUMENTS)
    for i in INSTRUMENTS:
        assert i.reads in (ACCURACY, MAPS)
        assert bool(i.expected) == (i.sign in (1, -1)) and (bool(i.judged) or not i.sign), i.name
        assert i.expected == {1: "higher", -1: "lower", 0: ""}[i.sign]
        assert {said.level for said in i.said} == i.claims.keys()
        if i.levels:
            assert i.short and i.axis and list(i.levels) == sorted(set(i.levels))
            assert list(i.stops) in (sorted(set(i.stops)), sorted(set(i.stops), reverse=True))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 16)])
@pytest.mark.parametrize("i", [i for i in named(ACCURACY).values() if i.levels], ids=lambda i: i.name)
def test_every_usable_level_and_stop_can_be_applied_and_the_original_changes_nothing(i, shape, material):
    x, given = draw(2, *shape[1:], channels=shape[0]), {"material": material | {"mean": (0.3,) * shape[0]}}
    assert set(i.usable(shape)) <= set(i.levels) and set(i.usable(shape, stops=True)) <= set(i.stops or i.levels)
    for level in {*i.usable(shape), *i.usable(shape, stops=True)}:
        assert i.at(level, **given)(x).shape == x.shape
    if i.original is not None:
        torch.testing.assert_close(i.at(i.original, **given)(x), x, atol=1e-6, rtol=0)


def test_only_levels_that_the_images_allow_are_usable():
    shuffle, low = find("patch_shuffle"), find("low_pass")
    assert shuffle.usable((1, 28, 28)) == [2, 4, 7] == d.patch_counts(28, 28)
    assert shuffle.usable((3, 32, 24)) == [2, 4, 8] == d.patch_counts(32, 24)
    assert shuffle.usable((1, 28, 28), stops=True) == [2, 4, 7, 14, 28]
    assert low.usable((1, 28, 28)) == [1, 2, 3, 4, 6, 8, 12] == low.usable((3, 64, 28), stops=True)[::-1]
    assert find("high_pass").usable((1, 8, 8)) == [1, 2, 3] and find("high_pass").usable((1, 8, 8), stops=True) == [0, 1, 2, 3]
    assert find("saturate").usable((1, 28, 28)) == [0.25, 0.5, 1, 2, 4, 8, 16, 64, 1024]  # the paper's


@pytest.mark.parametrize(
    ("name", "level", "said"),
    [
        ("saturate", 1024, "saturated to level 1024"),
        ("patch_shuffle", 4, "4 × 4 patches shuffled"),
        ("low_pass", 4, "low-pass filtered, radius 4"),
        ("gaussian_blur", 0.25, "blurred with σ = 0.25"),
        ("random_modes", 0.1, "a tenth of the Fourier modes removed"),
        ("random_modes", 0.5, "50 % of the Fourier modes removed"),
        ("median_filter", 5, "median-filtered five times"),
        ("median_filter", 3, "median-filtered 3 times"),
        ("stylize", 1, "stylized"),
        ("stylize", 0.5, "stylized, α = 0.5"),
        ("reverse", 1, "colors reversed"),
    ],
)
def test_an_instrument_at_a_level_in_words(name, level, said):
    assert find(name).words(level) == said


def test_a_claim_is_of_its_instrument_at_its_level():
    for i in MEASURED:
        for level, claim in i.claims.items():
            assert (claim.measure, claim.level) == (i.name, level)
            base = "" if i.base is None else f" at {i.words(i.base)}"
            assert claim.label == (f"{claim.unit}{base}, " if i.reads == ACCURACY else "") + i.words(level)
            assert claim.paper in (ZHANG_ZHU, ITAZURI)
    assert find("saturate").claims.keys() == {0.25, 1024} and find("low_pass_code").claims == {}


def test_the_sliders_are_the_distortions_that_have_levels_in_the_order_of_the_rows():
    names = [i.name for i in sliders()]
    assert names == [i.name for i in INSTRUMENTS if i.reads == ACCURACY and i.levels]
    assert (
        names[:4] == ["stylize", "saturate", "brightness", "gaussian_blur"]
        and "high_pass_dark" not in names
        and "low_pass_code" not in names
    )


def test_the_key_of_an_instrument_names_its_level_unless_it_has_none():
    assert [key("saturate", 1024.0), key("random_modes", 0.1), key("sparsity", 0)] == ["saturate-1024", "random_modes-0.1", "sparsity"]


# --- what a distortion needs besides images


def test_the_mean_is_the_images_own_unless_it_is_given(fashion):
    reverse = find("reverse")
    assert completed(reverse, fashion) == {"mean": (round(float(fashion.x.double().mean() / 255), 4),)}
    assert completed(reverse, fashion, {"mean": (0.25,), "stylizer": None}) == {"mean": (0.25,)}
    assert completed(find("saturate"), fashion, {"mean": (0.25,)}) == {}
    with pytest.raises(ValueError, match="mean has 3 values for 1 channels"):
        sweep({}, fashion[:5], {"reverse": [1]}, material={"mean": (0.1, 0.2, 0.3)})


def test_the_stylizer_is_the_small_one_unless_it_is_given(fashion, material):
    made = completed(find("stylize"), fashion)["stylizer"]
    assert (made.alpha, made.seed, tuple(made.styles.shape[1:])) == (1, 0, (3, 28, 28))
    assert completed(find("stylize"), fashion, material) == {"stylizer": material["stylizer"]}
    assert made.key == d.Stylizer(d.load_adain("small"), made.styles).key


def test_the_level_of_stylizing_is_its_strength(material):
    x, stylizer = draw(6), material["stylizer"]
    assert torch.equal(find("stylize").at(0.5, material=material)(x), stylizer(x, alpha=0.5))
    assert torch.equal(find("stylize").at(1, material=material)(x), stylizer(x))
    assert not torch.equal(stylizer(x, alpha=0.5), stylizer(x))


def test_reversing_by_half_gives_the_mean(material):
    found = find("reverse").at(0.5, material=material)(draw(4))
    assert found.numpy() == pytest.approx(np.full(found.shape, MEAN[0]), abs=1e-6)


# --- one row is all that a new instrument needs


def added(row):
    INSTRUMENTS.append(row)
    yield row
    INSTRUMENTS.remove(row)


@pytest.fixture
def dimmed():
    """A distortion that exists in its row alone."""
    yield from added(
        Instrument("dimmed", "dimmed by {level}", lambda x, level: x * (1 - level), short="dim", axis="share of light taken away",
                   levels=(0.25, 0.5, 0.75), original=0, sign=-1, judged=(0.5,), said=(Said(0.75, "equal", "Figure 11", ITAZURI),))
    )  # fmt: skip


@pytest.fixture
def peak():
    """A number of maps that exists in its row alone."""
    yield from added(
        Instrument("peak", "largest value of Grad", lambda maps: maps.abs().flatten(1).amax(1), MAPS, method="Grad", sign=1, judged=(0,),
                   said=(Said(0, "higher", "Figure 12", ZHANG_ZHU),))
    )  # fmt: skip


def test_a_new_row_is_a_distortion_of_sweeps_findings_and_sliders(dimmed, trained, other, images, tmp_path):
    assert find("dimmed") is dimmed and dimmed in sliders()
    with pytest.raises(ValueError, match="did you mean 'dimmed'"):
        find("dimed")
    x, store, networks = draw(2), Store(tmp_path), {"normal": trained, "adversarial": other}
    assert torch.equal(dimmed.at(0.25)(x), 0.75 * x)
    rows = sweep(networks, images, {"dimmed": [0.5, 0.75]}, store=store)
    own = sweep(networks, images, {"dimmed": {0.5: lambda x: x / 2, 0.75: lambda x: x / 4}})
    pd.testing.assert_frame_equal(rows, own)
    computed = store.computed
    results = outcomes(networks, images, {"dimmed": [0.5, 0.75]}, store=store)
    assert store.computed == computed == 6
    pair = [Network(name, module, images.classes, (1, 28, 28)) for name, module in networks.items()]
    study = Study(Networks.of(pair, baseline="normal", subject="adversarial"), images, store)
    (finding,) = compare_outcomes(study, results)  # the paper says nothing of 0.5
    assert finding.claim.label == "accuracy on correct, dimmed by 0.75"
    assert finding.difference == pytest.approx(-np.subtract(*rows[rows.level == 0.75].acc_on_correct))


def test_a_new_row_is_judged_by_the_controls(dimmed, peak, tmp_path):
    assert reliability.judged()["dimmed-0.5"] == (dimmed, 0.5) and reliability.judged()["peak"] == (peak, 0)
    assert reliability.titles()["dimmed-0.5"] == "dimmed by 0.5"
    networks = [controls.Control(name, 0, 0, nn.Sequential(nn.Flatten(), nn.Linear(768, 8)), {}) for name in controls.CONTROLS]
    read = controls.readings(networks, shapetex(24, size=16), saliency_images=8, store=Store(tmp_path))
    assert set(read.instrument) == reliability.judged().keys() >= {"dimmed-0.5", "peak"}
    bias = pd.DataFrame(
        [{"network": "shape-only", "seed": 0, "shape_bias": 1.0}, {"network": "texture-only", "seed": 0, "shape_bias": 0.0}]
    )
    values = {"shape-only": 0.2, "texture-only": 0.8}
    made_up = pd.DataFrame(
        [{"network": n, "seed": 0, "instrument": "dimmed-0.5", "value": v, "ci_low": v, "ci_high": v} for n, v in values.items()]
    )
    (row,) = reliability.reliability(bias, made_up).itertuples()
    assert (row.instrument, row.expected) == ("dimmed-0.5", "lower") and row.gap == pytest.approx(0.6)


def test_a_new_row_is_a_number_of_maps_with_its_claim(peak, trained, other, fashion, tmp_path):
    some, store = fashion[:12], Store(tmp_path)
    x, y = some.x.float() / 255, some.y
    maps = saliency.grad(trained, x, y)
    assert torch.equal(map_numbers(maps)["peak"], maps.abs().flatten(1).amax(1))
    found = saliency_scores(trained, some, method="Grad", store=store)
    assert found["peak"] == pytest.approx(maps.abs().flatten(1).amax(1).numpy(), rel=1e-3)
    networks = Networks.of(
        [Network("normal", trained, some.classes, (1, 28, 28)), Network("adv", other, some.classes, (1, 28, 28))],
        baseline="normal",
        subject="adv",
    )
    study = Study(networks, some, store)
    (finding,) = (f for f in compare_maps(study) if f.claim.measure == "peak")
    assert (finding.claim, finding.baseline) == (peak.claims[0], pytest.approx(found["peak"].mean()))
    INSTRUMENTS.remove(peak)
    try:
        assert "peak" not in saliency_scores(trained, some, method="Grad", store=store)  # another set of numbers is another record
    finally:
        INSTRUMENTS.append(peak)

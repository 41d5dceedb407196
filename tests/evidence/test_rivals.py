"""Rivals: what else would give a number, as words and as JSON."""

import json

import pytest

from atviz.evidence import RIVALS, Rival


@pytest.mark.parametrize(
    ("value", "difference", "share"),
    [(0.15, 0.2, 0.75), (-0.15, -0.2, 0.75), (0.15, -0.2, 0), (0.3, 0.2, 1.5), (0.15, 0, 0), (None, 0.2, 0)],
)
def test_a_rival_explains_its_share_of_a_difference_of_the_same_sign(value, difference, share):
    assert Rival("brightness", "alone", value).explained(difference) == pytest.approx(share)
    assert Rival("brightness", "aside", value).explained(difference) == 0


def test_it_is_said_in_few_words_with_its_number():
    assert Rival("ball", "alone", 0.156, 0.1, 0.2).text(percent=True) == "the part inside the training ball: +15.6 [+10.0, +20.0]"
    assert Rival("underfit", "alone", -0.0412).text(percent=False) == "accuracy level alone: −0.041"
    assert Rival("levels", "count", agree=3, of=8).text(percent=True) == "choice of the level: the same at 3 of 8"
    assert Rival.unmeasured("seeds", "one training").text(percent=True) == "one seed: not measured, one training"
    assert Rival("decoder", "aside", 0.1, note="taken out").text(percent=True) == "decoder alone: +10.0, taken out"


def test_it_survives_json():
    for rival in (Rival("seeds", "seeds", 0.1, 0.0, 0.2, of=3), Rival.unmeasured("methods", "none fits")):
        assert Rival(**json.loads(json.dumps(rival.row()))) == rival


def test_only_known_rivals_and_kinds():
    with pytest.raises(ValueError, match="a rival is 'moon'"):
        Rival("moon", "alone")
    with pytest.raises(ValueError, match="of kind 'loud'"):
        Rival("seeds", "loud")
    assert all(text.count(":") == 1 for text in RIVALS.values())  # what it is, and how it is measured

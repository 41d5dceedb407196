"""Verdicts: where the whole interval lies decides."""

import pytest

from atviz import findings
from atviz.findings import CLAIMS, MARGIN, Finding, sentence


@pytest.fixture(autouse=True)
def _unjudged(monkeypatch):
    """What the shipped controls say of the instruments does not change these tests."""
    monkeypatch.setattr(findings, "verdicts", dict)


def finding(measure="saturate", level=1024, low=0.1, high=0.3, **others):
    return Finding(**{"measure": measure, "level": level, "normal": 0.5, "underfit": 0.55, "adversarial": 0.7, "difference": (low + high) / 2,
                      "ci_low": low, "ci_high": high, "n": 2000} | others)  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "level", "low", "high", "verdict"),
    [
        ("saturate", 1024, 0.1, 0.3, "agrees"),
        ("saturate", 1024, -0.3, -0.1, "disagrees"),
        ("saturate", 1024, -0.1, 0.3, "undecided"),
        ("saturate", 1024, 0.0, 0.3, "undecided"),
        ("patch_shuffle", 2, -0.3, -0.1, "agrees"),
        ("patch_shuffle", 2, 0.1, 0.3, "disagrees"),
        ("patch_shuffle", 2, -0.3, 0.1, "undecided"),
        ("random_modes", 0.1, -MARGIN / 2, MARGIN / 2, "agrees"),
        ("random_modes", 0.1, MARGIN * 1.1, MARGIN * 2, "disagrees"),
        ("random_modes", 0.1, -MARGIN * 2, -MARGIN * 1.1, "disagrees"),
        ("random_modes", 0.1, 0.0, MARGIN * 2, "undecided"),
        ("saturate", 1024, float("nan"), float("nan"), "undecided"),
        ("fusion", 0, -0.019, 0.05, "agrees"),
        ("fusion", 0, -0.05, -0.021, "disagrees"),
        ("fusion", 0, -0.021, 0.05, "undecided"),
        ("guided_dependence", 0, -0.3, -0.2, "agrees"),
        ("guided_dependence", 0, 0.2, 0.3, "disagrees"),
    ],
)
def test_verdict(measure, level, low, high, verdict):
    assert finding(measure, level, low, high).verdict == verdict


def test_every_claim_names_a_direction_a_paper_and_a_place_in_it():
    assert {claim.expected for claim in CLAIMS.values()} == {"higher", "lower", "equal", "not lower"}
    assert {claim.paper for claim in CLAIMS.values()} == {"Zhang & Zhu", "Itazuri et al."}
    assert all(claim.source.startswith(("Table", "Figure", "section", "appendix")) for claim in CLAIMS.values())


def test_what_is_compared_is_named_where_it_is_not_the_normal_and_the_adversarial_network():
    fusion = finding("fusion", 0, names=("ADV+ADV", "STD+ADV"), percent=True)
    assert "50.0 % (ADV+ADV) → 70.0 % (STD+ADV)" in fusion.clause
    assert "as Itazuri et al. report" in fusion.clause
    assert fusion.cells()["adversarial"] == "70.0 % (STD+ADV)"
    assert fusion.cells()["paper"] == "not lower by 2 points (Itazuri et al., Figure 7)"
    assert "normal" not in sentence([fusion])
    assert finding().cells()["adversarial"] == "70.0 %"


def test_the_sentence_says_how_many_of_what():
    filters = finding("first_layer_norm", 0, percent=False, n=16, unit="filters")
    assert filters.cells()["n"] == "16 filters"
    assert "on 2,000 images and 16 filters:" in sentence([finding(), filters])


def test_the_sentence_follows_the_numbers():
    said = sentence([finding()])
    assert "50.0 % → 70.0 % (+20.0 [+10.0, +30.0], as Zhang & Zhu report)" in said
    assert said != sentence([finding(adversarial=0.71)]) != sentence([finding(low=-0.2, high=0.3)])
    assert said.count(". ") == 0  # one sentence
    assert "Nothing was measured" in sentence([])


def test_a_number_that_is_no_share_has_no_percent_sign():
    cells = finding("sparsity", 0, percent=False).cells()
    assert cells["normal"] == "0.500"
    assert "%" not in cells["difference"]


def test_without_an_underfit_network_its_cell_is_a_dash():
    assert finding(underfit=None).cells()["underfit"] == "–"


@pytest.mark.parametrize(("verdict", "why"), [("unreliable", "orders them wrongly"), ("uncertain", "ranks nothing")])
def test_an_instrument_that_the_controls_distrust_is_marked_with_a_word_why(monkeypatch, verdict, why):
    trust = {"saturate-1024": {"verdict": verdict, "why": why}, "sparsity": {"verdict": "reliable", "why": ""}}
    monkeypatch.setattr(findings, "verdicts", lambda: trust)
    marked = finding("saturate", 1024)
    assert marked.cells()["caution"] == f"{verdict} in the controls: {why}"
    assert f"as Zhang & Zhu report, {verdict} in the controls: {why})" in marked.clause
    for other in (finding("sparsity", 0), finding("saturate", 4) if ("saturate", 4) in CLAIMS else finding("clean", 0)):
        assert other.caution == ""
        assert "controls" not in other.clause


def test_the_names_of_instruments_are_those_of_the_findings():
    from atviz.controls import INSTRUMENTS

    named = {findings.key(measure, level) for measure, level in CLAIMS}
    assert {
        "saturate-1024",
        "patch_shuffle-2",
        "patch_shuffle-4",
        "low_pass-4",
        "high_pass-4",
        "random_modes-0.1",
        "sparsity",
        "edges",
    } <= named & {i.name for i in INSTRUMENTS}

"""Findings: where the whole interval lies decides; words and tables are made from the numbers."""

import json

import numpy as np
import pytest

from atviz.evidence import RIVALS, ZHANG_ZHU, Claim, Finding, Rival, findings, mean_interval, paired_difference, reliability
from atviz.evidence.claims import DROP, MARGIN, MEAN, ON_CORRECT, TOP1
from atviz.evidence.instruments import INSTRUMENTS, key
from atviz.papers import itazuri_findings, later, zhang_zhu_findings

OF_PAPERS = [
    *(c for i in INSTRUMENTS for c in i.claims.values()),
    *(c for paper in (zhang_zhu_findings, itazuri_findings, later) for c in paper.CLAIMS.values()),
]
CLAIMS = {(claim.measure, claim.level): claim for claim in OF_PAPERS}
ROLES = {"baseline": "plain", "subject": "trained"}


@pytest.fixture(autouse=True)
def _unjudged(monkeypatch):
    """What the shipped controls say of the instruments does not change these tests."""
    monkeypatch.setattr(findings, "verdicts", dict)


def finding(measure="saturate", level=1024, low=0.1, high=0.3, **others):
    return Finding(**{"claim": CLAIMS[measure, level], "baseline": 0.5, "underfit": 0.55, "subject": 0.7, "names": ("plain", "trained"),
                      "difference": (low + high) / 2,
                      "ci_low": low, "ci_high": high, "n": 2000} | others)  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "level", "low", "high", "verdict"),
    [
        ("saturate", 1024, 0.1, 0.3, "agrees"),
        ("saturate", 1024, -0.3, -0.1, "disagrees"),
        ("saturate", 1024, -0.1, 0.3, "inconclusive"),
        ("saturate", 1024, 0.0, 0.3, "inconclusive"),
        ("patch_shuffle", 2, -0.3, -0.1, "agrees"),
        ("patch_shuffle", 2, 0.1, 0.3, "disagrees"),
        ("patch_shuffle", 2, -0.3, 0.1, "inconclusive"),
        ("random_modes", 0.1, -MARGIN / 2, MARGIN / 2, "agrees"),
        ("random_modes", 0.1, MARGIN * 1.1, MARGIN * 2, "disagrees"),
        ("random_modes", 0.1, -MARGIN * 2, -MARGIN * 1.1, "disagrees"),
        ("random_modes", 0.1, 0.0, MARGIN * 2, "inconclusive"),
        ("saturate", 1024, float("nan"), float("nan"), "inconclusive"),
        ("fusion", 0, -0.019, 0.05, "agrees"),
        ("fusion", 0, -0.05, -0.021, "disagrees"),
        ("fusion", 0, -0.021, 0.05, "inconclusive"),
        ("guided_dependence", 0, -0.3, -0.2, "agrees"),
        ("guided_dependence", 0, 0.2, 0.3, "disagrees"),
    ],
)
def test_verdict(measure, level, low, high, verdict):
    assert finding(measure, level, low, high).verdict == verdict


def test_every_claim_names_a_direction_a_paper_and_a_place_in_it():
    assert len(CLAIMS) == len(OF_PAPERS) == 32  # none twice
    assert {claim.expected for claim in OF_PAPERS} == {"higher", "lower", "equal", "not lower"}
    assert {claim.paper for claim in OF_PAPERS} == {"Zhang & Zhu", "Itazuri et al.", *(claim.paper for claim in later.CLAIMS.values())}
    assert all(claim.source.startswith(("Table", "Figure", "section", "appendix", "abstract")) for claim in OF_PAPERS)
    assert {claim.unit for claim in OF_PAPERS} == {ON_CORRECT, TOP1, DROP, MEAN}


def test_every_claim_names_its_rivals_and_every_rival_is_of_a_claim():
    assert all(claim.rivals and set(claim.rivals) <= RIVALS.keys() for claim in OF_PAPERS)
    assert {name for claim in OF_PAPERS for name in claim.rivals} == RIVALS.keys()
    of_distortions = [claim for i in INSTRUMENTS for claim in i.claims.values() if i.reads == "accuracy on correct"]
    common = {"brightness", "contrast", "ball", "underfit", "guessing", "levels", "seeds"}
    assert of_distortions and all(common <= set(claim.rivals) for claim in of_distortions)


def test_a_finding_lacks_none_of_its_claims_rivals():
    with pytest.raises(ValueError, match="names the rival 'brightness', which was not measured"):
        findings.with_rivals(finding(), {})
    every = {name: Rival(name, "alone", 0.01) for name in RIVALS}
    assert [r.name for r in findings.with_rivals(finding(), every).rivals] == list(CLAIMS["saturate", 1024].rivals)


@pytest.mark.parametrize(
    ("rivals", "judged"),
    [
        ([], "agrees"),
        ([Rival("brightness", "alone", 0.11, 0.1, 0.12)], "agrees, but brightness alone gives +11.0 of +20.0"),
        ([Rival("brightness", "alone", 0.1, 0.05, 0.15)], "agrees"),  # half is not more than half
        ([Rival("brightness", "alone", -0.19, -0.2, -0.18)], "agrees"),  # the other way
        ([Rival("seeds", "seeds", 0.2, -0.1, 0.5, of=3)], "agrees, but over 3 seeds it is +20.0 [−10.0, +50.0]"),
        ([Rival("seeds", "seeds", 0.2, 0.1, 0.3, of=3)], "agrees"),
        ([Rival("levels", "count", agree=2, of=5)], "agrees, but choice of the level: the same at only 2 of 5"),
        ([Rival("levels", "count", agree=3, of=5)], "agrees"),
        ([Rival("guessing", "alone", 0.0, note="both networks are within 5 points of guessing")], "agrees, but both networks are within 5 points of guessing"),
        ([Rival("removed mean", "instead", -0.3, -0.4, -0.2)], "agrees, but with the mean removed it is −30.0 [−40.0, −20.0]"),
        ([Rival("decoder", "aside", 0.19, 0.18, 0.2)], "agrees"),  # taken out already
        ([Rival.unmeasured("underfit", "there is no underfit network")], "agrees"),
        ([Rival("brightness", "alone", 0.15), Rival("contrast", "alone", 0.19)],
         "agrees, but brightness and contrast alone give +19.0 of +20.0 and brightness alone gives +15.0 of +20.0"),
    ],
)  # fmt: skip
def test_the_verdict_says_which_rival_gives_more_than_half(rivals, judged):
    found = finding(rivals=tuple(rivals))
    assert found.judged == judged
    assert found.clause.count("but") == judged.count("but")
    assert found.cells()["judged"] == judged and f"| {judged} |" in findings.markdown([found])


def test_in_brief_the_strongest_doubt_is_said_and_the_others_are_counted():
    rivals = (Rival("brightness", "alone", 0.15), Rival("levels", "count", agree=1, of=5), Rival("contrast", "alone", 0.19))
    assert finding(rivals=rivals).brief == "agrees, but brightness and contrast alone give +19.0 of +20.0 (and 2 more)"
    assert finding(rivals=rivals[:1]).brief == finding(rivals=rivals[:1]).judged
    assert finding().brief == "agrees"


def test_where_nothing_differs_no_rival_can_explain_it():
    brightness = Rival("brightness", "alone", 0.01, 0.0, 0.02)
    assert finding("random_modes", 0.1, low=0.0, high=0.02, rivals=(brightness,)).judged == "agrees"
    assert finding("random_modes", 0.1, low=0.1, high=0.2, rivals=(Rival("brightness", "alone", 0.1),)).judged.startswith("disagrees, but")
    assert finding(low=-0.1, high=0.3, rivals=(brightness,)).judged == "inconclusive"


# --- from numbers


def test_a_finding_of_shares_is_the_paired_difference_of_the_two_roles():
    hit = {"plain": np.array([1, 1, 0, 0] * 25, bool), "underfit": np.ones(100, bool), "trained": np.array([1, 1, 1, 0] * 25, bool)}
    found = findings.of_shares(CLAIMS["robust", 0], hit, **ROLES)
    assert (found.baseline, found.underfit, found.subject, found.difference) == (0.5, 1, 0.75, 0.25)
    assert (found.verdict, found.n, found.percent) == ("agrees", 100, True)
    assert (found.difference, found.ci_low, found.ci_high) == paired_difference(hit["trained"], hit["plain"])
    assert "50.0 % (plain) → 75.0 % (trained) (+25.0" in found.clause
    turned = findings.of_shares(CLAIMS["robust", 0], hit, baseline="trained", subject="plain")
    assert (turned.difference, turned.verdict) == (-0.25, "disagrees")


def test_a_finding_of_shares_is_among_the_given_images():
    rng = np.random.default_rng(0)
    hit, given = ({name: rng.random(300) < p for name in ("plain", "trained")} for p in (0.6, 0.8))
    found = findings.of_shares(CLAIMS["saturate", 1024], hit, given=given, **ROLES)
    assert (found.baseline, found.subject) == tuple(hit[name][given[name]].mean() for name in hit)
    interval = paired_difference(hit["trained"], hit["plain"], given_a=given["trained"], given_b=given["plain"])
    assert (found.difference, found.ci_low, found.ci_high) == interval
    assert found.underfit is None
    nothing = findings.of_shares(CLAIMS["saturate", 1024], hit, given={name: np.zeros(300, bool) for name in hit}, **ROLES)
    assert (nothing.baseline, nothing.verdict) == (0, "inconclusive")


def test_a_finding_of_means_is_the_mean_difference_image_by_image():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(mean, 1, 50) for name, mean in (("plain", 0), ("underfit", 1), ("trained", 2))}
    found = findings.of_means(CLAIMS["sparsity", 0], values, **ROLES)
    assert (found.baseline, found.underfit, found.subject) == tuple(v.mean() for v in values.values())
    assert (found.difference, found.ci_low, found.ci_high) == mean_interval(values["trained"] - values["plain"])
    assert (found.n, found.percent, found.verdict) == (50, False, "agrees")


def test_a_claim_is_measured_in_the_papers_own_unit():
    rng = np.random.default_rng(0)
    clean, hit = ({name: rng.random(400) < p for name in ROLES.values()} for p in (0.8, 0.5))
    on_correct, top1, drop = (
        findings.of_accuracy(CLAIMS[c], clean, hit, **ROLES) for c in (("saturate", 1024), ("median_filter", 1), ("reverse", 1))
    )
    assert on_correct == findings.of_shares(CLAIMS["saturate", 1024], hit, given=clean, **ROLES)
    assert top1.subject == hit["trained"].mean() and top1.n == 400
    assert drop.subject == pytest.approx(clean["trained"].mean() - hit["trained"].mean())
    assert drop.difference == pytest.approx(drop.subject - drop.baseline) and drop.percent
    others = {name: clean[name] & (rng.random(400) < 0.5) for name in clean}
    assert findings.of_accuracy(CLAIMS["stylize", 1], clean, hit, given=others, **ROLES) == findings.of_shares(
        CLAIMS["stylize", 1], hit, given=others, **ROLES
    )


def test_n_is_that_of_the_images_that_count():
    hit = {name: np.ones(10, bool) for name in ROLES.values()}
    given = {"plain": np.arange(10) < 4, "trained": np.arange(10) >= 7}
    assert findings.of_shares(CLAIMS["saturate", 1024], hit, given=given, **ROLES).n == 7
    assert findings.of_shares(CLAIMS["clean", 0], hit, **ROLES).n == 10


def test_a_row_is_json_with_the_claim_and_gives_the_finding_back():
    rivals = (Rival("brightness", "alone", 0.1, 0.0, 0.2), Rival.unmeasured("seeds", "one training"))
    for made in (
        finding(rivals=rivals),
        finding("fusion", 0, names=("ADV+ADV", "STD+ADV"), underfit=None, n=16, unit="filters", percent=False),
    ):
        row = json.loads(json.dumps(made.row()))
        assert list(row) == ["measure", "level", "baseline", "underfit", "subject", "difference", "ci_low", "ci_high", "n", "names",
                             "percent", "comparable", "unit", "images", "label", "expected", "source", "paper", "margin", "of", "named", "rivals", "verdict",
                             "judged"]  # fmt: skip
        assert (row["measure"], row["label"], row["verdict"]) == (made.claim.measure, made.claim.label, made.verdict)
        assert Finding.of(row) == made
        assert Finding.of(row).row() == made.row()


# --- in words


def test_what_is_compared_is_named_where_the_heading_does_not_name_it():
    fusion = finding("fusion", 0, names=("ADV+ADV", "STD+ADV"), percent=True)
    assert "50.0 % (ADV+ADV) → 70.0 % (STD+ADV)" in fusion.clause
    assert "as Itazuri et al. report" in fusion.clause
    assert fusion.cells()["subject"] == "70.0 % (STD+ADV)" and fusion.cells(fusion.names)["subject"] == "70.0 %"
    assert fusion.cells()["paper"] == "not lower by 2 points (Itazuri et al., Figure 7)"
    assert "normal" not in findings.sentence([fusion])
    table = findings.markdown([finding(), fusion, finding("sparsity", 0)])
    assert "| plain | trained |" in table and "| 70.0 % |" in table and "| 70.0 % (STD+ADV) |" in table
    assert findings.heading([]) == ("baseline", "subject")


def test_the_table_says_how_many_of_what():
    filters = finding("first_layer_norm", 0, percent=False, n=16, unit="filters")
    assert filters.cells()["n"] == "16 filters"
    header, _, first, second = findings.markdown([finding(), filters]).splitlines()
    assert "| n |" in header and "| 2,000 |" in first and "| 16 filters |" in second


def test_the_table_has_one_row_per_finding_made_from_its_numbers():
    made = [finding(), finding("sparsity", 0, percent=False), finding("patch_shuffle", 2)]
    lines = findings.markdown(made).splitlines()
    assert len(lines) == 2 + len(made) and len({line.count("|") for line in lines}) == 1
    for line, f in zip(lines[2:], made, strict=True):
        for text in (f.claim.label, f.interval, f.verdict, f.cells(f.names)["baseline"], f.cells(f.names)["subject"]):
            assert f"| {text} |" in line
    assert len(findings.markdown([]).splitlines()) == 2


def test_the_sentence_follows_the_numbers():
    said = findings.sentence([finding()])
    assert "50.0 % (plain) → 70.0 % (trained) (+20.0 [+10.0, +30.0], as Zhang & Zhu report)" in said
    assert said != findings.sentence([finding(subject=0.71)]) != findings.sentence([finding(low=-0.2, high=0.3)])
    assert said.count(". ") == 0  # one sentence
    assert said[0].isupper() and said.endswith(".")
    assert "unlike Zhang & Zhu" in findings.sentence([finding(low=-0.2, high=-0.1)])
    assert "No level was measured" in findings.sentence([])


def test_the_sentence_counts_how_many_findings_agree():
    made = [finding(), finding("patch_shuffle", 2), finding("patch_shuffle", 4), finding(low=-0.1)]
    said = findings.sentence(made)
    assert said.startswith("Accuracy on correct, saturated to level 1024: 50.0 %")
    assert said.endswith("Of the 4 findings above, 1 agrees with the papers, 2 disagree, 1 is inconclusive.")
    assert findings.sentence(made[:2]).endswith("Of the 2 findings above, 1 agrees with the papers, 1 disagrees.")


def test_a_number_that_is_no_share_has_no_percent_sign():
    cells = finding("sparsity", 0, percent=False).cells()
    assert cells["baseline"] == "0.500 (plain)"
    assert "%" not in cells["difference"]


def test_without_an_underfit_network_its_cell_is_a_dash():
    assert finding(underfit=None).cells()["underfit"] == "–"


# --- what the controls say


@pytest.mark.parametrize(("verdict", "why"), [("unreliable", "orders them wrongly"), ("uncertain", "ranks nothing")])
def test_an_instrument_that_the_controls_distrust_is_marked_and_it_is_said_why(monkeypatch, verdict, why):
    trust = {"saturate-1024": {"verdict": verdict, "why": why}, "sparsity": {"verdict": "reliable", "why": ""}}
    monkeypatch.setattr(findings, "verdicts", lambda: trust)
    marked = finding("saturate", 1024)
    assert marked.cells()["caution"] == f"{verdict} in the controls: {why}"
    assert f"as Zhang & Zhu report, {verdict} in the controls: {why})" in marked.clause
    elsewhere = finding(claim=Claim("saturate", 4, "saturated to level 4", "higher", "Table 4", ZHANG_ZHU))
    for other in (finding("sparsity", 0), finding("clean", 0), elsewhere):
        assert other.caution == ""
        assert "controls" not in other.clause


def test_the_verdict_over_all_worlds_comes_first(monkeypatch):
    def worlds(verdict, reliable_in):
        return {"verdict": "reliable", "why": "", "worlds": {"verdict": verdict, "reliable_in": reliable_in, "worlds": 7}}

    trust = {
        "saturate-1024": worlds("measures scale", 4),
        "sparsity": worlds("reliable", 7) | {"verdict": "unreliable", "why": "in one world"},
    }
    monkeypatch.setattr(findings, "verdicts", lambda: trust)
    assert finding("saturate", 1024).caution == "measures scale in the controls: reliable in 4 of 7 worlds"
    assert finding("sparsity", 0).caution == ""


def test_the_names_of_judged_instruments_are_those_of_the_findings():
    named = {key(measure, level) for measure, level in CLAIMS}
    assert {"saturate-1024", "patch_shuffle-2", "patch_shuffle-4", "low_pass-4", "high_pass-4", "random_modes-0.1", "stylize-1",
            "gaussian_blur-2", "median_filter-1", "sparsity", "edges", "coarse", "grad_sparsity", "grad_edges",
            "grad_coarse"} == named & reliability.judged().keys()  # fmt: skip

"""The head of a page."""

import pytest

from atviz.app import answer


def found(*verdicts, cautions=()):
    return [{"verdict": verdict, "cautions": list(cautions)} for verdict in verdicts]


def card(*verdicts, **more):
    return [{"findings": found(*verdicts, **more)}]


def test_the_tally_counts_every_finding_once():
    rows = answer.tally([*found("agrees", "agrees"), *found("agrees", cautions=["why"]), *found("inconclusive")])
    assert [(row["verdict"], row["count"], row["cautions"]) for row in rows] == [
        ("agrees", 3, 1),
        ("disagrees", 0, 0),
        ("inconclusive", 1, 0),
    ]
    assert answer.tally([]) == [] and answer.tally(found("not judged"))[-1]["count"] == 1


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        (
            card("agrees", "agrees"),
            "More at shape and less at texture than a normally trained network: 2 of the 2 findings beside the pictures say so.",
        ),
        (
            card("agrees", "agrees", "inconclusive", cautions=["x"]),
            "2 of the 3 findings beside the pictures say so, but 2 of them carry a caution; 1 is inconclusive.",
        ),
        (card("disagrees", "disagrees", "agrees"), "Not more at shape"),
        (card("agrees", "disagrees"), "No clear answer: of the 2 findings beside the pictures, 1 says more at shape"),
        (card("agrees"), "the finding beside the picture says so."),
    ],
)
def test_the_answer_says_what_the_findings_say(cards, said):
    assert said in answer.sentence(cards)


def test_without_a_verdict_there_is_no_answer():
    assert answer.sentence(card("not judged")) == answer.sentence(card("not judged", "agrees")) == answer.sentence([]) == ""


def test_durations():
    assert [answer.duration(s) for s in (None, 4.2, 61, 600, 7300)] == ["", "4 seconds", "1 minute", "10 minutes", "2 h 2 min"]

"""A finding as a row of a page."""

import pytest

from atviz.app import rows
from atviz.evidence import INSTRUMENTS, Claim, Finding


@pytest.mark.parametrize(
    "claim", [claim for instrument in INSTRUMENTS for claim in instrument.claims.values()], ids=lambda claim: claim.label
)
def test_no_word_of_a_label_is_lost(claim):
    label, unit = rows.plain(claim.label)
    assert label[0].isupper() or not label[0].isalpha()
    assert not label.startswith(("accuracy on correct", "Accuracy on correct,"))
    said = f"{unit} {label}".lower()
    assert [
        word
        for word in claim.label.lower().replace("(", "").replace(")", "").replace(",", "").split()
        if word not in said and word != "top-1"
    ] == []


def finding(a, b, **more):
    return Finding(
        Claim("m", 0, "accuracy on correct, x", "higher", "s"), a, None, b, b - a, b - a - 0.1, b - a + 0.1, 10, ("normal", "pgd"), **more
    )


def test_a_line_holds_both_values_and_the_interval_of_the_difference():
    assert rows.line(finding(0.3, 0.5)) == {"baseline": 30, "subject": 50, "low": 40, "high": 60}
    assert rows.line(finding(0.3, 0.95))["high"] == 100
    assert rows.line(finding(-0.1, 0.5)) is None and rows.line(finding(0.5, 1.2)) is None


def test_values_stand_without_names_beside_those_with():
    cells = rows.cells(finding(0.3, 0.5).row(), ("other", "pair"))
    assert cells["pair"] == ("30.0 %", "50.0 %") and cells["baseline"] == "30.0 % (normal)"
    assert (cells["label"], cells["unit"], cells["cautions"]) == ("X", "accuracy on correct", [])

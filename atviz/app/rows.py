"""A finding as a row of a page's table: plain words, a verdict with its cautions, and where its two values lie on a line."""

from __future__ import annotations

import re
from typing import Any

from ..evidence import Finding

# the papers' units -> what a reader sees below a measure
UNITS = {
    "accuracy on correct": "accuracy on correct",
    "drop of top-1 accuracy": "drop of accuracy, of all test images; lower is better",
    "top-1 accuracy": "accuracy, of all test images",
}


def cells(row: dict[str, Any], columns: tuple[str, str] | None = None) -> dict[str, Any]:
    """A finding of a run's folder as text for the cells of a table with these columns, and as numbers for its sorting and its line."""
    finding = Finding.of(row)
    label, unit = plain(finding.claim.label)
    own = finding.cells(finding.names)  # values without names
    return finding.cells(columns) | {
        "clause": finding.clause, "pair": (own["baseline"], own["subject"]), "label": label, "unit": unit, "expected": finding.claim.expected,
        "source": finding.claim.source, "of": finding.claim.paper, "names": list(finding.names), "line": line(finding),
        "cautions": cautions(finding), "sort": {name: getattr(finding, name) for name in ("baseline", "subject", "difference")},
    }  # fmt: skip


def plain(label: str) -> tuple[str, str]:
    """A claim's label without its unit and its remarks, and these.

    >>> plain("accuracy on correct, saturated to level 1024")
    ('Saturated to level 1024', 'accuracy on correct')
    >>> plain("sparsity of Grad (Gini coefficient, mean over images)")
    ('Sparsity of Grad', 'Gini coefficient, mean over images')
    """
    text, unit = label, ""
    for said, shown in UNITS.items():
        if found := re.fullmatch(rf"{said}(?:,| (?=at ))\s*(.+)", label):
            text, unit = found[1], shown
            break
    if found := re.fullmatch(r"(.+?) \(([^()]+)\)", text):
        text, unit = found[1], ", ".join(filter(None, [unit, found[2]]))
    return text[:1].upper() + text[1:], unit


def cautions(finding: Finding) -> list[str]:
    """Every reason to doubt a finding, or its measure, as sentences."""
    said = [*finding.doubts, *([finding.caution] if finding.caution else [])]
    return [f"{text[:1].upper()}{text[1:]}." for text in said]


def line(finding: Finding) -> dict[str, float] | None:
    """Where both values and the interval of their difference lie on a line from 0 to 1, in percent; None where they do not lie there."""
    low, high = finding.baseline + finding.ci_low, finding.baseline + finding.ci_high
    if not all(0 <= value <= 1 for value in (finding.baseline, finding.subject)):
        return None
    at = {"baseline": finding.baseline, "subject": finding.subject, "low": min(1, max(0, low)), "high": min(1, max(0, high))}
    return {name: round(100 * value, 1) for name, value in at.items()}

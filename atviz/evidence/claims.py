"""A claim: what a paper says of a number of adversarially trained networks, compared with normally trained ones."""

from __future__ import annotations

from typing import NamedTuple

MARGIN = 0.05  # a difference within this is "equal"
ZHANG_ZHU, ITAZURI = "Zhang & Zhu", "Itazuri et al."


class Claim(NamedTuple):
    """What a paper says of a measure at a level, for the subject against the baseline unless the label says otherwise."""

    measure: str
    level: float
    label: str  # the measure in words
    expected: str  # "higher" | "lower" | "equal" | "not lower"
    source: str  # where in the paper
    paper: str = ZHANG_ZHU
    margin: float = MARGIN  # of "equal" and "not lower"

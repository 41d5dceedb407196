"""A finding: one number of the baseline and one of the subject, their difference, and what a paper claims."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from .. import shipped
from .claims import Claim
from .instruments import find, key
from .intervals import mean_interval, paired_difference
from .outcomes import Outcomes

COMPARED = ("normal", "adversarial")
VERDICTS = {"agrees": "as {paper} report", "disagrees": "unlike {paper}", "inconclusive": "inconclusive"}


@cache
def verdicts() -> dict[str, dict[str, Any]]:
    """What the networks of known bias say of each instrument, by `key`: the rows of `reliability` that ship with atviz."""
    path = shipped("checkpoints", "controls", "verdicts.json")
    return json.loads(path.read_text())["instruments"] if path.is_file() else {}


@dataclass(frozen=True)
class Finding:
    """Two compared values and their difference, second minus first, with its 95 % interval; ``names`` says what is compared."""

    claim: Claim
    normal: float
    underfit: float | None
    adversarial: float
    difference: float
    ci_low: float
    ci_high: float
    n: int  # how many images, or of what ``unit`` says
    percent: bool = True  # values are shares, written as percentages
    names: tuple[str, str] = COMPARED
    unit: str = "images"

    @property
    def verdict(self) -> str:
        """``agrees``, ``disagrees`` or ``inconclusive``: the whole interval lies on the expected side, on the other side, or on both."""
        expected, margin = self.claim.expected, self.claim.margin
        if expected == "equal":
            inside = -margin <= self.ci_low and self.ci_high <= margin
            outside = self.ci_low > margin or self.ci_high < -margin
            return "agrees" if inside else "disagrees" if outside else "inconclusive"
        if expected == "not lower":
            return "agrees" if self.ci_low > -margin else "disagrees" if self.ci_high < -margin else "inconclusive"
        sign = 1 if expected == "higher" else -1
        low, high = sorted((sign * self.ci_low, sign * self.ci_high))
        return "agrees" if low > 0 else "disagrees" if high < 0 else "inconclusive"

    @property
    def caution(self) -> str:
        """Why the controls do not trust the finding's instrument as a sign of shape bias; "" where they trust it, or do not know it."""
        trust = verdicts().get(key(self.claim.measure, self.claim.level), {})
        return f"{trust['verdict']} in the controls: {trust['why']}" if trust.get("why") else ""

    @property
    def clause(self) -> str:
        """The finding in words, made from its numbers."""
        said = f"{self.interval}, {VERDICTS[self.verdict].format(paper=self.claim.paper)}"
        values = f"{self._value(self.normal, 0)} → {self._value(self.adversarial, 1)}"
        return f"{self.claim.label}: {values} ({said}{', ' * bool(self.caution)}{self.caution})"

    @property
    def interval(self) -> str:
        """The difference with its 95 % interval, as text."""
        value, low, high = (self._number(v, signed=True) for v in (self.difference, self.ci_low, self.ci_high))
        return f"{value} [{low}, {high}]"

    def row(self) -> dict[str, Any]:
        """The finding with its claim and its verdict, as a row of a table."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "claim"}
        claim = self.claim._asdict()
        return {name: claim.pop(name) for name in ("measure", "level")} | values | claim | {"verdict": self.verdict}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Finding:
        """The finding of a `row`."""
        values = {field.name: row[field.name] for field in fields(cls) if field.name != "claim"}
        return cls(Claim(**{name: row[name] for name in Claim._fields}), **values | {"names": tuple(row["names"])})

    def _number(self, value: float, *, signed: bool = False) -> str:
        text = f"{100 * value:.1f}" if self.percent else f"{value:.3f}"
        return ("+" if signed and value > 0 else "") + text.replace("-", "−")

    def _value(self, value: float, which: int | None = None) -> str:
        said = self._number(value) + (" %" if self.percent else "")
        return said if which is None or self.names == COMPARED else f"{said} ({self.names[which]})"

    def cells(self) -> dict[str, str]:
        """The finding as text for a table's cells."""
        claim = self.claim
        tolerance = f" by {100 * claim.margin:g} points" if claim.expected == "not lower" else ""
        return {
            "what": claim.label, "n": f"{self.n:,}" + (f" {self.unit}" if self.unit != "images" else ""), "normal": self._value(self.normal, 0),
            "underfit": "–" if self.underfit is None else self._value(self.underfit), "adversarial": self._value(self.adversarial, 1),
            "difference": self.interval, "paper": f"{claim.expected}{tolerance} ({claim.paper}, {claim.source})", "verdict": self.verdict,
            "caution": self.caution,
        }  # fmt: skip


def of_shares(
    claim: Claim, hit: Mapping[str, np.ndarray], *, baseline: str, subject: str, given: Mapping[str, np.ndarray] | None = None
) -> Finding:
    """The finding of outcomes ``hit``, (n,) bool for each network, among the images ``given`` for each network."""
    given = given or {name: np.ones_like(h) for name, h in hit.items()}
    share = {name: float((h & given[name]).sum() / max(1, given[name].sum())) for name, h in hit.items()}
    interval = paired_difference(hit[subject], hit[baseline], given_a=given[subject], given_b=given[baseline])
    return Finding(claim, share[baseline], share.get("underfit"), share[subject], *interval, n=len(hit[subject]))


def of_means(claim: Claim, values: Mapping[str, np.ndarray], *, baseline: str, subject: str) -> Finding:
    """The finding of a number per image, (n,) for each network."""
    mean = {name: float(v.mean()) for name, v in values.items()}
    interval = mean_interval(values[subject] - values[baseline])
    return Finding(claim, mean[baseline], mean.get("underfit"), mean[subject], *interval, n=len(values[subject]), percent=False)


def of_outcomes(results: Outcomes, *, baseline: str, subject: str) -> list[Finding]:
    """A finding for each distortion and level of which a paper claims something: accuracy on correct of baseline and subject."""
    found = []
    for measure, level in dict.fromkeys((d, v) for _, d, v in results.distorted):
        if level in (claims := find(measure).claims):
            hit = {name: results.distorted[name, measure, level] for name in results.clean}
            found.append(of_shares(claims[level], hit, baseline=baseline, subject=subject, given=results.clean))
    return found


def sentence(findings: list[Finding]) -> str:
    """The first finding in words, and how many of all findings agree with the papers."""
    if not findings:
        return "No level was measured at which the papers report a number."
    said = findings[0].clause
    if len(findings) == 1:
        return f"{said[0].upper()}{said[1:]}."
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in VERDICTS}
    one = {"agrees": "agrees with the papers", "disagrees": "disagrees", "inconclusive": "is inconclusive"}
    many = {"agrees": "agree with the papers", "disagrees": "disagree", "inconclusive": "are inconclusive"}
    rest = ", ".join(f"{n} {(one if n == 1 else many)[verdict]}" for verdict, n in counts.items() if n)
    return f"{said[0].upper()}{said[1:]}. Of the {len(findings)} findings above, {rest}."


def markdown(findings: list[Finding]) -> str:
    """The findings as a Markdown table: one row per finding."""
    rows = [[c["what"], c["normal"], c["adversarial"], c["difference"], c["n"], c["verdict"]] for c in (f.cells() for f in findings)]
    header = ["", *(findings[0].names if findings and len({f.names for f in findings}) == 1 else COMPARED), "difference [95 %]", "n", ""]
    lines = [header, ["---", "--:", "--:", "--:", "--:", "---"], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

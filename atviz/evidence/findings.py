"""A finding: one number of the baseline and one of the subject, their difference, what a paper claims, and what else would explain it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from .. import shipped
from .claims import DROP, ON_CORRECT, Claim
from .instruments import key
from .intervals import mean_interval, paired_difference
from .rivals import Rival, signed

SCHEMA = Path(__file__).with_name("findings.schema.json")  # of a file of rows
VERDICTS = {"agrees": "as {paper} report", "disagrees": "unlike {paper}", "inconclusive": "inconclusive"}
NOT_JUDGED = "not judged"  # the verdict where the comparison is not the paper's


class Roles(TypedDict):
    """The names of the two networks that are compared.

    ``comparable``: whether the comparison is the papers': the subject is trained adversarially, the baseline normally.
    """

    baseline: str
    subject: str
    comparable: bool


@cache
def verdicts() -> dict[str, dict[str, Any]]:
    """What the networks of known bias say of each instrument, by `key`: the rows of `reliability` that ship with atviz."""
    path = shipped("checkpoints", "controls", "verdicts.json")
    return json.loads(path.read_text())["instruments"] if path.is_file() else {}


@dataclass(frozen=True)
class Finding:
    """Two compared values and their difference, subject minus baseline, with its 95 % interval; ``names`` says what is compared.

    ``images`` says on what it was measured, where these are not the study's own test images. What is not ``comparable`` with the paper's
    comparison gets no verdict.
    """

    claim: Claim
    baseline: float
    underfit: float | None
    subject: float
    difference: float
    ci_low: float
    ci_high: float
    n: int  # how many images, or of what ``unit`` says
    names: tuple[str, str]
    percent: bool = True  # values are shares, written as percentages
    comparable: bool = True
    unit: str = "images"
    images: str = ""
    rivals: tuple[Rival, ...] = ()

    @property
    def verdict(self) -> str:
        """``agrees``, ``disagrees`` or ``inconclusive``: `verdict_of` the claim and the interval; `NOT_JUDGED` for another comparison."""
        return verdict_of(self.claim, self.ci_low, self.ci_high) if self.comparable else NOT_JUDGED

    @property
    def doubts(self) -> list[str]:
        """The rivals that weaken the verdict, in words: those that give more than half of the difference, the strongest first, and then
        choices that change the verdict."""
        if self.verdict in ("inconclusive", NOT_JUDGED) or (self.claim.expected in ("equal", "not lower") and self.verdict == "agrees"):
            return []
        strongest = sorted(self.rivals, key=lambda rival: -rival.explained(self.difference))
        return [words for rival in strongest if (words := self._doubt(rival))]

    def _doubt(self, rival: Rival) -> str:
        """What a rival takes from the verdict, in words; "" for nothing."""
        if rival.explained(self.difference) > 0.5:
            verb = "give" if " and " in rival.words else "gives"
            value, whole = (signed(number, percent=self.percent) for number in (rival.value or 0.0, self.difference))
            return f"{rival.words} {verb} {value} of {whole}"
        if rival.kind in ("instead", "seeds") and rival.ci_low is not None and rival.ci_high is not None:
            what = f"over {rival.of} seeds" if rival.kind == "seeds" else rival.words
            other = verdict_of(self.claim, rival.ci_low, rival.ci_high)
            return f"{what} it is {rival.number(percent=self.percent)}" if other != self.verdict else ""
        if rival.kind == "count" and 2 * rival.agree < rival.of:
            return f"{rival.words}: the same at only {rival.agree} of {rival.of}"
        return rival.note if rival.name == "guessing" else ""

    @property
    def judged(self) -> str:
        """The verdict, and after "but" what weakens it."""
        return f"{self.verdict}, but {' and '.join(self.doubts)}" if self.doubts else self.verdict

    @property
    def brief(self) -> str:
        """The verdict, and after "but" the strongest of what weakens it, and how many more there are."""
        if not self.doubts:
            return self.verdict
        more = f" (and {len(self.doubts) - 1} more)" if len(self.doubts) > 1 else ""
        return f"{self.verdict}, but {self.doubts[0]}{more}"

    @property
    def caution(self) -> str:
        """Why the controls do not trust the finding's instrument as a sign of shape bias; "" where they trust it, or do not know it.

        The verdict is that over all worlds, where there is one; else that of the controls of one world.
        """
        trust = verdicts().get(key(self.claim.measure, self.claim.level), {})
        if worlds := trust.get("worlds"):
            said = f"{worlds['verdict']} in the controls: reliable in {worlds['reliable_in']} of {worlds['worlds']} worlds"
            return "" if worlds["verdict"] == "reliable" else said
        return f"{trust['verdict']} in the controls: {trust['why']}" if trust.get("why") else ""

    @property
    def clause(self) -> str:
        """The finding in words, made from its numbers."""
        but = f", but {' and '.join(self.doubts)}" if self.doubts else ""
        judged = f", {VERDICTS[self.verdict].format(paper=self.claim.paper)}" if self.comparable else ""
        said = f"{self.interval}{judged}{but}"
        values = f"{self._value(self.baseline)} ({self.names[0]}) → {self._value(self.subject)} ({self.names[1]})"
        return f"{self.claim.label}: {values} ({said}{', ' * bool(self.caution)}{self.caution})"

    @property
    def interval(self) -> str:
        """The difference with its 95 % interval, as text."""
        value, low, high = (self._number(v, signed=True) for v in (self.difference, self.ci_low, self.ci_high))
        return f"{value} [{low}, {high}]"

    def row(self) -> dict[str, Any]:
        """The finding with its claim and its verdict, as a row of a table."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("claim", "rivals")}
        claim = {("of" if name == "unit" else "named" if name == "rivals" else name): value for name, value in self.claim._asdict().items()}
        row = {name: claim.pop(name) for name in ("measure", "level")} | values | claim
        return row | {"rivals": [rival.row() for rival in self.rivals], "verdict": self.verdict, "judged": self.judged}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Finding:
        """The finding of a `row`."""
        values = {field.name: row[field.name] for field in fields(cls) if field.name not in ("claim", "rivals")}
        claim = {name: row[name] for name in Claim._fields if name not in ("unit", "rivals")}
        claim |= {"unit": row["of"], "rivals": tuple(row["named"])}
        rivals = tuple(Rival(**rival) for rival in row["rivals"])
        return cls(Claim(**claim), **values | {"names": tuple(row["names"]), "rivals": rivals})

    def _number(self, value: float, *, signed: bool = False) -> str:
        text = f"{100 * value:.1f}" if self.percent else f"{value:.3f}"
        return ("+" if signed and value > 0 else "") + text.replace("-", "−")

    def _value(self, value: float) -> str:
        return self._number(value) + (" %" if self.percent else "")

    def cells(self, heading: tuple[str, str] | None = None) -> dict[str, str]:
        """The finding as text for a table's cells. Values are named unless the table's `heading` names them."""
        claim = self.claim
        named = [f" ({name})" if self.names != heading else "" for name in self.names]
        tolerance = f" by {100 * claim.margin:g} points" if claim.expected == "not lower" else ""
        return {
            "what": claim.label, "n": f"{self.n:,}" + (f" {self.unit}" if self.unit != "images" else ""), "baseline": self._value(self.baseline) + named[0],
            "underfit": "–" if self.underfit is None else self._value(self.underfit), "subject": self._value(self.subject) + named[1],
            "difference": self.interval, "paper": f"{claim.expected}{tolerance} ({claim.paper}, {claim.source})", "verdict": self.verdict,
            "judged": self.judged, "brief": self.brief, "doubts": " and ".join(self.doubts),
            "rivals": "; ".join(rival.text(percent=self.percent) for rival in self.rivals),
            "caution": self.caution,
            "images": self.images, "key": key(claim.measure, claim.level),
        }  # fmt: skip


def verdict_of(claim: Claim, low: float, high: float) -> str:
    """What an interval says of a claim: the whole of it lies on the expected side, on the other side, or on both (``inconclusive``)."""
    if claim.expected == "equal":
        inside = -claim.margin <= low and high <= claim.margin
        outside = low > claim.margin or high < -claim.margin
        return "agrees" if inside else "disagrees" if outside else "inconclusive"
    if claim.expected == "not lower":
        return "agrees" if low > -claim.margin else "disagrees" if high < -claim.margin else "inconclusive"
    sign = 1 if claim.expected == "higher" else -1
    low, high = sorted((sign * low, sign * high))
    return "agrees" if low > 0 else "disagrees" if high < 0 else "inconclusive"


def heading(findings: Iterable[Finding]) -> tuple[str, str]:
    """The two names that most findings compare: the heading of their columns; baseline and subject where there are none."""
    names = Counter(finding.names for finding in findings)
    return names.most_common(1)[0][0] if names else ("baseline", "subject")


def of_shares(
    claim: Claim, hit: Mapping[str, np.ndarray], *, baseline: str, subject: str, comparable: bool = True,
    given: Mapping[str, np.ndarray] | None = None,
) -> Finding:  # fmt: skip
    """The finding of outcomes ``hit``, (n,) bool for each network, among the images ``given`` for each network.

    Its n is the number of images that are given for at least one of the two compared networks.
    """
    given = given or {name: np.ones_like(h) for name, h in hit.items()}
    share = {name: float((h & given[name]).sum() / max(1, given[name].sum())) for name, h in hit.items()}
    interval = paired_difference(hit[subject], hit[baseline], given_a=given[subject], given_b=given[baseline])
    n = int((given[baseline] | given[subject]).sum())
    names = (baseline, subject)
    return Finding(claim, share[baseline], share.get("underfit"), share[subject], *interval, n=n, names=names, comparable=comparable)


def of_means(
    claim: Claim, values: Mapping[str, np.ndarray], *, baseline: str, subject: str, comparable: bool = True, percent: bool = False
) -> Finding:
    """The finding of a number per image, (n,) for each network."""
    mean = {name: float(v.mean()) for name, v in values.items()}
    interval = mean_interval(values[subject] - values[baseline])
    n, names = len(values[subject]), (baseline, subject)
    return Finding(
        claim, mean[baseline], mean.get("underfit"), mean[subject], *interval, n=n, names=names, percent=percent, comparable=comparable
    )


def of_accuracy(
    claim: Claim, clean: Mapping[str, np.ndarray], hit: Mapping[str, np.ndarray], *, baseline: str, subject: str, comparable: bool = True,
    given: Mapping[str, np.ndarray] | None = None,
) -> Finding:  # fmt: skip
    """The finding of outcomes in the claim's own unit: ``clean`` and distorted ``hit``, (n,) bool for each network.

    ``given``, of accuracy on correct, are the images that count; by default those that are correct without distortion.
    """
    roles = Roles(baseline=baseline, subject=subject, comparable=comparable)
    if claim.unit == ON_CORRECT:
        return of_shares(claim, hit, given=given or clean, **roles)
    if claim.unit == DROP:
        return of_means(claim, {name: clean[name].astype(int) - h for name, h in hit.items()}, percent=True, **roles)
    return of_shares(claim, hit, **roles)


def with_rivals(finding: Finding, rivals: Mapping[str, Rival]) -> Finding:
    """The finding with its claim's rivals, in their order; ValueError where one of them is missing."""
    missing = [name for name in finding.claim.rivals if name not in rivals]
    if missing:
        raise ValueError(f"the claim on {finding.claim.measure} names the rival {missing[0]!r}, which was not measured")
    return replace(finding, rivals=tuple(rivals[name] for name in finding.claim.rivals))


def sentence(findings: list[Finding]) -> str:
    """The first finding in words, and how many of all findings agree with the papers."""
    if not findings:
        return "No level was measured at which the papers report a number."
    said = findings[0].clause
    if len(findings) == 1:
        return f"{said[0].upper()}{said[1:]}."
    if not any(finding.comparable for finding in findings):
        return (
            f"{said[0].upper()}{said[1:]}. The papers compare adversarially with normally trained networks; this comparison is another one, "
            "and gets no verdict."
        )
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in VERDICTS}
    one = {"agrees": "agrees with the papers", "disagrees": "disagrees", "inconclusive": "is inconclusive"}
    many = {"agrees": "agree with the papers", "disagrees": "disagree", "inconclusive": "are inconclusive"}
    rest = ", ".join(f"{n} {(one if n == 1 else many)[verdict]}" for verdict, n in counts.items() if n)
    return f"{said[0].upper()}{said[1:]}. Of the {len(findings)} findings above, {rest}."


def markdown(findings: list[Finding]) -> str:
    """The findings as a Markdown table: one row per finding."""
    names = heading(findings)
    rows = [[c["what"], c["baseline"], c["subject"], c["difference"], c["n"], c["judged"]] for c in (f.cells(names) for f in findings)]
    header = ["", *names, "difference [95 %]", "n", ""]
    lines = [header, ["---", "--:", "--:", "--:", "--:", "---"], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)

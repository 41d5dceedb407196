"""A finding: one number for each of the compared networks, their paired difference, and what the paper leads one to expect."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from . import shipped

# (measure, level) -> the measure in words; the adversarially trained network against the normal one in Zhang & Zhu (2019); where
CLAIMS: dict[tuple[str, float], tuple[str, str, str]] = {
    ("clean", 0): ("accuracy on clean images", "lower", "Table 1"),
    ("robust", 0): ("accuracy under PGD", "higher", "Table 1"),
    ("shape_bias", 0): ("decided by shape where drawn shapes and textures conflict", "higher", "section 1, in words"),
    ("sparsity", 0): ("sparsity of Grad (Gini coefficient, mean over images)", "higher", "Figure 10, in words"),
    ("edges", 0): ("agreement of Grad with the image's edges (Spearman, mean over images)", "higher", "Figure 10, in words"),
    ("stylize", 1): ("accuracy on correct, stylized", "higher", "Table 2"),
    ("saturate", 1024): ("accuracy on correct, saturated to level 1024", "higher", "Tables 4 to 6"),
    ("patch_shuffle", 2): ("accuracy on correct, 2 × 2 patches shuffled", "lower", "Tables 7 and 8"),
    ("patch_shuffle", 4): ("accuracy on correct, 4 × 4 patches shuffled", "lower", "Tables 7 and 8"),
    ("low_pass", 4): ("accuracy on correct, low-pass filtered, radius 4", "higher", "Table 3, radius not given"),
    ("high_pass", 4): ("accuracy on correct, high-pass filtered, radius 4", "lower", "Table 3, radius not given"),
    ("random_modes", 0.1): ("accuracy on correct, a tenth of the Fourier modes removed", "equal", "Table 3"),
}
MARGIN = 0.05  # a difference within this is "equal"


def key(measure: str, level: float) -> str:
    """The name of an instrument: its measure and, of a distortion, its level."""
    return f"{measure}-{level:g}" if level else measure


@cache
def verdicts() -> dict[str, dict[str, Any]]:
    """What the networks of known bias say of each instrument, by `key`: the rows of `controls.reliability` that ship with atviz."""
    path = shipped("checkpoints", "controls", "verdicts.json")
    return json.loads(path.read_text())["instruments"] if path.is_file() else {}


@dataclass(frozen=True)
class Finding:
    """``difference`` is the adversarial network's value minus the normal one's, with its 95 % interval."""

    measure: str  # with its level, a key of CLAIMS
    level: float
    normal: float
    underfit: float | None
    adversarial: float
    difference: float
    ci_low: float
    ci_high: float
    n: int  # images
    percent: bool = True  # values are shares, written as percentages

    @property
    def label(self) -> str:
        return CLAIMS[self.measure, self.level][0]

    @property
    def expected(self) -> str:
        """What the paper leads one to expect: ``higher``, ``lower`` or ``equal``."""
        return CLAIMS[self.measure, self.level][1]

    @property
    def source(self) -> str:
        return CLAIMS[self.measure, self.level][2]

    @property
    def verdict(self) -> str:
        """``agrees``, ``disagrees`` or ``undecided``: whether the whole interval lies on the expected side, on the other, or on both."""
        if self.expected == "equal":
            inside = -MARGIN <= self.ci_low and self.ci_high <= MARGIN
            outside = self.ci_low > MARGIN or self.ci_high < -MARGIN
            return "agrees" if inside else "disagrees" if outside else "undecided"
        sign = 1 if self.expected == "higher" else -1
        low, high = sorted((sign * self.ci_low, sign * self.ci_high))
        return "agrees" if low > 0 else "disagrees" if high < 0 else "undecided"

    @property
    def caution(self) -> str:
        """Why the controls forbid to read the finding's instrument as a sign of shape bias; "" where they do not, or were not asked."""
        trust = verdicts().get(key(self.measure, self.level), {})
        return f"{trust['verdict']} in the controls: {trust['why']}" if trust.get("why") else ""

    @property
    def clause(self) -> str:
        """The finding in words; it changes when a number does."""
        verdict = {
            "agrees": "as Zhang & Zhu report",
            "disagrees": "unlike Zhang & Zhu",
            "undecided": "too uncertain to hold against Zhang & Zhu",
        }
        low, high = (self._number(v, signed=True) for v in (self.ci_low, self.ci_high))
        change = f"{self._number(self.difference, signed=True)} [{low}, {high}]"
        said = ", ".join([change, verdict[self.verdict], *([self.caution] if self.caution else [])])
        return f"{self.label}: {self._value(self.normal)} → {self._value(self.adversarial)} ({said})"

    def row(self) -> dict[str, Any]:
        """The finding with its verdict, as a row of a table."""
        return asdict(self) | {"label": self.label, "paper": self.expected, "source": self.source, "verdict": self.verdict}

    def _number(self, value: float, *, signed: bool = False) -> str:
        text = f"{100 * value:.1f}" if self.percent else f"{value:.3f}"
        return ("+" if signed and value > 0 else "") + text.replace("-", "−")

    def _value(self, value: float) -> str:
        return self._number(value) + (" %" if self.percent else "")

    def cells(self) -> dict[str, str]:
        """The finding as text for a table's cells."""
        number = self._number
        return {
            "what": self.label,
            "n": f"{self.n:,}",
            "normal": self._value(self.normal),
            "underfit": "–" if self.underfit is None else self._value(self.underfit),
            "adversarial": self._value(self.adversarial),
            "difference": f"{number(self.difference, signed=True)} [{number(self.ci_low, signed=True)}, {number(self.ci_high, signed=True)}]",
            "paper": f"{self.expected} ({self.source})",
            "verdict": self.verdict,
            "caution": self.caution,
        }


def sentence(findings: list[Finding]) -> str:
    """One sentence that states the findings."""
    if not findings:
        return "Nothing was measured at a level that Zhang & Zhu report."
    n = max(finding.n for finding in findings)
    return f"From normal to adversarial training, with 95 % intervals on {n:,} images: {'; '.join(finding.clause for finding in findings)}."

"""A finding: one number for each of the compared networks, their difference, and what a paper leads one to expect."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, NamedTuple

from . import shipped

MARGIN = 0.05  # a difference within this is "equal"
ZHANG_ZHU, ITAZURI = "Zhang & Zhu", "Itazuri et al."


class Claim(NamedTuple):
    """What a paper says of a measure, for the adversarially trained network against the normal one unless the label says otherwise."""

    label: str  # the measure in words
    expected: str  # "higher" | "lower" | "equal" | "not lower"
    source: str  # where in the paper
    paper: str = ZHANG_ZHU
    margin: float = MARGIN  # of "equal" and "not lower"


# by measure and level
CLAIMS: dict[tuple[str, float], Claim] = {
    ("clean", 0): Claim("accuracy on clean images", "lower", "Table 1"),
    ("robust", 0): Claim("accuracy under PGD", "higher", "Table 1"),
    ("shape_bias", 0): Claim("decided by shape where drawn shapes and textures conflict", "higher", "section 1, in words"),
    ("sparsity", 0): Claim("sparsity of Grad (Gini coefficient, mean over images)", "higher", "Figure 10, in words"),
    ("edges", 0): Claim("agreement of Grad with the image's edges (Spearman, mean over images)", "higher", "Figure 10, in words"),
    ("stylize", 1): Claim("accuracy on correct, stylized", "higher", "Table 2"),
    ("saturate", 1024): Claim("accuracy on correct, saturated to level 1024", "higher", "Tables 4 to 6"),
    ("patch_shuffle", 2): Claim("accuracy on correct, 2 × 2 patches shuffled", "lower", "Tables 7 and 8"),
    ("patch_shuffle", 4): Claim("accuracy on correct, 4 × 4 patches shuffled", "lower", "Tables 7 and 8"),
    ("low_pass", 4): Claim("accuracy on correct, low-pass filtered, radius 4", "higher", "Table 3, radius not given"),
    ("high_pass", 4): Claim("accuracy on correct, high-pass filtered, radius 4", "lower", "Table 3, radius not given"),
    ("random_modes", 0.1): Claim("accuracy on correct, a tenth of the Fourier modes removed", "equal", "Table 3"),
    ("gaussian_blur", 2): Claim("accuracy on correct, blurred with σ = 2", "equal", "Figure 6", ITAZURI),
    ("median_filter", 1): Claim("accuracy on correct, median-filtered once", "higher", "Figure 6", ITAZURI),
    ("median_filter", 5): Claim("accuracy on correct, median-filtered five times", "higher", "Figure 6", ITAZURI),
    ("reverse", 1): Claim("accuracy on correct, colors reversed", "equal", "Table 2", ITAZURI),
    ("first_layer_norm", 0): Claim("L2 norm of the first layer's filters (mean over filters)", "lower", "Figure 4", ITAZURI),
    ("centroid", 0): Claim(
        "spectral centroid of what the deeper half of the convolutions respond to (cycles per image, mean over filters)",
        "lower", "Figure 3, in words", ITAZURI,
    ),
    ("guided_dependence", 0): Claim(
        "rank correlation of Guided Backprop before and after all weights are randomized, against one half (mean over images and draws)",
        "lower", "appendix A, in words", ITAZURI,
    ),
    ("fusion", 0): Claim("accuracy of STD+ADV on another task, against the better of the two pairs", "not lower", "Figure 7", ITAZURI, 0.02),
}  # fmt: skip


def key(measure: str, level: float) -> str:
    """The name of an instrument: its measure and, of a distortion, its level."""
    return f"{measure}-{level:g}" if level else measure


@cache
def verdicts() -> dict[str, dict[str, Any]]:
    """What the networks of known bias say of each instrument, by `key`: the rows of `controls.reliability` that ship with atviz."""
    path = shipped("checkpoints", "controls", "verdicts.json")
    return json.loads(path.read_text())["instruments"] if path.is_file() else {}


COMPARED = ("normal", "adversarial")


@dataclass(frozen=True)
class Finding:
    """Two compared values and their difference, second minus first, with its 95 % interval; ``names`` says what is compared."""

    measure: str  # with its level, a key of CLAIMS
    level: float
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
    def claim(self) -> Claim:
        return CLAIMS[self.measure, self.level]

    @property
    def verdict(self) -> str:
        """``agrees``, ``disagrees`` or ``undecided``: whether the whole interval lies on the expected side, on the other, or on both."""
        expected, margin = self.claim.expected, self.claim.margin
        if expected == "equal":
            inside = -margin <= self.ci_low and self.ci_high <= margin
            outside = self.ci_low > margin or self.ci_high < -margin
            return "agrees" if inside else "disagrees" if outside else "undecided"
        if expected == "not lower":
            return "agrees" if self.ci_low > -margin else "disagrees" if self.ci_high < -margin else "undecided"
        sign = 1 if expected == "higher" else -1
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
        paper = self.claim.paper
        verdict = {
            "agrees": f"as {paper} report",
            "disagrees": f"unlike {paper}",
            "undecided": f"too uncertain to hold against {paper}",
        }
        low, high = (self._number(v, signed=True) for v in (self.ci_low, self.ci_high))
        change = f"{self._number(self.difference, signed=True)} [{low}, {high}]"
        said = ", ".join([change, verdict[self.verdict], *([self.caution] if self.caution else [])])
        return f"{self.claim.label}: {self._value(self.normal, 0)} → {self._value(self.adversarial, 1)} ({said})"

    def row(self) -> dict[str, Any]:
        """The finding with its verdict, as a row of a table."""
        return asdict(self) | self.claim._asdict() | {"verdict": self.verdict}

    def _number(self, value: float, *, signed: bool = False) -> str:
        text = f"{100 * value:.1f}" if self.percent else f"{value:.3f}"
        return ("+" if signed and value > 0 else "") + text.replace("-", "−")

    def _value(self, value: float, which: int | None = None) -> str:
        said = self._number(value) + (" %" if self.percent else "")
        return said if which is None or self.names == COMPARED else f"{said} ({self.names[which]})"

    def cells(self) -> dict[str, str]:
        """The finding as text for a table's cells."""
        number = self._number
        tolerance = f" by {100 * self.claim.margin:g} points" if self.claim.expected == "not lower" else ""
        return {
            "what": self.claim.label,
            "n": f"{self.n:,}" + (f" {self.unit}" if self.unit != "images" else ""),
            "normal": self._value(self.normal, 0),
            "underfit": "–" if self.underfit is None else self._value(self.underfit),
            "adversarial": self._value(self.adversarial, 1),
            "difference": f"{number(self.difference, signed=True)} [{number(self.ci_low, signed=True)}, {number(self.ci_high, signed=True)}]",
            "paper": f"{self.claim.expected}{tolerance} ({self.claim.paper}, {self.claim.source})",
            "verdict": self.verdict,
            "caution": self.caution,
        }


def sentence(findings: list[Finding]) -> str:
    """One sentence that states the findings."""
    if not findings:
        return "Nothing was measured at a level that the papers report."
    counts = {unit: max(f.n for f in findings if f.unit == unit) for unit in dict.fromkeys(f.unit for f in findings)}
    of = " and ".join(f"{n:,} {unit}" for unit, n in counts.items())
    compared = "From normal to adversarial training, with" if any(f.names == COMPARED for f in findings) else "With"
    return f"{compared} 95 % intervals on {of}: {'; '.join(finding.clause for finding in findings)}."

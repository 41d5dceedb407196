"""Rivals: what else would give the number of a finding, measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .claims import RIVALS

# how a rival's value is to be read
KINDS = {
    "alone": "the difference that the rival gives without the rest",
    "instead": "the difference that is measured in place of the finding's",
    "aside": "a number that the finding does not contain",
    "count": "at how many of several choices the verdict is the same",
    "seeds": "the difference, mean over trainings, with its interval over them",
    "unmeasured": "why there is no number",
}


@dataclass(frozen=True)
class Rival:
    """A rival explanation of a finding: a name of `RIVALS`, a kind of `KINDS`, and its value, with an interval where there is one."""

    name: str
    kind: str
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    agree: int = 0
    of: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if self.name not in RIVALS or self.kind not in KINDS:
            raise ValueError(f"a rival is {self.name!r} of kind {self.kind!r}; it must be of {', '.join(RIVALS)} and of {', '.join(KINDS)}")

    @classmethod
    def unmeasured(cls, name: str, why: str) -> Rival:
        """A rival without a number."""
        return cls(name, "unmeasured", note=why)

    @property
    def words(self) -> str:
        """What the rival is, in a few words."""
        return RIVALS[self.name].partition(":")[0]

    def explained(self, difference: float) -> float:
        """The share of a difference that the rival gives alone; 0 for other kinds, and where it points the other way."""
        if self.kind != "alone" or self.value is None or not difference:
            return 0.0
        return max(0.0, self.value / difference)

    def text(self, *, percent: bool) -> str:
        """The rival with its number, for a table's cell."""
        if self.kind == "unmeasured":
            return f"{self.words}: not measured, {self.note}"
        if self.kind == "count":
            return f"{self.words}: the same at {self.agree} of {self.of}"
        return f"{self.words}: {self.number(percent=percent)}{', ' * bool(self.note)}{self.note}"

    def number(self, *, percent: bool) -> str:
        """The value with its interval."""
        bounds = [self.value] if self.ci_low is None else [self.value, self.ci_low, self.ci_high]
        value, *interval = (signed(v, percent=percent) for v in bounds if v is not None)
        return f"{value} [{', '.join(interval)}]" if interval else value

    def row(self) -> dict[str, Any]:
        """The rival as JSON: ``Rival(**row)`` is the same rival."""
        return asdict(self)


def signed(value: float, *, percent: bool) -> str:
    """A difference as text: ``+15.6`` of shares, ``+0.156`` of other numbers."""
    text = f"{100 * value:+.1f}" if percent else f"{value:+.3f}"
    return text.replace("-", "−")

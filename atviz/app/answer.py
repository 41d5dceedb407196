"""The head of a run's page: how many findings agree, the pictures that answer its question, and the answer in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .pictures import embedded

VERDICTS = ("agrees", "disagrees", "inconclusive", "not judged")
# question of a picture -> its figures, and the measures of its findings, of which the first two that were found are shown
CARDS = {
    "Are its saliency maps cleaner and on the outlines?": (("02_saliency_*-figure-2", "02_saliency_*-figure-9"), ("sparsity", "edges"), 1),
    "Does it need texture, or shape?": (("04_saturate_*-figure-5", "05_shuffle_*-figure-7"), ("saturate-1024", "patch_shuffle-4", "patch_shuffle-2"), 2),
    "Which does it follow when shape and texture disagree?": (("00_controls_*-deciding", "00_controls_*-bias"), ("shape_bias",), 1),
}  # fmt: skip
HINTS = (
    ("", "Bright pixels of a map change the decision most."),
    (
        "Accuracy on correct",
        ": of the images that a network classifies correctly without a distortion, the share that it also classifies correctly with it. "
        "Saturation removes texture; shuffled patches destroy shape.",
    ),
    ("", "Drawn images: the silhouette is of one class, the texture of another."),
)


def tally(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many findings have each verdict, and how many of these carry a caution."""
    counts = []
    for verdict in VERDICTS:
        mine = [finding for finding in findings if finding["verdict"] == verdict]
        counts.append({"verdict": verdict, "count": len(mine), "cautions": sum(bool(finding["cautions"]) for finding in mine)})
    return [row for row in counts if row["count"] or row["verdict"] != "not judged"] if findings else []


def pictures(folder: Path, findings: Sequence[dict[str, Any]], small: Collection[Path] = ()) -> list[dict[str, Any]]:
    """The pictures that answer the page's question, each with its findings. What the run does not have is left out.

    ``small`` are the figures that are shown at half their size.
    """
    by_key = {finding["key"]: finding for finding in findings}
    cards = []
    for (question, (patterns, keys, most)), hint in zip(CARDS.items(), HINTS, strict=True):
        paths = [path for pattern in patterns for path in sorted(folder.glob(f"figures/{pattern}.png"))[:1]]
        figures = [embedded(path, small=path in small) for path in paths[:most]]
        found = [by_key[key] for key in keys if key in by_key][:2]
        if figures:
            cards.append({"question": question, "hint": hint, "figures": figures, "findings": found})
    return cards


def sentence(cards: Sequence[dict[str, Any]]) -> str:
    """The answer to the page's question, from the findings beside the pictures.

    "" where one of them has no verdict: the networks are not those that the papers compare, and a finding of drawn images is of others.
    """
    found = [finding for card in cards for finding in card["findings"]]
    if not found or any(finding["verdict"] not in VERDICTS[:3] for finding in found):
        return ""
    agree, disagree = (sum(finding["verdict"] == verdict for finding in found) for verdict in VERDICTS[:2])
    doubted = sum(bool(finding["cautions"]) for finding in found if finding["verdict"] == "agrees")
    said = (
        f"{agree} of the {len(found)} findings beside the pictures say so" if len(found) > 1 else "the finding beside the picture says so"
    )
    if agree == len(found) or (agree > len(found) / 2 and not disagree):
        but = f", but {doubted} of them {'carries' if doubted == 1 else 'carry'} a caution" if doubted else ""
        rest = len(found) - agree
        others = f"; {rest} {'is' if rest == 1 else 'are'} inconclusive" if rest else ""
        perhaps = "Perhaps more" if 2 * doubted >= agree else "More"
        return f"{perhaps} at shape and less at texture than a normally trained network: {said}{but}{others}."
    if disagree > len(found) / 2:
        return f"Not more at shape than a normally trained network: {disagree} of the {len(found)} findings beside the pictures disagree with the papers."
    left = len(found) - agree - disagree
    counts = (
        (agree, "says more at shape than a normally trained network", "say more at shape than a normally trained network"),
        (disagree, "says the opposite", "say the opposite"),
        (left, "is inconclusive", "are inconclusive"),
    )
    clauses = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    listed = ", ".join(clauses[:-1]) + f" and {clauses[-1]}" if clauses[1:] else clauses[0]
    return f"No clear answer: of the {len(found)} findings beside the pictures, {listed}."


def duration(seconds: float | None) -> str:
    """Seconds in words; "" for None."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} seconds"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} minute{'s' * (minutes != 1)}"

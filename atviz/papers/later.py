"""Claims of later papers about adversarially trained networks, measured on drawn images in every world, each with its rivals."""

from __future__ import annotations

import pandas as pd

from ..evidence import Claim, Finding, Rival, choice, crossed, findings, unpaired_difference, verdict_of

WORLD = "inside"  # that of the networks in `evidence.controls`
CLAIMS = {
    claim.measure: claim
    for claim in [
        Claim("wider_channel", 0, "bandwidth of the channel, by critical-band masking (octaves)", "higher", "abstract", "Subramanian et al.",
              rivals=("underfit", "radius", "worlds")),
        Claim("ground", 0, "accuracy on correct, ground replaced by that of an image of another class", "lower", "abstract", "Moayeri et al.",
              rivals=("underfit", "radius", "worlds")),
        Claim("less_stable", 0, "relative output stability of Grad (log10 of the mean; higher is less stable)", "higher", "abstract",
              "Bhusal et al.", rivals=("underfit", "definition", "radius", "worlds")),
    ]
}  # fmt: skip
READ = {
    "wider_channel": "channel_width",
    "ground": "grounds",
    "less_stable": "relative_instability",
}  # claim -> the instrument that reads it
OTHERWISE = {"less_stable": "instability"}  # claim -> the same by another definition


def later_findings(read: pd.DataFrame, *, baseline: str, subject: str) -> list[Finding]:
    """The findings of `CLAIMS` on networks of one world, from the rows of `evidence.controls.readings`; none without two seeds of each.

    A value is the mean over the networks of a kind, and the interval of the difference is Welch's t over them. The rivals: the same claim under
    every other ε of ``read``, in the other worlds (`by_world`), and by another definition of the number.
    """
    kinds = [name for name in read.network.unique() if name.startswith("pgd-") and name != subject]
    rows, elsewhere = [], by_world()
    for measure, claim in CLAIMS.items():
        values = {
            name: part.value.dropna().to_numpy(float)
            for name, part in read[read.instrument == READ[measure]].groupby("network", sort=False)
        }
        if any(len(values.get(name, ())) < 2 for name in (baseline, subject)):
            continue
        difference, low, high = unpaired_difference(values[subject], values[baseline])
        verdict = verdict_of(claim, low, high)
        same = [
            verdict_of(claim, *unpaired_difference(values[name], values[baseline])[1:]) == verdict
            for name in kinds
            if len(values[name]) > 1
        ]
        rivals = {
            "underfit": Rival.unmeasured("underfit", "no network of the accuracy of the subject was trained without an attack"),
            "radius": Rival("radius", "count", agree=sum(same), of=len(same)),
            "worlds": _worlds(elsewhere, measure, verdict),
        }
        if measure in OTHERWISE:
            other = read[read.instrument == OTHERWISE[measure]]
            a, b = (other[other.network == name].value.dropna().to_numpy(float) for name in (subject, baseline))
            rivals["definition"] = Rival("definition", "instead", *unpaired_difference(a, b))
        finding = Finding(
            claim, float(values[baseline].mean()), None, float(values[subject].mean()), difference, low, high, names=(baseline, subject),
            n=len(values[baseline]) + len(values[subject]), percent=measure == "ground", unit="networks", images="drawn images, 00_controls",
        )  # fmt: skip
        rows.append(findings.with_rivals(finding, rivals))
    return rows


def by_world() -> pd.DataFrame:
    """What the networks of the crossed experiment say of each claim, one row for each claim and world.

    Columns: ``claim``; ``source``; ``world``; ``expected``; ``eps`` of the strongest attack that all seeds learned under; ``difference`` of the networks
    trained under it and the normal ones, with its 95 % interval over networks ``ci_low``, ``ci_high`` (Welch's t); ``networks`` that were read;
    ``verdict``, ``not measured`` where fewer than two networks of a kind were read. Critical-band masking gives no number where fewer than
    three bands mask a network, or where its channel has no peak.
    """
    rows, read = (crossed.rows(table) for table in (crossed.CROSSED, crossed.READINGS))
    found: list[dict[str, object]] = []
    if not len(rows) or not len(read):
        return pd.DataFrame(found)
    both = choice.usable(rows.merge(read, on=crossed.KEY))
    for measure, claim in ((m, c) for m, c in CLAIMS.items() if READ[m] in both):
        for world, eps in choice.strongest(rows).items():
            part = both[both.world == world]
            a, b = (part[chosen][READ[measure]].dropna().to_numpy(float) for chosen in (part.eps == eps, part.norm == "none"))
            enough = min(len(a), len(b)) > 1
            difference, low, high = unpaired_difference(a, b) if enough else (float("nan"),) * 3
            found.append({
                "claim": measure, "source": claim.paper, "world": world, "expected": claim.expected, "eps": eps, "difference": difference, "ci_low": low,
                "ci_high": high, "networks": len(a) + len(b), "verdict": verdict_of(claim, low, high) if enough else "not measured",
            })  # fmt: skip
    return pd.DataFrame(found)


def _worlds(elsewhere: pd.DataFrame, measure: str, verdict: str) -> Rival:
    part = elsewhere[(elsewhere.claim == measure) & (elsewhere.world != WORLD)] if len(elsewhere) else elsewhere
    if not len(part) or (part.verdict == "not measured").all():
        return Rival.unmeasured("worlds", "no readings of other worlds ship")
    return Rival("worlds", "count", agree=int((part.verdict == verdict).sum()), of=len(part))

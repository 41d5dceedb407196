"""Claims of Zhang & Zhu (2019) that are not of one instrument, measured on a study, each with its rivals."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import ShapeTex, shapetex
from ..evidence import (
    Claim,
    Finding,
    Rival,
    Store,
    Study,
    accuracy,
    choice,
    crossed,
    decisions,
    find,
    findings,
    mean_interval,
    over_seeds,
    paired_difference,
    rank_interval,
    robust_accuracy,
    unpaired_difference,
    verdict_of,
)
from ..models import fingerprint

FEWEST = 5  # networks of a rank correlation
STEP = 0.1 * 3**0.5  # RGB length between the two colors of a drawn texture
_OVER = ", rank correlation over the networks"

CLAIMS = {
    claim.measure: claim
    for claim in [
        Claim("clean", 0, "accuracy on clean images", "lower", "Table 1", rivals=("unfinished", "seeds")),
        Claim("robust", 0, "accuracy under PGD", "higher", "Table 1", rivals=("underfit", "noise", "hidden gradient", "seeds")),
        Claim("shape_bias", 0, "decided by shape where drawn shapes and textures conflict", "higher", "section 1, in words",
              rivals=("larger cue", "worlds", "seeds")),
        Claim("invariance", 1024, f"accuracy under PGD against accuracy on correct, saturated to level 1024{_OVER}", "higher",
              "section 4.2, in words", rivals=("clean accuracy", "levels")),
        Claim("sensitivity", 2, f"accuracy under PGD against accuracy on correct, 2 × 2 patches shuffled{_OVER}", "lower",
              "section 4.2, in words", rivals=("clean accuracy", "levels")),
        Claim("spatial_distance", 0, "distance of SmoothGrad to that of the PGD-trained network, of the spatially trained against the normal "
              "network (1 − rank correlation, mean over images)", "equal", "section 4.1, in words", rivals=("underfit", "methods")),
    ]
}  # fmt: skip
RELATED = {"invariance": "saturate", "sensitivity": "patch_shuffle"}  # claim -> the distortion whose readings are ranked


def accuracy_findings(study: Study) -> list[Finding]:
    """The findings of Table 1: accuracy on clean images and under the study's attack; none of a network that is alone."""
    if study.alone:
        return []
    survived = {name: row["survived"] for name, row in study.robustness().items()}
    clean = findings.of_shares(CLAIMS["clean"], study.outcomes({}).clean, **study.roles)
    robust = findings.of_shares(CLAIMS["robust"], survived, **study.roles)

    def of_robust(other: Study) -> Finding:
        return findings.of_shares(CLAIMS["robust"], {name: row["survived"] for name, row in other.pair.robustness().items()}, **other.roles)

    seeds = over_seeds(study, clean, lambda other: findings.of_shares(CLAIMS["clean"], other.outcomes({}).clean, **other.roles))
    return [
        findings.with_rivals(clean, {"unfinished": _unfinished(study), "seeds": seeds}),
        findings.with_rivals(robust, {
            "underfit": _share("underfit", "alone", survived, study, "underfit"), "noise": _noise(study),
            "hidden gradient": _transferred(study, survived), "seeds": over_seeds(study, robust, of_robust),
        }),
    ]  # fmt: skip


def _share(name: str, kind: str, hit: Mapping[str, np.ndarray], study: Study, subject: str, note: str = "") -> Rival:
    if subject not in hit or (subject == "underfit" and subject in (study.baseline, study.subject)):
        return Rival.unmeasured(name, f"there is no {subject} network")
    return Rival(name, kind, *paired_difference(hit[subject], hit[study.baseline]), note=note)


def _unfinished(study: Study) -> Rival:
    """The accuracy that the subject gained in the last quarter of its epochs, with a minus: a longer training may close about as much."""
    gained = [row["clean"] for row in study.networks.subject.card.get("history", [])]
    if len(gained) < 4:
        return Rival.unmeasured("unfinished", "the model card has no four epochs")
    return Rival("unfinished", "alone", gained[len(gained) - len(gained) // 4 - 1] - gained[-1])


class Noise:
    """Uniform noise of ±eps, clipped to [0, 1], drawn by the seed and the image's own pixels: the same in every batch."""

    def __init__(self, eps: float, seed: int) -> None:
        self.eps, self.seed, self.key = eps, seed, f"noise {eps!r} seed {seed}"

    def __call__(self, x: Tensor) -> Tensor:
        drawn = [torch.rand(image.shape, generator=self._generator(image)) for image in x.detach().float().cpu()]
        return (x + self.eps * (2 * torch.stack(drawn).to(x) - 1)).clamp(0, 1)

    def _generator(self, image: Tensor) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(image.contiguous().numpy().tobytes(), self.seed))


def _noise(study: Study) -> Rival:
    found = study.pair.outcomes({"noise": {1.0: Noise(study.attack.keywords["eps"], study.seed)}})
    hit = {name: found.distorted[name, "noise", 1.0] for name in (study.baseline, study.subject)}
    return _share("noise", "alone", hit, study, study.subject)


class Through:
    """An attack (model, x, y) -> x_adv that uses another network's gradient."""

    def __init__(self, network: nn.Module, attack: partial[Tensor]) -> None:
        self.network, self.attack = network, attack
        self.key = {"through": fingerprint(network), **attack.keywords}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.attack(self.network, x, y)


def _transferred(study: Study, survived: Mapping[str, np.ndarray]) -> Rival:
    """The subject attacked with the baseline's gradient: where that fools it more than its own gradient does, its own is hidden."""
    attack = Through(study.networks.baseline.module, study.attack)
    row = robust_accuracy(study.networks.subject.module, study.images, attack=attack, store=study.store)
    own = float(survived[study.subject].mean())
    hit = {study.baseline: survived[study.baseline], study.subject: row["survived"]}
    note = f"with its own gradient {100 * own:.1f} % survive, with the baseline's {100 * row['robust']:.1f} %"
    return _share("hidden gradient", "instead", hit, study, study.subject, note)


def shape_bias_finding(
    networks: Mapping[str, Sequence[nn.Module]], conflict: ShapeTex, *, baseline: str, subject: str, store: Store | None = None
) -> Finding:
    """The finding of drawn images whose cues conflict: kind of network → the networks of its seeds; the first of each is compared."""
    roles = findings.Roles(baseline=baseline, subject=subject, comparable=True)

    def measured(drawn: ShapeTex, index: int) -> Finding:
        cues: dict[str, Any] = {"shape": drawn.shape, "texture": drawn.texture}
        decided = {name: decisions(networks[name][index], drawn.images, **cues, store=store) for name in (baseline, subject)}
        by_shape, by_either = {n: s for n, (s, _) in decided.items()}, {n: s | t for n, (s, t) in decided.items()}
        return findings.of_shares(CLAIMS["shape_bias"], by_shape, given=by_either, **roles)

    finding, n = measured(conflict, 0), len(conflict.images)
    size = conflict.images.shape[-1]
    faint, agreeing = (shapetex(n, cue=cue, seed=1, size=size, step=STEP) for cue in ("conflict", "both"))
    still = accuracy(networks[subject][0], agreeing.images)["top1"]
    small = measured(faint, 0)
    shares = [measured(conflict, i) for i in range(min(len(networks[name]) for name in (baseline, subject)))]
    values = {role: np.array([getattr(f, role) for f in shares]) for role in ("subject", "baseline")}
    seeds = Rival.unmeasured("seeds", "one training of each network")
    if len(shares) > 1:
        mean, low, high = unpaired_difference(values["subject"], values["baseline"])
        seeds = Rival("seeds", "seeds", mean, low, high, of=len(shares), note=f"{len(shares)} trainings of each")
    rivals = {
        "larger cue": Rival("larger cue", "instead", small.difference, small.ci_low, small.ci_high,
                            note=f"at that step the subject classifies {100 * still:.0f} % of the images whose cues agree"),
        "worlds": _worlds(), "seeds": seeds,
    }  # fmt: skip
    return replace(findings.with_rivals(finding, rivals), images="drawn images, 00_controls")


def _worlds() -> Rival:
    """In how many worlds, other than that of the finding, adversarial training moves networks to shape, by the rows of `crossed` that ship."""
    rows = crossed.rows(crossed.CROSSED)
    if not len(rows):
        return Rival.unmeasured("worlds", "no rows of other worlds ship")
    found = choice.outcomes(rows)
    others = found[found.world != "inside"]
    return Rival("worlds", "count", agree=int((others.shift_low > 0).sum()), of=len(others))


def relation(study: Study, measure: str, levels: Sequence[float]) -> Finding | None:
    """A finding on how accuracy under PGD and accuracy on correct under a distortion are ranked over the networks; None for fewer than `FEWEST`.

    ``measure`` is a key of `RELATED`. The interval is over networks (`evidence.rank_interval`).
    """
    claim = CLAIMS[measure]
    if len(study.networks) < FEWEST or study.alone:
        return None
    measured = study.robustness()
    robust, clean = ({name: row[key] for name, row in measured.items()} for key in ("robust", "clean"))
    names, distortion = list(study.networks), RELATED[measure]
    origin = find(distortion).original or 0
    wanted = [v for v in dict.fromkeys([claim.level, *levels]) if v > origin]
    results = study.outcomes({distortion: wanted})
    read = {
        v: np.array([(results.distorted[n, distortion, v] & results.clean[n]).sum() / max(1, results.clean[n].sum()) for n in names])
        for v in map(float, wanted)
    }
    ranked = {v: rank_interval(np.array([robust[n] for n in names]), values) for v, values in read.items()}
    rho, low, high = ranked[float(claim.level)]
    finding = Finding(claim, 0.0, None, rho, rho, low, high, n=len(names), names=("no relation", "found"), percent=False,
                      comparable=study.comparable, unit="networks")  # fmt: skip
    lost = rank_interval(-np.array([clean[n] for n in names]), read[float(claim.level)])
    same = sum(verdict_of(claim, lo, hi) == verdict_of(claim, low, high) for _, lo, hi in ranked.values())
    values = [value for value, _, _ in ranked.values()]
    rivals = {
        "clean accuracy": Rival("clean accuracy", "alone", *lost),
        "levels": Rival("levels", "count", rho, min(values), max(values), agree=same, of=len(values)),
    }
    return findings.with_rivals(finding, rivals)


def spatial_finding(study: Study) -> Finding | None:
    """The finding on the distance of the spatially trained network's maps; None without a ``spatial`` network beside the subject."""
    claim, names = CLAIMS["spatial_distance"], list(study.networks)
    if "spatial" not in names or "spatial" in (study.baseline, study.subject) or not study.comparable:
        return None

    def difference(method: str, likeness: str, name: str = "spatial") -> tuple[np.ndarray, np.ndarray]:
        alike = study.saliency_similarities(method)[likeness][:, names.index(study.subject)]
        return 1 - alike[:, names.index(name)], 1 - alike[:, names.index(study.baseline)]

    far, near = difference("SmoothGrad", "rank")
    interval = mean_interval(far - near)
    finding = Finding(
        claim, float(near.mean()), None, float(far.mean()), *interval, n=len(far), percent=False, names=(study.baseline, "spatial")
    )
    others = [mean_interval(np.subtract(*difference(m, likeness))) for m in ("SmoothGrad", "Grad") for likeness in ("rank", "ssim")]
    same = sum(verdict_of(claim, low, high) == finding.verdict for _, low, high in others)
    underfit = Rival.unmeasured("underfit", "there is no underfit network")
    if "underfit" in names:
        underfit = Rival("underfit", "alone", *mean_interval(np.subtract(*difference("SmoothGrad", "rank", "underfit"))))
    values = [value for value, _, _ in others]
    methods = Rival(
        "methods", "count", interval[0], min(values), max(values), agree=same, of=len(others), note="Grad and SmoothGrad, rank and SSIM"
    )
    return findings.with_rivals(finding, {"underfit": underfit, "methods": methods})

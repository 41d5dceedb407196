"""Claims of Itazuri et al. (2019) that are not of one instrument, measured on networks, each with its rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from .. import saliency
from ..evidence import (
    ITAZURI,
    LIKENESS,
    Claim,
    Features,
    Finding,
    Rival,
    Study,
    Transferred,
    deeper_half,
    findings,
    layer_features,
    mean_interval,
    over_seeds,
    unpaired_difference,
)
from ..evidence.transferred import PAIRS

LOW_RESOLUTION = 64  # pixels a side, at most

CLAIMS = {
    claim.measure: claim
    for claim in [
        Claim("first_layer_norm", 0, "L2 norm of the first layer's filters (mean over filters)", "lower", "Figure 4", ITAZURI,
              rivals=("batch norm", "underfit", "seeds")),
        Claim("centroid", 0, "spectral centroid of what the deeper half of the convolutions respond to (cycles per image, mean over filters)",
              "lower", "Figure 3, in words", ITAZURI, rivals=("underfit", "untrained", "seeds")),
        Claim("guided_dependence", 0, "rank correlation of Guided Backprop before and after all weights are randomized, against one half "
              "(mean over images and draws)", "lower", "appendix A, in words", ITAZURI, rivals=("signs",)),
        Claim("fusion", 0, "accuracy of STD+ADV on another task, against the better of the two pairs", "not lower", "Figure 7", ITAZURI, 0.02,
              rivals=("chosen pair", "seeds")),
        Claim("single", 0, "accuracy of ADV on another task of low resolution, against STD", "higher", "Figure 7, in words", ITAZURI,
              rivals=("unfinished", "seeds")),
    ]
}  # fmt: skip


def first_layers(
    networks: Mapping[str, nn.Module], *, effective: bool = False, shape: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """The L2 norms of each network's first filters, (filters,); ``effective`` with the scale of the batch norm behind them."""
    of = saliency.effective_first_layer if effective else saliency.first_layer
    return {name: of(model, shape=shape).flatten(1).norm(dim=1).double().numpy() for name, model in networks.items()}


def layer_findings(
    study: Study, norms: Mapping[str, Mapping[str, np.ndarray]], found: Mapping[str, Mapping[str, Features]], **asked: Any
) -> list[Finding]:
    """The findings on the first layer's filters and on what the deeper layers respond to.

    ``norms``: ``norm`` and ``effective`` → network → `first_layers`. ``found``: network, and ``untrained`` → `layer_features`, which
    were measured as ``asked``. None of a network that is alone.
    """
    if study.alone:
        return []
    shape = study.images.shape
    deep = {name: deeper_half(layers) for name, layers in found.items()}
    norm, centroid = (_of_filters(study, measure, values) for measure, values in (("first_layer_norm", norms["norm"]), ("centroid", deep)))

    def of_norm(other: Study) -> Finding:
        return _of_filters(other, "first_layer_norm", first_layers(other.pair.models, shape=shape))

    def of_centroid(other: Study) -> Finding:
        return _of_filters(
            other, "centroid", {name: deeper_half(layer_features(model, **asked)) for name, model in other.pair.models.items()}
        )

    return [
        findings.with_rivals(norm, {
            "batch norm": _instead(study, "batch norm", "instead", norms["effective"], study.subject),
            "underfit": _instead(study, "underfit", "alone", norms["norm"], "underfit"), "seeds": over_seeds(study, norm, of_norm),
        }),
        findings.with_rivals(centroid, {
            "underfit": _instead(study, "underfit", "alone", deep, "underfit"), "untrained": _instead(study, "untrained", "alone", deep, "untrained"),
            "seeds": over_seeds(study, centroid, of_centroid),
        }),
    ]  # fmt: skip


def _of_filters(study: Study, measure: str, values: Mapping[str, np.ndarray]) -> Finding:
    a, b = values[study.subject], values[study.baseline]
    underfit = float(values["underfit"].mean()) if "underfit" in values else None
    names, interval = (study.baseline, study.subject), unpaired_difference(a, b)
    return Finding(
        CLAIMS[measure], float(b.mean()), underfit, float(a.mean()), *interval, n=len(a), names=names, percent=False,
        comparable=study.comparable, unit="filters",
    )  # fmt: skip


def _instead(study: Study, name: str, kind: str, values: Mapping[str, np.ndarray], subject: str) -> Rival:
    if subject not in values:
        return Rival.unmeasured(name, f"there is no {subject} network")
    return Rival(name, kind, *unpaired_difference(values[subject], values[study.baseline]))


def guided_finding(drawn: np.ndarray) -> Finding:
    """The finding on Guided Backprop: ``drawn`` is `evidence.dependence`, (draws, 3), in the order of `evidence.LIKENESS`."""
    rank, signs = (drawn[:, LIKENESS.index(name)] for name in ("rank", "signed"))
    shift = mean_interval(rank - 0.5)
    names = ("one half", "Guided Backprop")
    finding = Finding(
        CLAIMS["guided_dependence"], 0.5, None, float(rank.mean()), *shift, n=len(rank), percent=False, names=names, unit="draws of weights"
    )
    return findings.with_rivals(finding, {"signs": Rival("signs", "instead", *mean_interval(signs - 0.5))})


def transfer_findings(found: Transferred, side: int, target: str) -> list[Finding]:
    """The findings of fine-tuning: the mixed pair against the better pair, and one adversarially trained network against a normal one.

    ``side`` is that of the images, in pixels. Above `LOW_RESOLUTION` the paper expects the normal network to be more accurate.
    """
    better, images = found.better_pair, f"fine-tuned on {target}, 10_ensemble_transfer"
    others = np.mean([found.outcomes[pair].mean(0) for pair in PAIRS], axis=0)
    to_mean = mean_interval(found.outcomes["STD+ADV"].mean(0) - others)
    seeds = Rival.unmeasured("seeds", "two backbones of each kind take turns in the runs")
    values = found.accuracy(better), None, found.accuracy("STD+ADV")
    pair = Finding(CLAIMS["fusion"], *values, *found.difference("STD+ADV", better), n=found.n, names=(better, "STD+ADV"))
    claim = CLAIMS["single"]
    if side > LOW_RESOLUTION:
        claim = claim._replace(expected="lower", label=claim.label.replace("low resolution", "high resolution"))
    values = found.accuracy("STD"), None, found.accuracy("ADV")
    single = Finding(claim, *values, *found.difference("ADV", "STD"), n=found.n, names=("STD", "ADV"))
    made = [
        findings.with_rivals(pair, {"chosen pair": Rival("chosen pair", "instead", *to_mean), "seeds": seeds}),
        findings.with_rivals(single, {"unfinished": _unfinished(found), "seeds": seeds}),
    ]
    return [replace(finding, images=images) for finding in made]


def _unfinished(found: Transferred) -> Rival:
    """How much more STD gained than ADV in the last quarter of the epochs: a longer training may take about as much from ADV's lead."""
    curves = found.bands.pivot_table(index="epoch", columns="model", values="value")
    if len(curves) < 4:
        return Rival.unmeasured("unfinished", "there are fewer than four epochs")
    gained = curves.iloc[-1] - curves.iloc[len(curves) - len(curves) // 4 - 1]
    return Rival("unfinished", "alone", float(gained["STD"] - gained["ADV"]))

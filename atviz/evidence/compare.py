"""Findings of a study, each with its rival explanations measured beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..training import untrained
from .claims import DROP, ON_CORRECT, Claim
from .findings import Finding, of_accuracy, of_means, verdict_of, with_rivals
from .instruments import MAPS, Instrument, find, named
from .intervals import mean_interval
from .maps import PIXELWISE, saliency_scores
from .outcomes import Outcomes, likeliest
from .rivals import Rival
from .study import Study

NEAR = 0.05  # of guessing
UNDERFIT = "underfit"
DARK = {"high_pass": "high_pass_dark", "random_modes": "random_modes_dark"}  # the same filters without the mean
METHOD_IMAGES = 50  # behind the verdict of each saliency method


def compare_outcomes(study: Study, results: Outcomes) -> list[Finding]:
    """A finding for each distortion and level of ``results`` of which a paper claims something, in the paper's unit, with its rivals.

    None of a network that is alone.
    """
    found: list[Finding] = []
    if study.alone:
        return found
    for measure, level in dict.fromkeys((d, v) for _, d, v in results.distorted):
        if level in (claims := find(measure).claims):
            found.append(_of_distortion(study, claims[level], results))
    return found


def accuracy_finding(study: Study, claim: Claim, results: Outcomes | None = None) -> Finding:
    """The finding of one claim on a distortion, without rivals: measured, or taken from ``results``."""
    instrument, level = find(claim.measure), float(claim.level)
    if results is None or (study.subject, claim.measure, level) not in results.distorted:
        results = study.outcomes({claim.measure: [level]})
    hit = {name: results.distorted[name, claim.measure, level] for name in study.networks}
    return of_accuracy(claim, results.clean, hit, given=_given(study, instrument), **study.roles)


def _given(study: Study, instrument: Instrument) -> dict[str, np.ndarray] | None:
    """The images that count: those correct without distortion or, of an instrument with a base level, also there."""
    if instrument.base is None:
        return None
    base = study.outcomes({instrument.name: [instrument.base]})
    return {name: clean & base.distorted[name, instrument.name, instrument.base] for name, clean in base.clean.items()}


def _of_distortion(study: Study, claim: Claim, results: Outcomes) -> Finding:
    instrument, pair = find(claim.measure), study.pair
    finding = accuracy_finding(study, claim, results)
    given = _given(study, instrument)

    def part(name: str) -> Rival:
        measure = f"{claim.measure}/{name}"
        found = pair.outcomes({measure: [claim.level]})
        hit = {n: found.distorted[n, measure, float(claim.level)] for n in pair.networks}
        return _rival(name.partition("-")[0], "alone", of_accuracy(claim, found.clean, hit, given=given, **study.roles))

    measured: dict[str, Callable[[], Rival]] = {
        "brightness": lambda: part("brightness"),
        "contrast": lambda: part("contrast"),
        "ball": lambda: part(f"ball-{study.eps!r}"),
        "underfit": lambda: _underfit(study, lambda s: accuracy_finding(s, claim, results)),
        "guessing": lambda: _guessing(pair, claim, given),
        "levels": lambda: _levels(study, claim, results, finding),
        "seeds": lambda: over_seeds(study, finding, lambda other: accuracy_finding(other, claim)),
        "decoder": lambda: _decoder(study, claim, instrument),
        "removed mean": lambda: _rival("removed mean", "instead", accuracy_finding(pair, claim._replace(measure=DARK[claim.measure]))),
    }
    return with_rivals(finding, {name: measured[name]() for name in claim.rivals})


def _rival(name: str, kind: str, found: Finding, note: str = "") -> Rival:
    return Rival(name, kind, found.difference, found.ci_low, found.ci_high, note=note)


def _underfit(study: Study, measure: Callable[[Study], Finding]) -> Rival:
    """What the underfit network gives in the subject's place."""
    if UNDERFIT not in study.networks or UNDERFIT in (study.baseline, study.subject):
        return Rival.unmeasured("underfit", "there is no underfit network")
    return _rival("underfit", "alone", measure(study.with_roles(study.baseline, UNDERFIT)))


def _decoder(study: Study, claim: Claim, instrument: Instrument) -> Rival:
    """The difference at the base level, among the images that are correct without distortion: the finding is taken against it."""
    base = study.outcomes({instrument.name: [instrument.base or 0.0]})
    hit = {name: base.distorted[name, instrument.name, instrument.base or 0.0] for name in study.networks}
    return _rival("decoder", "aside", of_accuracy(claim, base.clean, hit, **study.roles), "taken out of the difference")


def _guessing(study: Study, claim: Claim, given: dict[str, np.ndarray] | None) -> Rival:
    """The difference, in the claim's unit, that is left when predictions are exchanged between the images at random."""
    y, classes = study.images.y.cpu().numpy(), len(study.images.classes)
    answers = likeliest(study.models, study.images, study.store, claim.measure, claim.level, seed=study.seed, material=study.material)
    clean = study.outcomes({}).clean
    guessed, near = {}, []
    for name, predicted in answers.items():
        counted = (given or clean)[name] if claim.unit == ON_CORRECT else np.ones(len(y), bool)
        if not counted.any():
            return Rival.unmeasured("guessing", f"{name} classifies no image correctly")
        said, true = (np.bincount(v[counted], minlength=classes) / counted.sum() for v in (predicted[:, 0], y))
        right = float(said @ true)
        near.append(abs((predicted[counted, 0] == y[counted]).mean() - right) < NEAR)
        guessed[name] = clean[name].mean() - right if claim.unit == DROP else right
    note = f"both networks are within {100 * NEAR:g} points of guessing" if all(near) else ""
    return Rival("guessing", "alone", float(guessed[study.subject] - guessed[study.baseline]), note=note)


def _direction(finding: Finding) -> str:
    """What the interval says of the claim, also where there is no verdict."""
    return verdict_of(finding.claim, finding.ci_low, finding.ci_high)


def _levels(study: Study, claim: Claim, results: Outcomes, finding: Finding) -> Rival:
    """At how many of the levels on the claim's side of the original image the verdict is the same."""
    instrument = find(claim.measure)
    origin = instrument.original if instrument.original is not None else instrument.base
    levels = [v for v in dict.fromkeys(v for _, d, v in results.distorted if d == claim.measure) if v != origin]
    if origin is not None:
        levels = [v for v in levels if (v > origin) == (claim.level > origin)]
    if len(levels) < 2:
        return Rival.unmeasured("levels", "this is the only level")
    found = {v: accuracy_finding(study, claim._replace(level=v), results) for v in levels}
    same = sum(_direction(f) == _direction(finding) for f in found.values())
    low, high = (pick(f.difference for f in found.values()) for pick in (min, max))
    return Rival("levels", "count", agree=same, of=len(levels), value=finding.difference, ci_low=low, ci_high=high)


def over_seeds(study: Study, finding: Finding, measure: Callable[[Study], Finding]) -> Rival:
    """The difference of a finding, mean over the study's own seed and the others, with Student's t interval over them."""
    if not study.others:
        return Rival.unmeasured("seeds", "one training of each network")
    values = [finding.difference, *(measure(other).difference for other in study.others)]
    value, low, high = mean_interval(np.array(values))
    return Rival("seeds", "seeds", value, low, high, of=len(values), note=f"{len(values)} trainings")


def compare_maps(study: Study) -> list[Finding]:
    """A finding for each number of saliency maps of which a paper claims something, with its rivals; none of a network that is alone."""
    if study.alone:
        return []
    return [_of_maps(study, row, claim) for row in named(MAPS).values() for claim in row.claims.values()]


def _of_maps(study: Study, row: Instrument, claim: Claim) -> Finding:
    def measure(other: Study, number: str = row.number) -> Finding:
        return of_means(claim, other.saliency_scores(row.method)[number], **other.roles)

    finding = measure(study)
    measured: dict[str, Callable[[], Rival]] = {
        "underfit": lambda: _underfit(study, measure),
        "untrained": lambda: _untrained(study, row, claim),
        "methods": lambda: _methods(study, row, claim, finding),
        "blank ground": lambda: _rival("blank ground", "instead", measure(study, f"{row.number}_object")),
        "seeds": lambda: over_seeds(study, finding, measure),
    }
    return with_rivals(finding, {name: measured[name]() for name in claim.rivals})


def _untrained(study: Study, row: Instrument, claim: Claim) -> Rival:
    """What a network of the baseline's architecture with random weights gives in the subject's place."""
    try:
        network = untrained(study.networks.baseline, study.seed + 1)
    except ValueError as error:
        return Rival.unmeasured("untrained", str(error))
    drawn = saliency_scores(network, study.saliency_images, method=row.method, copies=study.scale.smooth_copies, store=study.store)
    values = {study.baseline: study.pair.saliency_scores(row.method)[row.number][study.baseline], "untrained": drawn[row.number]}
    return _rival("untrained", "alone", of_means(claim, values, baseline=study.baseline, subject="untrained"))


def by_method(study: Study, number: str, methods: Sequence[str] = PIXELWISE) -> dict[str, tuple[float, float, float]]:
    """The difference of a map's number, subject minus baseline, with its 95 % interval, by each saliency method, on the first
    `METHOD_IMAGES` of the saliency images. A method that refuses one of the networks is left out; {} of a network that is alone."""
    if study.alone:
        return {}
    pair, found = replace(study.pair, saliency_limit=min(METHOD_IMAGES, study.scale.saliency_images)), {}
    for method in methods:
        try:
            scores = pair.saliency_scores(method)[number]
        except ValueError:  # in one sentence, why the method would be wrong on the network
            continue
        found[method] = mean_interval(scores[study.subject] - scores[study.baseline])
    return found


def _methods(study: Study, row: Instrument, claim: Claim, finding: Finding) -> Rival:
    found = by_method(study, row.number).values()
    same = sum(verdict_of(claim, low, high) == _direction(finding) for _, low, high in found)
    low, high = (pick(value for value, _, _ in found) for pick in (min, max))
    return Rival("methods", "count", agree=same, of=len(found), value=finding.difference, ci_low=low, ci_high=high)

"""A claim: what a paper says of a number of adversarially trained networks, compared with normally trained ones, and what else would
give the same number."""

from __future__ import annotations

from typing import NamedTuple

MARGIN = 0.05  # a difference within this is "equal"
ZHANG_ZHU, ITAZURI = "Zhang & Zhu", "Itazuri et al."

# the papers' units
ON_CORRECT, TOP1, DROP, MEAN = "accuracy on correct", "top-1 accuracy", "drop of top-1 accuracy", "mean"

# what else would give the same number -> the measurement that tells
RIVALS = {
    "brightness": "brightness alone: the pixels that the distortion changes get its mean change, and nothing else",
    "contrast": "brightness and contrast alone: these pixels get its mean and its standard deviation, and nothing else",
    "ball": "the part inside the training ball: the distortion, cut to changes of at most ε, which adversarial training has practiced",
    "underfit": "accuracy level alone: the underfit network, which is as accurate as the subject without adversarial training",
    "guessing": "guessing: each network's predictions, exchanged between the images at random",
    "decoder": "decoder alone: the same images, decoded without a style (α = 0)",
    "removed mean": "with the mean removed: the same filter, which then measures brightness, too",
    "levels": "choice of the level: the finding at every level that was measured",
    "methods": "choice of the saliency method: the finding by every method whose maps have a value for each pixel",
    "blank ground": "without the blank ground: pixels around which the image is constant are left out",
    "untrained": "architecture alone: the same network with random weights",
    "unfinished": "unfinished training: the accuracy gained in the last quarter of the epochs, counted as if it were still to come",
    "noise": "noise of the same size: uniform random noise of ±ε in place of the attack",
    "hidden gradient": "with the baseline's gradient: the subject is attacked through the baseline, whose gradient it cannot hide",
    "batch norm": "with batch norm: the effective filter, with the scale that the following layer gives it",
    "signs": "by the signed values: the rank correlation of the values themselves, not of their magnitudes",
    "chosen pair": "against the mean of both pairs: the better pair was chosen by the same numbers",
    "clean accuracy": "loss of clean accuracy: the networks ranked by it, in place of their robustness",
    "larger cue": "with a silhouette as faint as the texture: the step of color, otherwise the larger cue, is made as small",
    "worlds": "choice of the world: networks trained where the texture fills the image and the cues have other amplitudes and scales",
    "radius": "choice of the attack: the finding under every ε that was trained",
    "definition": "choice of the definition: maps compared as a whole, and answers as probabilities",
    "seeds": "one seed: the finding with every network trained again from other seeds",
}


class Claim(NamedTuple):
    """What a paper says of a measure at a level, for the subject against the baseline unless the label says otherwise."""

    measure: str
    level: float
    label: str  # the measure in words
    expected: str  # "higher" | "lower" | "equal" | "not lower"
    source: str  # where in the paper
    paper: str = ZHANG_ZHU
    margin: float = MARGIN  # of "equal" and "not lower"
    unit: str = MEAN  # the paper's own: ON_CORRECT, TOP1, DROP or MEAN
    rivals: tuple[str, ...] = ()  # of `RIVALS`

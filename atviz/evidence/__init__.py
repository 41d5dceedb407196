"""Evidence: instruments, accuracies with intervals, records, findings, and controls of known bias."""

from . import controls, findings, reliability, zoo
from .accuracy import accuracy, robust_accuracy, true_probability
from .applies import applicable, convolutional, usable
from .channel import channel
from .claims import ITAZURI, RIVALS, ZHANG_ZHU, Claim
from .compare import accuracy_finding, by_method, compare_maps, compare_outcomes, over_seeds
from .conflict import Categories, cue_conflict, decisions, ranks
from .controls import readings
from .dosed import dose_curves
from .features import Features, centroid_rows, deeper_half, layer_features
from .findings import Finding, verdict_of
from .frequencies import frequency_conflict
from .geirhos import of_imagenet, photographs
from .grounds import flat_silhouettes, replaced_grounds
from .heat import fourier_heat
from .instruments import INSTRUMENTS, Instrument, find, sliders
from .intervals import Z95, bootstrap_mean, mean_interval, paired_difference, rank_interval, unpaired_difference, wilson
from .maps import PIXELWISE, map_numbers, means, saliency_scores, similarities, stability
from .material import completed
from .moved import moved
from .outcomes import KEPT, Distortion, Distortions, Outcomes, likeliest, outcomes, recorded
from .records import Store, cell, described, store_of_home
from .rivals import Rival
from .sanity import LIKENESS, asked, cascade, dependence, likeness, pairs
from .stable import output_stability
from .study import Study
from .sweeps import differences, sweep, table
from .transferred import Transferred

__all__ = [
    "INSTRUMENTS",
    "ITAZURI",
    "KEPT",
    "LIKENESS",
    "PIXELWISE",
    "RIVALS",
    "Z95",
    "ZHANG_ZHU",
    "Categories",
    "Claim",
    "Distortion",
    "Distortions",
    "Features",
    "Finding",
    "Instrument",
    "Outcomes",
    "Rival",
    "Store",
    "Study",
    "Transferred",
    "accuracy",
    "accuracy_finding",
    "applicable",
    "asked",
    "bootstrap_mean",
    "by_method",
    "cascade",
    "cell",
    "centroid_rows",
    "channel",
    "compare_maps",
    "compare_outcomes",
    "completed",
    "controls",
    "convolutional",
    "cue_conflict",
    "decisions",
    "deeper_half",
    "dependence",
    "described",
    "differences",
    "dose_curves",
    "find",
    "findings",
    "flat_silhouettes",
    "fourier_heat",
    "frequency_conflict",
    "layer_features",
    "likeliest",
    "likeness",
    "map_numbers",
    "mean_interval",
    "means",
    "moved",
    "of_imagenet",
    "outcomes",
    "output_stability",
    "over_seeds",
    "paired_difference",
    "pairs",
    "photographs",
    "rank_interval",
    "ranks",
    "readings",
    "recorded",
    "reliability",
    "replaced_grounds",
    "robust_accuracy",
    "saliency_scores",
    "similarities",
    "sliders",
    "stability",
    "store_of_home",
    "sweep",
    "table",
    "true_probability",
    "unpaired_difference",
    "usable",
    "verdict_of",
    "wilson",
    "zoo",
]  # fmt: skip

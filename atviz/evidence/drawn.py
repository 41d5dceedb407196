"""Instruments that need drawn images, whose silhouettes and textures are known: a number and its interval for each network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import saliency
from ..data import ShapeTex
from ..distortions import noise_band
from ..models import device_of, fingerprint, predict
from .channel import channel
from .frequencies import frequency_conflict
from .grounds import replaced_grounds
from .instruments import Instrument
from .intervals import bootstrap_mean, mean_interval
from .records import Store, cell
from .stable import output_stability

READS = "number of drawn images"
RADIUS = 4  # cycles per image, that divide low from high frequencies
MAPPED, MASKED = 100, 400  # images of which maps are made, and images that are classified under each noise
SD = 0.02  # of the noise against which maps should be stable
CENTERS, SDS = (1.0, 2.0, 4.0, 8.0, 16.0), (0.025, 0.05, 0.1, 0.2, 0.4)  # of critical-band masking: cycles per image, units of pixels
SETTINGS = [RADIUS, MAPPED, MASKED, SD, CENTERS, SDS]  # what the readings depend on besides network and images
Reading = tuple[float, float, float]  # a number, and its 95 % interval over images


def low_frequencies(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """``low_bias`` of `frequency_conflict`."""
    found = frequency_conflict(model, drawn.images, radius=RADIUS, store=store)
    return found["low_bias"], found["ci_low"], found["ci_high"]


def grounds(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """Accuracy on correct of `replaced_grounds`."""
    found = replaced_grounds(model, drawn.images, drawn.mask, store=store)
    return found["acc_on_correct"], found["ci_low"], found["ci_high"]


def alignment(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """``cue`` of `saliency.cue_alignment`, of Grad: mean over the first `MAPPED` images."""
    x, y = next(drawn.images[:MAPPED].batches(MAPPED, device=device_of(model)))
    found = saliency.cue_alignment(saliency.grad(model, x, y), x, drawn.mask[:MAPPED], drawn.pattern[:MAPPED])
    return mean_interval(found["cue"].cpu().numpy())


def instability(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """``log₁₀ ratio`` of `output_stability`, mean over the first `MAPPED` images that stay correct under the noise; NaN without any."""
    ratio = output_stability(model, drawn.images[:MAPPED], sd=SD, store=store)["ratio"]
    kept = ratio[np.isfinite(ratio) & (ratio > 0)]
    return mean_interval(np.log10(kept)) if len(kept) else (float("nan"),) * 3


def relative_instability(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """log₁₀ of the mean ``ros`` of `output_stability` of Grad over the same images, with a bootstrap interval; NaN without any."""
    ros = output_stability(model, drawn.images[:MAPPED], sd=SD, store=store)["ros"]
    kept = ros[np.isfinite(ros) & (ros > 0)]
    value, low, high = np.log10(bootstrap_mean(kept)) if len(kept) else (float("nan"),) * 3
    return float(value), float(low), float(high)


def channel_center(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """``log₂ center`` of the network's `channel`. No interval over images: both ends are the number."""
    center = float(np.log2(_channel(model, drawn, store)["center"]))
    return center, center, center


def channel_width(model: nn.Module, drawn: ShapeTex, store: Store | None = None) -> Reading:
    """``bandwidth`` of the network's `channel`, in octaves. No interval over images: both ends are the number."""
    width = float(_channel(model, drawn, store)["bandwidth"])
    return width, width, width


def _channel(model: nn.Module, drawn: ShapeTex, store: Store | None) -> pd.Series:
    seen = drawn.images[:MASKED]
    labels = seen.y.cpu()

    def under(center: float, sd: float) -> float:
        generator = torch.Generator().manual_seed(int(center))  # the same noise for all networks, weaker or stronger

        def noisy() -> Iterator[tuple[Tensor, Tensor]]:
            for x, y in seen.batches(100, device=device_of(model)):
                yield noise_band(x, center, sd=sd, generator=generator), y

        return float((predict(model, noisy())[:, 0].cpu() == labels).float().mean())

    asked = [(CENTERS[0], 0.0), *((center, sd) for center in CENTERS for sd in SDS)]
    key = {"measure": "masked", "bands": asked, "model": fingerprint(model), "images": seen.digest}
    found = cell(store, key, lambda: [under(*each) for each in asked])
    rows = [{"model": "", "center": center, "sd": sd, "accuracy": value} for (center, sd), value in zip(asked, found, strict=True)]
    return channel(pd.DataFrame(rows)).iloc[0]


# rows as those of `instruments.INSTRUMENTS`; the function is (model, drawn, store) -> `Reading`
DRAWN: list[Instrument] = [
    Instrument("low_frequencies", "decided by the low frequencies, where they are of another class than the high ones", low_frequencies, reads=READS,
               sign=1, judged=(0,)),
    Instrument("grounds", "ground replaced by that of an image of another class", grounds, reads=READS, sign=1, judged=(0,)),
    Instrument("alignment", "Grad along the silhouette more than along the texture (difference of cosines)", alignment, reads=READS, sign=1, judged=(0,)),
    Instrument("instability", "change of Grad by change of the answer, under noise (log10)", instability, reads=READS, judged=(0,)),
    Instrument("relative_instability", "relative output stability of Grad (log10 of the mean; higher is less stable)", relative_instability,
               reads=READS, judged=(0,)),
    Instrument("channel_center", "critical-band masking: center of the channel (log2 of cycles per image)", channel_center, reads=READS, sign=-1,
               judged=(0,)),
    Instrument("channel_width", "critical-band masking: bandwidth of the channel (octaves)", channel_width, reads=READS, sign=1, judged=(0,)),
]  # fmt: skip

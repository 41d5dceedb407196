"""Milliseconds from a setting to everything that the panel draws for it: three networks of the zoo, no browser.

python benchmarks/explore.py    prints medians over 30 settings for each method; what the browser adds is in results/browser/latency.json
"""

import time

import numpy as np
import torch

from atviz import saliency
from atviz.notebook import explore, open_study
from atviz.notebook.explore import State
from atviz.notebook.panel.parts import png

MODELS = ("normal", "underfit", "pgd-inf-0.1")
LEVELS = [2 ** (i / 3) for i in range(30)]
SETTINGS = {
    "Grad, saturation": [{"levels": {"saturate": level}} for level in LEVELS],
    "Grad, patches": [{"levels": {"patch_shuffle": k}, "redraw": i} for i in range(6) for k in (1, 2, 4, 7, 14)],
    "Grad, style": [{"levels": {"stylize": 1}, "style": str(i)} for i in range(30)],
    "Grad, attack of 20 steps": [{"eps": 0.01 * (1 + i % 10)} for i in range(30)],
    "SmoothGrad, first picture": [{"method": "SmoothGrad", "levels": {"saturate": level}} for level in LEVELS],
    "SmoothGrad, refined": [{"method": "SmoothGrad", "levels": {"saturate": level}} for level in LEVELS],
}


def drawn(view: explore.View, state: State) -> list[bytes]:
    """What the panel sends to the browser, bars aside."""
    heats = saliency.as_shown(view.maps, state.scale)
    return [png(t) for t in (view.image, view.shown, *view.seen.values(), *heats.values())]


def main() -> None:
    study, _ = open_study("11_explore", {"profile": "zoo"})
    prints = explore.fingerprints(study)
    print(f"{torch.get_num_threads()} threads; milliseconds: median, slowest")
    for name, settings in SETTINGS.items():
        took = []
        for changes in [settings[0], *settings]:
            state = State(image="3", models=MODELS, **changes)
            began = time.perf_counter()
            for view in explore.refine(study, state):
                drawn(view, state)
                explore.recorded(study, state, {model: prints[model] for model in MODELS})
                if "first" in name:
                    break
            took.append(1000 * (time.perf_counter() - began))
        print(f"{name:28} {np.median(took[1:]):7.1f} {max(took[1:]):7.1f}")


if __name__ == "__main__":
    main()

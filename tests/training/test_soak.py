"""A soak: trainings and evaluations one after another in one process. Memory stays where it is."""

import os
import subprocess
import sys

ROUNDS = int(os.environ.get("ATVIZ_SOAK", "24"))

CODE = """
import gc, os, sys
from functools import partial
import numpy as np
import torch
from atviz import attacks, data, evidence, models, saliency, training
from atviz.training import recipes
torch.set_num_threads(1)
train, test = data.load("fashion", limit=128), data.load("fashion", "test", limit=64)
recipe = recipes.get("fgsm-0.1", epochs=1, batch_size=64)
def once(seed):
    torch.manual_seed(seed)
    model = models.build("small-w4", num_classes=10, in_channels=1, image_size=28, mean=[0.3], std=[0.35])
    training.fit(model, recipe, train, test, seed=seed)
    x, y = next(test.batches(32))
    evidence.sweep({"m": model}, test, {"saturate": [4, 64], "patch_shuffle": [2], "low_pass": [4]})
    evidence.robust_accuracy(model, test, attack=partial(attacks.pgd, eps=0.1, step_size=0.05, steps=3))
    saliency.smooth_grad(model, x, y, n=4)
def held():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
used = []
for seed in range(int(sys.argv[1])):
    once(seed)
    used.append(held())
quarter = len(used) // 4
print(np.median(used[-quarter:]) / np.median(used[:quarter] if len(used) >= 100 else used[quarter : 2 * quarter]), max(used))
"""


def test_memory_stays_flat():
    """`ATVIZ_SOAK=200 pytest tests/training/test_soak.py` is the long one. In a short one the first quarter still fills caches."""
    env = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE, str(ROUNDS)], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    ratio, most = map(float, done.stdout.split())
    print(f"{ROUNDS} rounds: the last quarter holds {ratio:.3f} of what an earlier one does, at most {most:.0f} MB")
    assert ratio < 1.02

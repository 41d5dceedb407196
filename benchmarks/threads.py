"""What threads cost where trainings run side by side: one and two processes, of one and two threads each."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pandas as pd

from .measure import ROOT

CODE = """
import sys, time, warnings
import torch
from atviz import data, models, training
from atviz.training import recipes
warnings.simplefilter("ignore")
images = data.load("fashion", limit=768)
recipe = recipes.get("pgd-inf-0.1", steps=7, step_size=0.05, epochs=1, batch_size=64, augment="flip")
def once():
    torch.manual_seed(0)
    model = models.build("small", num_classes=10, in_channels=1, image_size=28, mean=[0.28], std=[0.35])
    training.fit(model, recipe, images, images[:1])
once()
start = time.perf_counter()
once()
print(time.perf_counter() - start)
"""


def side_by_side() -> pd.DataFrame:
    """Seconds of an epoch of PGD-7 training of 768 images, the slowest of the processes; median of three."""
    rows = []
    for processes in (1, 2):
        for threads in (1, 2):
            took = sorted(_slowest(processes, threads) for _ in range(3))
            rows.append({"processes": processes, "threads of each": threads, "seconds": took[1], "lowest": took[0], "highest": took[2]})
            time.sleep(1)
    return pd.DataFrame(rows).round(2)


def _slowest(processes: int, threads: int) -> float:
    variables = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive", "TQDM_DISABLE": "1", "PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen([sys.executable, "-c", CODE], env=variables, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in started)

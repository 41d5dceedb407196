"""What the tests let other processes do: each call leaves a line in a file, so that calls can be counted."""

import json
import os
import signal
import time
from pathlib import Path


def noted(log: str, **said) -> None:
    with Path(log).open("a") as file:
        file.write(json.dumps(said | {"time": time.time()}) + "\n")


def notes(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def add(a, b, log=""):
    if log:
        noted(log, added=[a, b], pid=os.getpid())
    return a + b


def surroundings():
    import torch

    return {"threads": torch.get_num_threads(), "home": os.environ["ATVIZ_HOME"], "slurm": os.environ.get("SLURM_NTASKS")}


def die_once(flag):
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


def die_always(log):
    noted(log, dying=True)
    os._exit(3)


def count_with_a_bar(warning):
    import sys

    from tqdm.auto import tqdm

    for i in tqdm(range(4), desc="counting"):
        time.sleep(0.6)
        if i == 1:
            print(warning, file=sys.stderr)


def meet(folder, name, count):
    """Wait until ``count`` tasks are here at the same time."""
    (Path(folder) / name).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(folder).iterdir())) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(list(Path(folder).iterdir()))


def sleep(log):
    noted(log, pid=os.getpid())
    time.sleep(600)


def measure_noted(cell, path):
    """`cells.measure`, with a note at the beginning and at the end; between them is at least a second."""
    import ray

    from atviz.app import cells

    log = str(path.parents[3] / "log")
    noted(log, begun=cell.name, node=ray.get_runtime_context().get_node_id(), done=cells.finished(path))
    time.sleep(1)
    cells.measure(cell, path)
    noted(log, ended=cell.name)


def node_without_folder(token):
    from atviz import __version__

    return False, __version__


def node_of_another_version(token):
    return Path(token).exists(), "0.0"


def measure_or_refuse(cell, path):
    """`cells.measure`, which fails for FGSM."""
    from atviz.app import cells

    if cell.model.startswith("fgsm"):
        raise FloatingPointError(f"the loss of {cell.model} became nan")
    cells.measure(cell, path)


def train_or_diverge(settings, name):
    """`pipeline.train`, which diverges for FGSM."""
    from atviz.app import pipeline

    if name.startswith("fgsm"):
        raise FloatingPointError(f"the loss of {name} became nan in epoch 1")
    pipeline.train(settings, name)

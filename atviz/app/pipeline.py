"""Runs the notebooks headlessly, stage by stage, each stage once for what it depends on."""

from __future__ import annotations

import ast
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__, disk, home, shipped
from ..evidence.applies import convolutional, not_applicable
from ..models import Networks
from ..names import unknown
from ..notebook import Settings
from ..training import Trainer
from . import engines, files, origin, slider_stage
from .engines import Task
from .execution import TIMEOUT, execute, refreshed
from .files import GOOD
from .local import Local

SHARED = {field.name for field in fields(Settings)} | {"out"}  # parameters that are options of the command line
# seconds of the trainings, the notebooks and the sliders on two cores, from the run.json of `atviz run --profile …`; they only foretell the time left
SHARES = {"quick": (300, 420, 15)}
LONG = ("00", "01", "09", "10")  # notebooks that start first: one that trains or attacks should not be left alone at the end


def notebooks() -> list[Path]:
    """The notebooks that come with atviz, in reading order."""
    return sorted(shipped("notebooks").glob("[0-9][0-9]_*.ipynb"))


def choose(names: Sequence[str]) -> list[Path]:
    """The notebooks of these names (``04_saturate``, ``04`` or ``saturate``), all for none; ValueError for an unknown one."""
    known = {path.stem: path for path in notebooks()}
    short = {part: stem for stem in known for part in (stem, *stem.split("_", 1))}
    for name in names:
        if name not in short:
            raise unknown("notebook", name, short, hint=f"known are {', '.join(known)}")
    return sorted(known[short[name]] for name in names) or list(known.values())


def parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values of a notebook's cell tagged ``parameters``, which holds literals alone."""
    import nbformat

    cells = [c for c in nbformat.read(notebook, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{notebook.name} has {len(cells)} cells tagged parameters; it must have one")
    found = {}
    for node in ast.parse(cells[0].source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            raise ValueError(f"{notebook.name}: {ast.unparse(node)!r} is not a parameter; write name = literal")
        found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def check_parameters(given: dict[str, Any], chosen: Sequence[Path]) -> None:
    """ValueError, with the nearest right name, unless each value fits a parameter of one of the notebooks.

    A whole number stands for a float, too. Parameters of `Settings` have options of their own and are refused here.
    """
    known: dict[str, Any] = {}
    for path in chosen:
        known |= {name: default for name, default in parameters(path).items() if name not in SHARED}
    for name, value in given.items():
        if name in SHARED:
            raise ValueError(f"{name!r} is an option of its own; write --{name.replace('_', '-')}")
        if name not in known:
            places = ", ".join(path.stem for path in chosen)
            raise unknown("parameter", name, known, hint=f"{places} have {', '.join(sorted(known)) or 'none'}")
        if not _fits(value, known[name]):
            found, kind = type(value).__name__, _kind(known[name])
            raise ValueError(f"parameter {name} is {value!r}, {_a(found)}; it must be {_a(kind)}, such as {known[name]!r}")


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, list):
        # any of the default's elements sets the kind; whole numbers may stand among floats
        kind = next((e for e in default if isinstance(e, float)), default[0] if default else None)
        return isinstance(value, list) and all(kind is None or _fits(e, kind) for e in value)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _kind(default: Any) -> str:
    return f"list of {type(default[0]).__name__}" if isinstance(default, list) and default else type(default).__name__


def run(
    settings: Settings, *, chosen: Sequence[Path] = (), given: dict[str, Any] | None = None, name: str = "", workers: int | None = None,
    timeout: int = TIMEOUT,
) -> tuple[Path, bool]:  # fmt: skip
    """Train the networks that have no checkpoint, execute the notebooks, and write the report; several at a time, see `Local`.

    A stage that was done with the same settings, data, networks, notebook and package is not done again: in ``run.json`` it keeps its
    ``seconds``, and ``cached_seconds`` is what finding it took. The same holds for the whole run. The folder ``results/<name>/`` gets
    the executed notebooks, ``figures/``, ``tables/``, ``findings/``, ``sliders/``, ``run.json`` and ``index.html``.

    Args:
        chosen: notebooks, default all.
        given: values of the notebooks' own parameters, such as ``{"levels": [4.0, 1024.0]}``.
        workers: how many trainings, then notebooks, run side by side; None: see `Local`.
        timeout: seconds that one cell of a notebook may take.

    Returns:
        the folder, and whether every stage went well.

    Raises:
        ValueError, FileNotFoundError: before anything is done, an unknown parameter, a value of the wrong type, a folder that holds a
            run of other settings or values, or styles that cannot be read.
        OSError: another process runs in the same folder.
    """
    chosen, given = list(chosen) or notebooks(), given or {}
    check_parameters(given, chosen)
    if timeout < 1:
        raise ValueError(f"timeout is {timeout}; it must be at least 1 second")
    folder = home() / "results" / (name or default_name(settings, given))
    with disk.alone(folder):
        return folder, _run(settings, chosen, given, folder, Local(workers), timeout)


def _run(settings: Settings, chosen: Sequence[Path], given: dict[str, Any], folder: Path, engine: Local, timeout: int) -> bool:
    """`run` in a folder; whether every stage went well."""
    from . import first
    from .report import write_report

    record = files.read(folder / "run.json")
    now = json.loads(json.dumps({"settings": settings.described, "set": given}))
    _check_same(record, now, folder.name)
    settings.stylizer(max(settings.images.test.shape[1:]))  # refuses styles and networks that are not there before anything is trained
    names = [path.stem for path in chosen]
    # notebooks that were run earlier with these settings stay on the page
    record |= now | {"version": __version__, "order": sorted({*record.get("order", []), *names})}
    some = [] if record["order"] == [path.stem for path in notebooks()] else record["order"]
    came = {"command": origin.command(settings, given, some, folder.name), "commit": origin.commit(), "date": origin.now()}
    stages = record.setdefault("stages", {})
    began = time.perf_counter()
    plain = default_name(settings, given) == f"{settings.profile}-{settings.dataset}"
    if plain and (page := first.write(folder, settings.dataset)):
        print(f"a first page, of the networks that ship: {page}", flush=True)
    part = len(names) / len(notebooks())
    networks = _train(settings, stages, engine, after=_after(settings.profile, 0, part))
    record["notes"] = [*filter(None, [settings.images.test.note]), *(networks.notes if networks else [])]
    worked = "cached_seconds" not in stages["train"]  # else nothing has been trained or executed so far
    if networks:
        common = {"networks": stages["train"]["key"], "test": settings.images.test.digest, "package": _package_digest()}
        tasks, keys = [], {}
        for path in chosen:
            start, values = time.perf_counter(), _values(path, settings, given, folder)
            keys[path.stem] = files.sha256([common, values, path.read_text()])
            target = folder / "notebooks" / path.name
            if why := left_out(path.stem, settings, networks):
                target.unlink(missing_ok=True)
                stages[path.stem] = {"status": "left out", "error": why}
            elif stages.get(path.stem, {}).get("key") == keys[path.stem] and target.is_file():
                print(f"{path.stem}: unchanged")
                stages[path.stem]["cached_seconds"] = time.perf_counter() - start
            else:
                stages[path.stem] = {"status": "interrupted"}  # until it has ended
                tasks.append(Task(path.stem, execute, (path, target, values, timeout)))
        worked = worked or bool(tasks)
        tasks.sort(key=lambda task: not task.name.startswith(LONG))
        disk.write_json(folder / "run.json", record)
        for ended in engines.run(tasks, engine, title="notebooks", after=_after(settings.profile, 1, part)):
            failed = {"status": "failed", "seconds": ended.seconds, "error": ended.error}
            done = {"status": "done", "seconds": ended.seconds, "key": keys[ended.name]}
            stages[ended.name] = failed if ended.error else done
            disk.write_json(folder / "run.json", record)
        worked = slider_stage.make(settings, record, common, folder, engine, shipped=[path.stem for path in notebooks()]) or worked
    if worked:
        record |= came
        record.pop("cached_seconds", None)
    record["seconds" if worked else "cached_seconds"] = time.perf_counter() - began
    disk.write_json(folder / "run.json", record)
    write_report(folder)
    first.remove(folder)
    # a run of one's own notebooks alone has no sliders
    needed = ["train", *names, *(["sliders"] if "sliders" in stages else [])]
    return all(stages.get(stage, {}).get("status") in GOOD for stage in needed)


def _after(profile: str, stage: int, part: float) -> float:
    """How many times as long what follows a stage takes as the stage, with a part of the notebooks; 0 where that is not known."""
    if profile not in SHARES:
        return 0.0
    trainings, books, sliders = SHARES[profile]
    shares = (trainings, part * books, sliders)
    return sum(shares[stage + 1 :]) / shares[stage]


def _train(settings: Settings, stages: dict[str, Any], engine: Local, *, after: float) -> Networks | None:
    """The networks of a run, of which those that have no checkpoint are trained side by side; None where one failed."""
    start, before = time.perf_counter(), stages.get("train", {})
    trainer = Trainer(settings, device=torch.device("cpu"))  # GPUs are for the processes that train
    failed = [ended.error for ended in engines.run(trainings(settings, trainer), engine, title="networks", after=after) if ended.error]
    if failed:
        stages["train"] = {"status": "failed", "error": "; ".join(failed)}
        return None
    networks = trainer.networks
    known = {name: [network.card["sha256"], network.card.get("fitted")] for name, network in networks.items()}
    key, seconds = files.sha256(known), time.perf_counter() - start
    read = before.get("key") == key  # the same networks as before
    stages["train"] = before | {"cached_seconds": seconds} if read else {"status": "done", "seconds": seconds, "key": key}
    return networks


def trainings(settings: Settings, trainer: Trainer) -> list[Task]:
    """A task for each network that has no checkpoint. That of ``underfit`` needs that of the network whose accuracy it stops at."""
    underfit = [name for name, recipe in settings.recipes.items() if recipe == "underfit"]
    missing = [name for name in settings.recipes if name not in underfit and not trainer.ready(name)]
    stop = settings.first(adversarial=True) if underfit else ""
    stops = (stop,) if stop in missing else ()
    last = [name for name in underfit if stops or not trainer.ready(name)]
    return [Task(name, train, (replace(settings), name), stops if name in underfit else ()) for name in [*missing, *last]]


def left_out(notebook: str, settings: Settings, networks: Networks) -> str:
    """Why a notebook does not apply to these networks, in a sentence; "" where it does."""
    if notebook == "08_layers" and not any(convolutional(module) for module in networks.modules.values()):
        return f"{not_applicable(list(networks))}."
    if notebook == "10_ensemble_transfer" and set(settings.recipes) != set(networks):
        return "This notebook fine-tunes networks that atviz trains on another data set; it does not take networks from outside."
    return ""


def train(settings: Settings, name: str) -> None:
    """Train a network that has no checkpoint."""
    Trainer(settings).obtain(name)


def default_name(settings: Settings, given: dict[str, Any] | None = None) -> str:
    """The name of a run whose settings and ``given`` values are these: profile and data set.

    A few letters of a hash follow where more was chosen, or a folder by its path: another folder may have the same name.
    """
    chosen, path = settings.described, settings.dataset.partition(":")[2]
    plain = chosen == Settings(dataset=settings.dataset, profile=settings.profile).described and not given
    digest = "" if plain and path == Path(path).name else "-" + files.sha256([chosen, given] if given else chosen)[:6]
    dataset = Path(path).name if settings.kind == "folder" else settings.kind
    return f"{settings.profile}-{dataset}{digest}"


def _check_same(record: dict[str, Any], now: dict[str, Any], name: str) -> None:
    """ValueError, with the first setting that differs, where a folder's record is of a run of other settings or values."""
    was, here = ({**found.get("settings", {}), **found.get("set", {})} for found in (record, now))
    for key in here | was:
        if record and was.get(key) != here.get(key):
            a, b = (repr(found[key]) if key in found else "not set" for found in (was, here))
            raise ValueError(f"results/{name} holds a run of other settings ({key} {a}, here {b}); choose another --name, or delete it")


def _values(notebook: Path, settings: Settings, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    own = parameters(notebook)
    values = settings.literals | {"out": str(folder)} | given
    return {name: values[name] for name in own if name in values}


def _package_digest() -> str:
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()


def source_digest(notebook: Any) -> str:
    """SHA-256 of a notebook's code cells. Outputs that carry another digest are of other code."""
    return hashlib.sha256("\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code").encode()).hexdigest()


def refresh() -> None:
    """Execute the shipped notebooks in place with their own defaults, and stamp them with the digest of their code."""
    import nbformat

    for path in notebooks():
        executed = refreshed(path)
        notebook = nbformat.read(path, as_version=4)
        for mine, done in zip(notebook.cells, executed.cells, strict=True):
            if mine.cell_type == "code":
                mine.outputs, mine.execution_count = done.outputs, done.execution_count
            mine.metadata.pop("papermill", None)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}, "atviz": {"source_sha256": source_digest(notebook)},
        }  # fmt: skip
        disk.write(path, nbformat.writes(notebook) + "\n")

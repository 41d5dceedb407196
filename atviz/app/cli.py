"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from .execution import TIMEOUT
from .output import Json, Quiet, quietly, result_alone, say_json
from .results import results_app
from .shipping import shipping_app
from .subcommands import (
    Arch,
    Baseline,
    Classes,
    Dataset,
    Epochs,
    Models,
    Name,
    Preset,
    Profile,
    Seed,
    Size,
    Subject,
    TestLimit,
    TrainLimit,
    TrainSteps,
    Weights,
    Workers,
    assignment,
    check_name,
    data_app,
    models_app,
    numbers,
    plainly,
    several,
    stylize_app,
)
from .verifying import verify_app

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
                  help="What does an adversarially trained network look at?")  # fmt: skip
models_app.add_typer(verify_app)
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(stylize_app, name="stylize")
app.add_typer(results_app)
app.add_typer(shipping_app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"atviz {__version__}")
        raise typer.Exit


@app.callback()
def _atviz(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False) -> None:
    pass


def _settings(dataset: str, models: str | None, **others: Any) -> Any:
    from ..models import Reference
    from ..models import split as references
    from ..notebook import Settings

    # notebooks run in a folder of their own
    kind, _, path = dataset.partition(":")
    if path:
        dataset = f"{kind}:{Path(path).expanduser().resolve()}"
    if others.get("weights") not in (None, "none", "imagenet"):
        others["weights"] = str(Path(others["weights"]).expanduser().resolve())
    if others.get("classes"):
        others["classes"] = str(Path(others["classes"]).expanduser().resolve())
    names = tuple(Reference.of(text).resolved.title for text in references(models or ""))
    return Settings(dataset=dataset, models=names or None, **others)


@app.command()
@plainly
def run(
    dataset: Dataset = "fashion", profile: Profile = "quick", models: Models = None, arch: Arch = None, seed: Seed = 0, size: Size = None,
    train_limit: TrainLimit = None, test_limit: TestLimit = None, epochs: Epochs = None, train_steps: TrainSteps = None, weights: Weights = None,
    preset: Preset = "paper", baseline: Baseline = None, subject: Subject = None, classes: Classes = None,
    styles: Annotated[str, typer.Option(help="procedural, or a folder of images")] = "procedural",
    adain: Annotated[str, typer.Option(help="small (the one that ships), a folder, or ENCODER,DECODER: two files in the published layout")] = "small",
    alpha: Annotated[float, typer.Option(help="how much of the style, 0 to 1")] = 1.0,
    notebooks: Annotated[str, typer.Option(help="which, separated by commas: 04_saturate,shuffle …; default: all")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a notebook's own parameter, as a Python literal")] = None,
    name: Name = "", workers: Workers = None,
    timeout: Annotated[int, typer.Option(help="seconds that one cell of a notebook may take")] = TIMEOUT,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train the networks that have no checkpoint, execute the notebooks, write results/<run>/index.html."""
    given = dict(assignment(text) for text in set_ or [])
    check_name(name)
    with quietly(quiet):
        from . import pipeline

        chosen = pipeline.choose([n.strip() for n in notebooks.split(",") if n.strip()])
        pipeline.check_parameters(given, chosen)
        settings = _settings(
            dataset, models, profile=profile, arch=arch, seed=seed, size=size, train_limit=train_limit, test_limit=test_limit, epochs=epochs,
            train_steps=train_steps, preset=preset, weights=weights, baseline=baseline, subject=subject, classes=classes, styles=styles,
            adain=adain, alpha=alpha,
        )  # fmt: skip
        folder, good = pipeline.run(settings, chosen=chosen, given=given, name=name, workers=workers, timeout=timeout)
    typer.echo(f"{folder / 'index.html'}")
    if not good:
        typer.echo("atviz: not every stage went well; the page says which in red", err=True)
        raise typer.Exit(1)


@app.command()
@plainly
def sweep(
    datasets: Annotated[str, typer.Option(help="data sets, separated by commas")] = "fashion",
    models: Models = None,
    seeds: Annotated[str, typer.Option(help="whole numbers, separated by commas")] = "0,1,2",
    distortions: Annotated[str, typer.Option(help="instruments, separated by commas; default: those that need no further material")] = "",
    profile: Profile = "quick", arch: Arch = None, size: Size = None, train_limit: TrainLimit = None, test_limit: TestLimit = None,
    epochs: Epochs = None, train_steps: TrainSteps = None, preset: Preset = "paper", classes: Classes = None,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray (a cluster)")] = "local",
    workers: Workers = None,
    cpus: Annotated[int | None, typer.Option(help="of each cell; default: one, or with --engine local an equal share")] = None,
    gpus: Annotated[float | None, typer.Option(help="of each cell, from 0 to 1; default: 1 where there are GPUs")] = None,
    name: Name = "", quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train and measure every network of every data set and seed; write one table and one page, results/<name>/index.html."""
    check_name(name)
    sets, chosen_seeds, chosen = several("datasets", datasets), numbers(seeds), several("distortions", distortions)
    if not sets:
        raise ValueError(f"datasets is {datasets!r}; name at least one")
    with quietly(quiet):
        from . import cells
        from . import sweep as sweeps

        studies = [
            _settings(
                dataset, models, profile=profile, arch=arch, seed=seed, size=size, train_limit=train_limit, test_limit=test_limit,
                epochs=epochs, train_steps=train_steps, preset=preset, classes=classes,
            )
            for dataset in sets for seed in chosen_seeds
        ]  # fmt: skip
        asked = chosen or cells.usual_distortions()
        cells.check_distortions(asked)
        where = sweeps.engine_of(engine, workers=workers, cpus=cpus, gpus=gpus)
        folder, good = sweeps.run(studies, asked, where, name=name, command=shlex.join(["atviz", *sys.argv[1:]]))
    typer.echo(f"{folder / 'index.html'}")
    if not good:
        typer.echo("atviz: not every cell is done; the page says which in red, and the same command goes on with them", err=True)
        raise typer.Exit(1)


@app.command()
@plainly
def train(
    names: Annotated[list[str], typer.Argument(help="recipes: normal, pgd-inf-8, spatial …")],
    dataset: Dataset = "fashion", profile: Profile = "quick", arch: Arch = None, seed: Seed = 0, size: Size = None,
    train_limit: TrainLimit = None, test_limit: TestLimit = None, epochs: Epochs = None, train_steps: TrainSteps = None, weights: Weights = None,
    preset: Preset = "paper",
    accelerator: Annotated[str, typer.Option(help="Lightning Fabric's: auto, cpu, gpu …")] = "auto",
    devices: Annotated[int, typer.Option(help="processes on each node; under torchrun and Slurm as many as they start")] = 1,
    num_nodes: Annotated[int, typer.Option(help="nodes")] = 1,
    strategy: Annotated[str, typer.Option(help="Lightning Fabric's: auto, ddp, ddp_find_unused_parameters_true")] = "auto",
    zoo: Annotated[bool, typer.Option("--zoo", help="also keep them in checkpoints/zoo, in half precision, with robust accuracy")] = False,
    quiet: Quiet = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Train networks; those that are stored already are read."""
    made = []
    with quietly(quiet), result_alone(as_json):
        from ..evidence.zoo import publish
        from ..training import Trainer, make_fabric

        plan = _settings(
            dataset, ",".join(names), profile=profile, arch=arch, seed=seed, size=size, train_limit=train_limit, test_limit=test_limit, epochs=epochs,
            train_steps=train_steps, preset=preset, weights=weights,
        )  # fmt: skip
        fabric = make_fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy)
        trainer = Trainer(plan, fabric=fabric)
        for reference in plan.references:  # refuse what cannot be trained before training any
            if not reference.is_recipe:
                raise ValueError(f"{reference.title} is no recipe; train takes recipes (normal, pgd-inf-8, spatial …)")
    for name in plan.names:
        with quietly(quiet), result_alone(as_json):
            network = trainer.obtain(name)
            if not fabric.is_global_zero:
                continue
            folder = publish(network, plan) if zoo else trainer.folder(name)
        made.append({"name": name, "clean": network.card["metrics"]["clean"], "folder": folder})
        if not as_json:
            typer.echo(folder if quiet else f"{name}: clean accuracy {network.card['metrics']['clean']:.4f}, {folder}")
    if fabric.is_global_zero and as_json:
        say_json(made)


@app.command()
@plainly
def evaluate(
    network: Annotated[str, typer.Argument(help="a network, as in --models of run: a checkpoint's folder, normal, torchvision:resnet50 …")],
    distortion: Annotated[str, typer.Option(help="an instrument's name: saturate, patch_shuffle, low_pass …; `atviz instruments` lists all")],
    levels: Annotated[str | None, typer.Option(help="separated by commas: 0.25,4,1024; default: the instrument's own")] = None,
    dataset: Dataset = "fashion", seed: Seed = 0, size: Size = None, test_limit: TestLimit = None, classes: Classes = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Print a network's accuracy under a distortion, as CSV."""
    try:
        values = [float(level) for level in levels.split(",")] if levels else None
    except ValueError as error:
        raise ValueError(f"levels is {levels!r}; write numbers separated by commas, such as 0.25,4,1024") from error
    with result_alone():
        from .. import data, evidence, models

        asked = models.Reference.of(network)
        found = models.load(asked, dataset=dataset, size=size)
        side = size or (found.shape[2] if found.card.get("outside") and found.shape else None)
        images = data.load(dataset, "test", size=side, limit=test_limit)
        found = models.fitted(found, images, models.read_mapping(classes) if classes else None)
        found.check_fits(images)
        if found.card.get("fitted"):
            typer.echo(f"{asked.name}: {found.card['fitted']}", err=True)
        wanted = values or evidence.find(distortion).usable(images.shape)
        if not wanted:
            raise ValueError(f"{distortion} has no levels of its own; name some, such as --levels 4,8")
        rows = evidence.sweep({asked.name: found.module}, images, {distortion: wanted}, seed=seed)
    if as_json:
        say_json(rows.to_dict("records"))
    else:
        typer.echo(rows.to_csv(index=False), nl=False)


@app.command()
@plainly
def doctor(as_json: Json = False) -> None:
    """Look whether everything is there and whole, and say what to do about what is not; exit 1 where something has to be done."""
    from .doctor import examine

    found = []
    for line in examine():
        found.append(vars(line))
        if not as_json:
            typer.echo(f"{'  ' if not line.todo else '! '}{line.what}: {line.found}" + (f"\n    {line.todo}" if line.todo else ""))
    if as_json:
        say_json(found)
    if any(line["todo"] for line in found):
        raise typer.Exit(1)


@app.command()
def instruments(as_json: Json = False) -> None:
    """List the instruments: the distortions and the numbers of saliency maps that are taken for signs of what a network uses."""
    from ..evidence import INSTRUMENTS

    if as_json:
        say_json([{"name": i.name, "reads": i.reads, "axis": i.axis, "levels": i.levels, "expected": i.expected} for i in INSTRUMENTS])
        return
    for i in INSTRUMENTS:
        levels = ", ".join(f"{level:g}" for level in i.levels)
        typer.echo(f"{i.name:18} {i.reads:20} {i.axis}{': ' * bool(levels and i.axis)}{levels}".rstrip())


@app.command()
@plainly
def explore(
    serve: Annotated[bool, typer.Option("--serve", help="as a page without code, one kernel for each visitor")] = False,
    port: Annotated[int, typer.Option(help="0: the server's own choice")] = 0,
    browser: Annotated[bool, typer.Option(help="open it in a browser")] = True,
    dataset: Annotated[str | None, typer.Option(help="as for run; default: the notebook's own")] = None,
    profile: Annotated[str | None, typer.Option(help="as for run; default: the notebook's own, the networks that ship")] = None,
    models: Models = None, baseline: Baseline = None, subject: Subject = None, classes: Classes = None, size: Size = None,
    test_limit: TestLimit = None,
) -> None:  # fmt: skip
    """Open 11_explore in JupyterLab or, with --serve, as a page; both on this machine alone, with a token."""
    import os

    from . import serve as server

    if not 0 <= port < 65536:
        raise ValueError(f"port is {port}; it must be at most 65535, or 0")
    chosen = {"baseline": baseline, "subject": subject, "classes": classes, "size": size, "test_limit": test_limit}
    settings = _settings(dataset or "fashion", models, profile=profile or ("quick" if dataset else "zoo"), **chosen)
    given = {"dataset": settings.dataset, "profile": settings.profile, "models": list(settings.models or [])}
    given |= {name: getattr(settings, name) for name in chosen}
    asked = dataset or profile or models or any(chosen.values())
    notebook = server.prepare({name: value for name, value in given.items() if value and asked})
    command = server.command(notebook, page=serve, port=port, browser=browser)
    os.execve(command[0], command, {**os.environ, **server.environment(notebook)})

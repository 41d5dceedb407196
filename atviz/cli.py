"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

from .subcommands import (
    Arch,
    Dataset,
    Epochs,
    Models,
    Preset,
    Profile,
    Seed,
    Size,
    TestLimit,
    TrainLimit,
    TrainSteps,
    Weights,
    data_app,
    models_app,
    plainly,
    stylize_app,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
                  help="What does an adversarially trained network look at?")  # fmt: skip
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(stylize_app, name="stylize")


def _settings(dataset: str, models: str, **others: Any) -> Any:
    from .study import Settings

    # notebooks run in a folder of their own
    kind, _, path = dataset.partition(":")
    if path:
        dataset = f"{kind}:{Path(path).expanduser().resolve()}"
    if others["weights"] not in ("", "none", "imagenet"):
        others["weights"] = str(Path(others["weights"]).expanduser().resolve())
    return Settings(dataset=dataset, models=tuple(m.strip() for m in models.split(",") if m.strip()), **others)


@app.command()
@plainly
def run(
    dataset: Dataset = "fashion", profile: Profile = "quick", models: Models = "", arch: Arch = "", seed: Seed = 0, size: Size = 0,
    train_limit: TrainLimit = 0, test_limit: TestLimit = 0, epochs: Epochs = 0, train_steps: TrainSteps = 0, weights: Weights = "",
    preset: Preset = "paper",
    styles: Annotated[str, typer.Option(help="procedural, or a folder of images")] = "procedural",
    adain: Annotated[str, typer.Option(help="small (the one that ships), a folder, or ENCODER,DECODER: two files in the published layout")] = "small",
    alpha: Annotated[float, typer.Option(help="how much of the style, 0 to 1")] = 1.0,
    notebooks: Annotated[str, typer.Option(help="which, by commas: 04_saturate,shuffle …; empty: all")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a notebook's own parameter, as a Python literal")] = None,
    name: Annotated[str, typer.Option(help="folder below results/; empty: made from the settings")] = "",
) -> None:  # fmt: skip
    """Train what is missing, execute the notebooks, write results/<run>/index.html."""
    given = dict(_assignment(text) for text in set_ or [])
    from . import pipeline

    chosen = pipeline.choose([n.strip() for n in notebooks.split(",") if n.strip()])
    pipeline.check_parameters(given, chosen)
    settings = _settings(
        dataset,
        models,
        profile=profile,
        arch=arch,
        seed=seed,
        size=size,
        train_limit=train_limit,
        test_limit=test_limit,
        epochs=epochs,
        train_steps=train_steps,
        preset=preset,
        weights=weights,
        styles=styles,
        adain=adain,
        alpha=alpha,
    )
    if name and Path(name).name != name:
        raise ValueError(f"name is {name!r}; it must be the name of a folder, without slashes")
    folder, good = pipeline.run(settings, chosen=chosen, given=given, name=name)
    typer.echo(f"{folder / 'index.html'}")
    if not good:
        typer.echo("atviz: not every stage went well; the page says which in red", err=True)
        raise typer.Exit(1)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set is {text!r}; write NAME=VALUE")
    try:
        return name.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name.strip(), value  # a string without quotes, such as 8/255, which the check of its type will refuse or take


@app.command()
@plainly
def train(
    names: Annotated[list[str], typer.Argument(help="recipes: normal, pgd-inf-8, spatial …")],
    dataset: Dataset = "fashion", profile: Profile = "quick", arch: Arch = "", seed: Seed = 0, size: Size = 0,
    train_limit: TrainLimit = 0, test_limit: TestLimit = 0, epochs: Epochs = 0, train_steps: TrainSteps = 0, weights: Weights = "",
    preset: Preset = "paper",
    accelerator: Annotated[str, typer.Option(help="Lightning Fabric's: auto, cpu, gpu …")] = "auto",
    devices: Annotated[int, typer.Option(help="processes on each node")] = 1,
    num_nodes: Annotated[int, typer.Option(help="nodes")] = 1,
    zoo: Annotated[bool, typer.Option("--zoo", help="also keep them in checkpoints/zoo, in half precision, with robust accuracy")] = False,
) -> None:  # fmt: skip
    """Train networks, or read them where they are trained already."""
    from . import recipes
    from .study import Settings, Study
    from .train import make_fabric
    from .zoo import publish

    base: Settings = _settings(
        dataset,
        "",
        profile=profile,
        arch=arch,
        seed=seed,
        size=size,
        train_limit=train_limit,
        test_limit=test_limit,
        epochs=epochs,
        train_steps=train_steps,
        preset=preset,
        weights=weights,
    )
    fabric = make_fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    study = Study(base, fabric=fabric)
    for name in names:  # refuse a wrong name before training any
        recipes.get(name)
    for name in names:
        study.obtain(name)
        if fabric.is_global_zero:
            folder = publish(study, name) if zoo else study.folder(name)
            typer.echo(f"{name}: clean accuracy {study.cards[name]['metrics']['clean']:.4f}, {folder}")


@app.command()
@plainly
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint's folder")],
    distortion: Annotated[str, typer.Option(help="saturate, patch_shuffle, low_pass, high_pass, random_modes, gaussian_blur or "
                                                 "median_filter; low_pass_code, high_pass_code, random_modes_code as in the authors' code")],
    levels: Annotated[str, typer.Option(help="by commas: 0.25,4,1024")],
    dataset: Dataset = "fashion", seed: Seed = 0, size: Size = 0, test_limit: TestLimit = 0,
) -> None:  # fmt: skip
    """Print a checkpoint's accuracy under a distortion, as CSV."""
    try:
        values = [float(level) for level in levels.split(",")]
    except ValueError as error:
        raise ValueError(f"levels is {levels!r}; write numbers by commas, such as 0.25,4,1024") from error
    from . import data, study
    from . import evaluate as measure

    model, card = study.load_checkpoint(checkpoint)
    images = data.load(dataset, "test", size=size or None, limit=test_limit or None)
    study.check_fits(card, images)
    typer.echo(measure.sweep({checkpoint.name: model}, images, {distortion: values}, seed=seed).to_csv(index=False), nl=False)


@app.command()
@plainly
def explore(
    serve: Annotated[bool, typer.Option("--serve", help="as a page without code, one kernel for each visitor")] = False,
    port: Annotated[int, typer.Option(help="0: the server's own choice")] = 0,
    browser: Annotated[bool, typer.Option(help="open it in a browser")] = True,
    dataset: Annotated[str, typer.Option(help="as for run; empty: the notebook's own")] = "",
    profile: Annotated[str, typer.Option(help="as for run; empty: the notebook's own, the networks that ship")] = "",
    models: Annotated[str, typer.Option(help="recipes, by commas; empty: the profile's")] = "",
) -> None:
    """Open 11_explore in JupyterLab or, with --serve, as a page; both on this machine alone, with a token."""
    import os

    from . import serve as server

    if not 0 <= port < 65536:
        raise ValueError(f"port is {port}; it must be at most 65535, or 0")
    settings = _settings(dataset or "fashion", models, profile=profile or ("zoo" if not dataset else "quick"), weights="")
    given = {"dataset": settings.dataset, "profile": settings.profile, "models": list(settings.models) if models else []}
    notebook = server.prepare({name: value for name, value in given.items() if value and (dataset or profile or models)})
    command = server.command(notebook, page=serve, port=port, browser=browser)
    os.execve(command[0], command, {**os.environ, **server.environment(notebook)})


@app.command()
@plainly
def report(folder: Annotated[Path, typer.Argument(help="results/<run>")]) -> None:
    """Write a run's page again from the files that lie in its folder."""
    from .report import write_report

    typer.echo(write_report(folder))


@app.command("notebooks", hidden=True)
def refresh() -> None:
    """Execute the shipped notebooks in place, for committing them."""
    from . import pipeline

    pipeline.refresh()


@app.command("controls", hidden=True)
def ship_controls() -> None:
    """Train the networks of known bias where they are missing, and write them and what they say of every instrument to checkpoints/controls."""
    from . import controls

    typer.echo(controls.ship())


@app.command("transfer", hidden=True)
def ship_transfer() -> None:
    """Train the networks that notebook 10 fine-tunes where they are missing, and write them to checkpoints/transfer."""
    from . import transfer

    typer.echo(transfer.ship())


@app.command("readme", hidden=True)
def readme() -> None:
    """Copy the findings and figures of results/ that the README shows into it."""
    from . import home
    from .report import fill_readme

    figures = {
        "saliency": "quick-fashion/figures/02_saliency_1-figure-10",
        "saturation": "quick-fashion/figures/04_saturate_2-figure-5",
        "controls": "quick-fashion/figures/00_controls_3-instruments",
        "filters": "quick-fashion/figures/07_filters_2-figure-6",
        "layers": "quick-fashion/figures/08_layers_4-features",
        "sanity": "quick-fashion/figures/09_sanity_6-pairs",
        "fusion": "quick-fashion/figures/10_ensemble_transfer_2-accuracy",
        "zoo-saliency": "zoo-fashion/figures/02_saliency_1-figure-10",
        "zoo-saturation": "zoo-fashion/figures/04_saturate_2-figure-5",
        "zoo-shuffling": "zoo-fashion/figures/05_shuffle_3-figure-7",
        "zoo-similarity": "zoo-fashion/figures/02_saliency_8-similarity",
        "cifar-saliency": "zoo-cifar10/figures/02_saliency_1-figure-10",
        "cifar-saturation": "zoo-cifar10/figures/04_saturate_2-figure-5",
        "cifar-centroids": "zoo-cifar10/figures/08_layers_5-centroids",
        "explore": "browser/lab-light",
    }
    shown = {f"notebooks/figures/{name}.png": f"{source}.png" for name, source in figures.items()}
    fill_readme(home() / "README.md", home() / "results", shown)

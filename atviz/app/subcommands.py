"""`atviz data`, `atviz models` and `atviz stylize`, and the options that commands share."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Json, result_alone, say_json, table
from .runs import OWN

data_app = typer.Typer(no_args_is_help=True, help="Data sets: list, fetch, check.")
models_app = typer.Typer(no_args_is_help=True, help="Trained networks: list, show, verify.")
stylize_app = typer.Typer(no_args_is_help=True, help="AdaIN: train a decoder.")

Dataset = Annotated[
    str,
    typer.Option(
        help="fashion (embedded), cifar10, tiny-imagenet, tiny-imagenet:PATH, imagenet:PATH, shapetex (drawn), folder:PATH …; `atviz data list` has all"
    ),
]
Profile = Annotated[str, typer.Option(help="how much of the work is done: smoke, quick, zoo (the networks that ship) or full")]
Models = Annotated[
    str | None,
    typer.Option(
        help="networks, by commas: recipes (normal, pgd-inf-8, spatial …), a checkpoint's folder, resnet18:FILE, torchvision:resnet50, timm:NAME, "
        "hub:OWNER/NAME, robustbench:NAME, program:FILE.pt2, python:FILE.py:function, each with NAME= before it; default: the main three, or the preset's"
    ),
]
Baseline = Annotated[str | None, typer.Option(help="the network that others are compared with; default: the first")]
Subject = Annotated[str | None, typer.Option(help="the network that is compared with it; default: the second")]
Classes = Annotated[str | None, typer.Option(help="a CSV of two columns: a class of the images, a class of the networks")]
Arch = Annotated[str | None, typer.Option(help="small, resnet18, resnet50, resnet101, alexnet_bn, resnet18-w16 …; default: the profile's")]
Seed = Annotated[int, typer.Option(help="of weights, batches and random distortions")]
Size = Annotated[int | None, typer.Option(help="resize images to this side; default: as they are")]
TrainLimit = Annotated[int | None, typer.Option(help="number of training images; default: the profile's")]
TestLimit = Annotated[int | None, typer.Option(help="number of test images; default: the profile's")]
Epochs = Annotated[int | None, typer.Option(help="default: the profile's; the preset's for code, and for itazuri at full scale")]
TrainSteps = Annotated[
    int | None, typer.Option(help="steps N of PGD, TRADES or spatial in training, each at least eps/N for L∞; default: the profile's")
]
Preset = Annotated[
    str, typer.Option(help="training as Zhang & Zhu describe it (paper), as their code does it (code), or as Itazuri et al. do (itazuri)")
]

Weights = Annotated[
    str | None,
    typer.Option(help="to start from: imagenet, a file, or none; default: imagenet for tiny-imagenet and caltech256 at full scale"),
]

Name = Annotated[str, typer.Option(help="folder below results/; default: made from the settings")]
Workers = Annotated[int | None, typer.Option(help="processes side by side; default: one for each core, at most 8, or one for each GPU")]


def check_name(name: str) -> None:
    """ValueError for a name that is not that of a folder below results/, or of one that holds something else."""
    if name and (Path(name).name != name or name == ".."):
        raise ValueError(f"name is {name!r}; it must be the name of a folder, without slashes")
    if name in OWN:
        raise ValueError(f"name is {name!r}, but results/{name} holds {OWN[name]}; choose another")


def several(option: str, text: str) -> list[str]:
    """The parts of a list; ValueError for two that are the same."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice:
        raise ValueError(f"{option} name {twice} twice; name each once")
    return parts


def numbers(seeds: str) -> list[int]:
    """The seeds of a list; ValueError for what is no whole number, and for two that are the same."""
    parts = [part.strip() for part in seeds.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"seeds is {seeds!r}; write whole numbers separated by commas, such as 0,1,2")
    return [int(part) for part in several("seeds", ",".join(str(int(part)) for part in parts))]


def assignment(text: str) -> tuple[str, Any]:
    """Name and value of NAME=VALUE; ValueError without an equals sign."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set is {text!r}; write NAME=VALUE")
    try:
        return name.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name.strip(), value  # a string without quotes, such as 8/255; the check of types takes or refuses it


def plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Report what the user got wrong in one sentence, without a traceback, with exit code 2; after Ctrl-C say how to go on, with 130."""

    @wraps(command)
    def inner(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError, ImportError) as error:
            typer.echo(f"atviz: {error}", err=True)
            raise typer.Exit(2) from error
        except FloatingPointError as error:
            typer.echo(f"atviz: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("\natviz: stopped; what is done is kept, and the same command goes on with the rest", err=True)
            raise typer.Exit(130) from error

    return inner


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """List the data sets that can be named."""
    from ..data import NAMES

    if as_json:
        say_json(NAMES)
    else:
        typer.echo("\n".join(NAMES))


@data_app.command("fetch")
@plainly
def data_fetch(name: str, as_json: Json = False) -> None:
    """Download a data set, or find it in place (imagenet must be there: no download of it is free)."""
    _print_splits(name, examined=False, as_json=as_json)


@data_app.command("check")
@plainly
def data_check(name: str, as_json: Json = False) -> None:
    """Load both splits of a data set, decode every file, and print what is in them.

    Files that cannot be read are named and left out from then on, up to 1 %. The SHA-256 of a set that does not fit into memory is of names
    and sizes, not of pixels.
    """
    _print_splits(name, examined=True, as_json=as_json)


def _print_splits(name: str, *, examined: bool, as_json: bool) -> None:
    found: dict[str, Any] = {}
    with result_alone():
        from ..data import Streamed, load

        for split in ("train", "test"):
            try:
                images = load(name, split)
                if examined and isinstance(images, Streamed):
                    images.examine()
                    images = load(name, split)
            except FileNotFoundError as error:
                if split == "test" or "only a test split" not in str(error):
                    raise
                found[split] = {"missing": str(error)}
                continue
            found[split] = {"images": len(images), "shape": images.shape, "classes": images.classes, "sha256": images.digest}
    found["note"] = images.note
    if as_json:
        say_json({"name": name, **found})
        return
    for split in ("train", "test"):
        typer.echo(f"{split}: {_described(found[split])}")
    if images.note:
        typer.echo(images.note)


def _described(split: dict[str, Any]) -> str:
    if "missing" in split:
        return str(split["missing"])
    c, h, w = split["shape"]
    return f"{split['images']} images, {c}x{h}x{w}, {len(split['classes'])} classes, SHA-256 {split['sha256'][:16]}…"


@models_app.command("list")
@plainly
def models_list(as_json: Json = False) -> None:
    """List the trained networks on this machine."""
    rows = []
    for folder in _checkpoints():
        from ..models.checkpoints import read_card

        card = read_card(folder)
        metrics = card["metrics"]
        if "clean" not in metrics:  # no classifier: AdaIN's networks
            continue
        found = {"name": folder.name, "recipe": card["recipe"]["name"], "clean": metrics["clean"], "robust": metrics.get("robust")}
        rows.append(found | {"seed": card["seed"], "sha256": card["sha256"], "collapsed_at": card.get("collapsed_at"), "folder": folder})
    if as_json:
        say_json(rows)
    elif not rows:
        typer.echo("no trained networks yet; `atviz train normal` makes one")
    else:
        header = ("checkpoint", "recipe", "clean", "robust", "seed", "sha256", "remark")
        typer.echo(table(header, [(
            row["name"], row["recipe"], *("-" if row[key] is None else f"{row[key]:.4f}" for key in ("clean", "robust")), str(row["seed"]),
            row["sha256"][:12], f"catastrophic overfitting in epoch {row['collapsed_at']}" if row["collapsed_at"] else "",
        ) for row in rows]))  # fmt: skip


def _checkpoints() -> list[Path]:
    """The checkpoints that ship and those in home."""
    from .. import disk, home, shipped
    from ..models.checkpoints import exists

    places = dict.fromkeys([shipped("checkpoints"), home() / "checkpoints"])
    found = {path for place in places for path in place.glob("**/*") if path.is_dir() and exists(path)}
    return sorted(path for path in found if not disk.BESIDE.fullmatch(path.name))


def folder_of(network: str, dataset: str) -> Path:
    """The folder of a checkpoint: itself, the one that ships for a recipe and data set, or the one that `atviz models list` calls so.

    ValueError, with the nearest right name, where there is none.
    """
    from ..models.checkpoints import exists, zoo
    from ..names import unknown

    if exists(place := Path(os.path.expanduser(network))):
        return place
    ships = zoo(dataset)
    listed = {folder.name: folder for folder in _checkpoints()}
    if network in ships or network in listed:
        return ships.get(network) or listed[network]
    if {"/", "\\"} & set(network):
        raise ValueError(f"there is no checkpoint in {network} (no card.json); `atviz train` makes one")
    hint = f"for {dataset} ship {', '.join(ships) or 'none'}; `atviz models list` lists all"
    raise unknown(f"network of {dataset}, or folder of a checkpoint,", network, [*ships, *listed], hint=hint)


@models_app.command("show")
@plainly
def models_show(
    network: Annotated[str, typer.Argument(help="a checkpoint's folder, a recipe whose network ships for --dataset, or a name of `models list`")],
    dataset: Dataset = "fashion", as_json: Json = False,
) -> None:  # fmt: skip
    """Print a checkpoint's card, which is JSON with or without --json."""
    from ..models.checkpoints import read_card

    say_json(read_card(folder_of(network, dataset)))


@stylize_app.command("train")
@plainly
def stylize_train(
    out: Annotated[Path, typer.Option(help="folder for weights and card; `load_adain(FOLDER)` reads it")],
    encoder: Annotated[str, typer.Option(help="weights in the published layout, small (the one that ships), or new (trained first)")] = "small",
    styles: Annotated[str, typer.Option(help="procedural, or a folder of images")] = "procedural",
    dataset: Dataset = "fashion",
    steps: Annotated[int, typer.Option(help="batches of the decoder's training")] = 2000,
    encoder_steps: Annotated[int, typer.Option(help="batches of a new encoder's")] = 2000,
    batch_size: Annotated[int, typer.Option(help="images in a batch")] = 16,
    lr: Annotated[float, typer.Option(help="Adam's highest learning rate")] = 1e-3,
    style_weight: Annotated[float, typer.Option(help="of the style loss; the content loss counts once")] = 10.0,
    size: Size = None, train_limit: TrainLimit = None, seed: Seed = 0,
) -> None:  # fmt: skip
    """Train a decoder for an encoder, with content and style loss as in Huang & Belongie (2017)."""
    from .. import data
    from ..models import checkpoints
    from ..training import versions
    from ..training.adain_decoder import train_pair

    images = data.load(dataset, "train", size=size, limit=train_limit)
    state, card = train_pair(
        encoder, images, styles, steps=steps, encoder_steps=encoder_steps, batch=batch_size, lr=lr, style_weight=style_weight, seed=seed
    )
    command = " ".join(["atviz", *sys.argv[1:]])
    card = checkpoints.save(out, state, card | {"command": command, "versions": versions()})
    last = card["metrics"]
    typer.echo(f"content loss {last['content_loss']:.4f}, style loss {last['style_loss']:.4f}, {out}")

"""Hidden commands that make what ships with atviz, and fill the project's pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import typer

from .. import checkout
from .subcommands import plainly

shipping_app = typer.Typer()


def in_a_checkout(command: Callable[[], None]) -> Callable[[], None]:
    """Refuse, in one sentence, to make what ships where the package was installed from a wheel: nothing would ever read it."""

    @wraps(command)
    def inner() -> None:
        if checkout() is None:
            raise ValueError("this makes what ships with atviz and needs a checkout of the project; this atviz came from a wheel")
        command()

    return plainly(inner)


@shipping_app.command("notebooks", hidden=True)
@in_a_checkout
def refresh() -> None:
    """Execute the shipped notebooks in place, for committing them."""
    from . import pipeline

    pipeline.refresh()


@shipping_app.command("controls", hidden=True)
@in_a_checkout
def ship_controls() -> None:
    """Train the networks of known bias that are missing; write what they say of the instruments.

    Those of one world go to checkpoints/controls with their verdicts; of those of the crossed experiment, hours of training, the rows go to
    checkpoints/worlds, with those of the controls on real images.
    """
    from ..evidence import crossed, publishing
    from .crossing import run, run_removed

    folder = publishing.ship()
    typer.echo(folder)
    errors = run() + run_removed()
    publishing.mark_worlds(folder / "verdicts.json")
    typer.echo(crossed.place(crossed.CROSSED).parent)
    for error in errors:
        typer.echo(f"atviz: {error}", err=True)
    if errors:
        raise typer.Exit(1)


@shipping_app.command("transfer", hidden=True)
@in_a_checkout
def ship_transfer() -> None:
    """Train the backbones of notebook 10 that are missing, and write them to checkpoints/transfer."""
    from ..evidence.zoo import publish_backbones

    typer.echo(publish_backbones())


@shipping_app.command("seeds", hidden=True)
@in_a_checkout
def ship_seeds() -> None:
    """Train the further seeds of the quick profile that are missing, and write them to checkpoints/seeds."""
    from ..evidence.zoo import publish_seeds

    typer.echo(publish_seeds())


@shipping_app.command("readme", hidden=True)
@in_a_checkout
def readme() -> None:
    """Fill the tables and figures of the pages from what lies in results/."""
    from .pages import fill_all

    fill_all()

"""`atviz runs`, `compare`, `clean` and `report`: what lies in results/, looked at, compared, freed, and written again."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import Json, result_alone, say, say_json, size_text, table
from .subcommands import plainly

results_app = typer.Typer()


@results_app.command("runs")
@plainly
def runs(as_json: Json = False) -> None:
    """List what lies in results/, the newest first: runs, sweeps, comparisons, records, and what is none of these."""
    from .runs import listed, several

    found = listed()
    if as_json:
        say_json([held.row for held in found])
    elif not found:
        say("no runs yet; `atviz run` makes one")
    else:
        header = ("name", "kind", "data set", "profile", "networks", "seed", "changed", "size", "state")
        say(table(header, [(
            held.name, held.kind, several(held.datasets) or "-", held.profile or "-", several(held.networks) or "-", several(held.seeds) or "-",
            f"{held.changed:%Y-%m-%d %H:%M}", size_text(held.size), held.state,
        ) for held in found]))  # fmt: skip


@results_app.command("compare")
@plainly
def compare(
    a: Annotated[str, typer.Argument(metavar="RUN", help="a run: its name in results/, or a path")],
    b: Annotated[str, typer.Argument(metavar="RUN", help="another one")],
    as_json: Json = False,
) -> None:
    """Write results/A-vs-B/index.html, two runs side by side; print their findings as CSV, with the change of each difference, B minus A."""
    from . import compare as comparing

    with result_alone():
        page, found = comparing.compare(a, b)
    if as_json:
        say_json({"page": page, **found})
    else:
        typer.echo(comparing.as_csv(found), nl=False)
        typer.echo(page, err=True)


@results_app.command("clean")
@plainly
def clean(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT]...",
            help="caches (decoded images), leftovers (of interrupted writes), records (what was measured), networks (trained here), or a "
            "run, a sweep or a comparison by its name in results/; default: caches and leftovers",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="free it; without this, only say what would be freed")] = False,
    as_json: Json = False,
) -> None:
    """Say what can be freed, and how much that is; with --yes, free it."""
    from . import clean as cleaning

    parts = cleaning.plan(what or [])
    planned = sum(len(part.places) for part in parts)
    if yes:
        parts = cleaning.free(parts)
    done, size = sum(len(part.places) for part in parts), sum(part.size for part in parts)
    if as_json:
        say_json({"freed": yes, "bytes": size, "parts": [{**vars(part), "places": part.places} for part in parts]})
    else:
        rows = [(part.what, size_text(part.size), str(len(part.places)), part.about) for part in parts]
        say(table(("what", "size", "places", ""), rows))
        said = "freed" if yes else "would be freed; --yes frees it" if planned else "to free"
        say(f"{size_text(size)} {said}")
        for sentence in (sentence for part in parts for sentence in part.kept):
            say(sentence, err=True)
    if done < planned:
        raise typer.Exit(1)


@results_app.command("report")
@plainly
def report(run: Annotated[str, typer.Argument(help="a run or a sweep: its name in results/, or a path")]) -> None:
    """Write the page of a run or of a sweep again from the files that lie in its folder."""
    from .runs import find, kind_of

    folder = find(run)
    kind = kind_of(folder)
    if kind == "comparison":
        raise ValueError(f"{run} is a comparison; `atviz compare` writes it again")
    from .report import write_report
    from .sweep_page import write_page

    typer.echo(write_page(folder) if kind == "sweep" else write_report(folder))

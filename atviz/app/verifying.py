"""`atviz models verify`: what the cards of trained networks say, measured again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Json, say_json
from .subcommands import Dataset, Size, folder_of, plainly

verify_app = typer.Typer()

TITLES = {"clean": "clean accuracy", "robust": "robust accuracy", "strong": "robust accuracy under the strong attack"}


@verify_app.command("verify")
@plainly
def models_verify(
    network: Annotated[str | None, typer.Argument(help="as for `models show`; without one: the zoo of the data set")] = None,
    dataset: Dataset = "fashion",
    strong: Annotated[bool, typer.Option(help="measure robust accuracy under APGD, targeted APGD, PMA and Square instead; takes minutes to hours")] = False,
    test_limit: Annotated[int | None, typer.Option(help="with --strong: number of test images; default: as on the card, or all", min=1)] = None,
    write: Annotated[bool, typer.Option(help="with --strong: write what is found into the cards")] = False,
    size: Size = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Check hashes and measure accuracies again; exit 1 where one differs from its card."""
    from ..evidence import zoo
    from ..models import checkpoints

    if not strong and (write or test_limit):
        raise ValueError(f"{'--write' if write else '--test-limit'} goes with --strong, which was not given")
    folders = [folder_of(network, dataset)] if network else list(checkpoints.zoo(dataset).values())
    if not folders:
        raise ValueError(f"the zoo holds no networks of {dataset}")

    def measured(folder: Path) -> Iterator[tuple[str, tuple[float, float | None, bool]]]:
        if strong:
            yield "strong", zoo.verify_strong(folder, dataset, size=size, limit=test_limit, write=write)
        else:
            yield from zoo.verify(folder, dataset, size=size).items()

    rows: list[dict[str, Any]] = []
    for folder in folders:
        for measure, (found, claimed, same) in measured(folder):
            rows.append({"name": folder.name, "measure": measure, "found": found, "card": claimed, "same": same})
            if not as_json:
                card = "not on its card" if claimed is None else f"card {claimed:.4f}"
                typer.echo(f"{folder.name}: {TITLES[measure]} {found:.4f}, {card}" + ("" if same else ", DIFFERS"))
    if as_json:
        say_json(rows)
    if not all(row["same"] for row in rows):
        sys.exit(1)

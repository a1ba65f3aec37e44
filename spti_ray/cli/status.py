"""`spti status`: where a run is, and what has been spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import examples, one_line_errors


@examples(
    "spti status runs/stickers",
    "spti status runs/stickers --json",
)
def status(
    directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say where a run is: finished, running or interrupted, its generations, and what has been spent."""
    with one_line_errors():
        from spti_ray.runs.status import status_of

        found = status_of(directory)
        typer.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines(directory)))

"""`spti status`: where a run is, and what has been spent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spti_ray.cli.common import examples, one_line_errors

if TYPE_CHECKING:
    from spti_ray.runs.status import Status

_LOOK_S = 5.0
"""A look reads the ledger, which may be in a bucket."""


@examples(
    "spti status runs/stickers",
    "spti status runs/stickers --watch",
    "spti status runs/stickers --json",
)
def status(
    directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")],
    watch: Annotated[bool, typer.Option("--watch", help="Say it again at each change, until the run ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; with --watch one a line.")] = False,
) -> None:
    """Say where a run is: finished, running or interrupted, its generations, and what has been spent."""
    with one_line_errors():
        from spti_ray.runs.status import status_of

        looks = changes(lambda: status_of(directory), time.sleep) if watch else iter([status_of(directory)])
        for number, found in enumerate(looks):
            if as_json:
                typer.echo(json.dumps(found.to_json(), indent=None if watch else 2))
            else:
                # Which run it is was said at first.
                lines = found.lines(directory)[1 if number else 0 :]
                typer.echo("\n".join(lines if not number else [time.strftime("%H:%M:%S"), *lines]))


def changes(look: Callable[[], Status], sleep: Callable[[float], None]) -> Iterator[Status]:
    """Where a run is, now and whenever that has changed, until nothing works on it any more."""
    last = look()
    yield last
    while last.state == "running":
        sleep(_LOOK_S)
        if (now := look()) != last:
            last = now
            yield last

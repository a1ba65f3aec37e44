"""`spti status`: where a run is, and what has been spent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spti_ray.cli.common import examples, one_line_errors

if TYPE_CHECKING:
    from spti_ray.observability.reading import Reading
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
    watch: Annotated[bool, typer.Option("--watch", help="Say at each change how far it is, until it ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; with --watch one a line.")] = False,
) -> None:
    """Say where a run is: finished, running or interrupted, its generations, and what has been spent.

    Of one that runs also how far it is, and what the engines do of the roles that work for no shard.
    """
    with one_line_errors():
        from spti_ray.observability.reading import read_reading
        from spti_ray.runs.status import status_of

        def look() -> tuple[Status, Reading | None]:
            found = status_of(directory)
            at_work = found.state == "running"
            return found, read_reading(directory) if at_work else None

        for number, (found, reading) in enumerate(changes(look, time.sleep) if watch else iter([look()])):
            if as_json:
                progress = {"progress": asdict(reading)} if reading else {}
                typer.echo(json.dumps(found.to_json() | progress, indent=None if watch else 2))
            elif number and reading:
                typer.echo("; ".join(reading.lines))  # the rest was said at first, and is said at the end
            else:
                typer.echo("\n".join([*found.lines(directory), *(reading.lines if reading else [])]))


def changes(
    look: Callable[[], tuple[Status, Reading | None]], sleep: Callable[[float], None]
) -> Iterator[tuple[Status, Reading | None]]:
    """Where a run is, now and whenever that has changed, until nothing works on it any more."""
    last = look()
    yield last
    while last[0].state == "running":
        sleep(_LOOK_S)
        if (now := look()) != last:
            last = now
            yield last

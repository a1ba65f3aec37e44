"""`spti compare`: two runs or releases side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import examples, one_line_errors


@examples(
    "spti compare runs/a runs/b",
    "spti compare runs/a published/release --json",
    "spti compare runs/a runs/b runs/random runs/captions",
)
def compare(
    a: Annotated[Path, typer.Argument(help="A run's folder, or a release folder.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another.", metavar="B")],
    ends: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Runs of the methods random and captions on the same private images: the ends of the gap.",
            metavar="END",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Set two runs or releases side by side: settings that differ, certificates, models, texts in common.

    Where `spti evaluate` has results in both runs, their metrics too, marked: these are internal, not differentially
    private. With runs of random and captions that were evaluated likewise, the share of the gap between these that each
    closes. Only reads.
    """
    with one_line_errors():
        from spti_ray.release.compare import compare_releases

        found = compare_releases(a, b, ends or ())
        typer.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))

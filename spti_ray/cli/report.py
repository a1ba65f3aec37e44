"""`spti report`: a run's report, made anew from its public files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import examples, one_line_errors


@examples(
    "spti report runs/stickers",
)
def report(directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")]) -> None:
    """Rebuild `DIR/release/report.html` from the run's public files."""
    with one_line_errors():
        from spti_ray.runs.run_file import read_run

        read_run(directory)
        from spti_ray.release.report.build import build_report

        typer.echo(f"wrote {build_report(directory)}")

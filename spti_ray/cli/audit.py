"""`spti audit`: an attack on the installed build, and a test of its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import FAILED, examples, one_line_errors


@examples(
    "spti audit",
    "spti audit runs/stickers",
)
def audit(
    directory: Annotated[
        Path | None,
        typer.Argument(
            help="A finished run: the results go into its certificate, which is made anew.", metavar="[DIR]"
        ),
    ] = None,
) -> None:
    """Audit the installed build: a one-run canary attack on the whole gate, and the noise against its exact law.

    An audit can find a fault; it does not prove the guarantee. Uses no private image. Exit code 1 if a fault is found.
    """
    with one_line_errors():
        from spti_ray.audit.suite import run_audits
        from spti_ray.cli.step_progress import step_progress
        from spti_ray.release.certify import FinishedRun

        run = FinishedRun(directory) if directory else None
        with step_progress() as told:
            report = run_audits(told)
        for line in report.lines():
            typer.echo(line)
        if run:
            typer.echo(run.rewrite_certificate(report.to_json()))
        if not report.passed:
            raise typer.Exit(FAILED)

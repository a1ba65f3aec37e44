"""`spti doctor`: whether this machine has what a run needs."""

from __future__ import annotations

import typer

from spti_ray.cli.common import FAILED, examples, one_line_errors


@examples(
    "spti doctor",
)
def doctor() -> None:
    """Check versions, devices, models, Ray and disk: one line each, ok or what to do."""
    with one_line_errors():
        from spti_ray.cli.doctor_checks import checks

        all_well = True
        for name, well, detail in checks():
            all_well &= well
            typer.echo(f"{'ok  ' if well else 'FIX '} {name}: {detail}")
        if not all_well:
            raise typer.Exit(FAILED)

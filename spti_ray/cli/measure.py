"""`spti measure`: a figure about the private records that may be published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import BUDGET, USAGE, examples, fail, one_line_errors
from spti_ray.cli.leaving import at_work


@examples(
    "spti measure runs/mine --task accuracy.yaml --plan --private-records 5000",
    "spti measure runs/mine --task accuracy.yaml",
)
def measure(
    directory: Annotated[Path, typer.Argument(help="The folder of a finished run.", metavar="DIR")],
    task: Annotated[Path, typer.Option("--task", help="What is asked, a YAML file.", metavar="FILE")],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the measurement; by default that of the file.", metavar="NAME")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would cost, and how wide its interval would be.")
    ] = False,
    private_records: Annotated[
        int | None,
        typer.Option("--private-records", min=1, help="With --plan: how many there are, as publicly stated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the private records one question about a release, under DP: the only figure on them that may be published.

    Each record (or group) is right or wrong by a public probe that is made from the release, and the two counts go
    through the gate: charged first, noised once. It is a run of its own in the ledger that goes on from that of `DIR`,
    and its certificate has the epsilon of both together. All goes into `DIR/measures/NAME`, which may be published.

    The same command on an interrupted measurement goes on, and on a finished one only prints its figure. Exit code 3:
    the lifetime budget does not cover it.
    """
    with at_work(), one_line_errors():
        if private_records is not None and not plan:
            fail("--private-records is for --plan; a measurement never needs to know how many there are", USAGE)
        import sys

        from rich.console import Console

        from spti_ray.driver.measurement import Measurement

        wanted = Measurement(directory, task, name)
        if plan:
            from spti_ray.driver.measurement_plan import plan_lines, plan_of

            found = plan_of(wanted, private_records)
            typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(plan_lines(found, wanted)))
            if found["affordable"]:
                raise typer.Exit(BUDGET)
            return
        answer = wanted.ask(Console(file=sys.stderr))
        if as_json:
            typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        from spti_ray.public.figure import lines_of

        typer.echo("\n".join(lines_of(answer)))
        typer.echo(f"in {wanted.folder.path}, with its certificate; spti verify {wanted.folder.path} proves it")

"""All commands of `spti`, in the order of its help."""

from __future__ import annotations

from typing import Annotated

import typer

from spti_ray import __version__
from spti_ray.cli.audit import audit
from spti_ray.cli.bench import bench
from spti_ray.cli.check import check
from spti_ray.cli.common import DONE, epilog_of
from spti_ray.cli.compare import compare
from spti_ray.cli.doctor import doctor
from spti_ray.cli.evaluate import evaluate
from spti_ray.cli.export import export
from spti_ray.cli.init import init
from spti_ray.cli.ledger import ledger_app
from spti_ray.cli.manifest import manifest_app
from spti_ray.cli.measure import measure
from spti_ray.cli.plan import plan
from spti_ray.cli.refine import refine
from spti_ray.cli.report import report
from spti_ray.cli.run import run
from spti_ray.cli.show import show
from spti_ray.cli.status import status
from spti_ray.cli.submit import submit
from spti_ray.cli.verify import verify

app = typer.Typer(
    name="spti",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Differentially private synthetic images: private images vote on public texts, a text-to-image model renders "
    "the winners.\n\nExit codes: 0 done; 2 configuration or usage; 3 budget refused; 4 resources never arrived, or no "
    "Ray; 1 anything else.",
)
_AROUND = "Around runs"
# In the order in which one uses them, which is that of `spti --help`.
for _panel, _commands in {
    "Before a run": (doctor, init, check, plan),
    "Run": (run, submit, status, show, refine),
    "Judge": (report, evaluate, measure, compare),
    "Prove and pass on": (verify, audit, export),
    _AROUND: (bench,),
}.items():
    for _command in _commands:
        app.command(epilog=epilog_of(_command), rich_help_panel=_panel)(_command)
app.add_typer(ledger_app, name="ledger", rich_help_panel=_AROUND)
app.add_typer(manifest_app, name="manifest", rich_help_panel=_AROUND)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"spti-ray {__version__}")
        raise typer.Exit(DONE)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass

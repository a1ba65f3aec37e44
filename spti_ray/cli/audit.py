"""`spti audit`: an attack on the installed build, and a test of its noise; what a model knew of a run's records."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spti_ray.cli.common import FAILED, USAGE, examples, fail, one_line_errors
from spti_ray.cli.leaving import at_work

if TYPE_CHECKING:
    from spti_ray.evaluate.contamination_subject import ContaminationRequest

_OF_CONTAMINATION = "With --contamination: "


@examples(
    "spti audit",
    "spti audit runs/stickers",
    "spti audit --contamination runs/mine --captions runs/captions",
)
def audit(
    directory: Annotated[
        Path | None,
        typer.Argument(
            help="A finished run: the results go into its certificate, which is made anew.", metavar="[DIR]"
        ),
    ] = None,
    contamination: Annotated[
        bool,
        typer.Option(
            "--contamination",
            help="Compare the run's images with records that voted and records that never did, instead: INTERNAL, "
            "writes DIR/internal/contamination.html for the data's owner. A look, which the ledger records.",
        ),
    ] = False,
    holdout: Annotated[
        str | None,
        typer.Option(
            help=_OF_CONTAMINATION + "records that never voted, as in data.path; by default those of data.holdout.",
            metavar="DATA",
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(help=_OF_CONTAMINATION + "a run of method captions on the same records.", metavar="RUN_DIR"),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help=_OF_CONTAMINATION + "whose features are compared, as in spti evaluate.", metavar="MODEL"),
    ] = None,
    render: Annotated[
        bool,
        typer.Option("--render", help=_OF_CONTAMINATION + "draw the first candidates again if no renders were kept."),
    ] = False,
    limit: Annotated[
        int,
        typer.Option(
            min=1000, help=_OF_CONTAMINATION + "compare a random sample of so many records of each part.", metavar="N"
        ),
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help=_OF_CONTAMINATION + "public seed.")] = 0,
    gpu: Annotated[bool, typer.Option("--gpu", help=_OF_CONTAMINATION + "load the judges onto the GPU.")] = False,
) -> None:
    """Audit the installed build: a one-run canary attack on the whole gate, and the noise against its exact law.

    An audit can find a fault; it does not prove the guarantee. Uses no private image, but with --contamination. Exit
    code 1 if a fault of the build is found.
    """
    with at_work(), one_line_errors():
        given = {
            "--holdout": holdout, "--captions": captions, "--judge": judge, "--render": render, "--gpu": gpu,
        }  # fmt: skip
        if contamination:
            if directory is None:
                fail("--contamination needs DIR, the folder of a finished run", USAGE)
            from spti_ray.evaluate.contamination_subject import ContaminationRequest

            request = ContaminationRequest(
                directory, holdout, captions, tuple(judge or ()), render=render, limit=limit, seed=seed, gpu=gpu
            )
            _contamination(request)
            return
        if named := next((name for name, value in given.items() if value), None):
            fail(f"{named} is of --contamination, which is not given", USAGE)
        _build(directory)


def _build(directory: Path | None) -> None:
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


def _contamination(request: ContaminationRequest) -> None:
    # Before the libraries are imported; a bundled model needs no network.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if find_spec("sklearn") is None:
        fail("spti audit --contamination needs scikit-learn; run: pip install 'spti-ray[eval]'", FAILED)
    from spti_ray.cli.step_progress import step_progress
    from spti_ray.evaluate.contamination_command import run_contamination

    with step_progress() as told:
        page = run_contamination(request, lambda line: typer.echo(line, err=True), told)
    typer.echo(f"for the owner only: {page}")

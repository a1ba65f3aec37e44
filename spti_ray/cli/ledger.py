"""`spti ledger`: register a dataset, look into its ledger, check it, and keep its head elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import USAGE, fail, given_path, one_line_errors

ledger_app = typer.Typer(no_args_is_help=True, help="Register a dataset, and look into its privacy ledger.")

LedgerPath = Annotated[
    str,
    typer.Argument(
        help="A folder of ledgers, a ledger file, or a URL (s3://bucket/ledgers); or the configuration or the run's "
        "folder whose ledger is meant.",
        metavar="LEDGER",
    ),
]


def _named(ledger: str) -> tuple[str, str]:
    """The folder or URL of ledgers that an argument names, in full, so that people see where it is.

    And the dataset, if the argument is a configuration or the folder of a run; else an empty string.
    """
    from spti_ray.config.ledger_location import location_of
    from spti_ray.config.loading import load_config, parse_config
    from spti_ray.runs.run_file import read_run

    path = Path(ledger)
    if ledger.startswith("bundled:") or (path.suffix in (".yaml", ".yml") and path.is_file()):
        config = load_config(path)
    elif (path / "run.yaml").is_file():
        config = parse_config(read_run(path)["config"])
    else:
        return location_of(ledger, None), ""
    return config.ledger.location, config.dataset.id


def _one(ledger: str) -> str:
    """Where the ledgers are that an argument names; of a configuration or run only that of its dataset."""
    from spti_ray.io.files import is_url

    where, dataset = _named(ledger)
    if not dataset:
        return where
    return f"{where}/{dataset}" if is_url(where) else f"{where}/{dataset}.jsonl"


@ledger_app.command(
    "register",
    epilog="Example: `spti ledger register radiology-2026 --lifetime-epsilon 8 --delta 1e-6 "
    "--ledger s3://privacy/ledgers`",
)
def register(
    dataset: Annotated[str, typer.Argument(help="The id that configurations name as dataset.id.", metavar="ID")],
    delta: Annotated[float, typer.Option(help="The delta at which the budget holds, from policy.")],
    ledger: Annotated[
        str,
        typer.Option(help="Where the configurations look for it, as ledger.path or by one of them.", metavar="LEDGER"),
    ] = "ledger",
    lifetime_epsilon: Annotated[
        float | None, typer.Option(help="What all runs together may spend; without it there is no limit.")
    ] = None,
) -> None:
    """Give a dataset its id and its lifetime budget, for good. An administrator does this once.

    With `dataset.registration: required`, runs on an id that was never registered are refused.
    """
    with one_line_errors():
        from spti_ray.cli.ledger_report import register_line
        from spti_ray.config import DatasetConfig
        from spti_ray.config.loading import parse_section

        parse_section(DatasetConfig, {"id": dataset, "lifetime_epsilon": lifetime_epsilon})
        if not 0 < delta < 0.5:
            fail(f"--delta must be in (0, 0.5), not {delta}", USAGE)
        where, of_config = _named(ledger)
        if of_config not in ("", dataset):
            fail(f"--ledger {ledger}: is a configuration of dataset {of_config}, not {dataset}", USAGE)
        typer.echo(register_line(where, dataset, lifetime_epsilon, delta))


@ledger_app.command("show", epilog="Examples: `spti ledger show runs/ledger` · `spti ledger show s3://privacy/ledgers`")
def show(path: LedgerPath) -> None:
    """Print a ledger's entries and what the dataset has spent."""
    with one_line_errors():
        from spti_ray.cli.ledger_report import show_lines
        from spti_ray.dp.storage import chains_at

        for chain in chains_at(_one(path)):
            for line in show_lines(chain):
                typer.echo(line)


@ledger_app.command("history", epilog="Example: `spti ledger history runs/ledger`")
def history(path: LedgerPath) -> None:
    """Print one line per run on the dataset: what it was planned for, what it spent, who looked at it."""
    with one_line_errors():
        from spti_ray.cli.ledger_report import history_lines
        from spti_ray.dp.storage import chains_at

        for chain in chains_at(_one(path)):
            for line in history_lines(chain):
                typer.echo(line)


@ledger_app.command(
    "verify", epilog="Example: `spti ledger verify runs/ledger/stickers.jsonl --anchor stickers-anchor.json`"
)
def verify(
    path: LedgerPath,
    head: Annotated[
        str | None, typer.Option(help="A head hash kept elsewhere, such as a certificate's, that must be in the chain.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="A file of `spti ledger anchor`, whose head must be in the chain.")
    ] = None,
) -> None:
    """Check every hash of the chain. Finds altered, dropped, inserted and reordered entries.

    Entries cut from the end are only found against a head kept elsewhere: `--head` or `--anchor`.
    """
    with one_line_errors():
        from spti_ray.cli.ledger_report import verify_line
        from spti_ray.dp.storage import chains_at

        for chain in chains_at(_one(path)):
            typer.echo(verify_line(chain, head, anchor))


@ledger_app.command(
    "anchor", epilog="Example: `spti ledger anchor runs/ledger/stickers.jsonl --out stickers-anchor.json`"
)
def anchor(
    path: LedgerPath,
    out: Annotated[
        Path | None, typer.Option(parser=given_path, help="Write it here instead of printing it.", metavar="FILE")
    ] = None,
) -> None:
    """Export the chain's head, to be kept where the ledger's keeper can't change it."""
    with one_line_errors():
        from spti_ray.cli.ledger_report import anchor_of, the_chain, write_anchor

        if out:
            from spti_ray.runs.output_places import check_file

            check_file("--out", out)
        chain = the_chain(_one(path))
        typer.echo(write_anchor(chain, out) if out else json.dumps(anchor_of(chain), indent=2))


@ledger_app.command(
    "evaluated", epilog="Example: `spti ledger evaluated runs/ledger/stickers.jsonl 3f2a9c… --metric 'FID, Inception'`"
)
def evaluated(
    path: LedgerPath,
    run: Annotated[str, typer.Argument(help="The run's id (`run.yaml`, `spti ledger history`).", metavar="RUN")],
    metric: Annotated[str, typer.Option(help="What was looked at, in a few words: 'FID against the private set'.")],
) -> None:
    """Record that a run was looked at with a metric on the private images. Certificates say so from then on."""
    with one_line_errors():
        from spti_ray.cli.ledger_report import evaluated_line

        typer.echo(evaluated_line(_one(path), run, metric))

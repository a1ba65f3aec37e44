"""`spti verify`: a release, checked against the ledger and its own hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import FAILED, examples, one_line_errors


@examples(
    "spti verify runs/stickers",
    "spti verify release --ledger s3://privacy/ledgers/stickers",
)
def verify(
    directory: Annotated[Path, typer.Argument(help="A run's folder, or a release folder.", metavar="DIR")],
    ledger: Annotated[
        str | None, typer.Option(help="The dataset's ledger; a run's folder knows it.", metavar="LEDGER")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what does not hold, and the sum.")] = False,
) -> None:
    """Prove every field of a release's privacy.json from the ledger, and every file from its hash.

    Makes the certificate again from the ledger's entries and compares. Needs no private image and no model.
    Exit code 1 if anything does not hold.
    """
    with one_line_errors():
        from spti_ray.release.verify import release_and_chain, verify_release

        failed = count = 0
        for check in verify_release(*release_and_chain(directory, ledger)):
            count, failed = count + 1, failed + (not check.holds)
            if not (quiet and check.holds):
                typer.echo(f"{'ok  ' if check.holds else 'FAIL'} {check.field}: {check.detail}")
        typer.echo(f"{count - failed} of {count} checks hold")
        if failed:
            raise typer.Exit(FAILED)

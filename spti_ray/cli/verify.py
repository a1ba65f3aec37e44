"""`spti verify`: a release or an export, checked against its own hashes and, where there is one, the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import FAILED, examples, one_line_errors


@examples(
    "spti verify runs/stickers",
    "spti verify published/stickers --ledger s3://privacy/ledgers/stickers",
    "spti verify published/stickers",
)
def verify(
    directory: Annotated[
        Path, typer.Argument(help="A run's folder, or that of a release or an export.", metavar="DIR")
    ],
    ledger: Annotated[
        str | None, typer.Option(help="The dataset's ledger; a run's folder knows it.", metavar="LEDGER")
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(help="Certificates in PEM that whoever signed the images must lead to.", metavar="FILE"),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print only what does not hold or is not proved, and the sum.")
    ] = False,
) -> None:
    """Prove every field of a release's privacy.json from the ledger, and every file from its hash.

    Makes the certificate again from the ledger's entries and compares. Needs no private image and no model. Without a
    ledger it checks the files, and that the certificate's figures fit its noise, and says what stays unproved (?).
    Exit code 1 if anything does not hold.
    """
    with one_line_errors():
        from spti_ray.cli.step_progress import step_progress
        from spti_ray.release.verify import release_and_chain, run_of, verify_release
        from spti_ray.release.verify_alone import verify_alone

        knows_ledger = ledger is not None or run_of(directory) is not None
        anchors = _certificates(trust) if trust else None
        with step_progress(quick=True) as told:
            if knows_ledger:
                checks = list(verify_release(*release_and_chain(directory, ledger), told, anchors))
            else:
                checks = list(verify_alone(directory, told, anchors))
        failed = count = unproved = 0
        for check in checks:
            count, failed, unproved = count + (not check.open), failed + (not check.holds), unproved + check.open
            if not (quiet and check.holds and not check.open):
                mark = "?   " if check.open else "ok  " if check.holds else "FAIL"
                # Of somebody else's files: one line, and nothing that a terminal obeys.
                typer.echo("".join(sign for sign in f"{mark} {check.field}: {check.detail}" if sign.isprintable()))
        why = "; NOT ALL PROVED, see ?" if knows_ledger else "; NOT PROVED, for want of the ledger"
        left = why if unproved else ""
        typer.echo(f"{count - failed} of {count} checks hold{left}")
        if failed:
            raise typer.Exit(FAILED)


def _certificates(file: Path) -> str:
    """The text of a PEM file. Raises ConfigError."""
    from spti_ray.config.loading import ConfigError

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"--trust {file}: can't be read as a file of certificates in PEM") from None
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigError(f"--trust {file}: holds no certificate in PEM")
    return text

"""`spti check`: what is in the private images, for their owner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import ConfigFile, Overrides, examples, given_path, one_line_errors
from spti_ray.cli.leaving import at_work


@examples(
    "spti check my.yaml --out runs/mine",
    "spti check my.yaml --out runs/mine --set data.label_column=diagnosis",
)
def check(
    config: ConfigFile,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=given_path,
            help="The folder of the run to come; embeddings made here are its own.",
            metavar="DIR",
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Read every private image once: INTERNAL, writes `DIR/internal/check.html` for the data's owner, and no charge.

    How many records can vote, by label and group; files with problems; sizes, bit depths, equal images and a contact
    sheet. Nothing of it is printed, and nothing of it may go into the configuration. It is a look at the private
    images, which the dataset's ledger records. A run in `DIR` uses the embeddings; its settings may still change.
    """
    with at_work(), one_line_errors():
        from spti_ray.config.loading import load_config

        settings = load_config(config, overrides or ())
        from spti_ray.config.job_paths import check_here

        check_here(settings, out)  # at once: the driver's libraries take seconds to load
        import sys

        from rich.console import Console

        from spti_ray.check.command import check_images

        page = check_images(settings, out, Console(file=sys.stderr))
        typer.echo(f"for the owner only: {page}")

"""`spti export`: a release in the formats that other tools read, here or in a bucket."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import examples, one_line_errors
from spti_ray.cli.leaving import at_work


class Format(StrEnum):
    """What `--format` takes."""

    IMAGEFOLDER = "imagefolder"
    CLASSFOLDERS = "classfolders"
    PARQUET = "parquet"
    WEBDATASET = "webdataset"
    DATASETS = "datasets"


@examples(
    "spti export runs/a --format parquet --out published/a",
    "spti export runs/a --format webdataset --out s3://bucket/a",
    "spti export runs/a/release --format datasets --out a-datasets --bucket gs://bucket/a",
)
def export(
    directory: Annotated[Path, typer.Argument(help="A finished run's folder, or a release folder.", metavar="DIR")],
    format: Annotated[Format, typer.Option("--format", help="Who shall read it; `datasets` needs the extra datasets.")],
    out: Annotated[
        str, typer.Option("--out", help="A new folder, or s3://, gs://, abfs:// of an empty one.", metavar="PLACE")
    ],
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="Copy it there, too: s3://, gs:// or abfs://.", metavar="URL")
    ] = None,
) -> None:
    """Write a release in another format: images, texts and labels, with certificate and datasheet beside them.

    Only files of the release are read, each is checked against its hash in the manifest, and images keep their bytes.
    Nothing is charged. A folder appears whole or not at all; in a bucket, `privacy.json` or else the datasheet is
    written last. Credentials for buckets come from the environment. Exit code 2 if there is something at PLACE.
    """
    with at_work(), one_line_errors():
        from spti_ray.cli.step_progress import step_progress
        from spti_ray.release.export.command import export_release

        done: list[str] = []
        try:
            with step_progress(quick=True) as told:
                for line in export_release(directory, format.value, out, bucket, told):
                    done.append(line)
        finally:
            # Of several places some may be done when one fails.
            for line in done:
                typer.echo(line)

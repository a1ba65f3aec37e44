"""`spti run` as a job's entry point, from a checkout:

    ray job submit --address http://head:8265 --working-dir . -- \\
        python jobs/synthesize.py --config jobs/stickers.yaml --out /runs/stickers --set ledger.path=/runs/ledger

The run's folder and its ledger (or `s3://bucket/ledgers`) must outlive the job: what is relative, or in the uploaded
folder, is refused. Leave private images and run folders out of that folder. The cluster
needs spti-ray's dependencies. Where spti-ray itself is installed, `spti submit` is shorter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.run import run


def synthesize(
    config: Annotated[Path, typer.Option(help="The run's YAML file.")],
    out: Annotated[Path, typer.Option(help="The run's folder, on a volume that all nodes share.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b=value.")] = None,
) -> None:
    """Run a configuration on the cluster that this job runs on; exit codes are those of `spti run`."""
    run(config, out, overrides)


if __name__ == "__main__":
    typer.run(synthesize)

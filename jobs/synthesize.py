"""`spti run` as a job's entry point, from a checkout:

    ray job submit --address http://head:8265 --working-dir . -- \\
        python jobs/synthesize.py --config jobs/stickers.yaml --out /runs/stickers

The cluster needs spti-ray's dependencies. Where spti-ray itself is installed, `spti submit` is shorter.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli import run


def synthesize(
    config: Annotated[Path, typer.Option(help="The run's YAML file.")],
    out: Annotated[Path, typer.Option(help="The run's folder, on a volume that all nodes share.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override a setting: a.b=value.")] = None,
) -> None:
    """Run a configuration on the cluster that this job runs on; exit codes are those of `spti run`."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not out.is_absolute():
        raise typer.BadParameter(f"--out {out} is relative: it would go with the job; give a path that all nodes share")
    run(config, out, overrides)


if __name__ == "__main__":
    typer.run(synthesize)

"""`spti run`: a whole run, from private images to a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import ConfigFile, Overrides, examples, given_path, one_line_errors
from spti_ray.cli.leaving import at_work


@examples(
    "spti run bundled:stickers --out runs/stickers",
    "spti run my.yaml --out runs/a --set privacy.epsilon=1 --set release.images=1000",
)
def run(
    config: ConfigFile,
    out: Annotated[
        Path,
        typer.Option("--out", parser=given_path, help="The run's folder; made if it is not there.", metavar="DIR"),
    ],
    overrides: Overrides = None,
    unattended: Annotated[
        bool,
        typer.Option(
            "--unattended",
            help="For what starts a run again after any failure, as a RayJob does: a refusal of the last hour (exit "
            "codes 2 and 3) is told again before any node is asked for.",
        ),
    ] = False,
) -> None:
    """Run a configuration: private images in, a DP image release out, in `DIR/release`.

    The same command on an interrupted `DIR` goes on where it stopped; on a finished one it does nothing,
    except that a changed `release.card` is taken up.
    """
    with at_work(), one_line_errors():
        from spti_ray.config.loading import load_config

        settings = load_config(config, overrides or ())
        from spti_ray.config.job_paths import check_here

        check_here(settings, out)  # at once: the driver's libraries take seconds to load
        from spti_ray.driver.driver import run_config

        run_config(settings, out, unattended=unattended)

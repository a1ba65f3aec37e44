"""`spti submit`: a run on a Ray cluster, started from anywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from spti_ray.cli.common import ConfigFile, Overrides, examples, one_line_errors


@examples(
    "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=... spti submit my.yaml --out /runs/a --address http://head:8265",
)
def submit(
    config: ConfigFile,
    out: Annotated[str, typer.Option(help="The run's folder, on a volume that the cluster's nodes share.")],
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard, such as http://head:8265.")
    ],
    overrides: Overrides = None,
    wait: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Follow the log, and end with the run's exit code.")
    ] = True,
) -> None:
    """Run a configuration as a job on a Ray cluster, which must have spti-ray installed.

    Given again while it runs, it follows the same job; afterwards, it goes on with the run where it was interrupted.
    """
    with one_line_errors():
        from spti_ray.config.loading import load_config

        settings = load_config(config, overrides or ())
        from spti_ray.config.job_paths import check_on_ray

        check_on_ray(settings)  # before the cluster is asked, which may take a while to answer
        from spti_ray.driver.process import is_to_stop
        from spti_ray.io.urls import redacted_address
        from spti_ray.runtime.ray.submit import connect, follow, stop
        from spti_ray.runtime.ray.submit import submit as start

        client = connect(address)
        attempt = start(client, settings, out)
        name = attempt.submission_id
        ends = f"ray job stop --address {redacted_address(address)} {name} ends it"
        typer.echo(f"{'joined' if attempt.joined else 'submitted'} {name}; {ends}")
        if not wait:
            return
        try:
            code = follow(client, name, lambda lines: typer.echo(lines, nl=False))
        except KeyboardInterrupt:
            if is_to_stop("job"):
                stop(client, name)
                raise
            typer.echo("no longer following; the job goes on. The same command follows it again.")
            return
        raise typer.Exit(code)

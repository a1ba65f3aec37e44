"""The `spti` command. Parses first; heavy libraries are imported inside the commands that need them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from spti_ray import __version__
from spti_ray.cli.bench import bench
from spti_ray.cli.common import BUDGET, DONE, FAILED, RESOURCES, USAGE, ConfigFile, Overrides, fail, one_line_errors
from spti_ray.cli.evaluate import evaluate
from spti_ray.cli.export import export
from spti_ray.cli.init import init
from spti_ray.cli.ledger import ledger_app
from spti_ray.cli.manifest import manifest_app
from spti_ray.cli.refine import compare, refine
from spti_ray.cli.submit import submit

app = typer.Typer(
    name="spti",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Differentially private synthetic images: private images vote on public texts, a text-to-image model renders "
    "the winners.\n\nExit codes: 0 done; 2 configuration or usage; 3 budget refused; 4 resources never arrived, or no "
    "Ray; 1 anything else.",
)
app.add_typer(ledger_app, name="ledger")
app.add_typer(manifest_app, name="manifest")
app.command(
    epilog="Examples: `spti init 'X-ray images of hands' --out hands.yaml --data scans/` · "
    "`spti init 'histology slides of lymph nodes' --labels tumour,normal --out lymph.yaml --private-records 5000` · "
    "`spti init 'street signs' --out signs.yaml --template`"
)(init)
app.command(
    epilog="Example: `RAY_AUTH_MODE=token RAY_AUTH_TOKEN=... spti submit my.yaml --out /runs/a --address http://head:8265`"
)(submit)
app.command(
    epilog="Examples: `spti refine runs/a --out runs/b --generations 4 --set privacy.epsilon=0.5` · "
    "`spti refine runs/a --out runs/a-1000 --images 1000` · "
    "`spti refine runs/a --out runs/a-sdxl --set runtime.engines.renderer.model=stabilityai/sdxl-turbo "
    "--set runtime.engines.renderer.num_gpus=1`"
)(refine)
app.command(
    epilog="Examples: `spti export runs/a --format parquet --out published/a` · "
    "`spti export runs/a --format webdataset --out s3://bucket/a` · "
    "`spti export runs/a/release --format datasets --out a-datasets --bucket gs://bucket/a`"
)(export)
app.command(epilog="Examples: `spti compare runs/a runs/b` · `spti compare runs/a published/release --json`")(compare)
app.command(
    epilog="Examples: `spti bench --out runs/bench` · `spti bench --out runs/bench --only votes --json` · "
    "`spti bench --out b --config my.yaml --only engines --price-per-gpu-hour 2.5`"
)(bench)
app.command(
    epilog="Examples: `spti evaluate runs/stickers` · `spti evaluate runs/stickers --generation all` · "
    "`spti evaluate baseline/ --reference bundled:stickers --out private/` · "
    "`spti evaluate runs/a --judge dinov2 --json`"
)(evaluate)


@app.command(
    epilog="Examples: `spti run bundled:stickers --out runs/stickers` · "
    "`spti run my.yaml --out runs/a --set privacy.epsilon=1 --set release.images=1000`"
)
def run(
    config: ConfigFile,
    out: Annotated[Path, typer.Option("--out", help="The run's folder; made if it is not there.", metavar="DIR")],
    overrides: Overrides = None,
) -> None:
    """Run a configuration: private images in, a DP image release out, in `DIR/release`.

    The same command on an interrupted `DIR` goes on where it stopped; on a finished one it does nothing.
    """
    with one_line_errors():
        from spti_ray.config.loading import load_config

        settings = load_config(config, overrides or ())
        from spti_ray.config.job_paths import check_here

        check_here(settings, out)  # at once: the driver's libraries take seconds to load
        from spti_ray.driver.driver import run_config

        run_config(settings, out)


@app.command(
    epilog="Examples: `spti plan bundled:stickers` · `spti plan my.yaml --set privacy.epsilon=1 --json` · "
    "`spti plan my.yaml --prompts` · `spti plan my.yaml --private-records 5000 --recommend` · "
    "`spti plan my.yaml --nodes nodes.yaml` · `spti plan my.yaml --costs --private-records 5000 --price gpu=2.5` · "
    "`spti plan my.yaml --costs --rates runs/bench --rates runs/mine`"
)
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Print one prompt of each kind, as the writer would see it, instead.")
    ] = False,
    private_records: Annotated[
        int | None,
        typer.Option(
            "--private-records", min=1, help="A *publicly stated* order of magnitude, for votes per candidate."
        ),
    ] = None,
    recommends: Annotated[
        bool,
        typer.Option("--recommend", help="Also: candidates, generations and votes for --private-records, compared."),
    ] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="Also: hours, GPU-hours, dollars, tokens, storage, against DP training.")
    ] = False,
    rates: Annotated[
        list[Path] | None,
        typer.Option(
            "--rates",
            help="Measured rates, for --costs and --recommend: a finished run, what `spti bench` left, or a file. "
            "Repeatable, the first counts.",
            metavar="PATH",
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            help="US dollars an hour of a GPU (gpu=2.5; by its kind: H100=3.2) or CPU (cpu=0.04), or an endpoint's "
            "image (image=0.02). Repeatable.",
            metavar="WHAT=DOLLARS",
        ),
    ] = None,
    nodes: Annotated[
        Path | None,
        typer.Option(help="YAML of a cluster's nodes: say where each actor would run, too.", metavar="FILE"),
    ] = None,
) -> None:
    """Say what a configuration would do and cost: noise, epsilon, sizes, hours. Touches no data.

    Costs are estimates from the settings and from rates, each with its source: published ones, or yours by --rates.

    Exit code 3 if the dataset's ledger is there and its budget does not cover the run, 4 if it does not fit on --nodes.
    """
    with one_line_errors():
        from spti_ray.config.loading import load_config
        from spti_ray.planning.costs.report import costs_of
        from spti_ray.planning.plan import plan_summary
        from spti_ray.planning.plan_text import plan_lines, prompt_previews
        from spti_ray.runtime.placement.fit import load_topology, placed

        settings = load_config(config, overrides or ())
        if prompts:
            typer.echo("\n\n".join(prompt_previews(settings)))
            return
        summary = plan_summary(settings, private_records)
        fits, summary["placement"] = placed(settings, load_topology(nodes) if nodes else None)
        lines = plan_lines(summary) + [f"actors      {line}" for line in summary["placement"]]
        estimated = costs_of(settings, rates or (), price or (), private_records)
        summary["costs"] = estimated.to_json()
        lines += ["", *estimated.lines()] if costs else [estimated.line()]
        if recommends:
            if private_records is None:
                fail("--recommend needs --private-records: a publicly stated order of magnitude, never a count", USAGE)
            from spti_ray.planning.recommend import recommend, recommendation_lines

            found = recommend(settings, private_records, estimated.found.per_second if rates else None)
            summary["recommendation"] = found.to_json()
            lines += ["", *recommendation_lines(found)]
        typer.echo(json.dumps(summary, indent=2) if as_json else "\n".join(lines))
        if summary.get("affordable"):
            raise typer.Exit(BUDGET)
        if not fits:
            raise typer.Exit(RESOURCES)


@app.command(epilog="Example: `spti doctor`")
def doctor() -> None:
    """Check versions, devices, models, Ray and disk: one line each, ok or what to do."""
    with one_line_errors():
        from spti_ray.cli.doctor_checks import checks

        all_well = True
        for name, well, detail in checks():
            all_well &= well
            typer.echo(f"{'ok  ' if well else 'FIX '} {name}: {detail}")
        if not all_well:
            raise typer.Exit(FAILED)


@app.command(epilog="Examples: `spti status runs/stickers` · `spti status runs/stickers --json`")
def status(
    directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say where a run is: finished, running or interrupted, its generations, and what has been spent."""
    with one_line_errors():
        from spti_ray.run.status import status_of

        found = status_of(directory)
        typer.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines(directory)))


@app.command(epilog="Example: `spti report runs/stickers`")
def report(directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")]) -> None:
    """Rebuild `DIR/release/report.html` from the run's public files."""
    with one_line_errors():
        from spti_ray.run.run_file import read_run

        read_run(directory)
        from spti_ray.release.report.build import build_report

        typer.echo(f"wrote {build_report(directory)}")


@app.command(
    epilog="Examples: `spti verify runs/stickers` · `spti verify release --ledger s3://privacy/ledgers/stickers`"
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


@app.command(epilog="Examples: `spti audit` · `spti audit runs/stickers`")
def audit(
    directory: Annotated[
        Path | None,
        typer.Argument(
            help="A finished run: the results go into its certificate, which is made anew.", metavar="[DIR]"
        ),
    ] = None,
) -> None:
    """Audit the installed build: a one-run canary attack on the whole gate, and the noise against its exact law.

    An audit can find a fault; it does not prove the guarantee. Uses no private image. Exit code 1 if a fault is found.
    """
    with one_line_errors():
        from spti_ray.audit.suite import run_audits
        from spti_ray.release.certify import Certifiable

        run = Certifiable(directory) if directory else None
        report = run_audits(lambda line: typer.echo(line, err=True))
        for line in report.lines():
            typer.echo(line)
        if run:
            typer.echo(run.reissue(report.to_json()))
        if not report.passed:
            raise typer.Exit(FAILED)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"spti-ray {__version__}")
        raise typer.Exit(DONE)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `spti` command."""
    app(prog_name=Path(sys.argv[0]).name or "spti")


if __name__ == "__main__":
    main()

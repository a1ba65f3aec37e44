"""The `spti` command. Parses first; heavy libraries are imported inside the commands that need them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from spti_ray import __version__

DONE, FAILED, USAGE, BUDGET, RESOURCES = 0, 1, 2, 3, 4

app = typer.Typer(
    name="spti",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Differentially private synthetic images: private images vote on public texts, a text-to-image model renders "
    "the winners.\n\nExit codes: 0 done; 2 configuration or usage; 3 budget refused; 4 resources never arrived; "
    "1 anything else.",
)
ledger_app = typer.Typer(no_args_is_help=True, help="Look into a dataset's privacy ledger.")
app.add_typer(ledger_app, name="ledger")

ConfigFile = Annotated[Path, typer.Argument(help="The run's YAML file, such as jobs/stickers.yaml.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: a.b=value. Repeatable.", metavar="A.B=VALUE")
]


def _fail(message: object, code: int) -> NoReturn:
    typer.echo(f"spti: {' '.join(str(message).split())}", err=True)
    raise typer.Exit(code)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn the errors that users can act on into one line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to go on", FAILED)
    except typer.Exit:
        raise
    except Exception as error:
        from spti_ray.errors import exit_code, one_line

        if os.environ.get("SPTI_DEBUG"):
            raise
        _fail(one_line(error), exit_code(error))


@app.command(
    epilog="Examples: `spti run jobs/stickers.yaml --out runs/stickers` · "
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
    with _one_line_errors():
        from spti_ray.config_load import load_config

        settings = load_config(config, overrides or ())
        from spti_ray.actors.driver import run_config

        run_config(settings, out)


@app.command(
    epilog="Examples: `spti plan jobs/stickers.yaml` · `spti plan my.yaml --set privacy.epsilon=1 --json` · "
    "`spti plan my.yaml --prompts`"
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
        typer.Option("--private-records", help="A *publicly stated* order of magnitude, for votes per candidate."),
    ] = None,
) -> None:
    """Say what a configuration would cost and do: noise, epsilon, sizes. Touches no data."""
    with _one_line_errors():
        from spti_ray.config_load import load_config
        from spti_ray.planning import plan_lines, plan_summary, prompt_previews

        settings = load_config(config, overrides or ())
        if prompts:
            typer.echo("\n\n".join(prompt_previews(settings)))
            return
        summary = plan_summary(settings, private_records)
        if as_json:
            typer.echo(json.dumps(summary, indent=2))
        else:
            for line in plan_lines(summary):
                typer.echo(line)


@app.command(epilog="Example: `spti doctor`")
def doctor() -> None:
    """Check versions, devices, models, Ray and disk: one line each, ok or what to do."""
    with _one_line_errors():
        from spti_ray.doctor import checks

        all_well = True
        for name, well, detail in checks():
            all_well &= well
            typer.echo(f"{'ok  ' if well else 'FIX '} {name}: {detail}")
        if not all_well:
            raise typer.Exit(FAILED)


@app.command(epilog="Example: `spti report runs/stickers`")
def report(directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")]) -> None:
    """Rebuild `DIR/release/report.html` from the run's public files."""
    with _one_line_errors():
        from spti_ray.rundir import read_run

        read_run(directory)
        from spti_ray.report.build import build_report

        typer.echo(f"wrote {build_report(directory)}")


LedgerPath = Annotated[Path, typer.Argument(help="A ledger file, or the folder of one or more.", metavar="PATH")]


@ledger_app.command("show", epilog="Example: `spti ledger show runs/ledger`")
def ledger_show(path: LedgerPath) -> None:
    """Print a ledger's entries and what the dataset has spent."""
    with _one_line_errors():
        from spti_ray.ledger_view import show_lines

        for file in _ledger_files(path):
            for line in show_lines(file):
                typer.echo(line)


@ledger_app.command("verify", epilog="Example: `spti ledger verify runs/ledger/stickers.jsonl --head 3f2a…`")
def ledger_verify(
    path: LedgerPath,
    head: Annotated[
        str | None, typer.Option(help="A head hash kept elsewhere, such as a certificate's, that must be in the chain.")
    ] = None,
) -> None:
    """Check every hash of the chain. Finds altered, dropped, inserted and reordered lines."""
    with _one_line_errors():
        from spti_ray.ledger_view import verify_line

        for file in _ledger_files(path):
            typer.echo(verify_line(file, head))


def _ledger_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(path.glob("*.jsonl"))
        if not files:
            _fail(f"{path}: no ledger (*.jsonl) in this folder", USAGE)
        return files
    if not path.exists():
        _fail(f"{path}: no such ledger", USAGE)
    return [path]


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

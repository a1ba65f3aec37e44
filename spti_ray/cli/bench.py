"""`spti bench`: how much of the machines' time reaches the engines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import Overrides, examples, given_path, one_line_errors
from spti_ray.cli.leaving import at_work


@examples(
    "spti bench --out runs/bench",
    "spti bench --out runs/bench --only votes --json",
    "spti bench --out runs/bench --only images --only memory --against ../other-checkout",
    "spti bench --out b --config my.yaml --only engines --price-per-gpu-hour 2.5",
)
def bench(
    out: Annotated[Path, typer.Option(parser=given_path, help="Folder for the figures.", metavar="DIR")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="Measure this run's engines on its cluster, instead of the bundled ones here.", metavar="CONFIG"
        ),
    ] = None,
    overrides: Overrides = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="engines, scaling, driver, streaming, images, memory, model, peers, kills, feeding, script or votes.",
            metavar="PART",
        ),
    ] = None,
    actors: Annotated[str, typer.Option(help="Sizes for scaling.", metavar="N,N,...")] = "1,4,16,64",
    price: Annotated[
        float | None, typer.Option("--price-per-gpu-hour", min=0.0, help="In dollars: adds figures per dollar.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another checkout: its part of images and of feeding is measured too.", metavar="DIR"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole JSON at the end.")] = False,
) -> None:
    """Measure engines in their pools against bare ones, scaling, streaming, what the driver takes, kills and votes.

    Writes `throughput.json` with all ratios, `throughput.png`, and `timeline.json` for ui.perfetto.dev. Touches no
    private data. Nothing else should run on the machine meanwhile: a quarter of an hour on two cores. Says on stderr
    what is being measured, and how long that part took the last time.
    """
    with at_work(), one_line_errors():
        from spti_ray.bench.suite import PARTS, Settings, run
        from spti_ray.cli.step_progress import said_again, step_progress
        from spti_ray.config.loading import ConfigError, load_config
        from spti_ray.io.text_table import Column, text_table
        from spti_ray.models.factory import engines_config
        from spti_ray.runs.output_places import check_folder

        check_folder("--out", out)
        if overrides and config is None:
            raise ConfigError("--set needs --config")
        sizes = tuple(int(size) if size.strip().isdigit() else 0 for size in actors.split(","))
        if 0 in sizes:
            raise ConfigError(f"--actors {actors!r}: give numbers from 1, such as 1,4,16")
        loaded = None if config is None else load_config(config, overrides or ())
        settings = Settings(actors=sizes, price_per_gpu_hour=price, against=against)
        if loaded is not None:
            settings = replace(settings, engines=engines_config(loaded.runtime.engines), runtime=loaded.runtime)
        document = {}
        with step_progress() as steps, said_again(steps) as told:
            for name, document in run(out, settings, tuple(only or PARTS), told):  # noqa: B007 the last is printed
                if not as_json:
                    typer.echo(f"{name}: done")
        if as_json:
            typer.echo(json.dumps(document))
            return
        rows: list[list[str]] = []
        for name, ratio in document["ratios"].items():
            bound = f"at most {ratio['at_most']:g}" if "at_most" in ratio else f"at least {ratio['at_least']:g}"
            rows.append([name, f"{ratio['value']:.3f}", bound, "" if ratio["reached"] else "NOT REACHED"])
        columns = (Column(min_width=40), Column(is_number=True, min_width=9), Column(min_width=12), Column())
        for line in text_table(columns, rows):
            typer.echo(line)
        if votes := document.get("votes", {}).get("on_device"):
            typer.echo(
                f"votes on {votes['device']} ({votes['by']}): {votes['over_numpy']:.2f} times as fast as NumPy's"
            )
        typer.echo(f"written: {out / 'throughput.json'}, {out / 'throughput.png'}")

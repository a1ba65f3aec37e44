"""`spti plan`: what a configuration would do and cost. Touches no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import (
    BUDGET,
    RESOURCES,
    USAGE,
    ConfigFile,
    Overrides,
    examples,
    fail,
    given_path,
    one_line_errors,
)


@examples(
    "spti plan bundled:stickers",
    "spti plan my.yaml --set privacy.epsilon=1 --json",
    "spti plan my.yaml --prompts",
    "spti plan my.yaml --private-records 5000 --recommend",
    "spti plan my.yaml --nodes nodes.yaml",
    "spti plan my.yaml --costs --private-records 5000 --price gpu=2.5",
    "spti plan my.yaml --costs --rates runs/bench --rates runs/mine",
    "spti plan my.yaml --private-records 5000 --html plan.html",
)
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts", help="Print the prompts, one of each kind and label, as the writer would see them, instead."
        ),
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
    html: Annotated[
        Path | None,
        typer.Option(
            parser=given_path,
            help="Also write a page on which settings are moved and the plan follows.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Say what a configuration would do and cost: noise, epsilon, sizes, hours. Touches no data.

    Costs are estimates from the settings and from rates, each with its source: published ones, or yours by --rates.
    The page of --html is one file for a browser, without a network: what is chosen there comes out as --set.

    Exit code 3 if the dataset's budget, in its ledger or to be registered by this run, does not cover the run; 4 if it
    does not fit on --nodes. A ledger in a bucket is not asked.
    """
    with one_line_errors():
        from spti_ray.config.loading import load_config
        from spti_ray.planning.costs.report import costs_of
        from spti_ray.planning.plan import plan_summary
        from spti_ray.planning.plan_text import plan_lines, prompt_previews
        from spti_ray.runtime.placement.fit import load_topology, placed

        settings = load_config(config, overrides or ())
        if prompts:
            if html or nodes or as_json or recommends or costs:
                fail("--prompts shows the prompts and nothing else; leave out the other options", USAGE)
            typer.echo("\n\n".join(prompt_previews(settings)))
            return
        if html:
            from spti_ray.runs.output_places import check_file

            check_file("--html", html)
        summary = plan_summary(settings, private_records)
        fits, summary["placement"] = placed(settings, load_topology(nodes) if nodes else None)
        lines = plan_lines(summary) + [f"actors      {line}" for line in summary["placement"]]
        estimated = costs_of(settings, rates or (), price or (), private_records)
        summary["costs"] = estimated.to_json()
        lines += ["", *estimated.lines()] if costs else [estimated.line()]
        if recommends:
            if private_records is None:
                fail("--recommend needs --private-records: a publicly stated order of magnitude, never a count", USAGE)
            from spti_ray.planning.recommend import recommend
            from spti_ray.planning.recommendation_text import recommendation_lines

            found = recommend(settings, private_records, estimated.found.per_second if rates else None)
            summary["recommendation"] = found.to_json()
            lines += ["", *recommendation_lines(found)]
        if html:
            from spti_ray.planning.page.build import write_plan_page

            again = ["spti", "plan", str(config)]
            again += [word for override in overrides or () for word in ("--set", override)]
            again += [word for path in rates or () for word in ("--rates", str(path))]
            write_plan_page(html, settings, estimated, summary, again)
            lines.append(f"page        {html}, for a browser")
        typer.echo(json.dumps(summary, indent=2) if as_json else "\n".join(lines))
        if summary.get("affordable"):
            raise typer.Exit(BUDGET)
        if not fits:
            raise typer.Exit(RESOURCES)

"""`spti init`: a starter configuration from one line about the domain. Never opens data."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spti_ray.cli.common import USAGE, examples, fail, given_path, one_line_errors
from spti_ray.cli.leaving import at_work

if TYPE_CHECKING:
    from spti_ray.config import EnginesConfig
    from spti_ray.public.draft_checks import Similarity
    from spti_ray.public.drafting_requests import Write


@examples(
    "spti init 'X-ray images of hands' --out hands.yaml --data scans/",
    "spti init 'histology slides of lymph nodes' --labels tumour,normal --out lymph.yaml --dataset lymph-2026 "
    "--group patient_id --patients 500",
    "spti init 'street signs' --out signs.yaml --dataset signs --template",
)
def init(
    domain: Annotated[str, typer.Argument(help="What the images are, in one line: 'X-ray images of hands'.")],
    out: Annotated[
        Path, typer.Option("--out", parser=given_path, help="The YAML file; must not exist yet.", metavar="FILE")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="The id of these images, whose budget is spent, from whoever keeps the ledger; asked for in a "
            "terminal. One set of images must have one id for ever.",
            metavar="ID",
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Public label names: tumour,normal.", metavar="A,B")] = None,
    data: Annotated[
        str | None, typer.Option(help="Written down as data.path; never opened here.", metavar="PATH")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="privacy.epsilon.")] = 1.0,
    delta: Annotated[float, typer.Option(help="privacy.delta, from policy.")] = 1e-6,
    private_records: Annotated[
        int | None,
        typer.Option("--private-records", min=1, help="A *publicly stated* order of magnitude, for the schedule."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column of the groups, such as patients, that are protected as a whole.", metavar="COLUMN"),
    ] = None,
    patients: Annotated[
        int | None,
        typer.Option("--patients", min=1, help="With --group: a *publicly stated* order of magnitude of the groups."),
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Use no language model: templates to fill in.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A runtime setting, such as the writer that drafts.", metavar="RUNTIME.A=VALUE"),
    ] = None,
) -> None:
    """Write a starter configuration: prompts for any domain, drafted by the writer from that line alone.

    Drafts are checked, and general templates, marked as such, stand for what fails. The file can be planned and run as
    it is, and is meant to be edited. The data are not opened.
    """
    with at_work(), one_line_errors():
        from spti_ray.cli.step_progress import step_progress
        from spti_ray.config.loading import with_overrides
        from spti_ray.io.files import write_new
        from spti_ray.models.factory import engines_config
        from spti_ray.planning.starter import Wish, schedule_warning, starter
        from spti_ray.public.drafting import draft_prompts
        from spti_ray.runs.output_places import check_file

        check_file("--out", out)
        if out.exists():
            fail(f"{out}: is there already, and is not overwritten; give another --out", USAGE)
        for override in overrides or ():
            if not override.startswith("runtime."):
                fail(f"--set {override}: only runtime.* can be set here; edit the file for the rest", USAGE)
        runtime: dict[str, Any] = {"engines": "embedded"}
        if overrides:
            runtime = with_overrides({"runtime": runtime}, overrides)["runtime"]
        try:
            engines = engines_config(runtime["engines"])
        except ValueError as error:
            fail(error, USAGE)
        writer = engines.writer
        names = tuple(label.strip() for label in labels.split(",")) if labels else ()
        wish = Wish(
            " ".join(domain.split()),
            dataset or _asked_for_dataset(),
            names,
            data,
            epsilon,
            delta,
            private_records,
            group,
            patients,
            runtime,
        )
        made, drafted_by = draft_prompts(wish.domain, names, None), None
        starter(wish, made, None)  # so that wrong settings are refused before a model loads
        if not template:
            typer.echo(f"drafting with {writer.model} (--template does without)", err=True)
            with step_progress() as told, _silence():
                told("loading the models", 0, 0)
                with _opened(engines) as (write, alike):
                    made = draft_prompts(wish.domain, names, write, alike, told=told)
            drafted_by = writer.model
        try:
            write_new(out, starter(wish, made, drafted_by))
        except FileExistsError:
            fail(f"{out}: is there already, and is not overwritten; give another --out", USAGE)
        if warning := schedule_warning(wish, made):
            typer.echo(f"WARNING: {warning}", err=True)
        typer.echo(f"wrote {out}: read it, then spti plan {out} --prompts")
        if made.templates:
            typer.echo(f"from templates, to be replaced by your own words: {', '.join(sorted(made.templates))}")


def _asked_for_dataset() -> str:
    """The id, from the terminal. Nothing else makes one: two drafts for one set of images must not give two budgets."""
    if not sys.stdin.isatty():
        fail("--dataset: give the id of these images, whose budget is spent (one set of images, one id)", USAGE)
    return typer.prompt("id of these images, whose privacy budget is spent (one set of images, one id)", err=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Show nothing of what the engine's libraries and their processes print, unless SPTI_DEBUG is set."""
    if os.environ.get("SPTI_DEBUG"):
        yield
        return
    kept = [os.dup(1), os.dup(2)]
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)


@contextmanager
def _opened(engines: EnginesConfig) -> Iterator[tuple[Write, Similarity]]:
    """The writer and the text embedder in this process, loaded."""
    from spti_ray.errors import NothingMade
    from spti_ray.models.bundled import ModelMissing
    from spti_ray.models.engine_process import engine_environment
    from spti_ray.models.factory import build_engine
    from spti_ray.types import Completions, WriteRequest

    # The engine's libraries read these variables once, when they are imported.
    os.environ.update(engine_environment("text_embedder", engines.text_embedder))
    os.environ.update(engine_environment("writer", engines.writer))
    try:
        engine = build_engine("writer", engines.writer)
        embedder = build_engine("text_embedder", engines.text_embedder)
    except ModelMissing:
        raise
    except Exception as error:
        what = f"the writer {engines.writer.model} or the text embedder {engines.text_embedder.model}"
        # Raised, not printed: the terminal is closed to what is printed here (`_silence`).
        raise NothingMade(f"{what} could not be started ({type(error).__name__}); --template needs none") from error

    loop = asyncio.new_event_loop()

    def write(requests: Sequence[WriteRequest]) -> Sequence[Completions]:
        return loop.run_until_complete(engine.write(requests))

    def alike(texts: Sequence[str], others: Sequence[str]) -> Sequence[Sequence[float]]:
        return (embedder.embed_texts(texts) @ embedder.embed_texts(others).T).tolist()

    try:
        yield write, alike
    finally:
        engine.close()
        loop.close()

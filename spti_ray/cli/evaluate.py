"""`spti evaluate`: how good a set of images is, for the private data's owner."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import FAILED, USAGE, examples, fail, given_path, one_line_errors
from spti_ray.cli.leaving import at_work


@examples(
    "spti evaluate runs/stickers",
    "spti evaluate runs/stickers --generation all",
    "spti evaluate baseline/ --reference bundled:stickers --out private/",
    "spti evaluate runs/a --judge dinov2 --json",
)
def evaluate(
    directory: Annotated[Path, typer.Argument(help="A run's folder, or a folder of images.", metavar="DIR")],
    reference: Annotated[
        str | None,
        typer.Option(help="Private images, as in data.path; a run's own data by default.", metavar="DATA"),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Their column of images.", metavar="NAME")] = None,
    label_column: Annotated[str | None, typer.Option(help="Their column of labels.", metavar="NAME")] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            help="Real images with labels that did not vote, with the same columns: classifiers are tested on them.",
            metavar="DATA",
        ),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose features are compared: bundled:sticker-blip, bundled:sticker-clip, clip, dinov2, "
            "inception:FILE, or any vision model by Hugging Face id or folder. By default a bundled one that did not "
            "vote. Repeatable.",
            metavar="MODEL",
        ),
    ] = None,
    clip: Annotated[
        str, typer.Option(help="CLIP model that scores images against their texts.", metavar="MODEL")
    ] = "bundled:sticker-clip",
    generation: Annotated[
        str | None,
        typer.Option(help="Evaluate the survivors of generation N (from 0), or `all` of them.", metavar="N|all"),
    ] = None,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="With --generation: all texts voted on, not the survivors.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Use so many images: sets are comparable at one size only.", metavar="N")
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap resamples of each interval.", metavar="N")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Public seed of splits, samples and resamples.")] = 0,
    limit: Annotated[
        int, typer.Option(min=1, help="Use a random sample of so many private images at most.", metavar="N")
    ] = 10_000,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=given_path,
            help="Private folder of results; DIR/internal/evaluation of a run by default.",
            metavar="FOLDER",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            parser=given_path,
            help="Private folder where judges' embeddings of private images are kept, for several runs on the same "
            "ones; cache in --out by default.",
            metavar="FOLDER",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the result's file.", metavar="NAME")] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Load the judges onto the GPU.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON that is written.")] = False,
) -> None:
    """Measure images against the private images: INTERNAL figures, not differentially private.

    KID, extrapolated Fréchet distance and CMMD first, which no number of images biases; then plain Fréchet distance,
    precision, recall, density, coverage, CLIP score, Vendi score, copies of records, label distribution and downstream
    accuracy, each beside what real images get. A page beside the figures shows the images that are nearest to records,
    and to each other. The look is recorded in the run's ledger.
    """
    with at_work(), one_line_errors():
        if generation is not None and generation != "all" and not generation.isdigit():
            fail(f"--generation {generation}: give a number from 0, or all", USAGE)
        # Before the libraries are imported; a bundled model needs no network.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        if find_spec("sklearn") is None:
            fail("spti evaluate needs scikit-learn; run: pip install 'spti-ray[eval]'", FAILED)
        from spti_ray.cli.step_progress import step_progress
        from spti_ray.evaluate.command import EvaluationRequest, results_document, run_evaluation
        from spti_ray.evaluate.lines import table_lines

        request = EvaluationRequest(
            directory=directory,
            reference=reference,
            image_column=image_column,
            label_column=label_column,
            held_out=held_out,
            judges=tuple(judge or ()),
            clip=clip,
            generation=None if generation is None else "all" if generation == "all" else int(generation),
            candidates=candidates,
            size=size,
            resamples=resamples,
            seed=seed,
            limit=limit,
            out=out,
            cache=cache,
            name=name,
            gpu=gpu,
        )
        with step_progress() as told:
            path, results = run_evaluation(request, lambda line: typer.echo(line, err=True), told)
        if as_json:
            typer.echo(json.dumps(results_document(results)))
        else:
            for line in table_lines(results):
                typer.echo(line)
        typer.echo(f"written, for the owner only: {path}, and with pictures {path.with_suffix('.html')}", err=True)

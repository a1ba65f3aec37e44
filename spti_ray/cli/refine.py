"""`spti refine`: from a finished run to the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import Overrides, examples, given_path, one_line_errors
from spti_ray.cli.leaving import at_work


@examples(
    "spti refine runs/a --out runs/b --generations 4 --set privacy.epsilon=0.5",
    "spti refine runs/a --out runs/a-1000 --images 1000",
    "spti refine runs/a --out runs/a-sdxl --set runtime.engines.renderer=preset:sdxl-turbo",
)
def refine(
    directory: Annotated[Path, typer.Argument(help="The folder of a finished run.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", parser=given_path, help="The new run's folder.", metavar="NEW")],
    generations: Annotated[
        int | None,
        typer.Option("--generations", min=1, help="More generations, charged to the dataset; without: only render."),
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Images in the new release; more cost no privacy.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Go on from a finished run: more generations, or just more images, or other ones, of the same texts.

    With `--generations`, a run of its own starts from the survivors of `DIR`. It is charged to the same dataset, with
    the epsilon of `DIR` unless `--set privacy.epsilon=E`, and refused (exit code 3) if the lifetime budget does not
    cover it. Its certificate names `DIR`'s run, and has the epsilon of both together.

    Without, the texts of `DIR` are rendered more often or by another renderer. This is post-processing: no private
    image is read, nobody votes, nothing is charged, and the new release has the certificate of `DIR`. Images that `DIR`
    has already are taken as they are, unless the renderer or its settings differ.

    The same command on an interrupted `NEW` goes on; on a finished one it does nothing.
    """
    with at_work(), one_line_errors():
        from spti_ray.runs.refinement import refined

        settings = refined(directory, generations, images, overrides or ())
        from spti_ray.driver.driver import run_config

        run_config(settings, out)

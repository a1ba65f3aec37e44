"""`spti show`: a run in the browser, while it goes and after."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

import typer

from spti_ray.cli.common import USAGE, examples, fail, one_line_errors

_WHY = {errno.EADDRINUSE: "another program listens on it", errno.EACCES: "is not for every user to listen on"}


@examples(
    "spti show runs/stickers",
    "spti show runs/stickers --port 8642     (elsewhere: ssh -L 8642:127.0.0.1:8642 THIS_MACHINE)",
    "spti show runs/stickers --internal",
)
def show(
    directory: Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")],
    port: Annotated[int, typer.Option(help="To listen on; 0: any that is free.", min=0, max=65_535)] = 0,
    internal: Annotated[
        bool,
        typer.Option("--internal", help="Also the pages of spti check and spti evaluate, which show PRIVATE images."),
    ] = False,
) -> None:
    """Show a run in a browser on this machine: how far it is, its texts, renders, noised votes and budget.

    Of a run that goes on it shows generations whose noised votes are committed, and of a finished one its report:
    nothing else, and nothing private, without --internal. Only this machine is answered, and only under the printed
    address, which has a token in it: whoever has the address sees the page. Ends with Ctrl-C.
    """
    with one_line_errors():
        from spti_ray.show.server import serve

        def started(address: str) -> None:
            typer.echo(f"{address}   (Ctrl-C ends it)")
            if internal:
                typer.echo(f"{address}internal/   INTERNAL: private images, for their owner alone")

        try:
            serve(directory, port, internal, started)
        except OSError as error:
            if error.errno not in _WHY:
                raise
            fail(f"--port {port}: {_WHY[error.errno]}; give another, or --port 0 for any that is free", USAGE)

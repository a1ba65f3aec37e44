"""What all `spti` commands share: exit codes, one-line errors, and arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

ConfigFile = Annotated[
    Path, typer.Argument(help="The run's YAML file, or `bundled:stickers`, the demo's.", metavar="CONFIG")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: a.b=value. Repeatable.", metavar="A.B=VALUE")
]

DONE, FAILED, USAGE, BUDGET, RESOURCES = 0, 1, 2, 3, 4


def fail(message: object, code: int) -> NoReturn:
    from spti_ray.io.urls import redacted_in

    typer.echo(f"spti: {redacted_in(' '.join(str(message).split()))}", err=True)
    raise typer.Exit(code)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the errors that users can act on into one line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to go on", FAILED)
    except (typer.Exit, SystemExit):
        raise
    except BaseException as error:
        from spti_ray.errors import exit_code, one_line

        if os.environ.get("SPTI_DEBUG"):
            raise
        fail(one_line(error), exit_code(error))

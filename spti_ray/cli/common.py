"""What all `spti` commands share: arguments, examples, exit codes and one-line errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from spti_ray.cli.leaving import end_by_exit_code, is_of_interrupt

ConfigFile = Annotated[
    Path, typer.Argument(help="The run's YAML file, or `bundled:stickers`, the demo's.", metavar="CONFIG")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: a.b=value. Repeatable.", metavar="A.B=VALUE")
]


def given_path(text: str) -> Path:
    """What `parser=` of an option takes whose value is a place: an empty one would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("is empty; name a place")
    return Path(text)


DONE, FAILED, USAGE, BUDGET, RESOURCES = 0, 1, 2, 3, 4

_EXAMPLES: dict[Callable[..., None], tuple[str, ...]] = {}


Command = TypeVar("Command", bound=Callable[..., None])


def examples(*commands: str) -> Callable[[Command], Command]:
    """Decorator of a command: what `spti COMMAND --help` shows as its examples."""

    def keep(command: Command) -> Command:
        _EXAMPLES[command] = commands
        return command

    return keep


def epilog_of(command: Callable[..., None]) -> str:
    """The examples of a command as the last line of its help."""
    shown = _EXAMPLES[command]
    return f"Example{'s' if len(shown) > 1 else ''}: {' · '.join(f'`{example}`' for example in shown)}"


def fail(message: object, code: int) -> NoReturn:
    """End the command with an exit code and one line on stderr; credentials in URLs are left out of it."""
    from spti_ray.io.urls import redacted_in

    typer.echo(f"spti: {redacted_in(' '.join(str(message).split()))}", err=True)
    raise typer.Exit(code)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn every error into one line on stderr and an exit code; `SPTI_DEBUG=1` raises it instead."""
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except BaseException as error:
        from spti_ray.errors import INTERRUPTED, exit_code, one_line

        if is_of_interrupt(error):
            end_by_exit_code()
            fail(INTERRUPTED, FAILED)
        if os.environ.get("SPTI_DEBUG"):
            raise
        fail(one_line(error), exit_code(error))

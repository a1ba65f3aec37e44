"""The `spti` command: a file a command. Parses first; commands import the heavy libraries that they need themselves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spti_ray.cli.commands import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    """`app`, when it is asked for: a Ctrl-C while it is imported meets `main`, which has no other way to be quiet."""
    if name == "app":
        from spti_ray.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(name: str = "") -> None:
    """Entry point of the `spti` command.

    Args:
        name: of the command, in its help; by default that of the script.
    """
    from spti_ray.cli import leaving

    try:
        leaving.watch_outputs()
        leaving.repeat_lost_interrupts()
        from spti_ray.cli.commands import app

        app(prog_name=name or sys.argv[0].rpartition("/")[2] or "spti")
    except KeyboardInterrupt:
        leaving.say_interrupted()
    except SystemExit as ended:
        if ended.code == leaving.INTERRUPTED_OUTSIDE:
            leaving.say_interrupted()
        from spti_ray.runtime.local.leaving import engines_at_work, leave

        if engines_at_work():
            leave(ended.code if isinstance(ended.code, int) else 1 if ended.code else 0)
        raise

"""The commands of `spti` as a whole."""

import subprocess
import sys

import typer

from spti_ray import __version__
from spti_ray.cli import app

COMMANDS = (
    *("init", "submit", "refine", "export", "compare", "bench", "evaluate"),
    *("run", "plan", "doctor", "status", "report", "verify", "audit"),
    *("ledger", "manifest"),
)


def test_the_commands_are_listed_in_their_order():
    assert tuple(typer.main.get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]


def test_every_command_says_what_it_does_and_shows_an_example():
    for command in app.registered_commands:
        assert command.callback is not None and command.callback.__doc__
        assert command.epilog is not None and f"spti {command.callback.__name__}" in command.epilog


def test_the_package_can_be_run_where_the_script_is_not_on_the_path():
    told = subprocess.run([sys.executable, "-m", "spti_ray.cli", "--version"], capture_output=True, text=True)
    assert told.stdout == f"spti-ray {__version__}\n"

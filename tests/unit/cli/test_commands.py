"""The commands of `spti` as a whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from spti_ray import __version__
from spti_ray.cli import app

README = Path(__file__).parents[3] / "README.md"
PANELS = {
    "Before a run": ["doctor", "init", "check", "plan"],
    "Run": ["run", "submit", "status", "show", "refine"],
    "Judge": ["report", "evaluate", "measure", "compare"],
    "Prove and pass on": ["verify", "audit", "export"],
    "Around runs": ["bench", "ledger", "manifest"],
}
COMMANDS = [command for commands in PANELS.values() for command in commands]


def test_the_commands_are_grouped_in_the_order_in_which_one_uses_them():
    assert list(typer.main.get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "NO_COLOR": "1"}).output
    told: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if panel := re.match(r"\W+([A-Z][\w ]+\w) ─", line):
            told[panel[1]] = []
        elif told and (command := re.match(r"│ (\w+) ", line)):
            told[list(told)[-1]].append(command[1])
    assert {panel: commands for panel, commands in told.items() if panel in PANELS} == PANELS
    assert [panel for panel in told if panel in PANELS] == list(PANELS)


def test_the_readme_has_the_commands_in_that_order():
    table = README.read_text(encoding="utf-8").split("| `spti` | |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == COMMANDS


def test_every_command_says_what_it_does_and_shows_an_example():
    for command in app.registered_commands:
        assert command.callback is not None and command.callback.__doc__
        assert command.epilog is not None and f"spti {command.callback.__name__}" in command.epilog


def test_the_package_can_be_run_where_the_script_is_not_on_the_path():
    told = subprocess.run([sys.executable, "-m", "spti_ray.cli", "--version"], capture_output=True, text=True)
    assert told.stdout == f"spti-ray {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "nowhere"),
        ("show", "nowhere"),
        ("report", "nowhere"),
        ("evaluate", "nowhere"),
        ("measure", "nowhere", "--task", "task.yaml"),
        ("compare", "nowhere", "nowhere"),
        ("verify", "nowhere"),
        ("verify", "nowhere", "--ledger", "nowhere"),
        ("audit", "nowhere"),
        ("audit", "--contamination", "nowhere"),
        ("export", "nowhere", "--format", "parquet", "--out", "new"),
        ("refine", "nowhere", "--out", "new"),
        ("ledger", "show", "nowhere"),
    ],
    ids=" ".join,
)
def test_a_folder_that_is_not_there_is_a_mistake_of_usage_in_one_line(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.yaml").write_text("{task: coverage, epsilon: 1, radius: 0.5}")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and "nowhere" in done.output and done.output.count("\n") == 1, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["task.yaml"]

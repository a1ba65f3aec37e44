"""What the documents show works: commands parse, configurations validate, Python runs; so do the examples of --help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.exceptions import TyperException
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config import Config
from spti_ray.config.loading import parse_config
from spti_ray.models.factory import engines_config
from tests.snippets import DOCUMENTS, ROOT, blocks, command_lines, mentions

SHELL = ("sh", "bash", "console")
WITH_PYTHON = [path for path in DOCUMENTS if blocks(path, "python")]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(arguments: list[str]) -> None:
    """Parse as `spti` does; an exception if it would be refused."""
    command: Any = typer.main.get_command(app)
    context, name = None, "spti"
    while hasattr(command, "list_commands") and not (arguments and arguments[0].startswith("-")):
        context = typer.Context(command, info_name=name, parent=context)
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        command = found
    command.make_context(name, list(arguments), parent=context, resilient_parsing=arguments == ["--version"])


def refusal(arguments: list[str]) -> str:
    try:
        parse(arguments)
    except (TyperException, AssertionError) as error:
        return f"spti {' '.join(arguments)}: {getattr(error, 'message', '') or error}"
    return ""


def unknown_in(mention: str) -> list[str]:
    """Commands and options in `spti plan CONFIG [--json|--prompts]` that do not exist."""
    words = re.sub(r"[\[\]]|\.\.\.", " ", mention).split()[1:]
    command: Any = typer.main.get_command(app)
    unknown: list[str] = []
    for word in words:
        parts = word.split("|")
        if hasattr(command, "list_commands") and not word.startswith("-"):
            commands = [command.get_command(typer.Context(command), part) for part in parts]
            unknown += [part for part, found in zip(parts, commands, strict=True) if found is None]
            if unknown:
                return unknown
            command = commands[0]
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        unknown += [
            part for part in parts if part.startswith("--") and part.partition("=")[0] not in options | {"--help"}
        ]
    return unknown


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_command_line_of_a_document_is_one_that_spti_takes(path):
    lines = [arguments for script in blocks(path, *SHELL) for arguments in command_lines(script)]
    assert [refused for refused in map(refusal, lines) if refused] == []
    assert [(mention, unknown_in(mention)) for mention in mentions(path) if unknown_in(mention)] == []


def test_there_are_command_lines_in_the_documents():
    found = {
        named(path): sum(len(list(command_lines(script))) for script in blocks(path, *SHELL)) for path in DOCUMENTS
    }
    assert found["README.md"] >= 7 and found["docs/how-to/slurm.md"] == 1 and found["cluster/README.md"] >= 2
    assert sum(found.values()) > 45
    assert sum(len(mentions(path)) for path in DOCUMENTS) > 50


@pytest.mark.parametrize(
    "script",
    [
        "spti rum a.yaml --out b",
        "spti run a.yaml --out b --sett x=1",
        ".venv/bin/spti run a.yaml",
        "x=1 && HF_HUB_OFFLINE=1 spti plan a.yaml --private-records many   # a comment",
        "srun ray symmetric-run --address a:1 \\\n  -- spti run a.yaml",
        "spti ledger sow x",
    ],
)
def test_a_command_line_that_spti_refuses_is_found(script):
    (arguments,) = command_lines(script)
    assert refusal(arguments)


def test_a_mention_of_what_does_not_exist_is_found():
    assert unknown_in("spti plan CONFIG [--json|--promts]") == ["--promts"]
    assert unknown_in("spti ledger show|histories LEDGER") == ["histories"]
    assert unknown_in("spti ledger show|history LEDGER") == []


def test_the_readme_has_every_command_in_one_line():
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| `spti` | |")[1].split("\n\n")[0]
    command: Any = typer.main.get_command(app)
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(
        command.list_commands(typer.Context(command))
    )


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))
    else:
        yield path, command


def test_the_help_of_every_command_explains_it_and_has_examples_that_parse():
    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 18
    for path, command in found:
        shown = CliRunner().invoke(app, [*path, "--help"])
        assert shown.exit_code == 0 and "Usage" in shown.output and command.help, path
        examples = re.findall(r"`([^`]+)`", command.epilog or "")
        assert examples and re.match("Examples?: ", command.epilog), f"spti {' '.join(path)} --help has no example"
        lines = [arguments for example in examples for arguments in command_lines(example)]
        assert lines and all(tuple(arguments[: len(path)]) == path for arguments in lines)
        assert [refused for refused in map(refusal, lines) if refused] == []


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in more.items():
        inner = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if inner else value
    return both


SMALLEST = {
    "data": {"path": "images"},
    "dataset": {"id": "toys"},
    "privacy": {"epsilon": 1.0, "delta": 1e-5},
    "evolution": {"generations": 2, "candidates": 10},
    "prompts": {"domain": "toys"},
    "release": {"images": 4},
}


def test_every_piece_of_a_configuration_in_a_document_is_valid():
    checked = 0
    for path in DOCUMENTS:
        for text in blocks(path, "yaml"):
            piece = yaml.safe_load(text)
            if isinstance(piece, dict) and piece.keys() <= Config.model_fields.keys():
                engines_config(parse_config(merged(SMALLEST, piece)).runtime.engines)
                checked += 1
    assert checked >= 5


@pytest.mark.parametrize("path", WITH_PYTHON, ids=named)
def test_the_python_of_a_document_runs(path, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "RAY_ADDRESS": ""}
    command = [sys.executable, "-m", "tests.snippets", str(path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if path.name == "tutorial.md":
        assert len(list((tmp_path / "photos").glob("*.png"))) == 390
    if path.name == "notebook.md":
        assert "is finished" in done.stdout and len(list((tmp_path / "runs").glob("*/release/images/*.png"))) == 8


def test_there_is_python_in_the_documents():
    assert {path.name for path in WITH_PYTHON} >= {"notebook.md", "tutorial.md", "primer.md", "add-engine.md"}

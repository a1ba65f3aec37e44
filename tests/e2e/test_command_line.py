"""The `spti` command: help, plan, doctor, ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

STICKERS = str(Path(__file__).parents[2] / "jobs" / "stickers.yaml")


@pytest.mark.parametrize(
    "command", [[], ["run"], ["plan"], ["doctor"], ["report"], ["ledger", "show"], ["ledger", "verify"]]
)
def test_help_explains_every_command(cli, command):
    done = cli(*command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout
    assert not command or "Example" in done.stdout


def test_plan_prints_one_json_object_with_the_promised_keys(cli):
    done = cli("plan", STICKERS, "--json", "--set", "privacy.epsilon=1", "--set", "evolution.generations=10")
    planned = json.loads(done.stdout)
    for key in ("sigma", "epsilon", "delta", "replace_one_epsilon", "votes_per_record", "generations", "candidates"):
        assert key in planned
    assert 11.797 <= planned["sigma"] <= 11.797 * 1.01 and planned["generations"] == 10


def test_plan_touches_no_data(cli):
    done = cli("plan", STICKERS, "--set", "data.path=/nowhere/at/all")
    assert done.returncode == 0 and "sigma" in done.stdout
    assert list(cli.folder.iterdir()) == []


def test_plan_shows_the_prompts_that_the_writer_would_see(cli):
    done = cli("plan", STICKERS, "--prompts")
    assert done.returncode == 0
    assert done.stdout.count("--- prompt") == 3 and "Fill in the blanks" in done.stdout


def test_doctor_says_ok_or_what_to_do_in_one_line_each(cli):
    done = cli("doctor")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert len(lines) >= 15 and all(line.startswith(("ok  ", "FIX ")) for line in lines)
    text = done.stdout
    assert all(name in text for name in ("ray", "torch", "vllm", "opendp", "disk", "model", "CPU"))


def test_ledger_show_prints_entries_and_spend(finished):
    done = finished.cli("ledger", "show", str(finished.ledger.parent))
    assert done.returncode == 0
    assert done.stdout.count("RESERVED") == 3 and "spent: epsilon 1.9" in done.stdout


def test_a_usage_error_exits_with_2(cli):
    assert cli("run").returncode == 2
    assert cli("ledger", "verify", "nothing-here").returncode == 2
    assert cli("report", "nothing-here").returncode == 2

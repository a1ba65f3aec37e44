"""The `spti` command: help, plan, doctor, ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from spti_ray.audit import suite
from spti_ray.cli import app

STICKERS = str(Path(__file__).parents[2] / "jobs" / "stickers.yaml")


def test_plan_prints_one_json_object_with_the_promised_keys(cli):
    done = cli.anew("plan", STICKERS, "--json", "--set", "privacy.epsilon=1", "--set", "evolution.generations=10")
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
    assert done.stdout.count("--- prompt") == 2 and "all of one kind" in done.stdout
    more = cli(
        "plan", STICKERS, "--prompts", "--set=evolution.themes=[]", "--set=evolution.variation.rephrase_share=0.5"
    )
    assert more.stdout.count("--- prompt") == 3 and "Fill in the blanks" in more.stdout


def test_doctor_says_ok_or_what_to_do_in_one_line_each(cli, monkeypatch):
    # Not that of whoever runs the tests, who may have one that others can read.
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cli.folder / "none"))
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


def test_a_release_is_proved_field_by_field_from_its_ledger(finished, tmp_path):
    done = finished.cli("verify", str(finished.out))
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout and done.stdout.count("ok ") > 60
    # A published release is the release folder alone; the ledger comes from its keeper.
    release = tmp_path / "published"
    shutil.copytree(finished.out / "release", release)
    alone = finished.cli("verify", str(release))
    assert alone.returncode == 0 and "NOT PROVED, for want of the ledger" in alone.stdout
    arguments = ["verify", str(release), "--quiet", "--ledger", str(finished.ledger.parent)]
    assert finished.cli(*arguments).returncode == 0
    privacy = release / "privacy.json"
    privacy.write_text(privacy.read_text().replace('"epsilon": 2.0', '"epsilon": 1.0'))
    forged = finished.cli(*arguments)
    assert forged.returncode == 1 and "FAIL epsilon: says 1.0, but the ledger says 2.0" in forged.stdout


def test_an_anchor_kept_elsewhere_finds_a_ledger_that_was_cut_back(finished, cli):
    anchor = cli.folder / "anchor.json"
    assert cli("ledger", "anchor", str(finished.ledger), "--out", str(anchor)).returncode == 0
    assert json.loads(anchor.read_text())["dataset"] == "stickers"
    assert cli("ledger", "verify", str(finished.ledger), "--anchor", str(anchor)).returncode == 0
    shorter = cli.folder / "stickers.jsonl"
    shorter.write_bytes(b"".join(finished.ledger.read_bytes().splitlines(keepends=True)[:-2]))
    assert cli("ledger", "verify", str(shorter)).returncode == 0, "a shorter chain is whole by itself"
    found = cli("ledger", "verify", str(shorter), "--anchor", str(anchor))
    assert found.returncode == 1 and "cut back" in found.stderr


def test_ledger_history_tells_each_run_in_one_line(finished):
    done = finished.cli("ledger", "history", str(finished.ledger.parent))
    assert done.returncode == 0 and "3 of 3" in done.stdout and "1 run(s) on dataset stickers" in done.stdout


def test_an_administrator_registers_a_dataset_once_and_for_good(cli):
    register = ["ledger", "register", "xrays", "--ledger", "ledger", "--delta", "1e-6"]
    assert cli(*register, "--lifetime-epsilon", "4").returncode == 0
    assert "already" in cli(*register, "--lifetime-epsilon", "4").stdout
    other = cli(*register, "--lifetime-epsilon", "8")
    assert other.returncode == 1 and "registered with lifetime_epsilon 4.0" in other.stderr
    assert cli("ledger", "register", "no/slash", "--delta", "1e-6").returncode == 2
    assert cli("ledger", "register", "xrays", "--delta", "1").returncode == 2


def test_an_audit_puts_its_result_and_later_looks_into_the_certificate(finished, cli, report, monkeypatch):
    """In this process, with the audits that tests/statistical has made."""
    shutil.copytree(finished.out, cli.folder / "run")
    shutil.copytree(finished.ledger.parent, cli.folder / "ledger")
    moved = (cli.folder / "run" / "run.yaml").read_text().replace(str(finished.ledger.parent), f"{cli.folder}/ledger")
    (cli.folder / "run" / "run.yaml").write_text(moved)  # as the message says, where a ledger is moved with its run
    run = json.loads((cli.folder / "run" / "release" / "privacy.json").read_text())["run"]["id"]
    looked = cli("ledger", "evaluated", "ledger", run, "--metric", "FID against the private set")
    assert looked.returncode == 0, looked.stderr
    monkeypatch.setattr(suite, "run_audits", lambda told: report)
    done = CliRunner().invoke(app, ["audit", str(cli.folder / "run")])
    assert done.exit_code == 0, done.output
    assert "canary audit" in done.stdout and "claimed" in done.stdout
    document = json.loads((cli.folder / "run" / "release" / "privacy.json").read_text())
    for canary in (document["audits"]["canary_one_run"], document["audits"]["canary_many_runs"]):
        assert canary["canaries"] == 50_000 and 0 < canary["mu_lower_bound"] < canary["mu_claimed"] < 0.27
    assert document["audits"]["passed"] and document["audits"]["sampler"]["passed"]
    assert document["tuning"]["runs"][0]["evaluated_by"] == ["FID against the private set"]
    assert "FID against the private set" in (cli.folder / "run" / "release" / "report.html").read_text()
    assert "FID against the private set" in (cli.folder / "run" / "release" / "datasheet.md").read_text()
    assert cli("verify", "run").returncode == 0


def test_status_tells_where_a_run_is_and_what_it_spent(finished, cli):
    shown = finished.cli("status", str(finished.out))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[1].startswith("finished: the release is in ") and "3 of 3 generations measured" in lines[2]
    found = json.loads(finished.cli("status", str(finished.out), "--json").stdout)
    certificate = json.loads((finished.out / "release" / "privacy.json").read_text())
    assert found["run"] == certificate["run"]["id"] and found["state"] == "finished" and found["attempts"] == 1
    assert 0 < found["epsilon_spent"] <= found["epsilon"] == 2.0
    missing = cli("status", "nowhere")
    assert missing.returncode == 2 and missing.stderr == (
        "spti: nowhere: there is no such folder; name a run's, which was the --out of spti run\n"
    )


def test_a_run_that_is_not_there_is_not_audited(cli):
    done = cli("audit", "nothing-here")
    assert done.returncode == 2 and "there is no such folder" in done.stderr


def test_a_usage_error_exits_with_2(cli):
    assert cli.anew("run").returncode == 2
    assert cli("ledger", "verify", "nothing-here").returncode == 2
    assert cli("report", "nothing-here").returncode == 2

"""The same configuration from two folders: one ledger, one budget."""

import yaml

from tests.e2e.conftest import LOCAL, ROOT, SMALL, Cli


def test_two_folders_share_one_ledger_and_the_second_run_is_refused_by_its_budget(tmp_path):
    raw = yaml.safe_load((ROOT / "jobs" / "stickers.yaml").read_text())
    raw["dataset"]["lifetime_epsilon"], raw["privacy"]["epsilon"], raw["ledger"] = 5, 4.0, {"path": "books"}
    config = tmp_path / "configs" / "my.yaml"
    config.parent.mkdir()
    config.write_text(yaml.safe_dump(raw))
    first, second = Cli(tmp_path / "a"), Cli(tmp_path / "b")
    arguments = ["run", str(config), "--out", "out", *(f"--set={setting}" for setting in (*SMALL, *LOCAL))]
    for cli in (first, second):
        cli.folder.mkdir()

    done = first(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = tmp_path / "configs" / "books" / "stickers.jsonl"
    assert f"ledger: {ledger}" in done.stdout and ledger.is_file()
    assert not (first.folder / "books").exists()

    refused = second(*arguments)
    assert refused.returncode == 3 and "does not cover this run" in refused.stderr
    assert second("plan", str(config), *arguments[4:]).returncode == 3
    # Whoever has the run's folder finds its ledger, from anywhere.
    assert second("verify", str(first.folder / "out"), "--quiet").returncode == 0
    shown = second("ledger", "history", str(config))
    assert shown.returncode == 0 and shown.stdout.startswith(str(ledger))

    # What an earlier version kept in the folder that it was started from.
    ledger.rename(second.folder / "kept.jsonl")
    (second.folder / "books").mkdir()
    (second.folder / "kept.jsonl").rename(second.folder / "books" / "stickers.jsonl")
    orphaned = second(*arguments[:3], "another", *arguments[4:])
    assert orphaned.returncode == 3 and orphaned.stderr.count("\n") == 1
    assert str(ledger) in orphaned.stderr and f"{second.folder}/books/stickers.jsonl" in orphaned.stderr
    assert not (second.folder / "another").exists() and not ledger.exists()

"""An interrupted run of an earlier build goes on with this one, on the ledger that it was begun with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spti_ray.dp.storage import open_chain
from tests.e2e.conftest import LOCAL

OLD = Path(__file__).parents[1] / "old_runs"


@pytest.mark.parametrize("build", sorted(folder.name for folder in OLD.iterdir() if folder.is_dir()))
def test_an_interrupted_run_of_an_earlier_build_goes_on_and_is_proved(cli, build):
    shutil.copytree(OLD / build, cli.folder, dirs_exist_ok=True)
    before = open_chain(cli.folder / "ledger", "icons").read().entries

    done = cli("run", "interrupted.yaml", "--out", "interrupted", *(f"--set={setting}" for setting in LOCAL))

    assert done.returncode == 0, done.stdout + done.stderr
    after = open_chain(cli.folder / "ledger", "icons").read().entries
    assert after[: len(before)] == before
    assert [entry.kind for entry in after[len(before) :]] == ["OPENED", "RESERVED", "COMMITTED", "RELEASED"]
    first = next(e.event for e in before if e.kind == "OPENED" and e.event.run == after[-1].event.run)
    again = after[len(before)].event
    for field in ("config_sha256", "sigma", "epsilon", "unit"):
        assert getattr(again, field) == getattr(first, field), field
    proved = cli("verify", "interrupted", "--quiet")
    assert proved.returncode == 0, proved.stdout + proved.stderr

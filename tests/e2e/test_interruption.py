"""kill -9 of the driver in a real run, and what the next start makes of it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spti_ray.dp.storage import open_chain

pytestmark = pytest.mark.e2e


def _entries(ledger: Path | str):
    return open_chain(ledger, "stickers").read().entries


def _kinds(ledger: Path | str) -> list[str]:
    return [entry.kind for entry in _entries(ledger)]


def _kill_when(cli, arguments: list[str], ledger: Path | str, kind: str, count: int) -> None:
    """Start the run and SIGKILL its driver as soon as the ledger has `count` entries of `kind`."""
    process = subprocess.Popen(
        cli.command(*arguments),
        cwd=cli.folder,
        env=cli.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 180
    while _kinds(ledger).count(kind) < count:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.mark.parametrize("where", ["file", "s3"])
def test_a_killed_run_goes_on_from_its_committed_generations(cli, where: str, request: pytest.FixtureRequest):
    # A bucket's server is found through the environment, which the command line inherits from here.
    ledger = cli.folder / "ledger" if where == "file" else request.getfixturevalue("s3").new_url()
    arguments = cli.run_arguments("run", ledger=str(ledger))
    _kill_when(cli, arguments, ledger, "RELEASED", 2)
    before = _entries(ledger)
    charged = [e.event for e in before if e.kind == "RESERVED"]
    artifacts = {e.event.artifact_sha256 for e in before if e.kind == "COMMITTED"}
    candidates = pq.read_table(cli.folder / "run" / "generations" / "01" / "candidates.parquet")

    done = cli(*arguments)

    assert done.returncode == 0, done.stderr
    after = _entries(ledger)
    assert after[: len(before)] == before, "nothing that was recorded is ever changed"
    assert artifacts <= {e.event.artifact_sha256 for e in after if e.kind == "COMMITTED"}
    assert pq.read_table(cli.folder / "run" / "generations" / "01" / "candidates.parquet").equals(candidates)
    # One artifact per committed generation, draws <= reservations <= planned slots.
    reserved = [e.event for e in after if e.kind == "RESERVED"]
    burned = [e for e in after if e.kind == "BURNED"]
    committed = [e for e in after if e.kind == "COMMITTED"]
    assert reserved[: len(charged)] == charged and len(reserved) == 3
    assert len(committed) + len(burned) == len(reserved)
    assert (cli.folder / "run" / "release" / "privacy.json").exists()
    proved = cli("verify", "run", "--quiet")
    assert proved.returncode == 0, proved.stdout + proved.stderr


def test_a_reservation_without_histogram_is_burned_and_never_noised_again(cli):
    arguments = cli.run_arguments("run", "privacy.spare_slots=1")
    ledger = cli.folder / "ledger"
    _kill_when(cli, arguments, ledger, "RESERVED", 1)
    was_open = "COMMITTED" not in _kinds(ledger) and not list((cli.folder / "run").rglob("histogram-*.arrow"))

    done = cli(*arguments)

    assert done.returncode == 0, done.stderr
    kinds = _kinds(ledger)
    assert kinds.count("COMMITTED") == 3, "the spare slot pays for the burned one"
    assert kinds.count("BURNED") == was_open
    assert kinds.count("RESERVED") == 3 + was_open

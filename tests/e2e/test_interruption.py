"""kill -9 of the driver in a real run, and what the next start makes of it."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spti_ray.dp.storage import open_chain
from spti_ray.runtime.scheduling.result_log import ResultLog


def _entries(ledger: Path | str):
    return open_chain(ledger, "stickers").read().entries


def _kinds(ledger: Path | str) -> list[str]:
    return [entry.kind for entry in _entries(ledger)]


@pytest.mark.parametrize(
    ("where", "on_ray"), [("file", False), ("s3", False), pytest.param("file", True, marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_from_its_committed_generations(
    cli, where: str, on_ray: bool, request: pytest.FixtureRequest
):
    # A bucket's server is found through the environment, which the command line inherits from here.
    ledger = cli.folder / "ledger" if where == "file" else request.getfixturevalue("s3").new_url()
    arguments = cli.run_arguments("run", ledger=str(ledger), on_ray=on_ray)
    cli.kill_when(arguments, lambda: _kinds(ledger).count("RELEASED") == 2)
    before = _entries(ledger)
    charged = [e.event for e in before if e.kind == "RESERVED"]
    artifacts = {e.event.artifact_sha256 for e in before if e.kind == "COMMITTED"}
    candidates = pq.read_table(cli.folder / "run" / "generations" / "01" / "candidates.parquet")

    # Anew: the hashes of strings have another seed than in the process that was killed.
    done = cli.anew(*arguments)

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
    cli.kill_when(arguments, lambda: "RESERVED" in _kinds(ledger))
    was_open = "COMMITTED" not in _kinds(ledger) and not list((cli.folder / "run").rglob("histogram-*.arrow"))

    done = cli(*arguments)

    assert done.returncode == 0, done.stderr
    kinds = _kinds(ledger)
    assert kinds.count("COMMITTED") == 3, "the spare slot pays for the burned one"
    assert kinds.count("BURNED") == was_open
    assert kinds.count("RESERVED") == 3 + was_open


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_on_ray_that_is_told_to_stop_says_how_to_go_on(cli, number):
    process = cli.start(*cli.run_arguments("run", "evolution.candidates=480", on_ray=True))
    printed = cli.folder / "printed.txt"
    deadline = time.monotonic() + 120
    while "generation 1" not in printed.read_text():
        assert process.poll() is None and time.monotonic() < deadline, printed.read_text()
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(180) == 1
    said = printed.read_text()
    assert said.splitlines()[-1] == "spti: interrupted; run the same command again to go on"
    assert "Traceback" not in said and "SIGTERM" not in said


def test_a_run_killed_within_a_generation_does_not_render_again_what_was_rendered(cli):
    slow = {"renderer": "{kind: fake-renderer, model: SIMULATED, batch_size: 2, options: {delay_s: 0.4}}"}
    others = {
        role: f"{{kind: fake-{role.replace('_', '-')}, model: SIMULATED}}"
        for role in ("writer", "captioner", "image_embedder", "text_embedder")
    }
    engines = ", ".join(f"{role}: {settings}" for role, settings in (slow | others).items())
    # Long enough that `spti status`, a process of its own, is done before the last render is.
    few = ("evolution.generations=1", "evolution.candidates=72")
    arguments = cli.run_arguments("run", f"runtime.engines={{{engines}}}", *few)
    kept = cli.folder / "run" / "internal" / "units"

    def rendered() -> bool:
        return len(ResultLog(kept)) > 5

    seen = []
    cli.kill_when(arguments, lambda: rendered() and bool(seen.append(cli("status", "run").stdout) or True))
    assert "running: a driver works in run" in seen[0]
    assert "interrupted: the command that started it goes on" in cli("status", "run").stdout
    assert _kinds(cli.folder / "ledger").count("RESERVED") == 0, "nobody has voted yet"
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    log = (cli.folder / "run" / "internal" / "driver.log").read_text()
    assert int(re.findall(r"batches of an earlier attempt: (\d+)", log)[-1]) > 5
    assert not kept.exists()

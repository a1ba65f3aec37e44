"""Whole runs on local processes: what they leave, and that a run which is stopped anywhere goes on to the same."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from spti_ray.config import Config
from spti_ray.driver.driver import run_config
from spti_ray.errors import FAILED, exit_code
from spti_ray.observability.trace import Trace
from spti_ray.public.released_files import models_in
from spti_ray.release.verify import release_and_chain, verify_release
from spti_ray.runtime import pools
from spti_ray.runtime.local.engines import Engines
from spti_ray.runtime.local.executor import LocalSession
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.scheduling.engine_streams import PooledEngines
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.voter import ShardFailed
from tests.local_runs import at_stage, made_by, run, written

ROOT = Path(__file__).parents[4]
STAGES = ("candidates 0", "votes 0", "candidates 1", "votes 1", "release")
JOINT = {"evolution__voting": "joint"}
OPEN = {"privacy__allow_not_private": True}

pytestmark = pytest.mark.usefixtures("kept")

Local = Callable[..., Config]


class Crash(BaseException):
    """The driver stops here."""


def crash() -> None:
    raise Crash


@pytest.fixture(scope="module")
def whole(configured: Local, kept: Engines, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a run makes that nothing stops."""
    folder = tmp_path_factory.mktemp("whole")
    run(configured(folder, **JOINT), folder / "run")
    return made_by(folder / "run")


def test_a_run_leaves_a_release_that_is_proved_from_the_ledger(local, tmp_path):
    release = run(local(**JOINT), tmp_path / "run", noise=None)
    checks = list(verify_release(*release_and_chain(tmp_path / "run", None)))
    assert len(checks) > 20 and all(check.holds for check in checks)
    rows = pq.read_table(release / "manifest.parquet").to_pylist()
    assert len(rows) == 6 and all((release / row["file"]).is_file() for row in rows)
    problems = (tmp_path / "run" / "internal" / "ingest.jsonl").read_text()
    assert "not an image" in problems and problems.count("\n") == 1


def test_a_run_says_that_it_is_on_local_processes_and_its_release_does_not(local, tmp_path):
    said = Console(file=io.StringIO())
    release = run_config(local(), tmp_path / "run", said)
    internal = tmp_path / "run" / "internal"
    assert "executor: local, for tests and debugging; not for real runs" in said.file.getvalue()
    assert "executor: local, for tests and debugging; not for real runs" in (internal / "driver.log").read_text()
    assert "start local processes" in json.loads((internal / "timings.json").read_text())["phases_s"]
    events = json.loads((internal / "timeline.json").read_text())["traceEvents"]
    made, stopped = [event for event in events if event["name"] in ("release", "stop local processes")]
    assert made["ts"] + made["dur"] <= stopped["ts"] + 1, "which is no part of the release's time"
    for path in release.rglob("*"):
        if path.suffix in (".json", ".md", ".parquet", ".jsonl"):
            assert b"local processes" not in path.read_bytes() and b"executor" not in path.read_bytes(), path


def test_what_a_run_needs_no_more_is_given_back_at_once(local, tmp_path, monkeypatch):
    """The captioner when all views are made, which is before the first vote; what the votes need, after the last."""
    told: list[str] = []
    identified: list[str] = []
    begin, give_back, write, identity = Trace.stage, LocalSession.give_back, PooledEngines.write, Pool.identity
    monkeypatch.setattr(pools, "_LOOK_S", 0.0)
    monkeypatch.setattr(Trace, "stage", lambda trace, *of: told.append(" ".join(map(str, of))) or begin(trace, *of))
    monkeypatch.setattr(LocalSession, "give_back", lambda at, role: told.append(role) or give_back(at, role))
    monkeypatch.setattr(PooledEngines, "write", lambda at, asked: told.append("write") or write(at, asked))
    monkeypatch.setattr(Pool, "identity", lambda pool: identified.append(pool.role) or identity(pool))
    release = run(local(**JOINT, release__texts="varied"), tmp_path / "run")
    assert set(identified) == {"writer", "renderer"}, "others may be gone before they were asked"
    assert set(models_in(pq.read_table(release / "manifest.parquet"))) == {
        "writer",
        "renderer",
        "image_embedder",
        "captioner",
        "text_embedder",
    }
    assert told.index("candidates 0") < told.index("captioner") <= told.index("votes 0") + 1
    last = told[told.index("votes 1") + 1 :]
    assert set(last[: last.index("write")]) == {"shard", "image_embedder", "captioner", "text_embedder"}
    assert "writer" in last[last.index("release") :]


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("pe-image", {"evolution__voting": "image"}),
        ("random", {}),
        ("captions", OPEN),
        ("spti", {"privacy__epsilon": float("inf"), **OPEN}),
    ],
)
def test_every_method_runs(local, tmp_path, method, changes):
    folder = run(local(method=method, **changes), tmp_path / "run")
    assert len(list((folder / "images").rglob("*.png"))) == 6
    assert (folder / "NOT-PRIVATE.txt").exists() == ("privacy__allow_not_private" in changes)


def test_a_run_that_stops_again_and_again_goes_on_to_what_it_would_have_made(local, tmp_path, whole):
    config = local(**JOINT)
    for stage in STAGES:
        with pytest.raises(Crash), at_stage(stage, crash):
            run(config, tmp_path / "run")
    run(config, tmp_path / "run")
    assert made_by(tmp_path / "run") == whole


@pytest.mark.parametrize("stage", ["candidates 1", "votes 1"])
def test_a_private_process_that_dies_ends_the_run_in_one_line_and_it_goes_on(
    local, tmp_path, whole, kept: Engines, stage
):
    config = local(**JOINT)
    with pytest.raises((EngineFailed, ShardFailed)) as caught, at_stage(stage, lambda: kept.process.kill()):
        run(config, tmp_path / "run")
    line = str(caught.value)
    assert "the process for private images was ended by signal 9" in line and "\n" not in line
    assert exit_code(caught.value) == FAILED and line.endswith("the same command goes on with the run")
    run(config, tmp_path / "run")
    assert made_by(tmp_path / "run") == whole


@pytest.mark.parametrize("stage", ["candidates 1", "votes 1"])
def test_a_killed_driver_leaves_no_process_behind_and_the_run_goes_on(local, tmp_path, whole, stage):
    config = local(**JOINT)
    note = tmp_path / "started.json"
    command = [sys.executable, "-m", "tests.local_runs", str(written(config, tmp_path / "run.json"))]
    done = subprocess.run(
        [*command, str(tmp_path / "run"), stage, str(note)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    started = json.loads(note.read_text())
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in started):
        assert time.monotonic() < deadline, "it goes on without its driver"
        time.sleep(0.05)
    assert len(started) == 1
    run(config, tmp_path / "run")
    assert made_by(tmp_path / "run") == whole


def test_a_run_without_ray_imports_neither_ray_nor_a_model_library(local, tmp_path):
    config = written(local(), tmp_path / "run.json")
    code = (
        "import json, sys; from pathlib import Path; from tests.local_runs import run\n"
        "from spti_ray.config.loading import parse_config\n"
        f"run(parse_config(json.loads(Path({str(config)!r}).read_text())), Path({str(tmp_path / 'run')!r}))\n"
        "print([name for name in ('ray', 'torch', 'vllm', 'transformers', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr

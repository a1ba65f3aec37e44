"""A local Ray that can't start is named, tried again, and told in the log; nothing of its token is."""

import io
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from spti_ray.config import RuntimeConfig
from spti_ray.driver.driver import run_config
from spti_ray.driver.process import logged_to
from spti_ray.errors import RESOURCES, RayUnavailable, exit_code
from spti_ray.runtime.ray import join as ray_join
from spti_ray.runtime.ray import start as ray_start
from spti_ray.runtime.ray.cluster import check_start
from spti_ray.runtime.ray.start import check_temporary_folder, local_ray

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, as Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch, short: Path) -> Iterator[Any]:
    """`ray.init` fails as many times as it is told to; what it was asked, and the environment it saw, are kept."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(short))
    told = SimpleNamespace(failures=0, calls=[], left=[])

    def init(**settings: Any) -> None:
        waits = {name: os.environ.get(name) for name in ray_start._WAITS}
        umask = os.umask(0)
        os.umask(umask)
        told.calls.append(settings | {"waits": waits, "umask": umask})
        logs = Path(settings["_temp_dir"]) / f"session_2026-01-01_00-00-0{len(told.calls)}_000000_1" / "logs"
        logs.mkdir(parents=True)
        (logs / "raylet.err").write_text("no space left\nfor t0ken\n")
        if len(told.calls) <= told.failures:
            # Its name is that of a process of Ray's.
            command = [sys.executable, "-c", "import time; time.sleep(60)", "/ray/core/src/ray/gcs/gcs_server"]
            told.left.append(subprocess.Popen(command))
            raise RuntimeError(f"{SLOW}\nt0ken")

    monkeypatch.setattr(ray_start.ray, "init", init)
    yield told
    for process in told.left:
        process.kill()
        process.wait()


def started(timeout_s: float, **settings: Any) -> None:
    with local_ray(timeout_s, "t0ken", **settings):
        pass


def logged(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_start_that_fails_once_is_tried_again_with_the_time_that_is_allowed(fake_ray: Any, tmp_path: Path):
    fake_ray.failures = 1
    with logged_to(tmp_path / "driver.log", "r1"):
        started(77.0, num_cpus=2)
    assert len(fake_ray.calls) == 2
    for call in fake_ray.calls:
        assert call["waits"] == dict.fromkeys(ray_start._WAITS, "77")
        assert (call["address"], call["num_cpus"], call["umask"]) == ("local", 2, 0o077)
    assert all(name not in os.environ for name in ray_start._WAITS)
    assert not psutil.pid_exists(fake_ray.left[0].pid) or fake_ray.left[0].poll() is not None
    (line,) = logged(tmp_path / "driver.log")
    assert "attempt 1" in line and SLOW in line and "raylet.err: no space left" in line
    assert "t0ken" not in line and "[hidden]" in line


def test_a_start_that_fails_twice_is_named_with_what_ray_said(fake_ray: Any, tmp_path: Path):
    fake_ray.failures = 2
    with logged_to(tmp_path / "driver.log", "r1"), pytest.raises(RayUnavailable) as caught:
        started(77.0)
    told = str(caught.value)
    assert told.startswith(f"Ray could not be started in 2 attempts: RuntimeError: {SLOW[:40]}")
    assert "on a busy machine raise runtime.ray_start_timeout_s (now 77)" in told and "internal/driver.log" in told
    assert "t0ken" not in told and "\n" not in told
    assert exit_code(caught.value) == RESOURCES
    assert len(logged(tmp_path / "driver.log")) == 2


def test_without_a_log_nothing_is_printed(fake_ray: Any, capfd: pytest.CaptureFixture[str], monkeypatch: Any):
    monkeypatch.setattr(ray_start.log, "hasHandlers", lambda: False)
    fake_ray.failures = 2
    with pytest.raises(RayUnavailable):
        started(1.0)
    assert capfd.readouterr() == ("", "")


def test_a_node_is_waited_for_as_long_as_is_allowed_and_not_only_while_ray_would(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(ray_start.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ray_start.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def get_node(comes_up_at: float) -> str:
        if now[0] < comes_up_at:
            raise RuntimeError("not yet")
        return "node"

    monkeypatch.setattr(ray_start.services, "get_node", get_node)
    with ray_start._patience(90.0):
        assert ray_start.services.get_node(80.0) == "node"
    now[0] = 0.0
    with ray_start._patience(90.0), pytest.raises(TimeoutError, match="did not come up in time"):
        ray_start.services.get_node(100.0)
    assert ray_start.services.get_node is get_node


def test_others_can_not_enter_the_folder_of_a_local_ray_and_it_is_gone_afterwards(fake_ray: Any, short: Path):
    with local_ray(1.0, ""):
        (folder,) = short.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert Path(fake_ray.calls[0]["_temp_dir"]).parent == folder and list(folder.glob("**/raylet.err"))
    assert list(short.iterdir()) == []


def test_what_ray_wrote_is_kept_after_a_failure_and_in_a_folder_that_was_asked_for(
    fake_ray: Any, short: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ZeroDivisionError), local_ray(1.0, ""):
        raise ZeroDivisionError
    assert len(list(short.glob("**/raylet.err"))) == 1
    monkeypatch.setenv("RAY_TMPDIR", str(short / "asked"))
    (short / "asked").mkdir()
    started(1.0)
    assert len(list(short.glob("asked/**/raylet.err"))) == 1


def test_a_temporary_folder_that_can_not_be_used_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_TMPDIR", "/proc/1")
    with pytest.raises(RayUnavailable) as caught:
        check_start(RuntimeConfig())
    assert str(caught.value) == (
        "RAY_TMPDIR: Ray's temporary folder can't be made in /proc/1 (No such file or directory); set RAY_TMPDIR to a "
        "folder that can be written"
    )


def test_a_folder_with_too_long_a_path_for_sockets_is_named_and_a_long_tmpdir_gives_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(RayUnavailable) as caught:
        check_temporary_folder()
    assert str(caught.value) == (
        f"RAY_TMPDIR: {long} is too long a path for Ray's sockets; set RAY_TMPDIR to a folder with a short path, such "
        "as /tmp"
    )
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", str(long))
    check_temporary_folder()
    assert list(long.iterdir()) == []


@pytest.mark.parametrize(("name", "value"), [("RAY_TMPDIR", "/proc/nonexistent"), ("RAY_ADDRESS", "127.0.0.1:1")])
def test_what_can_be_seen_before_ends_a_run_before_the_ledger_is_touched(
    make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_join, "_ANSWERS_WITHIN_S", 0.3)
    monkeypatch.setenv(name, value)
    config = make_config(ledger__path=str(tmp_path / "ledger"))
    with pytest.raises(RayUnavailable, match=value):
        run_config(config, tmp_path / "run", Console(file=io.StringIO()))
    assert not (tmp_path / "ledger").exists()
    log = tmp_path / "run" / "internal" / "driver.log"
    # On a cluster the driver is an actor: without one no folder is made.
    assert log.exists() == (name == "RAY_TMPDIR") and (not log.exists() or "ended: " in log.read_text())

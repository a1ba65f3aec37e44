"""A local run in a container with any user id: HOME can't be written, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spti_ray.dp.file_chain import verify

TOKEN = "f" * 64
"""Of a cluster of the user's, in a file that a local run neither needs nor touches."""


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for temporary files, and no setting that says where else Ray or a library may write."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:  # Ray's sockets need a short path.
        monkeypatch.setenv("TMPDIR", short)
        yield Path(short)


def everything(folder: Path) -> set[tuple[str, int]]:
    return {(str(path.relative_to(folder)), path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def seen_in(processes: set[str], mark: bytes) -> tuple[set[bytes], set[bytes]]:
    """(tokens in environments, arguments) of the processes that have `mark` in their environment."""
    tokens, arguments = set(), set()
    for process in processes:
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes()
            if mark in environment:
                arguments.add(Path(f"/proc/{process}/cmdline").read_bytes())
                tokens |= {value for value in environment.split(b"\0") if value.startswith(b"RAY_AUTH_TOKEN=")}
        except OSError:
            continue
    return {token.removeprefix(b"RAY_AUTH_TOKEN=") for token in tokens}, arguments


@pytest.mark.slow
def test_a_run_needs_no_home_and_its_token_is_in_its_environment_alone(cli, strict, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nonexistent")
    monkeypatch.setenv("SPTI_TEST_MARK", str(cli.folder))
    arguments = cli.run_arguments(
        "run", "evolution.generations=1", "evolution.candidates=8", "release.images=4", on_ray=True
    )
    process = subprocess.Popen(
        cli.command(*arguments),
        cwd=cli.folder,
        env=cli.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    tokens, lines = set(), set()
    while process.poll() is None:
        found = seen_in({entry.name for entry in Path("/proc").glob("[0-9]*")}, str(cli.folder).encode())
        tokens, lines = tokens | found[0], lines | found[1]
        time.sleep(0.2)
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, ""), output + errors
    assert (cli.folder / "run" / "release" / "report.html").is_file()
    (token,) = tokens
    assert len(token) == 64
    assert any(b"raylet" in line for line in lines) and not any(token in line for line in lines)
    written = [path for path in cli.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if token in path.read_bytes()] and token.decode() not in output
    left = {path.name for path in strict.iterdir()}
    assert left <= {f"spti-home-{os.getuid()}"}, "Ray's own files are gone; there are the engines' caches at most"


@pytest.mark.slow
def test_what_doctor_starts_leaves_home_and_a_token_in_it_alone(cli, strict, monkeypatch, tmp_path):
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(TOKEN)
    before = everything(home)
    monkeypatch.setenv("HOME", str(home))
    command = [sys.executable, "-c", "from spti_ray.runtime.ray.cluster import probe; print(probe())"]
    done = subprocess.run(command, env=cli.environment(), text=True, capture_output=True, timeout=240)
    assert done.stdout.startswith("a local cluster starts (ray "), done.stdout + done.stderr
    assert everything(home) == before and list(strict.iterdir()) == []


@pytest.mark.slow
def test_a_ray_that_can_not_start_is_named_and_its_words_are_in_the_log(cli, monkeypatch, tmp_path):
    """With a raylet that ends at once, planted as a module that Python imports at its start."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('spti' in part for part in sys.orig_argv):\n"
        "    import ray._private.services as services\n"
        "    services.RAYLET_EXECUTABLE = '/bin/false'\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    done = cli.anew(*cli.run_arguments("run", "runtime.ray_start_timeout_s=2", on_ray=True))
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stderr.startswith("spti: Ray could not be started in 2 attempts: ") and done.stderr.count("\n") == 1
    assert "raise runtime.ray_start_timeout_s (now 2)" in done.stderr
    log = (cli.folder / "run" / "internal" / "driver.log").read_text()
    assert "attempt 1" in log and "attempt 2" in log
    assert "RESERVED" not in [entry.kind for entry in verify(cli.folder / "ledger" / "stickers.jsonl")]

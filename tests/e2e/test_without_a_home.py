"""A local run in a container with any user id: HOME can't be written, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from spti_ray.dp.file_chain import verify

pytestmark = pytest.mark.e2e
TOKEN = "f" * 64
"""Of a cluster of the user's, in a file that a local run neither needs nor touches."""


@pytest.fixture
def strict(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `spti` where every folder that Ray and libraries like to write is out of reach."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    temporary = tmp_path / "t"
    temporary.mkdir()
    return temporary


def everything(folder: Path) -> set[tuple[str, int]]:
    return {(str(path.relative_to(folder)), path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_run_needs_no_home_and_prints_nothing_of_it(cli, strict, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nonexistent")
    done = cli(*cli.run_arguments("run", "evolution.generations=1", "evolution.candidates=8", "release.images=4"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "" and (cli.folder / "run" / "release" / "report.html").is_file()
    assert (cli.folder / "run" / "internal" / "driver.log").is_file()


def test_a_run_and_doctor_leave_home_and_a_token_in_it_alone(cli, strict, monkeypatch, tmp_path):
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(TOKEN)
    (home / ".ray" / "auth_token").chmod(0o644)
    before = everything(home)
    monkeypatch.setenv("HOME", str(home))
    process = subprocess.Popen(
        cli.command(*cli.run_arguments("run", "evolution.generations=1", "evolution.candidates=8")),
        cwd=cli.folder,
        env=cli.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    arguments, tokens = set(), set()
    while process.poll() is None:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes()
                if str(home).encode() in environment:
                    arguments.add((entry / "cmdline").read_bytes())
                    tokens |= {
                        value.removeprefix(b"RAY_AUTH_TOKEN=")
                        for value in environment.split(b"\0")
                        if value.startswith(b"RAY_AUTH_TOKEN=")
                    }
            except OSError:
                continue
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert len(tokens) == 1 and TOKEN.encode() not in tokens, (
        "one token of its own, in the environment of Ray's processes"
    )
    (token,) = tokens
    assert any(b"raylet" in line for line in arguments) and not any(token in line for line in arguments)
    written = [path for path in cli.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if token in path.read_bytes()] and token.decode() not in output
    checked = cli("doctor")
    assert "ok   ray cluster: a local cluster starts" in checked.stdout, checked.stdout
    file = home / ".ray" / "auth_token"
    assert f"FIX  ray token: {file} can be read by others; run `chmod 600 {file}`" in checked.stdout
    assert everything(home) == before
    assert file.read_text() == TOKEN


def test_a_temporary_folder_that_can_not_be_used_ends_the_run_before_the_ledger_is_touched(cli, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nonexistent")
    done = cli(*cli.run_arguments("run"))
    assert done.returncode == 4
    assert done.stderr == (
        "spti: RAY_TMPDIR: Ray's temporary folder can't be made in /proc/nonexistent (No such file or directory); set "
        "RAY_TMPDIR to a folder that can be written\n"
    )
    assert not (cli.folder / "ledger").exists()


def test_an_address_where_nobody_answers_ends_the_run_before_the_ledger_is_touched(cli):
    done = cli(*cli.run_arguments("run", "runtime.address=127.0.0.1:1"), timeout=90)
    assert done.returncode == 4 and done.stderr.startswith("spti: 127.0.0.1:1: no Ray answers there within 20 s; ")
    assert not (cli.folder / "ledger").exists()


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
    done = cli(*cli.run_arguments("run", "runtime.ray_start_timeout_s=2"))
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stderr.startswith("spti: Ray could not be started in 2 attempts: ") and done.stderr.count("\n") == 1
    assert "raise runtime.ray_start_timeout_s (now 2)" in done.stderr
    log = (cli.folder / "run" / "internal" / "driver.log").read_text()
    assert "attempt 1" in log and "attempt 2" in log
    assert "RESERVED" not in [entry.kind for entry in verify(cli.folder / "ledger" / "stickers.jsonl")]

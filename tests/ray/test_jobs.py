"""Runs as jobs of a real cluster that asks for a token."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("runtime.engines=fake", "evolution.generations=1", "evolution.candidates=8", "release.images=4")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """A head node in a process group of its own, apart from the cluster of the other tests."""

    def __init__(self, folder):
        self.folder, self.token = folder, secrets.token_hex(16)
        # Short: sockets lie in it, and their paths may have 107 characters.
        self._temporary = tempfile.mkdtemp(prefix="spti-")
        self.address = f"http://127.0.0.1:{free_port()}"
        ports = {"port": free_port(), "dashboard-agent-listen-port": free_port(), "ray-client-server-port": free_port()}
        command = ["ray", "start", "--head", "--block", "--num-cpus=4", "--include-dashboard=true"]
        command += [f"--dashboard-port={self.address.rpartition(':')[2]}", "--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--{name}={port}" for name, port in ports.items()]
        with (folder / "head.log").open("wb") as log:
            self._head = subprocess.Popen(
                [*command, f"--temp-dir={self._temporary}"],
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def environment(self, token=None):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        asked = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token or self.token, "RAY_USAGE_STATS_ENABLED": "0"}
        return kept | asked | {"PATH": path, "HF_HUB_OFFLINE": "1"}

    def spti(self, *arguments, token=None):
        return subprocess.run(
            ["spti", *arguments],
            env=self.environment(token),
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=200,
        )

    def submit(self, out, *settings, token=None):
        chosen = [f"--set={setting}" for setting in (*SMALL, f"ledger.path={self.folder}/ledger", *settings)]
        arguments = [str(ROOT / "jobs" / "stickers.yaml"), "--out", str(out), "--address", self.address]
        return self.spti("submit", *arguments, *chosen, token=token)

    def stop(self):
        # At once: a head that is asked to stop takes 20 seconds.
        os.killpg(self._head.pid, signal.SIGKILL)
        self._head.wait()
        shutil.rmtree(self._temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("jobs"))
    try:
        for _ in range(100):
            if "does not answer" not in started.submit("/nowhere/run", token="0" * 32).stderr:
                break
        yield started
    finally:
        started.stop()


def test_without_the_clusters_token_nothing_is_submitted(cluster):
    result = cluster.submit(cluster.folder / "stranger", token="0" * 32)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "wants another token" in result.stderr
    assert not (cluster.folder / "stranger").exists() and not (cluster.folder / "ledger").exists()


def test_a_submitted_run_leaves_a_release_that_verifies_and_its_log(cluster):
    out = cluster.folder / "run"
    result = cluster.submit(out)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "submitted spti-" in result.stdout and f"release: {out}/release" in result.stdout
    verified = cluster.spti("verify", str(out), "--ledger", str(cluster.folder / "ledger"))
    assert verified.returncode == 0, verified.stdout


def test_the_exit_code_of_a_refused_run_is_that_of_the_command(cluster):
    result = cluster.submit(cluster.folder / "greedy", "privacy.epsilon=50")
    assert result.returncode == 3, result.stdout + result.stderr

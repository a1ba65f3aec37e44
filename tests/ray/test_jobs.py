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

from tests import warm

ROOT = Path(__file__).parents[2]
SMALL = (
    "runtime.engines=fake",
    "evolution.generations=1",
    "evolution.candidates=8",
    "evolution.themes=[]",
    "release.images=4",
)


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
        return warm.run("spti_ray.cli", *arguments, cwd=self.folder, env=self.environment(token), timeout=200)

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


def by_ray(cluster, package, *arguments):
    """`ray job submit` of jobs/synthesize.py, as the README has it; what the job wrote, and whether it succeeded."""
    command = ["ray", "job", "submit", "--address", cluster.address, "--working-dir", str(package), "--"]
    # The job runs in a node's process, which finds this checkout as a cluster finds an installed spti-ray.
    entry = ["python", str(ROOT / "jobs" / "synthesize.py"), "--config", "my.yaml", *arguments]
    done = subprocess.run(
        [*command, *entry], env=cluster.environment(), cwd=package, text=True, capture_output=True, timeout=300
    )
    return done.stdout + done.stderr, done.returncode == 0


def test_a_job_with_its_ledger_or_private_images_in_its_package_is_refused(cluster, tmp_path):
    package = tmp_path / "project"
    (package / "scans").mkdir(parents=True)
    (package / "scans" / "smith.png").write_bytes(b"private")
    stickers = (ROOT / "jobs" / "stickers.yaml").read_text()
    (package / "my.yaml").write_text(stickers.replace("path: ../runs/ledger", "path: books"))
    out, ledger = f"--out={cluster.folder}/job", f"--set=ledger.path={cluster.folder}/job-ledger"
    told, well = by_ray(cluster, package, out)
    assert not well and "ledger.path books is relative: on the cluster it would be in a folder that goes with" in told
    told, well = by_ray(cluster, package, out, ledger, f"--set=data.path={package}/scans")
    assert not well and "private images were uploaded with this job's working directory" in told and "smith" not in told
    assert not (cluster.folder / "job").exists() and not (cluster.folder / "job-ledger").exists()


def test_two_jobs_with_one_ledger_share_one_budget_and_the_refused_ones_exit_code_is_the_commands(cluster, tmp_path):
    (tmp_path / "my.yaml").write_text((ROOT / "jobs" / "stickers.yaml").read_text())
    shared = ("privacy.epsilon=4", "dataset.lifetime_epsilon=5", f"ledger.path={cluster.folder}/shared-ledger")
    first = (f"--out={cluster.folder}/first", *(f"--set={setting}" for setting in (*SMALL, *shared)))
    told, well = by_ray(cluster, tmp_path, *first)
    assert well, told
    second = cluster.submit(cluster.folder / "second", *shared)
    assert second.returncode == 3 and "lifetime" in second.stdout + second.stderr
    assert not (cluster.folder / "second" / "release").exists()

"""A head node in a process group of its own, apart from the cluster of the other tests, which asks for a token."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

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
    options, started_with = ("--num-cpus=4", "--include-dashboard=true"), {}
    """Of `ray start`, and what it has in its environment beside ours."""

    def __init__(self, folder):
        self.folder, self.token = folder, secrets.token_hex(16)
        # Short: sockets lie in it, and their paths may have 107 characters.
        self._temporary = tempfile.mkdtemp(prefix="spti-")
        self.address = f"http://127.0.0.1:{free_port()}"
        self.ray_address = f"127.0.0.1:{free_port()}"
        self.prepare()
        ports = {
            "port": self.ray_address.rpartition(":")[2],
            "dashboard-agent-listen-port": free_port(),
            "ray-client-server-port": free_port(),
        }
        command = ["ray", "start", "--head", "--block", *self.options]
        command += [f"--dashboard-port={self.address.rpartition(':')[2]}", "--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--{name}={port}" for name, port in ports.items()]
        with (folder / "head.log").open("wb") as log:
            self._head = subprocess.Popen(
                [*command, f"--temp-dir={self._temporary}"],
                env=self.environment() | self.started_with,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def prepare(self):
        """What is done before `ray start`."""

    def environment(self, token=None):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        asked = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token or self.token, "RAY_USAGE_STATS_ENABLED": "0"}
        # A busy machine's head takes longer than Ray's 30 s.
        patience = {"RAY_raylet_start_wait_time_s": "120", "RAY_gcs_server_port_wait_time_s": "120"}
        return kept | asked | patience | {"PATH": path, "HF_HUB_OFFLINE": "1"}

    def spti(self, *arguments, token=None):
        return warm.run("spti_ray.cli", *arguments, cwd=self.folder, env=self.environment(token), timeout=200)

    def submit(self, out, *settings, token=None, follow=True):
        chosen = [f"--set={setting}" for setting in (*SMALL, f"ledger.path={self.folder}/ledger", *settings)]
        arguments = [str(ROOT / "jobs" / "stickers.yaml"), "--out", str(out), "--address", self.address]
        arguments += [] if follow else ["--no-follow"]
        return self.spti("submit", *arguments, *chosen, token=token)

    def watch(self, out, *settings, log):
        """`spti run` that joins the cluster, in a process of its own; what it writes goes into the file `log`."""
        chosen = [f"--set={setting}" for setting in (*SMALL, f"ledger.path={self.folder}/ledger", *settings)]
        arguments = ["run", str(ROOT / "jobs" / "stickers.yaml"), "--out", str(out), *chosen]
        environment = self.environment() | {"RAY_ADDRESS": self.ray_address}
        with log.open("ab") as file:
            outputs = {"stdout": file.fileno(), "stderr": file.fileno()}
            return warm.start("spti_ray.cli", *arguments, cwd=self.folder, env=environment, **outputs)

    def processes(self, name):
        """Those of this head whose title begins so."""
        return [child for child in self._children() if _title(child).startswith(name)]

    def _children(self):
        return psutil.Process(self._head.pid).children(recursive=True)

    def stop(self):
        started = self._children()
        # At once: a head that is asked to stop takes 20 seconds.
        os.killpg(self._head.pid, signal.SIGKILL)
        self._head.wait()
        for process in started:
            with suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)


def _title(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

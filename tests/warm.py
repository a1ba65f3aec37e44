"""Processes that need not import the program first: each is the fork of one that has imported it.

`spti run` imports for seven seconds of a CPU before it does anything. What is started here has a process, a folder, an
environment, an output and an exit code of its own, and can be killed, as if by `python -m MODULE ARGUMENT...`. Two
things differ from a Python that starts anew: what modules read from the environment when they were imported (Ray reads
its token, so it is not among them), and the seed of string hashes, which all forks share. A test that is about either
starts `[sys.executable, "-m", ...]`.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PRELOADED = (
    "dp_accounting.pld",
    "matplotlib.figure",
    "obstore.store",
    "opendp.prelude",
    "spti_ray.cli.commands",
    "spti_ray.driver.driver",
    "spti_ray.planning.plan",
    "spti_ray.private.dataset",
    "spti_ray.release.verify",
    "tests.unit.dp.bench",
    "tests.unit.dp.crash_driver",
)
MODELS = (
    "spti_ray.evaluate.command",
    "spti_ray.models.judges",
    "transformers.models.auto.modeling_auto",
    "transformers.models.blip.modeling_blip",
    "transformers.models.clip.modeling_clip",
)
"""For commands that load models: another nine seconds."""
_MOST = 2**20
"""Bytes of a request."""


class Process:
    """A process that was started here, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, connection: socket.socket, arguments: tuple[str, ...]) -> None:
        self.args = arguments
        self._told = connection.makefile("r")
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode if self.returncode is not None or not self._ended(0) else self._end()

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not self._ended(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._end()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> bool:
        return bool(select.select([self._told], [], [], timeout)[0])

    def _end(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode


def start(
    module: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdout: int,
    stderr: int,
    models: bool = False,
) -> Process:
    """`python -m module arguments`; `stdout` and `stderr` are descriptors of open files, `models`: what is loaded."""
    environment = dict(os.environ if env is None else env)
    request = json.dumps({"module": module, "arguments": arguments, "cwd": str(cwd), "environment": environment})
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        connection.connect(_server(models)[0])
        socket.send_fds(connection, [request.encode() + b"\n"], [stdout, stderr])
        return Process(connection, (module, *arguments))


def run(
    module: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 240,
    models: bool = False,
) -> subprocess.CompletedProcess[str]:
    """The same, waited for: its exit code and what it wrote. It is killed where it takes longer than `timeout`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        outputs = {"stdout": out.fileno(), "stderr": errors.fileno()}
        process = start(module, *arguments, cwd=cwd, env=env, models=models, **outputs)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0), errors.seek(0)
        return subprocess.CompletedProcess(process.args, code, out.read(), errors.read())


@functools.cache
def _server(models: bool) -> tuple[bytes, subprocess.Popen[bytes]]:
    """The address of this process's server of a kind; it ends with the pipe that is kept here."""
    modules = (*PRELOADED, *(MODELS if models else ()))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the kernel finds a name
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(listener.fileno()), *modules],
            cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        return listener.getsockname(), server


def _serve(listener: socket.socket, modules: list[str]) -> socket.socket | None:
    """Wait for requests and fork: returns in each fork with its connection, and at the end without one."""
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with listener:
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return None
            connection, _ = listener.accept()
            if os.fork() == 0:
                return connection
            connection.close()


def _attend(connection: socket.socket) -> dict[str, Any]:
    """Fork once more: returns in the process that was asked for, and tells of its end from this one."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, outputs, _, _ = socket.recv_fds(connection, _MOST, 2)
    while not request.endswith(b"\n"):
        request += connection.recv(_MOST)
    process = os.fork()
    if process == 0:
        connection.close()
        for number, descriptor in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return json.loads(request)
    connection.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(asked: dict[str, Any]) -> None:
    there = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    more = [path for path in asked["environment"].get("PYTHONPATH", "").split(os.pathsep) if path not in there]
    if any((Path(path) / "sitecustomize.py").exists() for path in more):
        raise RuntimeError("what Python imports at its start needs one that starts anew")
    sys.path[1:1] = more
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[0] = asked["cwd"]
    sys.argv = [asked["module"], *asked["arguments"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    connected = _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    if connected is not None:
        _become(_attend(connected))

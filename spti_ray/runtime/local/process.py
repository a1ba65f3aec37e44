"""The private process of a local run, seen from the driver: it is started, asked, and heard."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

# Not by -m: classes of a `__main__` could not be sent.
_CODE = "import sys; from spti_ray.runtime.local.private_process import main; main(*map(int, sys.argv[1:]))"
_ENDS_WITHIN_S = 10.0


class ProcessEnded(RuntimeError):
    """The private process is gone; says how it ended and what to do."""


class Process:
    """A new Python, no copy of this one: nothing that the driver holds is in its memory."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: its variables, all of them."""
        self.environment = environment
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        # The modules that this process finds, and in the same order: an engine may be one of a test's own.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE, str(descriptor), str(os.getpid())],
            env=dict(environment) | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._asked: dict[int, tuple[str, Future[Any]]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._ended = ""
        threading.Thread(target=self._hear, name="private-process", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._ended

    @property
    def works_for_shards(self) -> bool:
        """Whether it has something to do for a shard or the trainer, which may take long."""
        return any(method in ("ask_shard", "train") for method, _ in tuple(self._asked.values()))

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        """Have it call a method of `PrivateProcess`, after all that was asked before.

        Returns:
            The result to come, or the error: ProcessEnded, or what the method raises.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._ended:
                future.set_exception(ProcessEnded(self._ended))
                return future
            number = next(self._numbers)
            self._asked[number] = method, future
            with suppress(BrokenPipeError, ConnectionResetError):  # `_hear` tells
                self._connection.send((number, method, arguments))
        return future

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End it and wait for that."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_WITHIN_S)

    def _hear(self) -> None:
        while True:
            try:
                number, went_well, value = self._connection.recv()
            except (EOFError, OSError):
                break
            except Exception:  # noqa: BLE001 what can't be read here: nobody must wait for it for ever
                self._process.kill()
                break
            _, future = self._asked.pop(number)
            if went_well:
                future.set_result(value)
            else:
                future.set_exception(value)
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        with self._lock:
            self._ended = f"the process for private images {how}; the same command goes on with the run"
            self._connection.close()
            lost, self._asked = self._asked, {}
        for _, future in lost.values():
            with suppress(InvalidStateError):
                future.set_exception(ProcessEnded(self._ended))

"""Starts a local Ray with the time that a busy machine needs, and once more if need be.

What Ray says when it can't start goes into the driver's log: at this point nothing private has been read.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import services

from spti_ray.errors import RayUnavailable

log = logging.getLogger(__name__)

_ATTEMPTS = 2
_LONGEST_SOCKET = 107
"""Bytes that Linux allows for the path of a socket."""
_SOCKET = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_LAST_LINES = 5
"""Of each of Ray's own error files, for the log."""
_WAITS = ("RAY_gcs_server_port_wait_time_s", "RAY_raylet_start_wait_time_s")
_SHOWN = 200


def check_temporary_folder() -> None:
    """Refuse, before anything is started or recorded, a folder in which Ray could not work. Raises RayUnavailable."""
    folder = Path(get_default_ray_temp_dir())
    setting = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "/tmp")
    if len(os.fsencode(folder / _SOCKET)) > _LONGEST_SOCKET:
        raise RayUnavailable(
            f"{setting}: the path of Ray's temporary folder {folder} is too long for its sockets; set RAY_TMPDIR to a "
            "folder with a short path, such as /tmp/me"
        )
    # Ray makes it, with rights for everybody; one that we made would keep other users out.
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryDirectory(prefix="spti-", dir=there):
            pass
    except OSError as error:
        raise RayUnavailable(
            f"{setting}: Ray's temporary folder {folder} can't be used ({error.strerror}); set RAY_TMPDIR to a folder "
            "that can be written"
        ) from None


def start_local(timeout_s: float, token: str, **settings: Any) -> None:
    """`ray.init` of a cluster of this process's own, whose files are for the owner only.

    Args:
        timeout_s: How long each of its processes may take to come up.
        token: Not to be told in the log.
        settings: Further arguments of `ray.init`.

    Raises:
        RayUnavailable: it could not be started, twice; one line.
    """
    check_temporary_folder()
    failed: Exception | None = None
    for attempt in range(1, _ATTEMPTS + 1):
        others = set(_ray_processes())
        try:
            with _files_for_the_owner_only(), _patience(timeout_s):
                ray.init(address="local", **settings)  # never a cluster that somebody else runs on this machine
            _close_to_others()
            return
        except Exception as error:  # noqa: BLE001 Ray has no class of its own for most of these
            failed = error
            tell(attempt, error, token)
        # Ray forgets processes of a start that failed half-way.
        ray.shutdown()
        _end(process for process in _ray_processes() if process not in others)
    assert failed is not None
    where = get_default_ray_temp_dir()
    raise RayUnavailable(
        f"Ray could not be started in {_ATTEMPTS} attempts: {in_short(failed, token)}; look for free memory, and for "
        f"disk space in {where} and /dev/shm; on a busy machine raise runtime.ray_start_timeout_s (now "
        f"{timeout_s:g}). More is in the run's internal/driver.log"
    ) from failed


@contextmanager
def _files_for_the_owner_only() -> Iterator[None]:
    """Ray's processes inherit the umask, and what they spill to disk when memory is short has private pixels in it."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _close_to_others() -> None:
    """Ray gives all rights on its session's folders to everybody, whatever the umask says."""
    node = ray._private.worker._global_node
    if node is not None:
        Path(node.get_session_dir_path()).chmod(0o700)


@contextmanager
def _patience(timeout_s: float) -> Iterator[None]:
    """Let Ray wait so long for its processes, where it would give up after 30 s."""
    before = {name: os.environ.get(name) for name in _WAITS}
    get_node = services.get_node
    os.environ |= {name: os.environ.get(name, str(max(1, round(timeout_s)))) for name in _WAITS}
    services.get_node = _patient(get_node, time.monotonic() + timeout_s)
    try:
        yield
    finally:
        services.get_node = get_node
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _patient(get_node: Callable[..., Any], deadline: float) -> Callable[..., Any]:
    """`get_node`, which raises RuntimeError while the node has not come up, asked until then or until the deadline.

    The 30 s after which Ray itself gives up can't be set.
    """

    def asked_again(*arguments: Any, **named: Any) -> Any:
        while True:
            try:
                return get_node(*arguments, **named)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    return asked_again


def _ray_processes() -> list[psutil.Process]:
    """The processes of a Ray node among this one's children."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if re.search(r"/ray/(core/src/ray|_private|dashboard|autoscaler)/", command):
            found.append(child)
    return found


def _end(processes: Iterator[psutil.Process]) -> None:
    ended = list(processes)
    for process in ended:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(ended, timeout=5)


def in_short(error: Exception, token: str = "") -> str:
    """The beginning of what Ray said, in one line. It has seen nothing that is private."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return _hidden(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...", token)


def _hidden(text: str, token: str) -> str:
    return text.replace(token, "[token]") if token else text


def tell(attempt: int, error: Exception, token: str = "") -> None:
    """What Ray said, and the ends of its error files, into the log of a run; without one nothing is printed."""
    if log.hasHandlers():
        text = "\n".join([f"{type(error).__name__}: {error}", *_ends_of_error_files()])
        log.error("Ray did not start or could not be joined (attempt %d): %s", attempt, _hidden(text, token))


def _ends_of_error_files() -> Iterator[str]:
    sessions = sorted(Path(get_default_ray_temp_dir()).glob(f"session_*_{os.getpid()}"))
    if not sessions:
        return
    logs = sessions[-1] / "logs"
    for name in ("gcs_server.err", "gcs_server.out", "raylet.err", "raylet.out"):
        try:
            with (logs / name).open(encoding="utf-8", errors="replace") as file:
                lines = deque(file, _LAST_LINES)
        except OSError:
            continue
        yield from (f"{name}: {line.rstrip()}" for line in lines)

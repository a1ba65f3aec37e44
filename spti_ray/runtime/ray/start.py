"""Starts a local Ray with the time that a busy machine needs, and once more if need be.

What Ray says when it can't start goes into the driver's log: at this point nothing private has been read.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import services

from spti_ray.errors import RayUnavailable
from spti_ray.runtime.ray.signals import handlers_kept

log = logging.getLogger(__name__)

_ATTEMPTS = 2
_LONGEST_SOCKET = 107
"""Bytes that Linux allows for the path of a socket."""
_NAME = "r"
_SOCKET = f"{_NAME}/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
_LAST_LINES = 5
"""Of each of Ray's own error files, for the log."""
_WAITS = ("RAY_gcs_server_port_wait_time_s", "RAY_raylet_start_wait_time_s")
_SHOWN = 200


def check_temporary_folder() -> None:
    """Refuse, before anything is started or recorded, a folder in which Ray could not work. Raises RayUnavailable."""
    shutil.rmtree(_private_folder(), ignore_errors=True)


def _private_folder() -> Path:
    """A new folder for one local Ray, for its owner only: Ray gives everybody all rights on those that it makes in it.

    In it, and not in /tmp/ray, a plain `ray.init()` of somebody else doesn't find the run's Ray either.
    """
    setting, base = _temporary_folder()
    try:
        folder = Path(tempfile.mkdtemp(prefix="spti", dir=base))
    except OSError as error:
        raise RayUnavailable(
            f"{setting}: Ray's temporary folder can't be made in {base} ({error.strerror}); set RAY_TMPDIR to a folder "
            "that can be written"
        ) from None
    if len(os.fsencode(folder / _SOCKET)) <= _LONGEST_SOCKET:
        return folder
    folder.rmdir()
    raise RayUnavailable(
        f"{setting}: {base} is too long a path for Ray's sockets; set RAY_TMPDIR to a folder with a short path, such "
        "as /tmp"
    )


def _temporary_folder() -> tuple[str, str]:
    """(setting that names it, the folder for temporary files). A long TMPDIR gives way to /tmp, for the sockets."""
    if chosen := os.environ.get("RAY_TMPDIR"):
        return "RAY_TMPDIR", os.path.abspath(chosen)
    chosen = os.path.abspath(os.environ.get("TMPDIR") or "/tmp")
    room = _LONGEST_SOCKET - len("/spti12345678/") - len(_SOCKET)
    return "TMPDIR", chosen if len(os.fsencode(chosen)) <= room else "/tmp"


@contextmanager
def local_ray(timeout_s: float, token: str, **settings: Any) -> Iterator[None]:
    """`ray.init` of a cluster of this process's own, whose files are for the owner only; it ends with the context.

    Its logs are removed then, but for those of a failure, and where RAY_TMPDIR says in which folder they are wanted.

    Args:
        timeout_s: How long each of its processes may take to come up.
        token: Not to be told in the log.
        settings: Further arguments of `ray.init`.

    Raises:
        RayUnavailable: it could not be started, twice; one line.
    """
    folder = _private_folder()
    _start(folder, timeout_s, token, settings)
    try:
        yield
    finally:
        ray.shutdown()
    if "RAY_TMPDIR" not in os.environ:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, timeout_s: float, token: str, settings: Mapping[str, Any]) -> None:
    failed: Exception | None = None
    for attempt in range(1, _ATTEMPTS + 1):
        others = set(_ray_processes())
        try:
            with handlers_kept(), _files_for_the_owner_only(), _patience(timeout_s):
                # "local": never a cluster that somebody else runs on this machine.
                ray.init(address="local", _temp_dir=str(folder / _NAME), **settings)
            return
        except Exception as error:  # noqa: BLE001 Ray has no class of its own for most of these
            failed = error
            tell(attempt, error, token, folder)
        # Ray forgets processes of a start that failed half-way.
        ray.shutdown()
        _end(process for process in _ray_processes() if process not in others)
    assert failed is not None
    more = ". More is in the run's internal/driver.log" if log.hasHandlers() else ""
    raise RayUnavailable(
        f"Ray could not be started in {_ATTEMPTS} attempts: {in_short(failed, token)}; look for free memory, and for "
        f"disk space in {folder.parent} and /dev/shm; on a busy machine raise runtime.ray_start_timeout_s (now "
        f"{timeout_s:g}){more}"
    ) from failed


@contextmanager
def _files_for_the_owner_only() -> Iterator[None]:
    """Ray's processes inherit the umask, and what they spill to disk when memory is short has private pixels in it."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


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
            except RuntimeError as error:
                if time.monotonic() > deadline:
                    # Not a RuntimeError, at which Ray would go on asking for its own 30 s.
                    raise TimeoutError(f"the node did not come up in time ({error})") from error
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


def in_short(error: Exception, secret: str = "") -> str:
    """The beginning of what Ray said, in one line. It has seen nothing that is private."""
    text = " ".join(_hidden(f"{type(error).__name__}: {error}", secret).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _hidden(text: str, secret: str) -> str:
    return text.replace(secret, "[hidden]") if secret else text


def tell(attempt: int, error: Exception, secret: str = "", folder: Path | None = None) -> None:
    """What Ray said, and the ends of its error files, into the log of a run; without one nothing is printed."""
    if log.hasHandlers():
        text = "\n".join([f"{type(error).__name__}: {error}", *(_ends_of_error_files(folder) if folder else ())])
        log.error("Ray did not start or could not be joined (attempt %d): %s", attempt, _hidden(text, secret))


def _ends_of_error_files(folder: Path) -> Iterator[str]:
    sessions = sorted((folder / _NAME).glob("session_2*"))
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

"""Output suppression for processes that hold private content, since libraries print, log and warn about their input.

Ray stores whatever a worker writes to file descriptors 1 and 2 in the session's log files, and passes it to the
cluster's control store. So the output of a shard's process is suppressed permanently, and an engine's during a private
call. Redirecting Python's streams is not enough: C libraries such as libtiff write to descriptor 2 directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import sys
import threading
import warnings
from collections.abc import Generator

_ALL_LEVELS = sys.maxsize


def suppress_output_permanently() -> None:
    """Discard everything that this process prints, logs or warns of from now on; includes `suppress_crash_output`.

    Ray's C++ runtime writes its own log by other means, which continues.
    """
    suppress_crash_output()
    logging.disable(_ALL_LEVELS)
    suppress_streams_permanently()


def suppress_streams_permanently() -> None:
    """Discard what this process prints and warns of from now on. What is logged to a file of ours is not touched."""
    warnings.simplefilter("ignore")
    _flush()
    # Stays open as long as the process lives.
    nowhere = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = nowhere  # type: ignore[misc]
    for descriptor in (1, 2):
        os.dup2(nowhere.fileno(), descriptor)


def suppress_crash_output() -> None:
    """Let crashes of this process, its threads and its finalisers leave neither a core dump nor a traceback."""
    # A limit of 1 byte: with 0, Linux still pipes a dump to a handler such as apport or systemd-coredump; 1 forbids
    # that too, and is too small for a file. A hard limit of 0 can't be raised.
    limit = 0 if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    # By default both print an exception's text, and may run after the private call that caused it.
    threading.excepthook = lambda args: None
    sys.unraisablehook = lambda args: None


@contextlib.contextmanager
def suppressed_output() -> Generator[None]:
    """Discard everything that is printed, logged or warned of within the block; restore all settings afterwards.

    The output of other threads is discarded as well. Several threads may be in such blocks at a time: the last one that
    leaves restores. Descriptors 1 and 2 must be open.
    """
    _shared.enter()
    try:
        yield
    finally:
        _shared.leave()


class _Shared:
    """One suppression for all threads that want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._open = contextlib.ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._open.enter_context(_suppressed())
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._open.close()


_shared = _Shared()


@contextlib.contextmanager
def _suppressed() -> Generator[None]:
    level_before = logging.root.manager.disable
    _flush()
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        # Callbacks run in reverse order, so buffers are flushed before the descriptors are restored.
        stack.callback(_flush)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        stack.callback(logging.disable, level_before)
        logging.disable(_ALL_LEVELS)
        yield


def _flush() -> None:
    """Flush Python's and C's buffers to wherever their descriptors lead now."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # Some hosts have no streams, or closed ones.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    ctypes.CDLL(None).fflush(None)

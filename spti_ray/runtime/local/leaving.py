"""How a process ends that has engines which can't be ended: it waits for none of them.

A thread can't be stopped while a library loads a model in it or computes a batch. An interpreter that ends would wait
for its thread pools, for minutes, and then take away what the threads use.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

from spti_ray.runtime.hosting.threads import ENGINE_THREAD

_CHILDREN_END_WITHIN_S = 2.0


def engines_at_work() -> bool:
    """Whether a thread of an engine of this process is alive."""
    return any(thread.name.startswith(ENGINE_THREAD) for thread in threading.enumerate())


def leave(code: int) -> NoReturn:
    """End this process now, and the processes that its engines have started.

    Args:
        code: the exit code.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends already
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    until = time.monotonic() + _CHILDREN_END_WITHIN_S
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
        if child.is_alive():
            child.kill()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)

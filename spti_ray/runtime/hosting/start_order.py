"""Which engines come first on a machine with fewer cores than engines, where starting takes most of a small run.

The writer's texts are what all others wait for; shards embed private images while it writes; what is rendered comes
last. So they have priorities. With a core for each nobody waits.
"""

from __future__ import annotations

import importlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import ModuleType

from spti_ray.config import Role
from spti_ray.models.no_garbage import no_search_for_garbage

_NICE: dict[Role, int] = {"writer": 0, "image_embedder": 5, "captioner": 5, "text_embedder": 5, "renderer": 10}


def first_to_last(role: Role) -> int:
    """By this number roles are sorted in the order in which they should start."""
    return _NICE[role]


def step_back(role: Role) -> None:
    """Lower the priority of this thread, and of those that it starts, to where the role stands in line. For good: who
    is not root can't raise it again."""
    with suppress(OSError):
        niceness = os.getpriority(os.PRIO_PROCESS, os.getpid()) + _NICE[role]  # from that of the main thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def import_in_line(role: Role, module: str) -> ModuleType:
    """Import the module of an engine, by a thread of its own that steps back.

    Raises:
        ImportError: whatever the import raises.
    """
    with (
        no_search_for_garbage(),
        ThreadPoolExecutor(1, f"importing the {role}", initializer=partial(step_back, role)) as thread,
    ):
        return thread.submit(importlib.import_module, module).result()

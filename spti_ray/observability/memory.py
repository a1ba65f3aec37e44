"""How much memory a run takes on the driver's machine."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil

_SAMPLE_EVERY_S = 2.0


class MemorySampler:
    """Measures the memory of this process and of everything that it started, every two seconds until it is left.

    Sums the proportional set size (shared pages are counted once), or the resident size where the kernel does not
    say. Only processes of this machine are seen.
    """

    def __init__(self, on_sample: Callable[[int], None]) -> None:
        """`on_sample` gets the bytes in use, on a thread of its own."""
        self._on_sample = on_sample
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(_SAMPLE_EVERY_S):
            self._on_sample(sum(_memory_of(process) for process in [own, *own.children(recursive=True)]))


def _memory_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0

"""Writes on threads of their own, so that whoever has something to write never waits for a disk."""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable

Act = Callable[[], None]


class WriteThreads:
    """Runs what it is given: with one thread in order, with several side by side.

    Args:
        name: of the threads.
        count: how many there are; they start with the first write, and end with this object.
    """

    def __init__(self, name: str, count: int = 1) -> None:
        self._name = name
        self._count = count
        self._acts: queue.Queue[Act | None] = queue.Queue()
        self._errors: deque[Exception] = deque()
        self._end: Callable[[], object] | None = None

    def submit(self, act: Act) -> None:
        """Call `act` soon, on one of the threads.

        Raises:
            Exception: what an earlier `act` raised.
        """
        self._raise()
        if self._end is None:
            self._start()
        self._acts.put(act)

    def drain(self) -> None:
        """Wait until all of it is done.

        Raises:
            Exception: what an `act` raised.
        """
        self._acts.join()
        self._raise()

    def close(self) -> None:
        """Wait until all of it is done, and end the threads. What was raised is forgotten."""
        self._acts.join()
        self._errors.clear()
        if self._end is not None:
            self._end()
            self._end = None

    def _start(self) -> None:
        for _ in range(self._count):
            # They know the queue alone, so this object goes when nobody uses it, and they with it.
            threading.Thread(target=_work, args=(self._acts, self._errors), name=self._name, daemon=True).start()
        self._end = weakref.finalize(self, _end, self._acts, self._count)

    def _raise(self) -> None:
        if self._errors:
            raise self._errors.popleft()


def _end(acts: queue.Queue[Act | None], count: int) -> None:
    for _ in range(count):
        acts.put(None)


def _work(acts: queue.Queue[Act | None], errors: deque[Exception]) -> None:
    while True:
        act = acts.get()
        try:
            if act is None:
                return
            act()
        except Exception as error:  # noqa: BLE001 raised where the next write is asked for
            errors.append(error)
        finally:
            del act  # It may hold an image, and the next one may come late.
            acts.task_done()

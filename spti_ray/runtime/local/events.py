"""`Events` of engines without Ray: calls go to an engine's thread or process, and what comes back is queued for the
driver's thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from spti_ray.io.images import read_png
from spti_ray.runtime.local.engine import Engine, outcome_of
from spti_ray.runtime.scheduling.events import Events, Lost, Outcome, Raised, Up
from spti_ray.types import ImageBatch

_LOOK_UP_S = 1.0
"""A waiting driver looks up this often, so that signals are handled soon."""


class LocalEvents(Events):
    """An actor is an `Engine`. None is restarted: one that is lost is gone."""

    def __init__(self, let_go: Callable[[Engine], None]) -> None:
        """`let_go` is told of each engine that is not needed any more."""
        super().__init__()
        self._let_go = let_go
        self._came: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under_way = 0
        self._hung: dict[Engine, str] = {}
        self._calls: dict[Engine, dict[object, Callable[[Outcome], None]]] = {}

    def now(self) -> float:
        return time.monotonic()

    def call(self, actor: Engine, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        calls, mark = self._calls.setdefault(actor, {}), object()
        calls[mark] = done

        def back(future: Future[Any]) -> None:
            if calls.pop(mark, None) is not None:  # else it was given up
                done(outcome_of(future))

        if isinstance(arguments[0], ImageBatch):
            # Its process gets the images themselves.
            arguments = ([bytes(read_png(image)) for image in arguments[0]],)
        self.when_done(actor.run(arguments), back)

    def ready(self, actor: Engine, done: Callable[[Up | Lost], None]) -> None:
        def answer(future: Future[Any]) -> None:
            error, hung = future.exception(), self._hung.get(actor)
            done(Lost(gone=hung or str(error)) if hung or error else Up())

        self.when_done(actor.ready(), answer)

    def identity(self, actor: Engine, done: Callable[[Outcome], None]) -> None:
        self.when_done(actor.ready(), lambda future: done(outcome_of(future)))

    def wake(self, actor: Engine, done: Callable[[Outcome], None]) -> None:
        self._say(lambda: done(Raised("nobody takes turns on a GPU here")))

    def sleep(self, actor: Engine, done: Callable[[Outcome], None]) -> None:
        self.wake(actor, done)

    def kill(self, actor: Engine, for_good: bool) -> None:
        """Unless `for_good` the engine hangs. It is given up, and so the run ends.

        A batch that only waits for the shards, which have the same process, is not hung.
        """
        if for_good:
            self._let_go(actor)
        elif not actor.waits_for_others:
            lost = Lost(gone="it hangs; the same command goes on with the run")
            self._hung[actor] = str(lost.gone)
            actor.give_up()
            calls = self._calls.pop(actor, {})
            for done in calls.values():
                self._say(lambda done=done: done(lost))
            calls.clear()

    def when_done(self, future: Future[Any], act: Callable[[Future[Any]], None]) -> None:
        """Call `act` with the future, once it is done, during a later `wait`."""
        self._under_way += 1
        # Called on the thread of whoever answers, which must not be kept.
        future.add_done_callback(lambda done: self._came.put(lambda: act(done)))

    def _say(self, act: Callable[[], None]) -> None:
        self._under_way += 1
        self._came.put(act)

    def _next(self, until: float | None) -> bool:
        if not self._under_way and until is None:
            return False
        left = None if until is None else max(0.0, until - self.now())
        try:
            act = self._came.get(timeout=_LOOK_UP_S if left is None else min(left, _LOOK_UP_S))
        except queue.Empty:
            return True
        while True:
            self._under_way -= 1
            act()
            try:
                act = self._came.get_nowait()
            except queue.Empty:
                return True

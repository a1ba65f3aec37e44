"""When a pool takes another actor, and when it gives back what it has grown by.

Knows nothing of Ray: see `events`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from spti_ray.runtime.scheduling.events import Events

_FAILURES = 3
"""After so many actors in a row that could not be started, no more are tried."""

_OTHERS_S = 10.0
"""How often a pool looks whether others than its streams keep its actors busy: if they still do, it grows."""

_IDLE_S = 60.0
"""After so long without a unit, or others' work, a pool gives back what it has grown by."""


class Grows(Protocol):
    """What is asked of a pool."""

    @property
    def num_actors(self) -> int: ...

    def add(self, actor: Any) -> None:
        """An actor that is not up yet."""
        ...

    def shrink(self, keep: int = 0) -> None: ...


class Growth:
    """Of one pool, between the actors that are there from the start and `most`.

    `make` starts another actor, None where there can be no more. `others` says how many actors somebody else than the
    pool's streams keeps busy, if there are so many.
    """

    def __init__(
        self,
        pool: Grows,
        events: Events,
        least: int,
        most: int,
        make: Callable[[], Any] | None,
        others: Callable[[], int],
    ) -> None:
        self._pool = pool
        self._events = events
        self._least, self._most = least, most
        self._make = make
        self._others = others
        self._num_dispatched = 0
        self._was_up = False
        self._failures = 0
        if others() and most > least:
            events.after(_OTHERS_S, self._look_at_others)

    def dispatched(self) -> None:
        """A unit was handed out."""
        self._num_dispatched += 1

    def idle(self) -> None:
        """Nothing is at work: what the pool has grown by is given back if that stays so."""
        if self._pool.num_actors > self._least:
            self._events.after(_IDLE_S, partial(self._give_back, self._num_dispatched))

    def up(self) -> None:
        """An actor could be started."""
        self._was_up = True
        self._failures = 0

    def replace(self) -> None:
        """An actor will not come back: another takes its place, unless none was ever up."""
        self._failures += 1
        if self._was_up:
            self._add_another()

    def grow(self, useful: int | None) -> None:
        """The run waits for this pool: at most double it; `useful`: actors that would have work, None if any number."""
        there = self._pool.num_actors
        wanted = self._most if useful is None else min(useful, self._most)
        for _ in range(min(there, wanted - there)):
            self._add_another()

    def _look_at_others(self) -> None:
        """While others are at work with the pool's actors: grow, as if they were streams that the run waits for."""
        wanted = self._others()
        self.grow(wanted)
        if wanted:
            self._events.after(_OTHERS_S, self._look_at_others)

    def _give_back(self, num_dispatched: int) -> None:
        """What the pool has grown by, if it had nothing to do since so many units had been handed out."""
        if self._others():
            self._events.after(_IDLE_S, partial(self._give_back, num_dispatched))
        elif num_dispatched == self._num_dispatched:
            self._pool.shrink(self._least)

    def _add_another(self) -> None:
        if self._make is not None and self._failures < _FAILURES:
            actor = self._make()
            if actor is not None:
                self._pool.add(actor)

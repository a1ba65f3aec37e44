"""When a pool takes another actor, and when it gives back those that it has grown by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from spti_ray.runtime.scheduling.events import Events
from spti_ray.runtime.scheduling.retries import MAX_START_FAILURES

_FULL = 0.9
"""Mean share of slots in use above which a pool is what the run waits for."""

_OTHERS_S = 10.0
"""How often a pool checks whether others than its streams keep its actors busy: while they do, it grows."""

_IDLE_S = 60.0
"""After so long without a batch, or work of others, a pool gives back what it has grown by."""


class ScalablePool(Protocol):
    """What the autoscaler asks of its pool."""

    @property
    def num_actors(self) -> int: ...

    @property
    def has_work(self) -> bool: ...

    def add(self, actor: Any) -> None:
        """Take one more actor, which need not be up yet."""
        ...

    def shrink(self, keep: int = 0) -> None:
        """Give back all actors but `keep`."""
        ...


class Utilization:
    """How much of a pool's slots is in use, on average over time."""

    def __init__(self, now: float) -> None:
        self._batches = 0
        self._batch_seconds = 0.0
        self._since = self._at = now

    def change(self, now: float, by: int) -> None:
        """So many batches more, or fewer, are at work."""
        self._batch_seconds += self._batches * (now - self._at)
        self._batches += by
        self._at = now

    def begin(self, now: float) -> None:
        """Forget what was before `now`."""
        self.change(now, 0)
        self._batch_seconds, self._since = 0.0, now

    def share(self, now: float, slots: int) -> float:
        """Used share of the slots since the last call, or since `begin`."""
        self.change(now, 0)
        share = self._batch_seconds / max(1e-9, slots * (now - self._since))
        self.begin(now)
        return share


class Autoscaler:
    """Keeps the size of one pool between the actors that it starts with and `most`.

    Args:
        pool: the pool.
        events: its clock and timers.
        least: how many actors there are from the start; so many stay. From none, the first is started by `need_one`.
        most: how many there may be.
        start_actor: starts another actor; None where there can be no more.
        others: how many actors are kept busy by somebody else than the pool's streams, such as private shards.
    """

    def __init__(
        self,
        pool: ScalablePool,
        events: Events,
        least: int,
        most: int,
        start_actor: Callable[[], Any] | None,
        others: Callable[[], int],
    ) -> None:
        self._pool = pool
        self._events = events
        self._least, self._most = least, most
        self._start_actor = start_actor
        self._others = others
        self._utilization = Utilization(events.now())
        self._num_dispatched = 0
        self._was_up = False
        self._failures = 0
        if others() and most > least:
            events.after(_OTHERS_S, self._grow_for_others)

    def dispatched(self) -> None:
        """A batch is sent to an actor."""
        self._utilization.change(self._events.now(), 1)
        self._num_dispatched += 1

    def returned(self) -> None:
        """A batch came back, with a result or without."""
        self._utilization.change(self._events.now(), -1)

    def idle(self) -> None:
        """No batch is at work: what the pool has grown by is given back if that stays so."""
        if self._pool.num_actors > self._least:
            self._events.after(_IDLE_S, partial(self._give_back, self._num_dispatched))

    def actor_up(self) -> None:
        """An actor could be started."""
        self._was_up = True
        self._failures = 0

    def replace(self) -> None:
        """An actor will not come back: start another in its place, unless none was ever up."""
        self._failures += 1
        if self._was_up:
            self._add_another()

    @property
    def may_begin(self) -> bool:
        """Whether the pool begins with no actor, and could still start its first."""
        return not self._least and self._start_actor is not None and self._failures < MAX_START_FAILURES

    def need_one(self) -> bool:
        """There is work for a pool without actors: start the first, if it begins with none. Whether that was done."""
        if self._pool.num_actors or not self.may_begin:
            return False
        self._add_another()
        if not self._pool.num_actors:
            self._failures = MAX_START_FAILURES
        return self._pool.num_actors > 0

    def begin_period(self) -> None:
        """Measure the use of slots from now on."""
        self._utilization.begin(self._events.now())

    def end_period(self, slots: int, useful: Callable[[], int | None]) -> None:
        """Grow if all of the slots were in use since the last period; measure the next one.

        Args:
            slots: those of the actors that are up.
            useful: how many actors would have work; None if any number would.
        """
        if self._utilization.share(self._events.now(), slots) > _FULL:
            self._grow(useful())

    def _grow(self, useful: int | None) -> None:
        """The run waits for this pool: at most double it."""
        there = self._pool.num_actors
        wanted = self._most if useful is None else min(useful, self._most)
        for _ in range(min(there, wanted - there)):
            self._add_another()

    def _grow_for_others(self) -> None:
        """While others work with the pool's actors: grow, as if they were streams that the run waits for."""
        wanted = self._others()
        self._grow(wanted)
        if wanted:
            self._events.after(_OTHERS_S, self._grow_for_others)

    def _give_back(self, num_dispatched: int) -> None:
        """What the pool has grown by, if nothing was sent since so many batches had been."""
        if self._others():
            self._events.after(_IDLE_S, partial(self._give_back, num_dispatched))
        elif num_dispatched == self._num_dispatched:
            # The last one may only be away: its batches wait.
            self._pool.shrink(max(self._least, 1 if self._pool.has_work else 0))

    def _add_another(self) -> None:
        if self._start_actor is not None and self._failures < MAX_START_FAILURES:
            actor = self._start_actor()
            if actor is not None:
                self._pool.add(actor)

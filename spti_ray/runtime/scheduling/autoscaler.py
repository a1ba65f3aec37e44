"""When a pool takes another actor, and when it gives back those that it has grown by."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Protocol

from spti_ray.runtime.scheduling.events import Events
from spti_ray.runtime.scheduling.retries import MAX_START_FAILURES, Limits

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
    """How much of a pool's slots is in use, and for how long a batch keeps one of them when nearly all are."""

    def __init__(self, now: float) -> None:
        self._at_work: dict[Any, float] = {}
        """Batches, and since when."""
        self._num_at_work = 0
        self._slot_seconds = 0.0
        self._since = self._at = now
        self._took_s: list[float] = []
        """How long each batch took that was finished since then."""
        self._when_full = (0.0, 0)
        """The sum of that over full periods, and of how many batches it is."""
        self.full_since: float | None = None
        """When the first of the last full periods in a row began."""

    def sent(self, batch: Any, now: float) -> None:
        """A batch goes to an actor."""
        self._pass(now, 1)
        self._at_work[batch] = now

    def back(self, batch: Any, now: float, finished: bool) -> None:
        """A batch is back, `finished` or not."""
        self._pass(now, -1)
        since = self._at_work.pop(batch, None)
        if finished and since is not None:
            self._took_s.append(now - since)

    def begin(self, now: float) -> None:
        """Begin a period; it follows the last one only if that ended now."""
        if now > self._since:
            self.full_since = None
        self._begin(now)

    def is_full(self, now: float, slots: int) -> bool:
        """Whether nearly all of the slots were in use since the last call, or since `begin`; begins the next period."""
        self._pass(now, 0)
        full = self._slot_seconds > _FULL * max(1e-9, slots * (now - self._since))
        if full:
            seconds, number = self._when_full
            self._when_full = seconds + sum(self._took_s), number + len(self._took_s)
        self.full_since = (self._since if self.full_since is None else self.full_since) if full else None
        self._begin(now)
        return full

    @property
    def seconds_per_batch(self) -> float | None:
        """For how long a batch keeps a slot of a full pool, on average; None before one was finished."""
        seconds, number = self._when_full
        return seconds / number if number else None

    def _begin(self, now: float) -> None:
        self._pass(now, 0)
        self._slot_seconds, self._since = 0.0, now
        self._took_s.clear()

    def _pass(self, now: float, by: int) -> None:
        """Time goes on to `now`, when so many more are at work, or fewer."""
        self._slot_seconds += self._num_at_work * (now - self._at)
        self._num_at_work += by
        self._at = now


class StartTimes:
    """How long the actors take to come up that a pool has grown by.

    Args:
        assumed_s: as long as none was seen to.
    """

    def __init__(self, assumed_s: float) -> None:
        self._assumed_s = assumed_s
        self._seen_s: list[float] = []
        self._asked_at: dict[Any, float] = {}

    def asked(self, actor: Any, now: float) -> None:
        """The actor was asked for."""
        self._asked_at[actor] = now

    def up(self, actor: Any, now: float) -> None:
        """It is up, perhaps not for the first time."""
        if actor in self._asked_at:
            self._seen_s.append(now - self._asked_at.pop(actor))

    def forget(self, actor: Any) -> None:
        """It is waited for no more."""
        self._asked_at.pop(actor, None)

    def expected_s(self, now: float) -> float:
        """What is usual, or longer if one is awaited for longer already."""
        usual_s = median(self._seen_s) if self._seen_s else self._assumed_s
        return max(usual_s, now - min(self._asked_at.values(), default=now))


class Autoscaler:
    """Keeps the size of one pool between the actors that it starts with and `most`.

    A pool that the run waits for grows, at most to the double at a time, while the work that is left would keep its
    actors, with those that are still to come up, busy for longer than another one takes to start. What later rounds of
    the same work will be counts, too, but no pool grows beyond what one round keeps busy. How long work will
    take of which nobody knows the amount, such as the shards', is guessed: as long again as it has taken.

    Args:
        pool: the pool.
        events: its clock and timers.
        limits: how many batches an actor has at a time, and how long one takes to start.
        least: how many actors there are from the start; so many stay. From none, the first is started by `need_one`.
        most: how many there may be.
        start_actor: starts another actor; None where there can be no more.
        others: how many actors are kept busy by somebody else than the pool's streams, such as private shards.
    """

    def __init__(
        self,
        pool: ScalablePool,
        events: Events,
        limits: Limits,
        least: int,
        most: int,
        start_actor: Callable[[], Any] | None,
        others: Callable[[], int],
    ) -> None:
        self._pool = pool
        self._events = events
        self._slots = limits.slots
        self._least, self._most = least, most
        self._start_actor = start_actor
        self._others = others
        self._utilization = Utilization(events.now())
        self._starts = StartTimes(limits.node_start_s)
        self._num_dispatched = 0
        self._was_up = False
        self._failures = 0
        if others() and most > least:
            events.after(_OTHERS_S, partial(self._grow_for_others, events.now()))

    def dispatched(self, batch: Any) -> None:
        """A batch is sent to an actor."""
        self._utilization.sent(batch, self._events.now())
        self._num_dispatched += 1

    def returned(self, batch: Any, finished: bool) -> None:
        """A batch came back, with a result if it is `finished`."""
        self._utilization.back(batch, self._events.now(), finished)

    def idle(self) -> None:
        """No batch is at work: what the pool has grown by is given back if that stays so."""
        if self._pool.num_actors > self._least:
            self._events.after(_IDLE_S, partial(self._give_back, self._num_dispatched))

    def actor_up(self, actor: Any) -> None:
        """An actor could be started."""
        self._was_up = True
        self._failures = 0
        self._starts.up(actor, self._events.now())

    def actor_leaves(self, actor: Any) -> None:
        """An actor is given back, or will not come back."""
        self._starts.forget(actor)

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

    def end_period(self, num_up: int, left: Callable[[], int | None], later: Callable[[], int] = lambda: 0) -> None:
        """Grow if all of the slots were in use since the last period; measure the next one.

        Args:
            num_up: actors that are up.
            left: batches that are still to be done; None if nobody knows how many.
            later: batches that will come after these, as those of further generations do.
        """
        if self._utilization.is_full(self._events.now(), num_up * self._slots):
            self._grow(self._worthwhile(left(), later()))

    def _worthwhile(self, left: int | None, later: int) -> int:
        """How many actors, with those that are still to come up, are worth their start: those that the batches of now
        would keep busy, as far as these and the later ones outlast a start."""
        now = self._events.now()
        start_s, since = self._starts.expected_s(now), self._utilization.full_since
        if left is None:
            return self._most if since is not None and now - since > start_s else 0
        seconds = self._utilization.seconds_per_batch
        if seconds is None:
            return 0
        busy = math.ceil(left / self._slots)
        return min(busy, math.ceil((busy + later / self._slots) * seconds / start_s)) if start_s else busy

    def _grow(self, wanted: int) -> None:
        """The run waits for this pool: at most double it."""
        there = self._pool.num_actors
        for _ in range(min(there, min(wanted, self._most) - there)):
            self._add_another()

    def _grow_for_others(self, since: float) -> None:
        """While others work with the pool's actors: grow, as if they were streams that the run waits for."""
        wanted = self._others()
        if wanted:
            now = self._events.now()
            if now - since > self._starts.expected_s(now):
                self._grow(wanted)
            self._events.after(_OTHERS_S, partial(self._grow_for_others, since))

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
                self._starts.asked(actor, self._events.now())
                self._pool.add(actor)

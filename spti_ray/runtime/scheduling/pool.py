"""The streams of one role's batches through its actors, with results in order, and what becomes of each batch.

A stream's source is asked for batches as actors have room, and for at most so many ahead of the oldest result that is
missing; before an actor is up, for some to begin with. Several streams may be open at a time, one feeding another. The
first result of a batch counts. What becomes of actors: `actor_lifecycle`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.actor_lifecycle import ActorLifecycle
from spti_ray.runtime.scheduling.call_length import CallLength
from spti_ray.runtime.scheduling.events import Act, Events, Finished, InputLost, Lost, Outcome, Raised
from spti_ray.runtime.scheduling.image_budget import ImageBudget
from spti_ray.runtime.scheduling.meter import NO_METRICS, Load, Meter
from spti_ray.runtime.scheduling.result_cache import CachedResult
from spti_ray.runtime.scheduling.retries import DEFAULTS, Limits
from spti_ray.runtime.scheduling.scheduler import Batch, Scheduler
from spti_ray.runtime.scheduling.stragglers import Stragglers
from spti_ray.runtime.scheduling.streams import Streams

log = logging.getLogger(__name__)

_LOOK_S = 2.0
"""How often a working pool looks for hung engines, and whether it should grow."""

_TURN = 256
"""Calls that a pool sends before what has come back is looked at. Ten thousand engines take seconds to be filled: by
then the first results say how many batches should go in a call, and engines wait that are done."""


class Pool:
    """The batches of one role, and the actors that they go to.

    Args:
        role: by which logs and errors name it.
        actors: those that are there from the start; they need not be up yet. If there are none, the first is started
            when there is a batch for it.
        events: calls of the actors; for a pool that shares its GPU those of `GpuTimeSharing.of`.
        limits: how many batches an actor has at a time, and how often a batch is tried.
        on_batch: is called with each batch's result and the seconds in its engine; 0 for one from the cache.
        grow, most, others: see `Autoscaler`.
        cache: finds the place of a batch's result among those of earlier attempts at the run.
        meter: is told of all that happens.
        shares_gpu: take from streams while the actors sleep, so that there are batches when they wake.
        rounds_to_come: how often work like that of now will come again, as with each generation.
        images: counts what batches result in, where that is images, and says whether more may wait.
        call_length: says how many batches go in a call.
        repeats: whether a batch that straggles is asked for a second time; not where somebody pays for each call.
        restore: makes the lost images of a batch's arguments again, and calls what it is given.
    """

    def __init__(
        self,
        role: str,
        actors: list[Any],
        events: Events,
        limits: Limits = DEFAULTS,
        on_batch: Callable[[Any, float], None] = lambda result, seconds: None,
        grow: Callable[[], Any] | None = None,
        most: int = 0,
        cache: Callable[[tuple[Any, ...]], CachedResult] | None = None,
        meter: Meter = NO_METRICS,
        others: Callable[[], int] = lambda: 0,
        shares_gpu: bool = False,
        rounds_to_come: Callable[[], int] = lambda: 0,
        images: ImageBudget | None = None,
        restore: Callable[[Any, Act], None] | None = None,
        repeats: bool = False,
        call_length: CallLength | None = None,
    ) -> None:
        self.role = role
        self.given_up = 0
        self.problem = ""
        """Why the last batch was given up, in words for the user; what it shows of an error: see `events.Raised`."""
        self._events = events
        self._rounds_to_come = rounds_to_come
        self._on_batch = on_batch
        self._cache = cache
        self._meter = meter
        self._images = images
        self._restore = restore
        self._call_length = call_length or CallLength(role)
        self._stragglers = Stragglers(limits.slots) if repeats else None
        self._scheduler: Scheduler[Any] = Scheduler(limits)
        self._streams = Streams(
            events,
            wants_more=lambda: self._sent < _TURN and self._scheduler.wants_more,
            num_slots=lambda: limits.slots * self._scheduler.together * max(1, self.num_actors),
            may_wait=lambda under_way: images is None or images.has_room(under_way),
            asleep=lambda: shares_gpu and not self._scheduler.actors,
            none_up=lambda: not self._scheduler.actors,
            put=self._put,
            forget=self._scheduler.forget,
            check=self._before_wait,
        )
        self._looking = False
        self._sent = 0
        """Calls since this pool's last turn began."""
        events.afterwards(self._fill)
        self._actors = ActorLifecycle(
            role, actors, events, limits, self._scheduler, lambda: self.has_work, grow, most, others, meter
        )
        meter.watch(lambda: Load.of(self._scheduler, self.num_actors))

    @property
    def num_actors(self) -> int:
        """Actors, whether they are up or not, without those that leave."""
        return self._actors.num_actors

    @property
    def num_up(self) -> int:
        """Actors that are given batches."""
        return self._scheduler.actors

    @property
    def has_work(self) -> bool:
        """Whether batches wait or are at work."""
        return bool(self._scheduler.in_flight or self._scheduler.waiting or self._streams.have_fetched)

    def identity(self) -> dict[str, str]:
        """What the engines run, as one of them said; waits until one is up.

        Raises:
            EngineFailed: none can be started, or none can say it; one line.
        """
        return self._actors.identity()

    def map(self, batches: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Run a stream of batches.

        Args:
            batches: the arguments of each batch's call; asked for the next as slots come free. If they say how many are
                to come (see `public.counted`), the pool does not grow beyond what is left to do.

        Returns:
            The results in order; None for a batch that was given up.

        Raises:
            EngineFailed: no actor can be started.
            Exception: whatever `batches` raises.
        """
        return self._streams.read(iter(batches))

    def shrink(self, keep: int = 0) -> None:
        """Give back all actors but the `keep` busiest; one that is at work finishes its batches first."""
        self._actors.shrink(keep)

    def release_gpu(self) -> None:
        """Send no more batches to actors; ask of each whether it is up, once its batches are done.

        Shared events let an actor sleep then, and answer when it has been woken: see `gpu_time_sharing`.
        """
        self._actors.release_gpu()

    def _fill(self) -> None:
        """Fill the slots that came free, first with batches that wait, then with new ones."""
        self._sent = 0
        self._scheduler.together = self._call_length.batches(self.num_up)
        self._dispatch()
        self._streams.fill()
        self._dispatch()

    def _before_wait(self) -> None:
        self._dispatch()
        self._actors.must_have_one()

    def _put(self, batch: Batch) -> None:
        batch.cached = None if self._cache is None else self._cache(batch.arguments)
        result = None if batch.cached is None else batch.cached.get()
        if result is not None:
            self._meter.cached()
            self._done(batch, self._held(batch, result), 0.0)
        else:
            self._scheduler.put(batch)
            if self._scheduler.waiting >= self._scheduler.together:
                self._dispatch()

    def _dispatch(self) -> None:
        while assigned := self._scheduler.assign():
            actor, batch = assigned
            self._send(actor, [batch, *self._scheduler.with_it(batch)])

    def _send(self, actor: Any, batches: list[Batch]) -> None:
        for batch in batches:
            self._actors.begin(actor, batch)
        calls = [(batch.arguments, partial(self._back, actor, batch)) for batch in batches]
        if len(calls) == 1:
            self._events.call(actor, *calls[0])
        else:
            self._events.call_several(actor, calls)
        self._sent += 1
        if self._sent == _TURN:
            self._events.after(0.0, lambda: None)  # The next wait ends at once, and a new turn begins.
        if not self._looking:
            self._looking = True
            self._actors.begin_period()
            self._events.after(_LOOK_S, self._look)

    def _back(self, actor: Any, batch: Batch, outcome: Outcome) -> None:
        """A call has returned: handle what became of its batch."""
        abreast = self._actors.end(actor, batch, isinstance(outcome, Finished))
        came_first = not (batch.is_twofold and batch.owner.has(batch.number))
        if came_first and (isinstance(outcome, Finished) or not batch.is_second):
            self._book(actor, batch, outcome, abreast)
        else:
            # The other time was faster, or is still under way.
            self._scheduler.finished(actor, batch)
            if isinstance(outcome, Lost):
                self._actors.lost_at_work(actor, outcome)
        self._actors.ended(actor)

    def _book(self, actor: Any, batch: Batch, outcome: Outcome, abreast: int) -> None:
        self._meter.back(outcome, abreast)
        if isinstance(outcome, Finished):
            self._scheduler.finished(actor, batch)
            self._call_length.took(outcome.seconds)
            if self._stragglers is not None:
                self._stragglers.took(outcome.seconds)
            result = self._held(batch, outcome.result)
            if batch.cached is not None:
                batch.cached.put(result)
            self._done(batch, result, outcome.seconds)
        elif isinstance(outcome, Raised):
            given_up = self._scheduler.failed(actor, batch)
            self._without_result(batch, given_up, f"failed {batch.failures} times ({outcome.error})")
        elif isinstance(outcome, InputLost):
            given_up = self._scheduler.input_lost(actor, batch)
            self._without_result(batch, given_up, f"lost its images {batch.input_losses} times")
            if not given_up and self._restore is not None:
                self._restore(batch.arguments[0], partial(self._restored, batch))
        else:
            self._lost(actor, batch, outcome)

    def _restored(self, batch: Batch) -> None:
        if batch.owner in self._streams:
            self._scheduler.again(batch)
            self._dispatch()

    def _held(self, batch: Batch, result: Any) -> Any:
        return result if self._images is None else self._images.hold(batch.arguments[0], result)

    def _done(self, batch: Batch, result: Any, seconds: float) -> None:
        if batch.owner in self._streams:
            batch.owner.done[batch.number] = result
            self._on_batch(result, seconds)

    def _without_result(self, batch: Batch, given_up: bool, why: str) -> None:
        """A batch came back without a result: unless it is given up, it waits again."""
        self._meter.missed(given_up)
        if given_up:
            self.given_up += 1
            self.problem = f"a batch {why}"
            about = {"role": self.role, "unit": batch.number}
            log.warning("%s: batch %d %s and is skipped", self.role, batch.number, why, extra=about)
            batch.owner.done[batch.number] = None

    def _lost(self, actor: Any, batch: Batch, outcome: Lost) -> None:
        given_up = self._scheduler.lost(actor, batch, self._actors.blame(actor, batch, outcome))
        self._without_result(batch, given_up, f"lost its actor {batch.crashes} times")
        self._actors.lost_at_work(actor, outcome)

    def _look(self) -> None:
        """While batches are at work: grow if the run waits for this pool, and end engines that hang."""
        self._actors.end_period(self._left, lambda: self._rounds_to_come() * self._streams.size)
        self._looking = bool(self._scheduler.in_flight)
        if not self._looking:
            return
        self._events.after(_LOOK_S, self._look)
        self._actors.restart_hung()
        self._repeat()

    def _repeat(self) -> None:
        """Ask for straggling batches a second time, if the rest of the stage is done."""
        if self._stragglers is None or self._scheduler.waiting or not self._streams.are_done:
            return
        now = self._events.now()
        at_work = ((batch, now - since) for batch, since in self._actors.at_work() if batch.owner in self._streams)
        for batch in self._stragglers.among(at_work):
            again = Batch(batch.arguments, batch.owner, batch.number, batch.cached, is_twofold=True, is_second=True)
            actor = self._scheduler.assign_idle(again)
            if actor is None:
                return
            batch.is_twofold = True
            self._send(actor, [again])

    def _left(self) -> int | None:
        """Batches that are still to be done; None where nobody knows how many."""
        to_come = self._streams.left
        return None if to_come is None else self._scheduler.in_flight + self._scheduler.waiting + to_come

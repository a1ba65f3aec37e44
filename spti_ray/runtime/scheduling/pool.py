"""The actors of one role, and streams of batches through them, with results in order.

Batches are pulled from a stream's source as slots come free, and at most so many ahead of the oldest missing one.
Several
streams may be open at a time, one feeding the other. The first result of a batch counts. Knows nothing of Ray: see
`events`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.autoscaler import Autoscaler
from spti_ray.runtime.scheduling.coroutine import Coroutine
from spti_ray.runtime.scheduling.engine_info import EngineInfo
from spti_ray.runtime.scheduling.events import Events, Finished, Lost, Outcome, Raised, Up
from spti_ray.runtime.scheduling.meter import NO_METRICS, Load, Meter, cause_of
from spti_ray.runtime.scheduling.ordered_stream import OrderedStream
from spti_ray.runtime.scheduling.result_cache import CachedResult
from spti_ray.runtime.scheduling.retries import DEFAULTS, POOL_ACTOR, Limits
from spti_ray.runtime.scheduling.scheduler import Batch, Scheduler

log = logging.getLogger(__name__)

_AHEAD_PER_SLOT = 8
"""Units per slot that a stream may be ahead of its oldest missing one: their results wait in memory."""

_FETCHED = 1024
"""Units that a stream fetches from its source while its pool sleeps: so many are there when it has the device."""

_LOOK_S = 2.0
"""How often a working pool looks for hung engines, and whether it should grow."""


class EngineFailed(RuntimeError):
    """An engine could not be started; the message is one line."""


class Pool:
    """The actors of one role.

    Args:
        role: by which logs and errors name it.
        actors: those that are there from the start; they need not be up yet.
        events: calls of the actors; for a pool that shares its GPU those of `GpuTimeSharing.of`.
        limits: how many batches an actor has at a time, and how often a batch is tried.
        on_batch: is called with each batch's result and the seconds in its engine; 0 for one from the cache.
        grow, most, others: see `Autoscaler`.
        cache: finds the place of a batch's result among those of earlier attempts at the run.
        meter: is told of all that happens.
        shares_gpu: take from streams while the actors sleep, so that there are batches when they wake.
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
    ) -> None:
        self.role = role
        self.given_up = 0
        self.problem = ""
        """Why the last batch was given up: of an engine that serves shards too the type of its error, see `events`."""
        self._events = events
        self._limits = limits
        self._on_batch = on_batch
        self._cache = cache
        self._meter = meter
        self._shares_gpu = shares_gpu
        self._scheduler: Scheduler[Any] = Scheduler(limits)
        self._streams: dict[OrderedStream, Coroutine] = {}
        # Every actor, up or not, those that leave included, with its batches at work and since when.
        self._at_work: dict[Any, dict[Batch, float]] = {}
        self._leaving: set[Any] = set()
        self._killed_for: dict[Any, Batch] = {}
        self._blamed: dict[Any, list[Batch]] = {}
        self._looking = False
        self._reason = "it has no actors"
        self._info = EngineInfo(events, self._away)
        events.afterwards(self._fill)
        self._autoscaler = Autoscaler(self, events, len(actors), most, grow, others)
        for actor in actors:
            self.add(actor)
        meter.watch(lambda: Load.of(self._scheduler, self.num_actors))

    @property
    def num_actors(self) -> int:
        """Actors, whether they are up or not, without those that leave."""
        return len(self._at_work) - len(self._leaving)

    @property
    def num_up(self) -> int:
        """Actors that are given batches."""
        return self._scheduler.actors

    @property
    def has_work(self) -> bool:
        """Whether batches wait or are at work."""
        return bool(
            self._scheduler.in_flight or self._scheduler.waiting or any(stream.fetched for stream in self._streams)
        )

    def must_have_actors(self) -> None:
        """Raises EngineFailed if none is left."""
        if not self.num_actors:
            raise EngineFailed(f"the {self.role} could not be started: {self._reason}")

    def identity(self) -> dict[str, str]:
        """What its engines run, as one of them said: it may be gone since. Raises EngineFailed in one line."""
        if self._info.identity is not None:
            return self._info.identity
        with self._events.needed():
            while self._info.identity is None:
                if self._info.error:
                    raise EngineFailed(f"the {self.role} could not say what it runs: {self._info.error}")
                self.must_have_actors()
                for actor in self._at_work:
                    if self._scheduler.load(actor) is not None:
                        self._info.ask(actor)
                self._events.wait()
        return self._info.identity

    def map(self, batches: Iterable[tuple[Any, ...]], total: int | None = None) -> Iterator[Any]:
        """Results of `batches` in order, None for a batch that was given up. Pulls from `batches` as slots come free.

        `total`, if known, keeps the pool from growing beyond what is left to do. Raises EngineFailed if no actor can
        be started, and what the source raises.
        """
        stream = OrderedStream(iter(batches), total)
        puller = Coroutine(partial(self._pull, stream))
        self._streams[stream] = puller
        try:
            while True:
                yield from stream.results()
                puller.resume()
                if stream.ready:
                    continue
                if stream.error:
                    raise stream.error
                if stream.exhausted and not stream.ahead:
                    return
                self.must_have_actors()
                self._events.wait()
        finally:
            del self._streams[stream]
            puller.end()
            self._scheduler.forget(stream)

    def add(self, actor: Any) -> None:
        """One more, which gets batches once it is up."""
        self._at_work[actor] = {}
        self._events.ready(actor, partial(self._answered, actor, 0))

    def shrink(self, keep: int = 0) -> None:
        """Give back all actors but `keep`, those with work; who is at work finishes its batches first."""
        staying = [actor for actor in self._at_work if actor not in self._leaving]
        for actor in sorted(staying, key=lambda actor: -len(self._at_work[actor]))[keep:]:
            self._leaving.add(actor)
            self._scheduler.remove_actor(actor)
            self._leave_if_idle(actor)

    def release_gpu(self) -> None:
        """Send no more batches to actors; ask of each whether it is up, once its batches are done.

        Shared events let an actor sleep then, and answer when it has been woken: see `gpu_time_sharing`.
        """
        for actor, batches in self._at_work.items():
            if self._scheduler.load(actor) is not None:
                self._scheduler.remove_actor(actor)
                if not batches:
                    self._events.ready(actor, partial(self._answered, actor, 0))

    def _fill(self) -> None:
        """Give what came free to batches that wait, and to new ones."""
        self._dispatch()
        for stream in self._streams:
            # Not by its puller, which may be waiting for the next.
            while stream.fetched and self._has_room(stream):
                self._put(stream.pull())
        for puller in tuple(self._streams.values()):
            puller.resume()

    def _pull(self, stream: OrderedStream) -> None:
        """Pull whenever there is room. A coroutine: where the source waits, whoever reads the stream goes on."""
        try:
            while not (stream.dry and not stream.fetched):
                if stream.fetched and self._has_room(stream):
                    self._put(stream.pull())
                elif not stream.dry and (self._has_room(stream) or self._fetches(stream)):
                    stream.fetch()
                else:
                    self._events.wait()
            stream.exhausted = True
        except Exception as error:  # noqa: BLE001 raised where the stream is read, which may be elsewhere
            stream.error = error

    def _put(self, batch: Batch) -> None:
        batch.cached = None if self._cache is None else self._cache(batch.arguments)
        result = None if batch.cached is None else batch.cached.get()
        if result is not None:
            self._meter.cached()
            self._done(batch, result, 0.0)
        else:
            self._scheduler.put(batch)
            self._dispatch()

    def _fetches(self, stream: OrderedStream) -> bool:
        return self._shares_gpu and not self._scheduler.actors and len(stream.fetched) < _FETCHED

    def _has_room(self, stream: OrderedStream) -> bool:
        ahead = _AHEAD_PER_SLOT * self._limits.slots * max(1, self.num_actors)
        return self._scheduler.wants_more and stream.ahead < ahead

    def _dispatch(self) -> None:
        while assigned := self._scheduler.assign():
            actor, batch = assigned
            self._autoscaler.dispatched()
            self._at_work[actor][batch] = self._events.now()
            self._events.call(actor, batch.arguments, partial(self._back, actor, batch))
            if not self._looking:
                self._looking = True
                self._autoscaler.begin_period()
                self._events.after(_LOOK_S, self._look)

    def _back(self, actor: Any, batch: Batch, outcome: Outcome) -> None:
        """Book what became of a batch."""
        self._autoscaler.returned()
        del self._at_work[actor][batch]
        self._meter.back(outcome, abreast=1 + len(self._at_work[actor]))
        if isinstance(outcome, Finished):
            self._scheduler.finished(actor, batch)
            if batch.cached is not None:
                batch.cached.put(outcome.result)
            self._done(batch, outcome.result, outcome.seconds)
        elif isinstance(outcome, Raised):
            given_up = self._scheduler.failed(actor, batch)
            self._missed(batch, given_up, f"failed {batch.failures} times ({outcome.error})")
        else:
            self._lost(actor, batch, outcome)
        self._leave_if_idle(actor)
        if not self._scheduler.in_flight:
            self._autoscaler.idle()
        if self._scheduler.load(actor) is None and not self._at_work.get(actor, True):
            self._ask(actor, losses=0)

    def _done(self, batch: Batch, result: Any, seconds: float) -> None:
        if batch.owner in self._streams:
            batch.owner.done[batch.number] = result
            self._on_batch(result, seconds)

    def _missed(self, batch: Batch, given_up: bool, why: str) -> None:
        """A batch came back without a result; unless it is given up it waits again."""
        self._meter.missed(given_up)
        if given_up:
            self.given_up += 1
            self.problem = f"a unit {why}"
            self._warn(f"unit {batch.number} {why} and is skipped", batch)
            batch.owner.done[batch.number] = None

    def _lost(self, actor: Any, batch: Batch, outcome: Lost) -> None:
        if self._scheduler.load(actor) is not None:
            self._scheduler.remove_actor(actor)
            self._meter.lost(cause_of(outcome, hung=actor in self._killed_for))
        # If its engine hung and was killed, only the batch that hung is to blame.
        blamed = self._killed_for[actor] is batch if actor in self._killed_for else not outcome.preempted
        if blamed:
            self._blamed.setdefault(actor, []).append(batch)
        given_up = self._scheduler.lost(actor, batch, blamed)
        self._missed(batch, given_up, f"lost its actor {batch.crashes} times")
        if outcome.gone is not None:
            self._drop(actor, outcome.gone)

    def _ask(self, actor: Any, losses: int) -> None:
        """Ask in a while whether a lost actor is up again, which it was not at the last `losses` times."""
        answered = partial(self._answered, actor, losses + 1)
        self._events.after(POOL_ACTOR.wait_s(losses), lambda: self._events.ready(actor, answered))

    def _answered(self, actor: Any, losses: int, answer: Up | Lost) -> None:
        if actor not in self._at_work or actor in self._leaving:
            return
        if isinstance(answer, Up):
            self._autoscaler.actor_up()
            self._killed_for.pop(actor, None)
            blamed = self._blamed.pop(actor, [])
            for batch in blamed if answer.lost_its_node else ():
                self._scheduler.forgive(batch)
            self._scheduler.add_actor(actor)
            self._info.ask(actor)
        elif answer.gone is not None:
            self._meter.lost("not_started")
            self._drop(actor, answer.gone)
        else:
            self._ask(actor, losses)

    def _away(self, actor: Any, outcome: Lost) -> None:
        """An idle actor turned out to be lost; if it has batches at work, these come back."""
        if self._scheduler.load(actor) is None or self._at_work[actor]:
            return
        self._scheduler.remove_actor(actor)
        self._meter.lost(cause_of(outcome, hung=False))
        if outcome.gone is None:
            self._ask(actor, losses=0)
        else:
            self._drop(actor, outcome.gone)

    def _drop(self, actor: Any, reason: str) -> None:
        """An actor that will not come back."""
        if actor in self._leaving:
            return
        self._reason = reason
        self._leaving.add(actor)
        self._leave_if_idle(actor)
        self._warn(f"an actor could not be started, or not again: {reason}")
        self._autoscaler.replace()

    def _leave_if_idle(self, actor: Any) -> None:
        if actor in self._leaving and not self._at_work[actor]:
            self._leaving.remove(actor)
            del self._at_work[actor]
            self._killed_for.pop(actor, None)
            self._blamed.pop(actor, None)
            self._events.kill(actor, for_good=True)

    def _look(self) -> None:
        """While batches are at work: end engines that hang, and grow if the run waits for this pool."""
        now = self._events.now()
        self._looking = bool(self._scheduler.in_flight)
        if not self._looking:
            return
        self._events.after(_LOOK_S, self._look)
        for actor, batches in self._at_work.items():
            oldest = next(iter(batches), None)
            if oldest and actor not in self._killed_for and now - batches[oldest] > self._limits.batch_timeout_s:
                self._warn(f"unit {oldest.number} hangs; its engine is started anew", oldest)
                self._killed_for[actor] = oldest
                self._events.kill(actor, for_good=False)
        self._autoscaler.end_period(self._scheduler.actors * self._limits.slots, self._useful)

    def _useful(self) -> int | None:
        """How many actors the work that is left would keep busy; None where its amount is unknown."""
        left = self._scheduler.in_flight + self._scheduler.waiting
        for stream in self._streams:
            if stream.left is None:
                return None
            left += stream.left
        return -(-left // self._limits.slots)

    def _warn(self, message: str, batch: Batch | None = None) -> None:
        log.warning("%s: %s", self.role, message, extra={"role": self.role} | ({"unit": batch.number} if batch else {}))

"""What becomes of a pool's actors: they come up, are lost and asked for again, hang, are replaced, and are given back.

What becomes of the batches that they had is the pool's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from spti_ray.errors import ResourcesNeverArrived
from spti_ray.runtime.scheduling.actors import Actors
from spti_ray.runtime.scheduling.autoscaler import Autoscaler
from spti_ray.runtime.scheduling.engine_info import EngineFailed, EngineInfo
from spti_ray.runtime.scheduling.events import Events, Lost, Up
from spti_ray.runtime.scheduling.meter import Meter, cause_of
from spti_ray.runtime.scheduling.retries import POOL_ACTOR, Limits
from spti_ray.runtime.scheduling.scheduler import Batch, Scheduler

log = logging.getLogger(__name__)


class ActorLifecycle:
    """The actors of one pool, from when they are asked for until they have left.

    Args:
        role: by which logs and errors name them.
        actors: those that are there from the start; they need not be up yet.
        events: calls of the actors.
        limits: how long the first may take to start, and any may take for a batch.
        scheduler: is told which actors may be given batches.
        has_work: whether the pool has batches that wait or are at work.
        grow, most, others: see `Autoscaler`.
        meter: is told of actors that are lost.
    """

    def __init__(
        self,
        role: str,
        actors: list[Any],
        events: Events,
        limits: Limits,
        scheduler: Scheduler[Any],
        has_work: Callable[[], bool],
        grow: Callable[[], Any] | None,
        most: int,
        others: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._role = role
        self._events = events
        self._limits = limits
        self._scheduler = scheduler
        self._has_work = has_work
        self._meter = meter
        self._actors = Actors()
        self._reason = "it has no actors"
        self._awaited: Any = None
        """The first actor of a pool that begins with none, until it is up."""
        self._is_late = False
        self._info = EngineInfo(role, events, self._away)
        self._autoscaler = Autoscaler(self, events, limits, len(actors), most, grow, others)
        for actor in actors:
            self.add(actor)

    @property
    def num_actors(self) -> int:
        """Actors, whether they are up or not, without those that leave."""
        return len(self._actors)

    @property
    def has_work(self) -> bool:
        """Whether the pool has batches that wait or are at work."""
        return self._has_work()

    def must_have_one(self, wanted: bool = False) -> None:
        """Start the first actor of a pool that begins with none, if it is `wanted` or has work.

        Raises:
            EngineFailed: no actor is left, and none can be started.
            ResourcesNeverArrived: the first one did not come up in time.
        """
        if self._is_late:
            raise ResourcesNeverArrived(
                f"no {self._role} came up within {self._limits.start_timeout_s:g} s (runtime.placement_timeout_s); add "
                f"nodes for it, or lower what runtime.engines.{self._role} needs"
            )
        if (wanted or self.has_work) and self._autoscaler.need_one():
            (self._awaited,) = self._actors.surplus(0)
            self._events.after(self._limits.start_timeout_s, partial(self._check_start, self._awaited))
        if not self.num_actors and not self._autoscaler.may_begin:
            raise EngineFailed(f"the {self._role} could not be started: {self._reason}")

    def identity(self) -> dict[str, str]:
        """What the engines run, as one of them said; waits until one is up.

        Raises:
            EngineFailed: none can be started, or none can say it; one line.
        """
        return self._info.wait(
            lambda: filter(self._scheduler.is_up, self._actors), lambda: self.must_have_one(wanted=True)
        )

    def add(self, actor: Any) -> None:
        """Take one more actor, which gets batches once it is up."""
        self._actors.add(actor)
        self._events.ready(actor, partial(self._answered, actor, 0))

    def shrink(self, keep: int = 0) -> None:
        """Give back all actors but the `keep` busiest; one that is at work finishes its batches first."""
        for actor in self._actors.surplus(keep):
            self._leaves(actor)
            self._scheduler.remove_actor(actor)
            self._leave_if_idle(actor)

    def release_gpu(self) -> None:
        """Send no more batches to actors; ask of each whether it is up, once its batches are done.

        Shared events let an actor sleep then, and answer when it has been woken: see `gpu_time_sharing`.
        """
        for actor in self._actors:
            if self._scheduler.is_up(actor):
                self._scheduler.remove_actor(actor)
                if self._actors.is_idle(actor):
                    self._events.ready(actor, partial(self._answered, actor, 0))

    def begin(self, actor: Any, batch: Batch) -> None:
        """An actor is sent a batch."""
        self._autoscaler.dispatched(batch)
        self._actors.begin(actor, batch, self._events.now())

    def end(self, actor: Any, batch: Batch, finished: bool) -> int:
        """A batch is back from its actor, `finished` or not. Returns how many that one had, this one included.

        Once it is booked, `ended` follows.
        """
        self._autoscaler.returned(batch, finished)
        return self._actors.end(actor, batch)

    def ended(self, actor: Any) -> None:
        """A batch that was back from its actor is booked: the actor may leave now, or is asked whether it is up."""
        self._leave_if_idle(actor)
        if not self._scheduler.in_flight:
            self._autoscaler.idle()
        if not self._scheduler.is_up(actor) and self._actors.is_idle(actor):
            self._ask(actor, losses=0)

    def blame(self, actor: Any, batch: Batch, lost: Lost) -> bool:
        """Whether a batch is to blame for the loss of its actor, as far as is known now."""
        return self._actors.blame(actor, batch, lost)

    def lost_at_work(self, actor: Any, outcome: Lost) -> None:
        """An actor turned out to be lost by one of its batches."""
        if self._scheduler.is_up(actor):
            self._scheduler.remove_actor(actor)
            self._meter.lost(cause_of(outcome, hung=self._actors.is_hung(actor)))
        if outcome.gone is not None:
            self._drop(actor, outcome.gone)

    def at_work(self) -> Iterator[tuple[Batch, float]]:
        """Each batch at work, and since when."""
        return self._actors.at_work()

    def begin_period(self) -> None:
        """Measure from now on whether the run waits for this pool."""
        self._autoscaler.begin_period()

    def end_period(self, left: Callable[[], int | None], later: Callable[[], int]) -> None:
        """Grow if the run waited for this pool since the last period; measure the next one.

        Args:
            left: batches that are still to be done; None if nobody knows how many.
            later: batches that will come after these.
        """
        self._autoscaler.end_period(self._scheduler.actors, left, later)

    def restart_hung(self) -> None:
        """End actors that are at work on one batch for too long; they are started anew."""
        for actor, batch in self._actors.newly_hung(self._events.now(), self._limits.batch_timeout_s):
            self._warn(f"batch {batch.number} hangs; its engine is started anew", batch)
            self._events.kill(actor, for_good=False)

    def _check_start(self, first: Any) -> None:
        self._is_late = first is self._awaited and self._actors.stays(first)

    def _ask(self, actor: Any, losses: int) -> None:
        """Ask in a while whether a lost actor is up again, which it was not at the last `losses` times."""
        answered = partial(self._answered, actor, losses + 1)
        self._events.after(POOL_ACTOR.wait_s(losses), lambda: self._events.ready(actor, answered))

    def _answered(self, actor: Any, losses: int, answer: Up | Lost) -> None:
        if not self._actors.stays(actor):
            return
        if isinstance(answer, Up):
            self._awaited = None
            self._autoscaler.actor_up(actor)
            for batch in self._actors.is_up(actor, answer.lost_its_node):
                self._scheduler.forgive(batch)
            self._scheduler.add_actor(actor)
            self._info.ask(actor)
        elif answer.gone is not None:
            self._meter.lost("not_started")
            self._drop(actor, answer.gone)
        else:
            self._ask(actor, losses)

    def _away(self, actor: Any, outcome: Lost) -> None:
        """An idle actor turned out to be lost when it was asked what it runs. If it is not idle, its batches say so."""
        if not self._scheduler.is_up(actor) or not self._actors.is_idle(actor):
            return
        self._scheduler.remove_actor(actor)
        self._meter.lost(cause_of(outcome, hung=False))
        if outcome.gone is None:
            self._ask(actor, losses=0)
        else:
            self._drop(actor, outcome.gone)

    def _drop(self, actor: Any, reason: str) -> None:
        """An actor that will not come back."""
        if not self._actors.stays(actor):
            return
        self._reason = reason
        self._leaves(actor)
        self._leave_if_idle(actor)
        self._warn(f"an actor could not be started, or not again: {reason}")
        self._autoscaler.replace()

    def _leaves(self, actor: Any) -> None:
        self._actors.leave(actor)
        self._autoscaler.actor_leaves(actor)

    def _leave_if_idle(self, actor: Any) -> None:
        if self._actors.left(actor):
            self._events.kill(actor, for_good=True)

    def _warn(self, message: str, batch: Batch | None = None) -> None:
        log.warning(
            "%s: %s", self._role, message, extra={"role": self._role} | ({"unit": batch.number} if batch else {})
        )

"""SIMULATED `Events`: actors that only take time, on a clock that jumps from event to event.

The same pools and scheduler that run on Ray run on it, which is how they are tested under any disturbance.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from spti_ray.runtime.scheduling.events import Act, Events, Finished, Lost, Outcome, Raised, Up

SIMULATED = {"model": "SIMULATED"}
"""What each of them says that it runs."""


class SimulatedActor:
    """Runs its batches one after the other. The result of a batch is its arguments.

    What is measured, in seconds: `busy_s` of batches that were finished, `lost_s` of batches that a crash ended, and
    `idle_s` between batches. An actor with a reason in `gone` does not come back after a crash.

    Args:
        seconds: how long a batch with these arguments takes. What it raises, the engine raises on the batch.
        start_s: when the actor is first up.
        restart_s: how long it is away after a crash.
        sleeps: starts asleep, and does nothing before it is woken.
        turn_s: how long it takes to wake up or to fall asleep.
    """

    def __init__(
        self,
        seconds: Callable[..., float],
        start_s: float = 0.0,
        restart_s: float = 1.0,
        sleeps: bool = False,
        turn_s: float = 0.0,
    ) -> None:
        self.seconds = seconds
        self.restart_s = restart_s
        self.sleeps = sleeps
        self.awake = not sleeps
        self.turn_s = turn_s
        self.gone: str | None = None
        self.lost_its_node = False
        self.up_at = start_s
        self.free_at = 0.0
        self.busy_s = 0.0
        self.lost_s = self.idle_s = 0.0
        self.working_since = 0.0
        self.under_way: list[tuple[Act, Callable[[Outcome], None]]] = []


class SimulatedEvents(Events):
    """Events of simulated actors.

    Args:
        driver_s: what a call costs the driver, during which it makes no other.
        batch_s: what each batch of a call costs it beside that.
    """

    def __init__(self, driver_s: float = 0.0, batch_s: float = 0.0) -> None:
        super().__init__()
        self._driver_s = driver_s
        self._batch_s = batch_s
        self._now = 0.0
        self._coming: list[tuple[float, int, Act]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self._now

    def call(self, actor: SimulatedActor, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        self._now += self._driver_s + self._batch_s
        self._run(actor, arguments, done)

    def call_several(
        self, actor: SimulatedActor, batches: Sequence[tuple[tuple[Any, ...], Callable[[Outcome], None]]]
    ) -> None:
        self._now += self._driver_s + self._batch_s * len(batches)
        outcomes: list[tuple[Callable[[Outcome], None], Outcome]] = []

        def came(done: Callable[[Outcome], None], outcome: Outcome) -> None:
            outcomes.append((done, outcome))
            if len(outcomes) == len(batches):  # All come together, with the last.
                for tell, its in outcomes:
                    tell(its)

        for arguments, done in batches:
            self._run(actor, arguments, partial(came, done))

    def _run(self, actor: SimulatedActor, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        if self._now < actor.up_at or actor.gone is not None:
            self._at(self._now, lambda: done(Lost(gone=actor.gone)))
            return
        if not actor.awake:
            self._at(self._now, lambda: done(Raised("Asleep")))
            return
        start = max(self._now, actor.free_at)
        actor.idle_s += start - actor.free_at if actor.free_at else 0.0
        try:
            seconds = actor.seconds(*arguments)
        except Exception as error:  # noqa: BLE001 the batch's own
            seconds, outcome = 0.0, Raised(type(error).__name__)
        else:
            outcome = Finished(arguments, seconds)
        actor.free_at = start + seconds

        def finish() -> None:
            if (finish, done) in actor.under_way:
                actor.under_way.remove((finish, done))
                actor.busy_s += seconds
                actor.working_since = self._now
                done(outcome)

        if not actor.under_way:
            actor.working_since = start
        actor.under_way.append((finish, done))
        self._at(actor.free_at, finish)

    def ready(self, actor: SimulatedActor, done: Callable[[Up | Lost], None]) -> None:
        def answer() -> None:
            up = actor.gone is None and self._now >= actor.up_at
            done(Up(actor.lost_its_node) if up else Lost(gone=actor.gone))

        self._at(max(self._now, actor.up_at), answer)

    def identity(self, actor: SimulatedActor, done: Callable[[Outcome], None]) -> None:
        def answer() -> None:
            up = actor.gone is None and self._now >= actor.up_at
            done(Finished(SIMULATED, 0.0) if up else Lost(gone=actor.gone))

        self._at(self._now, answer)

    def wake(self, actor: SimulatedActor, done: Callable[[Outcome], None]) -> None:
        # Its memory is in use from the first moment, and until the last.
        actor.awake = self._now >= actor.up_at and actor.gone is None
        self._turn(actor, actor.turn_s, lambda: done(Finished(SIMULATED, actor.turn_s)), done)

    def sleep(self, actor: SimulatedActor, done: Callable[[Outcome], None]) -> None:
        def asleep() -> None:
            actor.awake = False
            done(Finished(None, actor.turn_s))

        self._turn(actor, actor.turn_s if actor.awake else 0.0, asleep, done)

    def _turn(self, actor: SimulatedActor, seconds: float, finish: Act, done: Callable[[Outcome], None]) -> None:
        if self._now < actor.up_at or actor.gone is not None:
            self._at(self._now, lambda: done(Lost(gone=actor.gone)))
            return

        def finished() -> None:
            if (finished, done) in actor.under_way:
                actor.under_way.remove((finished, done))
                finish()

        actor.under_way.append((finished, done))
        self._at(self._now + seconds, finished)

    def kill(self, actor: SimulatedActor, for_good: bool) -> None:
        if for_good:
            actor.gone = "it was ended"
        self.crash(actor)

    def crash(self, actor: SimulatedActor, preempted: bool = False, with_node: bool = False) -> None:
        """End the actor's process: its batches are lost, and it starts anew.

        `preempted` says so at once. `with_node`: it comes back on another node, which shows only then.
        """
        actor.lost_its_node = with_node or preempted
        lost, actor.under_way = actor.under_way, []
        actor.lost_s += max(0.0, self._now - actor.working_since) if lost else 0.0
        actor.free_at = actor.up_at = self._now + actor.restart_s
        actor.awake = not actor.sleeps
        for _, done in lost:
            self._at(self._now, lambda done=done: done(Lost(preempted=preempted, gone=actor.gone)))

    def _at(self, when: float, act: Act) -> None:
        heapq.heappush(self._coming, (when, next(self._number), act))

    def _next(self, until: float | None) -> bool:
        if not self._coming or (until is not None and self._coming[0][0] > until):
            self._now = self._now if until is None else max(self._now, until)
            return until is not None
        when, _, act = heapq.heappop(self._coming)
        self._now = max(self._now, when)
        act()
        return True

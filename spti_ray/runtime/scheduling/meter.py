"""What a pool reports of its work, and which metrics that makes. `runtime.ray.metrics` publishes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from spti_ray.runtime.scheduling.events import Finished, Lost, Outcome, Raised
from spti_ray.runtime.scheduling.scheduler import Scheduler

Cause = Literal["preempted", "hung", "died", "unavailable", "not_started"]
"""Why an actor is lost. `died`: for good. `unavailable`: Ray starts it again, or can't reach it for a while."""


@dataclass(frozen=True)
class Load:
    """What a pool has to do and with whom.

    Args:
        queue: batches that wait for an actor.
        in_flight: batches at actors.
        up: actors that may be given batches.
        asked: actors that the pool wants, up or not.
    """

    queue: int
    in_flight: int
    up: int
    asked: int

    @classmethod
    def of(cls, scheduler: Scheduler[Any], asked: int) -> Load:
        return cls(scheduler.waiting, scheduler.in_flight, scheduler.actors, asked)


class Meter(Protocol):
    """Is told of all that happens in one pool."""

    def watch(self, load: Callable[[], Load]) -> None:
        """Publish the pool's load; `load` may be called at any time, from another thread."""
        ...

    def cached(self) -> None:
        """A batch's result is there from an earlier attempt at the run."""
        ...

    def back(self, outcome: Outcome, abreast: int) -> None:
        """A call has returned from an actor that had `abreast` batches, this one included."""
        ...

    def missed(self, given_up: bool) -> None:
        """A batch came back without a result: it is tried again, or given up."""
        ...

    def lost(self, cause: Cause) -> None:
        """An actor is lost, however many batches it had."""
        ...


class NoMetrics:
    """A meter that measures nothing."""

    def watch(self, load: Callable[[], Load]) -> None:
        pass

    def cached(self) -> None:
        pass

    def back(self, outcome: Outcome, abreast: int) -> None:
        pass

    def missed(self, given_up: bool) -> None:
        pass

    def lost(self, cause: Cause) -> None:
        pass


NO_METRICS: Meter = NoMetrics()


def cause_of(lost: Lost, hung: bool) -> Cause:
    """Why an actor is lost; `hung`: because we ended it."""
    if hung:
        return "hung"
    if lost.preempted:
        return "preempted"
    return "unavailable" if lost.gone is None else "died"


class Sink(Protocol):
    """Publishes metrics."""

    def watch(self, role: str, load: Callable[[], Load]) -> None:
        """Publish a role's load from now on."""
        ...

    def count(self, name: str, by: float = 1.0, **tags: str) -> None:
        """Add to a counter."""
        ...

    def took(self, role: str, seconds: float) -> None:
        """A batch took so long in its engine."""
        ...


class RoleMeter:
    """The meter of one role's pool.

    If the role's engines also serve private shards, only work that was done is counted: how long a public batch waits
    there, and whether its actor dies, depends on private records.
    """

    def __init__(self, sink: Sink, role: str, num_gpus: float, serves_shards: bool) -> None:
        self._sink = sink
        self._role = role
        self._num_gpus = num_gpus
        self._serves_shards = serves_shards

    def watch(self, load: Callable[[], Load]) -> None:
        if not self._serves_shards:
            self._sink.watch(self._role, load)

    def cached(self) -> None:
        self._count_unless_serving("units_total", outcome="kept")

    def back(self, outcome: Outcome, abreast: int) -> None:
        if isinstance(outcome, Finished):
            self._done(outcome.result, outcome.seconds, abreast)
        elif isinstance(outcome, Raised):
            self._count_unless_serving("units_total", outcome="failed")

    def missed(self, given_up: bool) -> None:
        if given_up:
            self._count_unless_serving("units_total", outcome="given_up")
        else:
            self._count_unless_serving("retries_total")

    def lost(self, cause: Cause) -> None:
        self._count_unless_serving("lost_actors_total", cause=cause)

    def _done(self, result: Any, seconds: float, abreast: int) -> None:
        role, count = self._role, self._sink.count
        count("units_total", role=role, outcome="done")
        if role in ("renderer", "image_embedder"):
            count("images_total", len(result), role=role)
        if role == "writer":
            count("output_tokens_total", sum(answer.num_tokens for answer in result), role=role)
        if not self._serves_shards:
            self._sink.took(role, seconds)
        # A writer's engine works on its batches at the same time: each has a share of it. Elsewhere they wait.
        busy = seconds / abreast if role == "writer" else seconds
        count("actor_seconds_total", busy, role=role)
        count("gpu_seconds_total", busy * self._num_gpus, role=role)

    def _count_unless_serving(self, name: str, **tags: str) -> None:
        if not self._serves_shards:
            self._sink.count(name, 1.0, role=self._role, **tags)

"""The unit scheduler: hands units to any healthy actor of a pool and streams their results in order.

A unit is the arguments of one call, numbered in the order of its stream. Each actor has a bounded number in flight.
When an actor dies its units go to whichever actor is free, at no cost to their retry budget; a unit that raises by
itself `attempts` times is given up and its result is None. The first result of a unit wins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

log = logging.getLogger(__name__)

_MAX_LOSSES = 20
"""A unit whose actors died this often is taken for the cause, and given up."""

_AHEAD_PER_SLOT = 8
"""Units per slot that a stream may be ahead of its oldest missing one: their results wait in memory."""


class EngineFailed(RuntimeError):
    """An engine could not be started; the message is one line."""


@dataclass
class _Unit:
    number: int
    arguments: tuple[Any, ...]
    failures: int = 0
    losses: int = 0


@dataclass
class _Stream:
    """One pass over a pool: what is waiting, in flight and done."""

    source: Iterator[tuple[Any, ...]]
    waiting: list[_Unit] = field(default_factory=list)
    done: dict[int, Any] = field(default_factory=dict)
    pulled: int = 0
    exhausted: bool = False
    emitted: int = 0


class Pool:
    """Actors of one role. Several streams may be open at a time; they share the actors' slots."""

    def __init__(
        self,
        role: str,
        actors: list[Any],
        in_flight_per_actor: int,
        attempts: int,
        on_unit: Callable[[Any, float], None] = lambda result, seconds: None,
    ) -> None:
        self.role = role
        self._actors = actors
        self._slots = in_flight_per_actor
        self._most_ahead = _AHEAD_PER_SLOT * in_flight_per_actor * len(actors)
        self._attempts = attempts
        self._on_unit = on_unit
        self._load = [0] * len(actors)
        self._in_flight: dict[Any, tuple[_Stream, _Unit, int]] = {}
        self.given_up = 0

    def map(self, units: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Results of `units` in order, None for a unit that was given up. Pulls from `units` as slots come free.

        Raises EngineFailed if an actor can't be started at all.
        """
        stream = _Stream(iter(units))
        while True:
            while stream.emitted in stream.done:
                yield stream.done.pop(stream.emitted)
                stream.emitted += 1
            self._fill(stream)
            if stream.emitted in stream.done:
                continue
            if stream.exhausted and not stream.waiting and stream.emitted == stream.pulled:
                return
            self._collect()

    def _fill(self, stream: _Stream) -> None:
        while True:
            actor = min(range(len(self._actors)), key=lambda i: self._load[i])
            if self._load[actor] >= self._slots:
                return
            if stream.waiting:
                unit = stream.waiting.pop(0)
            elif stream.exhausted or stream.pulled - stream.emitted >= self._most_ahead:
                return
            else:
                # Pulling may run other pools (and streams of this one), so the choice of actor is made anew after it.
                arguments = next(stream.source, None)
                if arguments is None:
                    stream.exhausted = True
                    return
                stream.waiting.append(_Unit(stream.pulled, arguments))
                stream.pulled += 1
                continue
            reference = self._actors[actor].run.remote(*unit.arguments)
            self._load[actor] += 1
            self._in_flight[reference] = (stream, unit, actor)

    def _collect(self) -> None:
        """Wait for one result of any stream and book it."""
        ready, _ = ray.wait(list(self._in_flight), num_returns=1)
        for reference in ready:
            stream, unit, actor = self._in_flight.pop(reference)
            self._load[actor] -= 1
            try:
                result, seconds = ray.get(reference)
            except RayTaskError as error:
                self._failed(stream, unit, error)
            except RayActorError as error:
                self._lost(stream, unit, error)
            else:
                stream.done[unit.number] = result
                self._on_unit(result, seconds)

    def _failed(self, stream: _Stream, unit: _Unit, error: RayTaskError) -> None:
        unit.failures += 1
        cause = type(error.cause).__name__ if getattr(error, "cause", None) else "error"
        if unit.failures < self._attempts:
            stream.waiting.insert(0, unit)
            return
        self.given_up += 1
        log.warning("%s: unit %d failed %d times (%s) and is skipped", self.role, unit.number, unit.failures, cause)
        stream.done[unit.number] = None

    def _lost(self, stream: _Stream, unit: _Unit, error: RayActorError) -> None:
        if isinstance(error, ActorDiedError) and not isinstance(error, ActorUnavailableError):
            reason = creation_failure(error)
            if reason:
                raise EngineFailed(f"the {self.role} could not be started: {reason}") from None
        unit.losses += 1
        if unit.losses >= _MAX_LOSSES:
            self.given_up += 1
            log.warning("%s: unit %d lost its actor %d times and is skipped", self.role, unit.number, unit.losses)
            stream.done[unit.number] = None
            return
        stream.waiting.insert(0, unit)


def creation_failure(error: BaseException) -> str:
    """The last line of the exception that an actor's constructor raised, or empty if it died otherwise."""
    text = str(error)
    if "creation task" not in text and "__init__" not in text:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "unknown reason"

"""What a pool waits for: calls that come back, actors that come up, and time. Two kinds: Ray's, and simulated.

All pools of a driver share one `Events`, so that whoever waits books what comes in for anybody, on the driver's own
thread.
"""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spti_ray.runtime.scheduling.coroutine import pause

Act = Callable[[], None]


@dataclass(frozen=True)
class Finished:
    """A call's result and the seconds it kept its engine busy."""

    result: Any
    seconds: float


@dataclass(frozen=True)
class Raised:
    """The engine raised on this batch. `error` is the type's name alone, unless its actor has public input alone, or it
    was woken or put to sleep: then it is a line."""

    error: str


@dataclass(frozen=True)
class Lost:
    """The actor is away. `preempted`: its node was taken. `gone`: why it can't come back; None if it may."""

    preempted: bool = False
    gone: str | None = None


@dataclass(frozen=True)
class Up:
    """The actor is up. `lost_its_node`: what it was last lost by was the end of its node, and so nobody's fault."""

    lost_its_node: bool = False


Outcome = Finished | Raised | Lost


class Events(ABC):
    """Calls and timers, and the waiting for them. An actor is any hashable handle."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self._afterwards: list[Act] = []

    @abstractmethod
    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    @abstractmethod
    def call(self, actor: Any, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        """Have the actor run one batch; `done` is called during a later `wait`."""

    @abstractmethod
    def ready(self, actor: Any, done: Callable[[Up | Lost], None]) -> None:
        """Ask whether the actor is up, and where; `done` hears it once it is, or how it is lost."""

    @abstractmethod
    def identity(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        """Ask what the actor runs; `done` hears its engine's identity, or what went wrong."""

    @abstractmethod
    def wake(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        """Have the actor take its GPU (see `turns`); `done` hears its engine's identity, or what went wrong."""

    @abstractmethod
    def sleep(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        """Have the actor free its GPU; `done` hears when it has."""

    @abstractmethod
    def kill(self, actor: Any, for_good: bool) -> None:
        """End the actor's process at once; unless `for_good`, it is started again."""

    @abstractmethod
    def _next(self, until: float | None) -> bool:
        """Wait for a call to come back, at most until that time, and book all that did. False: nothing did."""

    def after(self, seconds: float, act: Act) -> None:
        """Call `act` during a `wait`, not earlier than in `seconds`."""
        heapq.heappush(self._timers, (self.now() + seconds, next(self._order), act))

    def afterwards(self, act: Act) -> None:
        """Call `act` at the end of every `wait`: pools fill slots that came free."""
        self._afterwards.append(act)

    def wait(self) -> None:
        """Wait until something happens, and book all that has happened. A coroutine waits while others go on."""
        if pause():
            return
        if not self._next(self._timers[0][0] if self._timers else None) and not self._timers:
            raise RuntimeError("nothing is under way that could be waited for")
        self._book()

    def poll(self) -> None:
        """Book what has happened, without waiting. For whoever waits for something else; not in a coroutine."""
        self._next(self.now())
        self._book()

    def _book(self) -> None:
        while self._timers and self._timers[0][0] <= self.now():
            heapq.heappop(self._timers)[2]()
        for act in self._afterwards:
            act()

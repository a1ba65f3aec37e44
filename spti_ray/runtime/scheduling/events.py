"""What pools wait for: calls that return, actors that come up, and timers.

All pools of a run share one `Events`. Whoever waits on it handles all that has happened, for every pool, on the
driver's own thread. There are two kinds: real ones (see `runtime.ray.events`) and simulated ones (see `simulated`).
"""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spti_ray.runtime.scheduling.coroutine import pause

Act = Callable[[], None]


@dataclass(frozen=True)
class Finished:
    """A call has returned: its result, and the seconds for which it kept its engine busy."""

    result: Any
    seconds: float


@dataclass(frozen=True)
class Raised:
    """The engine raised on this batch.

    `error` is the type's name alone, since an engine that private shards call may quote what it was given. Of an actor
    with public input alone, or one that was woken or put to sleep, it is a line.
    """

    error: str


@dataclass(frozen=True)
class Lost:
    """The actor is away. `preempted`: its node was taken. `gone`: why it can't come back; None if it may."""

    preempted: bool = False
    gone: str | None = None


@dataclass(frozen=True)
class InputLost:
    """Images that the call was given were lost with their machine: neither the actor nor the batch is to blame."""


@dataclass(frozen=True)
class Up:
    """The actor is up. `lost_its_node`: it was last lost because its node ended, so no batch is to blame."""

    lost_its_node: bool = False


Outcome = Finished | Raised | Lost | InputLost


class Events(ABC):
    """Calls and timers, and waiting for them. An actor is any hashable handle.

    Each method that asks something of an actor takes `done`, which is called with the answer during a later `wait`.
    """

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self._afterwards: list[Act] = []

    @abstractmethod
    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    @abstractmethod
    def call(self, actor: Any, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        """Have the actor run one batch."""

    def call_several(self, actor: Any, batches: Sequence[tuple[tuple[Any, ...], Callable[[Outcome], None]]]) -> None:
        """Have the actor run several batches, each with its `done`, in one call where that is cheaper."""
        for arguments, done in batches:
            self.call(actor, arguments, done)

    @abstractmethod
    def ready(self, actor: Any, done: Callable[[Up | Lost], None]) -> None:
        """Ask whether the actor is up. The answer comes once it is, or is lost."""

    @abstractmethod
    def identity(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        """Ask what the actor's engine is. The result is its identity."""

    @abstractmethod
    def wake(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        """Have the actor take its GPU (see `gpu_time_sharing`). The result is its engine's identity."""

    @abstractmethod
    def sleep(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        """Have the actor free its GPU."""

    @abstractmethod
    def kill(self, actor: Any, for_good: bool) -> None:
        """End the actor's process at once; unless `for_good`, it is started again."""

    @abstractmethod
    def _next(self, until: float | None) -> bool:
        """Wait for an answer, at most until that time, and handle all that are there. False: there was none."""

    @contextmanager
    def needed(self) -> Iterator[None]:
        """While this context is open, actors should come up though they have no batch. By themselves they do anyway."""
        yield

    def after(self, seconds: float, act: Act) -> None:
        """Call `act` during a `wait`, not earlier than in `seconds`."""
        heapq.heappush(self._timers, (self.now() + seconds, next(self._order), act))

    def afterwards(self, act: Act) -> None:
        """Call `act` at the end of every `wait`: pools fill slots that came free."""
        self._afterwards.append(act)

    def wait(self) -> None:
        """Wait until something happens, and handle all that has. A coroutine waits while others go on.

        Raises:
            RuntimeError: nothing is under way.
        """
        if pause():
            return
        if not self._next(self._timers[0][0] if self._timers else None) and not self._timers:
            raise RuntimeError("nothing is under way that could be waited for")
        self._handle()

    def poll(self) -> None:
        """Handle what has happened, without waiting: for code that waits for something else. Not in a coroutine."""
        self._next(self.now())
        self._handle()

    def _handle(self) -> None:
        while self._timers and self._timers[0][0] <= self.now():
            heapq.heappop(self._timers)[2]()
        for act in self._afterwards:
            act()

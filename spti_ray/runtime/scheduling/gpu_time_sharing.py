"""Roles that share one GPU: while the actors of one are awake, those of the others sleep.

Each pool of the group gets `Events` of its own. On these an actor is up only while its role holds the GPU: first all
actors of the holder before are put to sleep, then those of this role are woken. Rules, pinned by
tests/unit/runtime/scheduling/test_gpu_time_sharing.py:

- At most one role has actors that are awake. An actor that is lost counts as awake until it answers again and sleeps,
  or is gone for good: what its process held may not be free yet.
- A role keeps the GPU while it has batches at work or waiting, and a moment longer. Then the next role gets it that has
  batches waiting. A pool that sleeps goes on taking from its streams, so that there are many when it wakes.
- An actor starts asleep, also after a crash: its process loads no model before it is woken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from spti_ray.runtime.scheduling.events import Act, Events, Finished, Lost, Outcome, Raised, Up
from spti_ray.runtime.scheduling.retries import MAX_WAKE_FAILURES

log = logging.getLogger(__name__)

_IDLE_S = 0.5
"""For so long a role must have had nothing to do before it loses the GPU: batches may be on their way to it."""


class SharingPool(Protocol):
    """What is asked of a pool that shares its GPU."""

    role: str

    @property
    def has_work(self) -> bool:
        """Whether batches wait or are at work."""
        ...

    def release_gpu(self) -> None:
        """Send no more batches to actors; ask of each whether it is up, once its batches are done."""
        ...


class GpuTimeSharing:
    """Decides which role of a group holds the GPU.

    Args:
        events: those that all pools share.
        timeout_s: the process of an actor that does not fall asleep or wake up in this time is ended.
    """

    def __init__(self, events: Events, timeout_s: float = 3600.0) -> None:
        self.switches = 0
        self._events = events
        self._timeout_s = timeout_s
        self._members: dict[str, _Member] = {}
        self._holder: _Member | None = None
        self._next: _Member | None = None
        """Who gets the GPU once all actors of the holder sleep."""
        self._idle_since: float | None = None
        self._needed: str | None = None
        events.afterwards(self.switch)

    def of(self, role: str) -> Events:
        """The events for the pool of a role."""
        return self._members.setdefault(role, _Member(self, role, self._events))

    def join(self, pool: SharingPool) -> None:
        """Let a pool take part, which was made with `of(pool.role)`."""
        self._members[pool.role].pool = pool

    @contextmanager
    def needed(self, role: str) -> Iterator[None]:
        """Give a role the GPU in its turn though it has no batch."""
        self._needed = role
        try:
            self.switch()
            yield
        finally:
            self._needed = None

    def switch(self) -> None:
        """Pass the GPU on if its holder has nothing to do, or has fallen asleep."""
        if self._next is None:
            self._next = self._who_is_next()
            if self._next is None:
                return
            self._idle_since = None
            if self._holder is not None and self._holder.pool is not None:
                self._holder.pool.release_gpu()
        if self._holder is None or not self._holder.awake:
            self._holder, self._next = self._next, None
            self.switches += 1
            log.info("%s has the turn", self._holder.role)
            self._holder.wake_all()

    def _who_is_next(self) -> _Member | None:
        holder = self._holder
        others = [member for member in self._in_turn() if member is not holder and self._wants(member)]
        if not others or (holder is not None and self._wants(holder)):
            self._idle_since = None
            return None
        if holder is None or not holder.awake:
            return others[0]
        if self._idle_since is None:
            self._idle_since = self._events.now()
            self._events.after(_IDLE_S, lambda: None)
        return others[0] if self._events.now() - self._idle_since >= _IDLE_S else None

    def _wants(self, member: _Member) -> bool:
        return member.role == self._needed or (member.pool is not None and member.pool.has_work)

    def _in_turn(self) -> list[_Member]:
        """All, those first who come after the holder."""
        members = list(self._members.values())
        at = members.index(self._holder) + 1 if self._holder is not None else 0
        return members[at:] + members[:at]

    def is_holder(self, member: _Member) -> bool:
        """Whether a role holds the GPU, and is not about to pass it on."""
        return self._holder is member and self._next is None

    def limit_time(self, actor: Any, still: Callable[[], bool]) -> None:
        """End the actor's process if it is `still` at it when the time is over."""
        self._events.after(self._timeout_s, lambda: self._events.kill(actor, for_good=False) if still() else None)


class _Member(Events):
    """`Events` of one role: an actor is up only while the role holds the GPU, and then it is awake."""

    def __init__(self, sharing: GpuTimeSharing, role: str, events: Events) -> None:
        # No timers of its own: all pools share those of `events`.
        self.role = role
        self.pool: SharingPool | None = None
        self.awake: set[Any] = set()
        self._sharing = sharing
        self._all = events
        self._identity: dict[str, str] = {}
        self._asleep: dict[Any, tuple[Up, Callable[[Up | Lost], None]]] = {}
        self._calls: dict[Any, object] = {}
        self._failures = Counter[Any]()

    def wake_all(self) -> None:
        """The role has got the GPU."""
        asleep, self._asleep = self._asleep, {}
        for actor, (up, done) in asleep.items():
            self._wake(actor, up, done)

    def ready(self, actor: Any, done: Callable[[Up | Lost], None]) -> None:
        self._all.ready(actor, partial(self._answered, actor, done))

    def identity(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        # Only actors that were woken are asked, and they said it then. Asked by a call, one might fall asleep first.
        self._all.after(0.0, lambda: done(Finished(self._identity, 0.0)))

    @contextmanager
    def needed(self) -> Iterator[None]:
        with self._sharing.needed(self.role):
            yield

    def kill(self, actor: Any, for_good: bool) -> None:
        self._all.kill(actor, for_good)
        if for_good:
            self._gone(actor)

    def now(self) -> float:
        return self._all.now()

    def call(self, actor: Any, arguments: tuple[Any, ...], done: Callable[[Outcome], None]) -> None:
        self._all.call(actor, arguments, done)

    def wake(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        self._all.wake(actor, done)

    def sleep(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        self._all.sleep(actor, done)

    def after(self, seconds: float, act: Act) -> None:
        self._all.after(seconds, act)

    def afterwards(self, act: Act) -> None:
        self._all.afterwards(act)

    def wait(self) -> None:
        self._all.wait()

    def _next(self, until: float | None) -> bool:
        raise NotImplementedError("a wait is always on the events of all pools")

    def _answered(self, actor: Any, done: Callable[[Up | Lost], None], answer: Up | Lost) -> None:
        """The actor's process answers, or is lost."""
        if isinstance(answer, Lost):
            if answer.gone is not None:
                self._gone(actor)
            done(answer)
        elif self._sharing.is_holder(self):
            self._wake(actor, answer, done)
        else:
            # Even if it has just been started: to put one to sleep that sleeps already does nothing.
            self._ask(actor, self._all.sleep, partial(self._slept, actor, answer, done))

    def _wake(self, actor: Any, up: Up, done: Callable[[Up | Lost], None]) -> None:
        self.awake.add(actor)
        self._ask(actor, self._all.wake, partial(self._woke, actor, up, done))

    def _woke(self, actor: Any, up: Up, done: Callable[[Up | Lost], None], outcome: Outcome) -> None:
        if isinstance(outcome, Finished):
            self._identity = outcome.result
            self._failures.pop(actor, None)
            if self._sharing.is_holder(self):
                done(up)
            else:
                self._answered(actor, done, up)
        else:
            self._failed(actor, done, outcome)

    def _slept(self, actor: Any, up: Up, done: Callable[[Up | Lost], None], outcome: Outcome) -> None:
        if not isinstance(outcome, Finished):
            self._failed(actor, done, outcome)
            return
        self.awake.discard(actor)
        if self._sharing.is_holder(self):
            self._wake(actor, up, done)
        else:
            self._asleep[actor] = up, done

    def _failed(self, actor: Any, done: Callable[[Up | Lost], None], outcome: Outcome) -> None:
        """It could be neither woken nor put to sleep. If its engine raised it gets another process, once."""
        if isinstance(outcome, Raised):
            self._failures[actor] += 1
            again = self._failures[actor] < MAX_WAKE_FAILURES
            log.warning("%s: could not be woken or put to sleep: %s", self.role, outcome.error)
            outcome = Lost(gone=None if again else outcome.error)
            if again:
                self._all.kill(actor, for_good=False)
        lost = outcome if isinstance(outcome, Lost) else Lost()
        if lost.gone is not None:
            self._gone(actor)
        done(lost)

    def _gone(self, actor: Any) -> None:
        self.awake.discard(actor)
        self._asleep.pop(actor, None)
        self._calls.pop(actor, None)
        self._failures.pop(actor, None)

    def _ask(
        self, actor: Any, method: Callable[[Any, Callable[[Outcome], None]], None], done: Callable[[Outcome], None]
    ) -> None:
        mark = self._calls[actor] = object()

        def answered(outcome: Outcome) -> None:
            if self._calls.get(actor) is mark:
                del self._calls[actor]
                done(outcome)

        self._sharing.limit_time(actor, still=lambda: self._calls.get(actor) is mark)
        method(actor, answered)

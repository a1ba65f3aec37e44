"""Roles that share one GPU and use it in turns: while one is at work, the others sleep. Knows nothing of Ray.

Each pool of the group sees `Events` of its own, on which an actor is up only while its role has the turn: first all
actors of the role before are asleep, then those of this one are woken. Rules, pinned by
tests/unit/runtime/scheduling/test_gpu_time_sharing.py:

- At most one role has actors that are awake. One that is lost counts as awake until it answers again and sleeps, or is
  gone for good: what its process held may not be free yet.
- A role keeps its turn while it has batches at work or waiting, and a moment longer; then the next one gets it that has
  batches waiting. A sleeping pool goes on pulling batches (`Pool.rest`), so there are many when its turn comes.
- An actor starts asleep, also after a crash: its process loads no model before it is woken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from spti_ray.runtime.scheduling.events import Act, Events, Finished, Lost, Outcome, Raised, Up

log = logging.getLogger(__name__)

_IDLE_S = 0.5
"""For so long a role must have had nothing to do before it loses its turn: batches may be on their way to it."""

_TRIES = 2
"""So often an actor may fail to wake up, or to fall asleep, before it is given up."""


class Rests(Protocol):
    """What a pool is to its turns."""

    role: str

    def must_have_actors(self) -> None:
        """Raises if none is left."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether batches wait or are at work."""
        ...

    def rest(self) -> None:
        """Give no more batches to actors, and ask of each whether it is up once its batches are done."""
        ...


class Turns:
    """`events`: those of all pools. `timeout_s`: after which an actor that does not fall asleep or wake up is ended."""

    def __init__(self, events: Events, timeout_s: float = 3600.0) -> None:
        self.switches = 0
        self.identities: dict[str, dict[str, str]] = {}
        self._events = events
        self._timeout_s = timeout_s
        self._seats: dict[str, _Seat] = {}
        self._turn: _Seat | None = None
        self._next: _Seat | None = None
        self._idle_since: float | None = None
        self._wished: str | None = None
        events.afterwards(self._look)

    def of(self, role: str) -> Events:
        """The events for the pool of a role."""
        return self._seats.setdefault(role, _Seat(self, role, self._events))

    def join(self, pool: Rests) -> None:
        """Let a pool take part, which was made with `of(pool.role)`."""
        self._seats[pool.role].pool = pool

    def identity(self, pool: Rests) -> dict[str, str]:
        """What a pool's engines are; if none was woken so far, the pool gets the turn for it.

        Raises what `Rests.must_have_actors` does.
        """
        self._wished = pool.role
        try:
            while pool.role not in self.identities:
                pool.must_have_actors()
                self._look()
                self._events.wait()
            return self.identities[pool.role]
        finally:
            self._wished = None

    def _look(self) -> None:
        """Pass the turn on when its holder has nothing to do, or has fallen asleep."""
        if self._next is None:
            self._next = self._who_is_next()
            if self._next is None:
                return
            self._idle_since = None
            if self._turn is not None and self._turn.pool is not None:
                self._turn.pool.rest()
        if self._turn is None or not self._turn.awake:
            self._turn, self._next = self._next, None
            self.switches += 1
            log.info("%s has the turn", self._turn.role)
            self._turn.begin()

    def _who_is_next(self) -> _Seat | None:
        holder = self._turn
        others = [seat for seat in self._in_turn() if seat is not holder and self._wants(seat)]
        if not others or (holder is not None and self._wants(holder)):
            self._idle_since = None
            return None
        if holder is None or not holder.awake:
            return others[0]
        if self._idle_since is None:
            self._idle_since = self._events.now()
            self._events.after(_IDLE_S, lambda: None)
        return others[0] if self._events.now() - self._idle_since >= _IDLE_S else None

    def _wants(self, seat: _Seat) -> bool:
        return seat.role == self._wished or (seat.pool is not None and seat.pool.has_work)

    def _in_turn(self) -> list[_Seat]:
        """All, those first who come after the holder."""
        seats = list(self._seats.values())
        at = seats.index(self._turn) + 1 if self._turn is not None else 0
        return seats[at:] + seats[:at]

    def has_turn(self, seat: _Seat) -> bool:
        return self._turn is seat and self._next is None

    def watch(self, actor: Any, still: Callable[[], bool]) -> None:
        """End the actor's process if it is `still` at it when the time is over."""
        self._events.after(self._timeout_s, lambda: self._events.kill(actor, for_good=False) if still() else None)


class _Seat(Events):
    """`Events` of one role: an actor is up only while the role has the turn, and then awake."""

    def __init__(self, turns: Turns, role: str, events: Events) -> None:
        # No timers of its own: all pools share those of `events`.
        self.role = role
        self.pool: Rests | None = None
        self.awake: set[Any] = set()
        self._turns = turns
        self._all = events
        self._asleep: dict[Any, tuple[Up, Callable[[Up | Lost], None]]] = {}
        self._calls: dict[Any, object] = {}
        self._failures = Counter[Any]()

    def begin(self) -> None:
        """The role has the turn."""
        asleep, self._asleep = self._asleep, {}
        for actor, (up, done) in asleep.items():
            self._wake(actor, up, done)

    def ready(self, actor: Any, done: Callable[[Up | Lost], None]) -> None:
        self._all.ready(actor, partial(self._is_there, actor, done))

    def identity(self, actor: Any, done: Callable[[Outcome], None]) -> None:
        self._all.identity(actor, done)

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
        raise NotImplementedError("whoever waits does so on the events of all pools")

    def _is_there(self, actor: Any, done: Callable[[Up | Lost], None], answer: Up | Lost) -> None:
        """The actor's process answers, or is lost."""
        if isinstance(answer, Lost):
            if answer.gone is not None:
                self._gone(actor)
            done(answer)
        elif self._turns.has_turn(self):
            self._wake(actor, answer, done)
        else:
            # Even if it has just been started: one that sleeps already is asked in vain.
            self._ask(actor, self._all.sleep, partial(self._slept, actor, answer, done))

    def _wake(self, actor: Any, up: Up, done: Callable[[Up | Lost], None]) -> None:
        self.awake.add(actor)
        self._ask(actor, self._all.wake, partial(self._woke, actor, up, done))

    def _woke(self, actor: Any, up: Up, done: Callable[[Up | Lost], None], outcome: Outcome) -> None:
        if isinstance(outcome, Finished):
            self._turns.identities[self.role] = outcome.result
            self._failures.pop(actor, None)
            if self._turns.has_turn(self):
                done(up)
            else:
                self._is_there(actor, done, up)
        else:
            self._failed(actor, done, outcome)

    def _slept(self, actor: Any, up: Up, done: Callable[[Up | Lost], None], outcome: Outcome) -> None:
        if not isinstance(outcome, Finished):
            self._failed(actor, done, outcome)
            return
        self.awake.discard(actor)
        if self._turns.has_turn(self):
            self._wake(actor, up, done)
        else:
            self._asleep[actor] = up, done

    def _failed(self, actor: Any, done: Callable[[Up | Lost], None], outcome: Outcome) -> None:
        """It could be neither woken nor put to sleep. One whose engine raises gets another process, once."""
        if isinstance(outcome, Raised):
            self._failures[actor] += 1
            again = self._failures[actor] < _TRIES
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

        self._turns.watch(actor, still=lambda: self._calls.get(actor) is mark)
        method(actor, answered)

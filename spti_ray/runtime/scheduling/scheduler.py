"""Which batch goes to which actor, and when a batch is given up. Pure: no Ray, no clock, no thread.

A batch is the arguments of one call. Rules, pinned by tests/unit/runtime/scheduling/test_scheduler.py:

- An actor has at most `slots` batches in flight; a batch goes to the actor with the fewest.
- A batch that raises goes back to the front and is given up after `attempts` failures.
- A batch whose actor crashed under it is a suspect: from then on it runs alone on its actor, so that a batch that kills
  actors takes no other with it twice, and is given up after `crashes` of them.
- A batch whose arguments were lost comes back once they are there again, at no cost.
- A batch whose actor was taken away (preempted, or killed for another's sake) goes back to the front, at no cost.

Each step costs the same however many actors and batches there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from spti_ray.runtime.scheduling.retries import MAX_LOSSES, Limits

Actor = TypeVar("Actor", bound=Hashable)


@dataclass(eq=False)
class Batch:
    """The arguments of one call of an engine.

    `owner`, `number` and `cached` mean nothing here: they are the pool's. `slots`: those that the batch takes now.
    """

    arguments: tuple[Any, ...]
    owner: Any = None
    number: int = 0
    cached: Any = None
    failures: int = 0
    crashes: int = 0
    input_losses: int = 0
    slots: int = 0
    is_twofold: bool = False
    """It was asked for a second time (see `stragglers`), or is that second time."""
    is_second: bool = False


class Scheduler(Generic[Actor]):
    """The batches that wait, and the actors that have room, of one role."""

    def __init__(self, limits: Limits) -> None:
        self._slots = limits.slots
        self._limits = limits
        self._fresh: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._load: dict[Actor, int] = {}
        # Actors by load, in the order in which they got there; full ones are in none.
        self._with_load: list[dict[Actor, None]] = [{} for _ in range(limits.slots)]
        self._in_flight = 0
        self.together = 1
        """How many batches go in a call; so many wait to be sent together."""

    @property
    def actors(self) -> int:
        """Actors that may be given batches."""
        return len(self._load)

    @property
    def in_flight(self) -> int:
        """Batches that were assigned and have not come back."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        return len(self._fresh) + len(self._suspects)

    @property
    def wants_more(self) -> bool:
        """Whether a new batch would be assigned at once, or with others that wait for it."""
        return len(self._fresh) < self.together and self._for_fresh() is not None

    def is_up(self, actor: Actor) -> bool:
        """Whether an actor may be given batches."""
        return actor in self._load

    def add_actor(self, actor: Actor) -> None:
        """An actor is up, with nothing in flight."""
        if actor in self._load:
            raise ValueError("the actor is there already")
        self._load[actor] = 0
        self._with_load[0][actor] = None

    def remove_actor(self, actor: Actor) -> None:
        """An actor gets nothing from now on; what it has in flight still comes back, by `finished`, ... or `lost`."""
        load = self._load.pop(actor, self._slots)
        if load < self._slots:
            del self._with_load[load][actor]

    def put(self, batch: Batch) -> None:
        self._fresh.append(batch)

    def forget(self, owner: Any) -> None:
        """Drop an owner's batches that wait."""
        self._fresh = deque(batch for batch in self._fresh if batch.owner is not owner)
        self._suspects = deque(batch for batch in self._suspects if batch.owner is not owner)

    def assign(self) -> tuple[Actor, Batch] | None:
        """Take the next batch and the actor that shall run it; None if nothing waits or nobody has room."""
        idle = next(iter(self._with_load[0]), None)
        if self._suspects and idle is not None:
            return self._assign(idle, self._suspects.popleft(), self._slots)
        actor = self._for_fresh() if self._fresh else None
        return None if actor is None else self._assign(actor, self._fresh.popleft(), 1)

    def _for_fresh(self) -> Actor | None:
        """The actor with the fewest batches, but that one is left to run empty while a suspect waits."""
        by_load = (actor for bucket in self._with_load for actor in bucket)
        if self._suspects:
            next(by_load, None)
        return next(by_load, None)

    def _assign(self, actor: Actor, batch: Batch, slots: int) -> tuple[Actor, Batch]:
        self._in_flight += 1
        batch.slots = slots
        self._change(actor, slots)
        return actor, batch

    def with_it(self, batch: Batch) -> list[Batch]:
        """Take the batches that go in the same call as one that was just assigned; a suspect runs alone."""
        taken: list[Batch] = []
        while self._fresh and not batch.crashes and len(taken) + 1 < self.together:
            taken.append(self._fresh.popleft())
            taken[-1].slots = 0  # The call takes one slot, which is the first batch's.
        self._in_flight += len(taken)
        return taken

    def assign_idle(self, batch: Batch) -> Actor | None:
        """Take an actor without batches for this one, which is not among those that wait; None if there is none."""
        idle = next(iter(self._with_load[0]), None)
        return None if idle is None else self._assign(idle, batch, 1)[0]

    def finished(self, actor: Actor, batch: Batch) -> None:
        """The batch's result is there, or it is not wanted any more."""
        self._returned(actor, batch)

    def failed(self, actor: Actor, batch: Batch) -> bool:
        """The batch raised. Returns whether it is given up; else it waits again."""
        self._returned(actor, batch)
        batch.failures += 1
        return self._give_up_or_again(batch)

    def lost(self, actor: Actor, batch: Batch, blamed: bool) -> bool:
        """The actor is gone, and if `blamed`, perhaps because of the batch. Returns whether the batch is given up."""
        self._returned(actor, batch)
        batch.crashes += blamed
        return self._give_up_or_again(batch)

    def input_lost(self, actor: Actor, batch: Batch) -> bool:
        """Some of the batch's arguments are gone. Returns whether it is given up; else `again` follows."""
        self._returned(actor, batch)
        batch.input_losses += 1
        return batch.input_losses >= MAX_LOSSES

    def again(self, batch: Batch) -> None:
        """The batch's arguments are there again: it is the first that waits."""
        (self._suspects if batch.crashes else self._fresh).appendleft(batch)

    def forgive(self, batch: Batch) -> None:
        """A crash that the batch was blamed for turned out to be its node's."""
        batch.crashes -= 1

    def _give_up_or_again(self, batch: Batch) -> bool:
        if self._limits.gives_up(batch.failures, batch.crashes):
            return True
        self.again(batch)
        return False

    def _returned(self, actor: Actor, batch: Batch) -> None:
        self._in_flight -= 1
        if actor in self._load:
            self._change(actor, -batch.slots)

    def _change(self, actor: Actor, by: int) -> None:
        before = self._load[actor]
        if before < self._slots:
            del self._with_load[before][actor]
        self._load[actor] = before + by
        if before + by < self._slots:
            self._with_load[before + by][actor] = None

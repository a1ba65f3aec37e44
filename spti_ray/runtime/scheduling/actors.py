"""The actors of a pool: what each has at work, which of them leave, and whose fault it is when one is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spti_ray.runtime.scheduling.events import Lost
from spti_ray.runtime.scheduling.scheduler import Batch


class Actors:
    """Every actor of a pool until it has left, up or not. An actor is any hashable handle.

    Blame: a batch may be what its actor crashed by, so each batch that was at work then is blamed. None is if the
    actor's node was taken, or ended, as may show only when the actor is back elsewhere. If an actor was ended because
    it hung, only the batch that hung is.
    """

    def __init__(self) -> None:
        # With the batches at work and since when, the oldest first.
        self._at_work: dict[Any, dict[Batch, float]] = {}
        self._leaving: set[Any] = set()
        self._hung: dict[Any, Batch] = {}
        self._blamed: dict[Any, list[Batch]] = {}

    def __len__(self) -> int:
        """Without those that leave."""
        return len(self._at_work) - len(self._leaving)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._at_work)

    def add(self, actor: Any) -> None:
        self._at_work[actor] = {}

    def stays(self, actor: Any) -> bool:
        """Whether it is there and does not leave."""
        return actor in self._at_work and actor not in self._leaving

    def is_idle(self, actor: Any) -> bool:
        """Whether it is there and has no batch at work."""
        return not self._at_work.get(actor, True)

    def begin(self, actor: Any, batch: Batch, now: float) -> None:
        """The actor is sent a batch."""
        self._at_work[actor][batch] = now

    def end(self, actor: Any, batch: Batch) -> int:
        """A batch came back, with a result or without. Returns how many the actor had, this one included."""
        del self._at_work[actor][batch]
        return 1 + len(self._at_work[actor])

    def at_work(self) -> Iterator[tuple[Batch, float]]:
        """Each batch at work, and since when."""
        for batches in tuple(self._at_work.values()):
            yield from tuple(batches.items())

    def surplus(self, keep: int) -> list[Any]:
        """All that stay but `keep` of them, the busiest."""
        staying = [actor for actor in self._at_work if actor not in self._leaving]
        return sorted(staying, key=lambda actor: -len(self._at_work[actor]))[keep:]

    def leave(self, actor: Any) -> None:
        """It is to go once its batches are done."""
        self._leaving.add(actor)

    def left(self, actor: Any) -> bool:
        """Forget one that leaves and has no batch at work any more; returns whether it is such a one."""
        if actor not in self._leaving or self._at_work[actor]:
            return False
        self._leaving.remove(actor)
        del self._at_work[actor]
        self._hung.pop(actor, None)
        self._blamed.pop(actor, None)
        return True

    def newly_hung(self, now: float, timeout_s: float) -> Iterator[tuple[Any, Batch]]:
        """Each actor that is at work on its oldest batch for longer than `timeout_s`, and that batch; once each."""
        for actor, batches in self._at_work.items():
            oldest = next(iter(batches), None)
            if oldest and actor not in self._hung and now - batches[oldest] > timeout_s:
                self._hung[actor] = oldest
                yield actor, oldest

    def is_hung(self, actor: Any) -> bool:
        """Whether it has hung since it was last up."""
        return actor in self._hung

    def blame(self, actor: Any, batch: Batch, lost: Lost) -> bool:
        """Whether a batch is to blame for the loss of its actor, as far as is known now."""
        blamed = self._hung[actor] is batch if actor in self._hung else not lost.preempted
        if blamed:
            self._blamed.setdefault(actor, []).append(batch)
        return blamed

    def is_up(self, actor: Any, lost_its_node: bool) -> list[Batch]:
        """The actor is back. Returns the batches that were blamed for its loss and are not at fault."""
        self._hung.pop(actor, None)
        blamed = self._blamed.pop(actor, [])
        return blamed if lost_its_node else []

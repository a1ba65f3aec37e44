"""One pass over a pool: batches from its source in order, and their results in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from spti_ray.runtime.scheduling.scheduler import Batch


@dataclass(eq=False)
class UnitStream:
    """`source` gives the arguments of each batch; `total`: how many there are, if that is known."""

    source: Iterator[tuple[Any, ...]]
    total: int | None
    fetched: deque[tuple[Any, ...]] = field(default_factory=deque)
    """From the source, and not yet batches."""
    done: dict[int, Any] = field(default_factory=dict)
    """Results by the number of their batch, from `emitted` on."""
    pulled: int = 0
    emitted: int = 0
    dry: bool = False
    """The source has ended."""
    exhausted: bool = False
    """So it has, and all of it was pulled."""
    error: Exception | None = None

    @property
    def ahead(self) -> int:
        """Units that are under way, or wait for an older one."""
        return self.pulled - self.emitted

    @property
    def left(self) -> int | None:
        """Units that will still be pulled; None if nobody knows."""
        if self.exhausted:
            return 0
        return None if self.total is None else self.total - self.pulled

    @property
    def ready(self) -> bool:
        """Whether the next result is there."""
        return self.emitted in self.done

    def results(self) -> Iterator[Any]:
        """Those that are there, in order."""
        while self.ready:
            yield self.done.pop(self.emitted)
            self.emitted += 1

    def fetch(self) -> None:
        """The next of the source; may raise what it raises, and wait for another pool."""
        arguments = next(self.source, None)
        if arguments is None:
            self.dry = True
        else:
            self.fetched.append(arguments)

    def pull(self) -> Batch:
        """The oldest that was fetched."""
        batch = Batch(self.fetched.popleft(), self, self.pulled)
        self.pulled += 1
        return batch

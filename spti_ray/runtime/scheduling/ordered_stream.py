"""One pass over a pool: what its source gives, in batches, and their results in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from spti_ray.public.counted import to_come
from spti_ray.runtime.scheduling.scheduler import Batch


@dataclass(eq=False)
class OrderedStream:
    """Numbers the batches of one stream and holds back a result until all before it are there.

    Args:
        source: gives the arguments of each batch; may say how many are to come (see `public.counted`).
    """

    source: Iterator[tuple[Any, ...]]
    fetched: deque[tuple[Any, ...]] = field(default_factory=deque)
    """Taken from the source, and not yet batches."""
    done: dict[int, Any] = field(default_factory=dict)
    """Results by the number of their batch, from `emitted` on."""
    pulled: int = 0
    """Batches that were made."""
    emitted: int = 0
    """Results that were read."""
    dry: bool = False
    """The source has ended."""
    exhausted: bool = False
    """The source has ended, and all of it was made into batches."""
    source_error: Exception | None = None
    """What the source raised: its end, for whoever reads."""
    error: Exception | None = None
    """What kept the stream from making a batch; there are no more results."""

    @property
    def ahead(self) -> int:
        """Batches that are under way, or wait for an older one."""
        return self.pulled - self.emitted

    @property
    def left(self) -> int | None:
        """Batches that are still to come; None if that is not known."""
        left = 0 if self.dry else to_come(self.source)
        return None if left is None else left + len(self.fetched)

    @property
    def ready(self) -> bool:
        """Whether the next result is there."""
        return self.emitted in self.done

    def has(self, number: int) -> bool:
        """Whether the result of this batch is there, or was read."""
        return number < self.emitted or number in self.done

    def results(self) -> Iterator[Any]:
        """Those that are there, in order."""
        while self.ready:
            yield self.done.pop(self.emitted)
            self.emitted += 1

    def fetch(self) -> None:
        """Take the next from the source; may raise what that raises, and wait for another pool."""
        arguments = next(self.source, None)
        if arguments is None:
            self.dry = True
        else:
            self.fetched.append(arguments)

    def pull(self) -> Batch:
        """Make a batch of the oldest that was fetched."""
        batch = Batch(self.fetched.popleft(), self, self.pulled)
        self.pulled += 1
        return batch

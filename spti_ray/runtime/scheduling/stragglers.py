"""When a batch that takes far longer than others is asked for a second time.

Only when the rest of its stage is done, or may run no further ahead of it: then engines are idle that could do it, and
all that is to come waits for it.
The first result counts, and is kept; the other is dropped. Nothing is lost by it: a batch is defined by its arguments,
and makes the same again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spti_ray.runtime.scheduling.moving_mean import MovingMean
from spti_ray.runtime.scheduling.scheduler import Batch

_TIMES_LONGER = 4.0
"""A batch counts as straggling once it takes so many times as long as others and their turns in the slots."""

_LEAST_S = 2.0
"""Before that no batch counts as straggling."""

_WEIGHT = 0.1
"""Of the newest batch in the mean length."""


class Stragglers:
    """Knows how long batches take. `slots`: batches that an engine has at a time."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._mean_s = MovingMean(_WEIGHT)

    def took(self, seconds: float) -> None:
        """A batch kept its engine busy for so long."""
        self._mean_s.add(seconds)

    def among(self, at_work: Iterable[tuple[Batch, float]]) -> Iterator[Batch]:
        """Those of the batches at work that straggle, and were not asked for twice.

        Args:
            at_work: each batch with the seconds since it was sent.
        """
        if self._mean_s.value is None:
            return
        longest = max(_LEAST_S, _TIMES_LONGER * self._slots * self._mean_s.value)
        for batch, seconds in at_work:
            if seconds > longest and not batch.is_twofold:
                yield batch

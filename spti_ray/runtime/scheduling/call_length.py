"""How many batches go to an engine in one call.

One, as long as the driver keeps up. Each call costs its thread a quarter of a millisecond, so ten thousand engines with
batches of a second would need three of it: there several batches go in a call, which is then up to eight seconds long.
Batches stay what they are: each has its own result, and is kept, tried again and given up by itself.
"""

from __future__ import annotations

import logging
import math

from spti_ray.runtime.scheduling.moving_mean import MovingMean

log = logging.getLogger(__name__)

LONGEST_S = 8.0
"""Of a call; one of several batches is not longer."""

CALLS_PER_S = 1000.0
"""So many calls a second leave half of the driver's thread for everything else."""

_WEIGHT = 0.05
"""Of the newest batch in the mean length."""

_SEEN = 16
"""Batches that must have come before their mean is believed: the first may be short ones."""


class CallLength:
    """Follows how long a role's batches take."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._mean_s = MovingMean(_WEIGHT)
        self._seen = 0
        self._told = 1

    def took(self, seconds: float) -> None:
        """A batch kept its engine busy for so long."""
        self._seen += 1
        self._mean_s.add(seconds)

    def batches(self, num_actors: int) -> int:
        """How many batches go in a call to one of so many actors, each of which works on one batch at a time."""
        mean_s = self._mean_s.value
        if not mean_s or self._seen < _SEEN:
            return 1
        needed = num_actors / mean_s / CALLS_PER_S
        count = max(1, min(math.ceil(needed), int(LONGEST_S / mean_s)))
        if count != self._told:
            self._told = count
            log.info("%s: %d batches in a call, of %.2g s", self._role, count, count * mean_s)
        return count

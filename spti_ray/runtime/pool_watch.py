"""Shows the pools whose engines work for no shard in the progress display, besides what their metrics tell."""

from __future__ import annotations

import time
from collections.abc import Callable

from spti_ray.config import Role
from spti_ray.observability.pool_reading import PoolReading
from spti_ray.observability.progress import Progress
from spti_ray.runtime.scheduling.events import Outcome
from spti_ray.runtime.scheduling.meter import Cause, Load, Meter


class PoolWatch:
    """A pool's meter that passes on what it is told, and keeps what the display shows of it."""

    def __init__(self, role: Role, meter: Meter, progress: Progress, takes_turns: bool) -> None:
        """`takes_turns`: its engines sleep while another role has their GPU, and are shown when they are awake."""
        self._role, self._meter, self._progress, self._takes_turns = role, meter, progress, takes_turns
        self._lost = 0
        self._none_since: float | None = None

    def watch(self, load: Callable[[], Load]) -> None:
        self._meter.watch(load)
        self._progress.watch_pool(self._role, lambda: self._reading(load()))

    def cached(self) -> None:
        self._meter.cached()

    def back(self, outcome: Outcome, abreast: int) -> None:
        self._meter.back(outcome, abreast)

    def missed(self, given_up: bool) -> None:
        self._meter.missed(given_up)

    def lost(self, cause: Cause) -> None:
        self._lost += 1
        self._meter.lost(cause)

    def _reading(self, now: Load) -> PoolReading:
        asked = now.up if self._takes_turns else now.asked
        if now.up or not asked:
            self._none_since = None
        elif self._none_since is None:
            self._none_since = time.monotonic()
        loading_s = 0.0 if self._none_since is None else time.monotonic() - self._none_since
        return PoolReading(self._role, asked, now.up, now.in_flight, now.queue, self._lost, loading_s)

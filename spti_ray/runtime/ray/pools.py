"""The pools of a run: each role's actors, the cache of their results, and who observes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.observability.progress import Progress
from spti_ray.observability.trace import Trace
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.ray.launch import another_engine
from spti_ray.runtime.ray.metrics import Metrics
from spti_ray.runtime.scheduling.gpu_time_sharing import GpuTimeSharing
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.result_cache import CACHED_ROLES, ResultCache
from spti_ray.runtime.scheduling.retries import Limits


@dataclass(frozen=True)
class Observers:
    """Who is told of each batch. All of it is public: private work goes through no pool."""

    trace: Trace
    progress: Progress
    metrics: Metrics

    def batch(self, role: Role, result: Any, seconds: float) -> None:
        """A batch is done, and kept its engine busy for so many seconds."""
        tokens = sum(answer.num_tokens for answer in result) if role == "writer" else 0
        dollars = sum(answer.dollars for answer in result) if role == "writer" else 0.0
        self.trace.batch(role, len(result), seconds, tokens, dollars)
        if role in ("writer", "renderer"):
            self.progress.advance(len(result))


class Pools:
    """Makes the pools of one session, some of which may take turns on a GPU, and says what they run."""

    def __init__(
        self,
        config: Config,
        engines: EnginesConfig,
        session: str,
        events: RayEvents,
        cache: ResultCache,
        observers: Observers,
        metrics_of: str,
    ) -> None:
        self._config, self._engines, self._session = config, engines, session
        self._events, self._cache, self._observers, self._metrics_of = events, cache, observers, metrics_of
        self._sharing = GpuTimeSharing(events, config.runtime.unit_timeout_s)

    def make(self, role: Role, actors: list[Any], others: Callable[[], int]) -> Pool:
        """A pool of these actors; `others`: see `Autoscaler`."""
        engine, in_turn = self._engines.of(role), self._takes_turns(role)
        numbers = itertools.count(len(actors))
        pool = Pool(
            role,
            actors,
            self._sharing.of(role) if in_turn else self._events,
            self._limits,
            partial(self._observers.batch, role),
            # Outside the resources that it shares there is no GPU to take turns on.
            grow=None if in_turn else lambda: self._another(role, next(numbers)),
            most=engine.max_replicas or engine.replicas,
            cache=partial(self._cache.entry, role) if role in CACHED_ROLES else None,
            meter=self._observers.metrics.of(role, engine.num_gpus),
            others=others,
            shares_gpu=in_turn,
        )
        if in_turn:
            self._sharing.join(pool)
        return pool

    def _takes_turns(self, role: Role) -> bool:
        return role in self._config.runtime.take_turns

    def _another(self, role: Role, number: int) -> Any:
        return another_engine(role, number, self._session, self._config, self._engines, self._metrics_of)

    @property
    def _limits(self) -> Limits:
        runtime = self._config.runtime
        return Limits(
            slots=runtime.in_flight_per_actor,
            attempts=runtime.unit_attempts,
            crashes=runtime.unit_crashes,
            batch_timeout_s=runtime.unit_timeout_s,
        )

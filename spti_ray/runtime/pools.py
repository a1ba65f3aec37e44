"""The pools of a run: each role's actors, the cache of their results, and who observes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.models.factory import may_cost_money
from spti_ray.observability.progress import Progress
from spti_ray.observability.trace import Trace
from spti_ray.runtime.executor import RunMetrics, Session
from spti_ray.runtime.pool_watch import PoolWatch
from spti_ray.runtime.scheduling.events import Act
from spti_ray.runtime.scheduling.gpu_time_sharing import GpuTimeSharing
from spti_ray.runtime.scheduling.image_budget import ImageBudget
from spti_ray.runtime.scheduling.lost_images import render_again
from spti_ray.runtime.scheduling.meter import Meter
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.result_cache import CACHED_ROLES, ResultCache
from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.voter import ShardVoter


@dataclass(frozen=True)
class Observers:
    """Who is told of each batch. All of it is public: private work goes through no pool."""

    trace: Trace
    progress: Progress
    metrics: RunMetrics

    def batch(self, role: Role, result: Any, seconds: float) -> None:
        """A batch is done, and kept its engine busy for so many seconds."""
        tokens = sum(answer.num_tokens for answer in result) if role == "writer" else 0
        dollars = sum(answer.dollars for answer in result) if role == "writer" else 0.0
        self.trace.batch(role, len(result), seconds, tokens, dollars)
        if role in ("writer", "renderer"):
            self.progress.advance(len(result))


_LOOK_S = 10.0
"""How often it is looked whether shards have their views."""


def give_back_once_prepared(role: Role, pool: Pool, session: Session, voter: ShardVoter) -> None:
    """Give back the engines of a role that nobody but shards asks, once all of them have their views.

    A shard that comes back later reads its views from their file.
    """
    if voter.num_preparing:
        session.events.after(_LOOK_S, partial(give_back_once_prepared, role, pool, session, voter))
    else:
        pool.shrink()
        session.give_back(role)


class Pools:
    """Makes the pools of one session, some of which may share a GPU."""

    def __init__(
        self,
        config: Config,
        engines: EnginesConfig,
        session: Session,
        cache: ResultCache,
        observers: Observers,
        rounds_to_come: Callable[[], int] = lambda: 0,
    ) -> None:
        """`rounds_to_come`: see `Pool`."""
        self._rounds_to_come = rounds_to_come
        self._config, self._engines, self._session = config, engines, session
        self._cache, self._observers = cache, observers
        self._sharing = GpuTimeSharing(session.events, config.runtime.unit_timeout_s)
        self._images = ImageBudget(session.image_bytes)
        self._made: dict[Role, Pool] = {}

    def make(self, role: Role, actors: list[Any], others: Callable[[], int]) -> Pool:
        """A pool of these actors; `others`: see `Autoscaler`."""
        engine, shares_gpu = self._engines.of(role), role in self._config.runtime.take_turns
        numbers = itertools.count(len(actors))
        pool = Pool(
            role,
            actors,
            self._sharing.of(role) if shares_gpu else self._session.events,
            self._limits,
            partial(self._observers.batch, role),
            # Outside the resources that it shares there is no GPU for another one.
            grow=None if shares_gpu else lambda: self._session.another_engine(role, next(numbers)),
            most=engine.max_replicas or engine.replicas,
            cache=partial(self._cache.entry, role) if role in CACHED_ROLES else None,
            meter=self._meter(role, engine.num_gpus, shares_gpu),
            others=others,
            shares_gpu=shares_gpu,
            rounds_to_come=self._rounds_to_come,
            images=self._images if role == "renderer" else None,
            repeats=role in ("renderer", "image_embedder", "text_embedder") and not may_cost_money(engine),
            restore=self._render_again if role == "image_embedder" else None,
        )
        self._made[role] = pool
        if shares_gpu:
            self._sharing.join(pool)
        return pool

    def _meter(self, role: Role, num_gpus: float, shares_gpu: bool) -> Meter:
        meter = self._observers.metrics.of(role, num_gpus)
        # How busy an engine is that shards call depends on private records.
        return meter if role in self._session.serving else PoolWatch(role, meter, self._observers.progress, shares_gpu)

    def _render_again(self, images: Any, then: Act) -> None:
        render_again(self._session.events, self._made["renderer"], images, then)

    @property
    def _limits(self) -> Limits:
        runtime = self._config.runtime
        return Limits(
            slots=runtime.in_flight_per_actor,
            attempts=runtime.unit_attempts,
            crashes=runtime.unit_crashes,
            batch_timeout_s=runtime.unit_timeout_s,
            start_timeout_s=runtime.placement_timeout_s,
            node_start_s=runtime.node_start_s,
        )

"""The pools of a run: each role's actors, what is kept of their units, and who is told of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.observability.progress import Progress
from spti_ray.observability.timeline import Timeline
from spti_ray.observability.timings import Timings
from spti_ray.runtime.executor import RunMetrics, Session
from spti_ray.runtime.scheduling.gpu_time_sharing import Turns
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.result_cache import KEPT_ROLES, KeptUnits
from spti_ray.runtime.scheduling.scheduler import Limits


@dataclass(frozen=True)
class Told:
    """Who hears of each unit. All of it is public: units of private work go through no pool."""

    timings: Timings
    timeline: Timeline
    progress: Progress
    metrics: RunMetrics

    def unit(self, role: Role, result: Any, seconds: float) -> None:
        """A unit is done, and kept its engine busy for so many seconds."""
        tokens = sum(answer.num_tokens for answer in result) if role == "writer" else 0
        dollars = sum(answer.dollars for answer in result) if role == "writer" else 0.0
        self.timings.add(role, seconds, len(result), tokens, dollars)
        self.timeline.add(role, len(result), seconds)
        if role in ("writer", "renderer"):
            self.progress.advance(len(result))


class Pools:
    """Makes the pools of one session, some of which may take turns on a GPU, and says what they run."""

    def __init__(
        self,
        config: Config,
        engines: EnginesConfig,
        session: Session,
        kept: KeptUnits,
        told: Told,
    ) -> None:
        self._config, self._engines, self._session = config, engines, session
        self._kept, self._told = kept, told
        self._turns = Turns(session.events, config.runtime.unit_timeout_s)

    def make(self, role: Role, actors: list[Any], others: Callable[[], int]) -> Pool:
        """A pool of these actors; `others`: see `Growth`."""
        engine, in_turn = self._engines.of(role), self._takes_turns(role)
        numbers = itertools.count(len(actors))
        pool = Pool(
            role,
            actors,
            self._turns.of(role) if in_turn else self._session.events,
            self._limits,
            partial(self._told.unit, role),
            # Outside the resources that it shares there is no GPU to take turns on.
            grow=None if in_turn else lambda: self._session.another_engine(role, next(numbers)),
            most=engine.max_replicas or engine.replicas,
            kept=partial(self._kept.place, role) if role in KEPT_ROLES else None,
            meter=self._told.metrics.of(role, engine.num_gpus),
            others=others,
            takes_turns=in_turn,
        )
        if in_turn:
            self._turns.join(pool)
        return pool

    def model(self, role: Role, pool: Pool) -> dict[str, str]:
        """What a role runs. Raises EngineFailed."""
        return self._turns.identity(pool) if self._takes_turns(role) else pool.identity()

    def _takes_turns(self, role: Role) -> bool:
        return role in self._config.runtime.take_turns

    @property
    def _limits(self) -> Limits:
        runtime = self._config.runtime
        return Limits(
            slots=runtime.in_flight_per_actor,
            attempts=runtime.unit_attempts,
            crashes=runtime.unit_crashes,
            unit_timeout_s=runtime.unit_timeout_s,
        )

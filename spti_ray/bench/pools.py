"""Engines in their pools on Ray, as the driver has them, without the rest of a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spti_ray.config import EngineConfig, EnginesConfig, Role, RuntimeConfig
from spti_ray.models.factory import FAKE
from spti_ray.runtime.placement.bundles import Bundle
from spti_ray.runtime.ray.cluster import cluster
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.ray.launch import start_engines, until_ready
from spti_ray.runtime.scheduling.events import Events
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.runtime.scheduling.retries import Limits

LIMITS = Limits(slots=RuntimeConfig().in_flight_per_actor)
"""As in a run."""


def engines_of(settings: dict[Role, EngineConfig]) -> EnginesConfig:
    """These, and for roles that are not used, any."""
    return FAKE.model_copy(update={str(role): engine for role, engine in settings.items()})


@contextmanager
def on_ray(settings: dict[Role, EngineConfig], runtime: RuntimeConfig | None = None) -> Iterator[dict[Role, list[Any]]]:
    """`replicas` actors of each role, all of them ready. Joins or starts Ray as a run does."""
    bundles = tuple(
        Bundle(role, index, engine.num_cpus, engine.num_gpus, engine.accelerators)
        for role, engine in settings.items()
        for index in range(engine.replicas)
    )
    with cluster(runtime or RuntimeConfig(), bundles) as reserved:
        actors = start_engines(reserved, bundles, engines_of(settings), f"bench-{uuid.uuid4().hex[:12]}")
        until_ready(actors)
        yield actors


def pool_of(role: Role, actors: list[Any], events: Events | None = None, limits: Limits = LIMITS, **more: Any) -> Pool:
    """A pool that knows that all its actors are up."""
    events = events or RayEvents()
    pool = Pool(role, actors, events, limits, **more)
    while pool.num_up < len(actors):
        events.wait()
    return pool

"""Starts engines in their pools on Ray, as the driver does, without the rest of a run."""

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
"""The limits of a run's pools."""


def engines_of(settings: dict[Role, EngineConfig]) -> EnginesConfig:
    """These engines, and fake ones for the roles that are not used."""
    return FAKE.model_copy(update={str(role): engine for role, engine in settings.items()})


@contextmanager
def engines_on_ray(
    settings: dict[Role, EngineConfig], runtime: RuntimeConfig | None = None
) -> Iterator[dict[Role, list[Any]]]:
    """Start `replicas` actors of each role, on a Ray that is joined or started as a run does, until all are ready."""
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
    """A pool of these actors, which knows that all of them are up. `more` are further arguments of `Pool`."""
    events = events or RayEvents()
    pool = Pool(role, actors, events, limits, **more)
    while pool.num_up < len(actors):
        events.wait()
    return pool

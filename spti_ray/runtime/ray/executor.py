"""A run's resources, engines, shards and trainer on Ray."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.executor import CaptionShards, Executor, RunMetrics, Session, VotingShards
from spti_ray.runtime.hosting.engine import serving_roles
from spti_ray.runtime.placement.bundles import Bundle, plan
from spti_ray.runtime.ray.caption_actors import start_caption_shards
from spti_ray.runtime.ray.cluster import Reserved, check_start, cluster
from spti_ray.runtime.ray.events import RayEvents
from spti_ray.runtime.ray.gpu_wishes import Wishes
from spti_ray.runtime.ray.launch import another_engine, identity, start_engines, start_shards
from spti_ray.runtime.ray.metrics import Metrics
from spti_ray.runtime.ray.shard_actor import RayVoter
from spti_ray.runtime.ray.trainer_actor import fine_tune
from spti_ray.runtime.voter import Problems

_IMAGE_SHARE = 1 / 3
"""Of the cluster's object stores, that images which wait may take: there are copies too, where they are embedded."""

_MARKS_S = 2.0
"""For so long engines are asked how they started."""

_LOOK_S = 30.0
"""So often it is looked up how large the stores are: a cluster grows."""


class RayExecutor(Executor):
    """Joins a cluster, or starts one on this machine that ends with the driver."""

    name = "Ray"

    def check(self, config: Config) -> None:
        check_start(config.runtime)

    @contextmanager
    def open(
        self,
        config: Config,
        engines: EnginesConfig,
        run_id: str,
        attempt: int,
        epsilon: float,
        roles: tuple[Role, ...],
    ) -> Iterator[Session]:
        bundles = plan(config, engines, roles)
        # An attempt that is not counted by the ledger has a name of its own all the same.
        name = f"{run_id}-{attempt}-{secrets.token_hex(2)}"
        with cluster(config.runtime, bundles, f"spti-{run_id}") as reserved, Metrics(run_id, epsilon) as metrics:
            session = RaySession(config, bundles, reserved, name, run_id, metrics, roles)
            try:
                yield session
            finally:
                session.end()


class RaySession(Session):
    """Actors in a run's placement groups."""

    def __init__(
        self,
        config: Config,
        bundles: tuple[Bundle, ...],
        reserved: Reserved,
        name: str,
        run_id: str,
        metrics: RunMetrics,
        roles: tuple[Role, ...],
    ) -> None:
        """`name` begins the names of all its actors, and must be new in the cluster."""
        self.metrics = metrics
        self.events = RayEvents()
        self.serving = serving_roles(config)
        self._config, self._bundles, self._reserved, self._name = config, bundles, reserved, name
        self._roles = roles
        self._wishes = Wishes()
        self._image_bytes, self._look_at = 0, 0.0
        self._metrics_of = run_id if config.runtime.engine_metrics else ""
        self._shards: list[Any] = []
        self._started: list[Any] = []
        """Engines, some of which may be given back by now."""
        self._engines_of: dict[Role, list[Any]] = {}

    def train(self, config: Config, run: RunDir, engines: EnginesConfig, on_look: Callable[[], None]) -> EnginesConfig:
        return fine_tune(config, run, self._reserved, self._bundles, engines, on_look)

    def start_engines(self, engines: EnginesConfig) -> dict[Role, list[Any]]:
        self._engines = engines
        self._actors = start_engines(self._reserved, self._bundles, engines, self._name, self._metrics_of, self.serving)
        self._started += [actor for of_role in self._actors.values() for actor in of_role]
        self._engines_of = {role: list(actors) for role, actors in self._actors.items()}
        # Those of a role that starts from none come when they are needed.
        return {role: self._actors.get(role, []) for role in self._roles}

    def identities(self, loading: Callable[[Role], None]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for role in self._roles:
            if role in self.serving:
                loading(role)
                found[role] = identity(role, self._actors[role])
        return found

    def start_shards(
        self, shards: VotingShards | CaptionShards | None, report_problems: Callable[[Problems], None]
    ) -> RayVoter:
        where = self._reserved, self._bundles
        if isinstance(shards, CaptionShards):
            self._shards = start_caption_shards(*where, shards.config, self._engines, self._name, shards.images)
        elif shards is not None:
            self._shards = start_shards(
                *where,
                shards.config,
                self._engines,
                self._name,
                (shards.views, shards.key, shards.listing, shards.survey),
            )
        # Pools go on, and may grow, while the driver waits for shards.
        return RayVoter(self._shards, report_problems, self.events.poll)

    def another_engine(self, role: Role, number: int) -> Any:
        actor = another_engine(role, number, self._name, self._config, self._engines, self._wishes, self._metrics_of)
        self._started.append(actor)
        self._engines_of.setdefault(role, []).append(actor)
        return actor

    def start_marks(self) -> list[tuple[Role, Sequence[tuple[str, float]]]]:
        asked: dict[Any, Role] = {
            actor.start_marks.remote(): role for role, actors in self._engines_of.items() for actor in actors
        }
        answered = ray.wait(list(asked), num_returns=len(asked), timeout=_MARKS_S)[0] if asked else []
        found: list[tuple[Role, Sequence[tuple[str, float]]]] = []
        for reference in answered:
            with suppress(RayError):  # it is gone
                found.append((asked[reference], ray.get(reference)))
        return found

    def image_bytes(self) -> int:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_S
            self._image_bytes = int(ray.cluster_resources().get("object_store_memory", 0.0) * _IMAGE_SHARE)
        return self._image_bytes

    def give_back(self, role: str) -> None:
        if role == "shard":
            self.end_shards()
        self._reserved.give_back(role)

    def end_shards(self) -> None:
        """End them before the resources go that they are in: Ray would start them again, and ask for room for ever."""
        _end(self._shards)
        self._shards = []

    def end(self) -> None:
        """End all actors: a driver that is one itself outlives its session, and what it has started would too."""
        self.end_shards()
        _end(self._started)


def _end(actors: list[Any]) -> None:
    if ray.is_initialized():
        for actor in actors:
            ray.kill(actor)

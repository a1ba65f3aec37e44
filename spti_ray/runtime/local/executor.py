"""A run's engines, shards and trainer without Ray; see the package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from spti_ray.config import Config, EngineConfig, EnginesConfig, Role
from spti_ray.config.loading import ConfigError
from spti_ray.config.method_traits import has_shards, uses_private_data
from spti_ray.finetuning.public_interface import FinetuneFailed
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.executor import CaptionShards, Executor, NoRunMetrics, Session, VotingShards
from spti_ray.runtime.hosting.engine import serving_roles
from spti_ray.runtime.hosting.trainer import trained
from spti_ray.runtime.local.engine import Engine, PrivateEngine
from spti_ray.runtime.local.engines import Engines, engines_of_run
from spti_ray.runtime.local.events import LocalEvents
from spti_ray.runtime.local.process import ProcessEnded
from spti_ray.runtime.local.voter import LocalVoter
from spti_ray.runtime.scheduling.engine_info import EngineFailed
from spti_ray.runtime.voter import Problems

_LOOK_EVERY_S = 10.0

_IMAGE_BYTES = 1 << 29
"""Images wait in the driver's own memory."""


class LocalExecutor(Executor):
    """One engine of each role that the run needs, whatever `replicas` says, and nothing is reserved."""

    name = "local processes"
    note = "executor: local, for tests and debugging; not for real runs"

    def check(self, config: Config) -> None:
        """Raises ConfigError where a cluster is named to be joined."""
        if os.environ.get("RAY_ADDRESS", "") not in ("", "local"):
            raise ConfigError("runtime.executor: is local, which joins no cluster, but RAY_ADDRESS is set; unset one")

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
        with engines_of_run() as started:
            yield LocalSession(config, engines, started, roles)


class LocalSession(Session):
    """Engines and shards of one attempt at a run."""

    def __init__(self, config: Config, engines: EnginesConfig, started: Engines, roles: tuple[Role, ...]) -> None:
        self.metrics = NoRunMetrics()
        self.events = self._events = LocalEvents(started.let_go)
        self.serving = serving_roles(config)
        self._config, self._engines, self._started, self._roles = config, engines, started, roles
        self._by_role: dict[Role, Engine] = {}
        private: dict[Role, EngineConfig] = {role: engines.of(role) for role in roles if role in self.serving}
        if uses_private_data(config) and not private:
            private = {role: engines.of(role) for role in roles}  # for the trainer, in the renderer's environment
        started.prepare({role: engines.of(role) for role in roles if role not in self.serving}, private)

    def train(self, config: Config, run: RunDir, engines: EnginesConfig, on_look: Callable[[], None]) -> EnginesConfig:
        def train() -> None:
            training = self._started.process.ask("train", config, str(run.path.resolve()), run.run_id)
            while True:
                try:
                    training.exception(_LOOK_EVERY_S)
                    break
                except TimeoutError:
                    on_look()
            try:
                training.result()
            except ProcessEnded as error:
                raise FinetuneFailed(str(error)) from None

        return trained(run, engines, train)

    def start_engines(self, engines: EnginesConfig) -> dict[Role, list[Engine]]:
        self._engines = engines
        self._by_role = {}
        for role in self._roles:
            config = engines.of(role)
            if role in self.serving:
                self._by_role[role] = self._started.private(role, config, self.serving)
            else:
                self._by_role[role] = self._started.here(role, config)
        return {role: [engine] for role, engine in self._by_role.items()}

    def identities(self, loading: Callable[[Role], None]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for role, engine in self._by_role.items():
            if role in self.serving:
                loading(role)
                if error := engine.ready().exception():
                    raise EngineFailed(f"the {role} could not be started: {error}") from None
                found[role] = engine.ready().result()
        return found

    def start_shards(
        self, shards: VotingShards | CaptionShards | None, report_problems: Callable[[Problems], None]
    ) -> LocalVoter:
        if shards is None:
            return LocalVoter(None, 0, self._events, report_problems, [])
        process, count = self._started.process, shards.config.runtime.shards
        keys = {role: engine.key for role, engine in self._by_role.items() if isinstance(engine, PrivateEngine)}
        starts: list[Future[None]] = [
            process.ask("start_shard", number, shards, keys, self._engines) for number in range(count)
        ]
        return LocalVoter(process, count, self._events, report_problems, starts)

    def another_engine(self, role: Role, number: int) -> None:
        """There is one of each."""

    def start_marks(self) -> list[tuple[Role, Sequence[tuple[str, float]]]]:
        return [(role, marks) for role, engine in self._by_role.items() if (marks := engine.start_marks())]

    def image_bytes(self) -> int:
        return _IMAGE_BYTES

    def give_back(self, role: str) -> None:
        if role == "shard" and has_shards(self._config):
            self._started.process.ask("forget_shards")

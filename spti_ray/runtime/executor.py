"""Where a run's engines, shards and trainer are: what the driver asks of Ray, or of a local run's own processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from spti_ray.config import Config, EnginesConfig, Role
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.scheduling.events import Events
from spti_ray.runtime.scheduling.meter import NO_METRICS, Meter
from spti_ray.runtime.voter import Problems, ShardVoter


@dataclass(frozen=True)
class VotingShards:
    """Shards that vote. `config` names the data as workers find them; `views`, `key` and `listing`: see `Shard`.

    `survey`: a folder into which they write what their records are, for the owner; empty: they do not.
    """

    config: Config
    views: str
    key: str
    listing: str
    survey: str = ""


@dataclass(frozen=True)
class CaptionShards:
    """Shards whose captions are rendered into the folder `images`: NOT private."""

    config: Config
    images: str


class RunMetrics(Protocol):
    """What a run tells of itself while it runs, see `runtime.ray.metrics`."""

    def of(self, role: Role, num_gpus: float) -> Meter:
        """The meter of a role's pool, whose actors have `num_gpus` each."""
        ...

    def generation(self, number: int) -> None:
        """The generation in hand, counted from 0."""
        ...

    def spent(self, epsilon: float) -> None:
        """The odometer: public, as the ledger is."""
        ...


class NoRunMetrics:
    """Tells nobody."""

    def of(self, role: Role, num_gpus: float) -> Meter:
        return NO_METRICS

    def generation(self, number: int) -> None:
        pass

    def spent(self, epsilon: float) -> None:
        pass


class Session(ABC):
    """The resources of one attempt at a run, and what is started in them. They are given back when it closes."""

    metrics: RunMetrics
    events: Events
    """Those of all pools. Engines are the handles that it knows."""
    serving: tuple[Role, ...]
    """The roles whose engines shards may call."""

    @abstractmethod
    def train(self, config: Config, run: RunDir, engines: EnginesConfig, on_look: Callable[[], None]) -> EnginesConfig:
        """Fine-tune the renderer's model, or go on with that, before engines start; returns them with its result.

        Args:
            config: The run's, which names the data as workers find them.
            run: Its folder `training` gets the model.
            engines: Those of the run.
            on_look: Called every few seconds.

        Raises:
            FinetuneFailed, UnfitPipeline, DataError, ConfigError, DiskFull: one line that shows nothing private.
        """

    @abstractmethod
    def start_engines(self, engines: EnginesConfig) -> Mapping[Role, list[Any]]:
        """Start the engines of the session's roles; they load their models at the same time."""

    @abstractmethod
    def identities(self, loading: Callable[[Role], None]) -> dict[str, dict[str, str]]:
        """What the roles run that serve shards; waits for their models. Raises EngineFailed in one line.

        `loading` is told of each role before it is waited for.
        """

    @abstractmethod
    def start_shards(
        self, shards: VotingShards | CaptionShards | None, report_problems: Callable[[Problems], None]
    ) -> ShardVoter:
        """Start the shards, if there are any, and their work; `report_problems`: see `ShardVoter`."""

    @abstractmethod
    def another_engine(self, role: Role, number: int) -> Any | None:
        """Start one more engine of a role, the `number`-th from 0; None where there can be no more."""

    @abstractmethod
    def start_marks(self) -> list[tuple[Role, Sequence[tuple[str, float]]]]:
        """How each engine started that answers at once: its role, and what it did when (`EngineHost.start_marks`)."""

    @abstractmethod
    def image_bytes(self) -> int:
        """How many bytes of images may wait between renderers, embedders and whoever writes them. May change."""

    @abstractmethod
    def give_back(self, role: str) -> None:
        """Free what the actors of a role (or `shard`) held; none of them is needed any more."""


class Executor(ABC):
    """Starts sessions."""

    name: str
    """As it is told and timed: what starts and stops."""
    note: str = ""
    """What a user must know of a run on it; empty if there is nothing."""

    @abstractmethod
    def check(self, config: Config) -> None:
        """Refuse, cheaply and before anything is recorded, what can't be started or joined."""

    @abstractmethod
    def open(
        self,
        config: Config,
        engines: EnginesConfig,
        run_id: str,
        attempt: int,
        epsilon: float,
        roles: tuple[Role, ...],
    ) -> AbstractContextManager[Session]:
        """Reserve a run's resources, given back at the end, come what may.

        Args:
            config: The run's.
            engines: Those that it asks for.
            roles: Of the engines that are started, in that order.
            run_id: For metrics and names.
            attempt: At the run, from 1.
            epsilon: What it is planned for; 0 without a gate.
        """

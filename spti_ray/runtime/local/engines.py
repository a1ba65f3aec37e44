"""The engines of a local run: public ones in the driver's process, those that serve shards in the private one.

`kept_engines` lets several runs of one process have the same ones.
"""

from __future__ import annotations

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from spti_ray.config import EngineConfig, Role
from spti_ray.models.factory import KINDS, engine_environment, hosted
from spti_ray.models.protocols import EngineDead
from spti_ray.runtime.hosting.engine import AsyncEngineHost, PublicCallFailed, RendererHost, start_failure
from spti_ray.runtime.local.private_process import CallFailed
from spti_ray.runtime.local.process import Process, ProcessEnded
from spti_ray.runtime.scheduling.events import Finished, Lost, Outcome, Raised

_ENDS_WITHIN_S = 10.0

_OFFLINE = "HF_HUB_OFFLINE"
_START_BY = {"VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn"}
"""A copy of the driver, which has threads and the ledger open, would be no process to start a model in."""


class Engine(ABC):
    """One engine, as a handle for `LocalEvents`. All that it returns comes later."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config

    @property
    def is_fit_to_keep(self) -> bool:
        """Whether another run may have it: of a known kind, which remembers nothing of what it did, and well."""
        ready = self.ready()
        return self._config.kind in KINDS and not (ready.done() and ready.exception())

    @property
    def waits_for_others(self) -> bool:
        """Whether its process may be at work on something else than its batches."""
        return False

    @abstractmethod
    def ready(self) -> Future[dict[str, str]]:
        """What it runs, once its model is loaded."""

    @abstractmethod
    def run(self, arguments: tuple[Any, ...]) -> Future[tuple[Any, float]]:
        """The result of one batch, and the seconds that it took."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds. It can't be used afterwards."""


def outcome_of(future: Future[Any]) -> Outcome:
    """What became of a call, by the rules of `Raised`: a line of an engine with public input alone, else a type."""
    error = future.exception()
    if error is None:
        result = future.result()
        return Finished(*result) if isinstance(result, tuple) else Finished(result, 0.0)
    if isinstance(error, PublicCallFailed | CallFailed):
        return Raised(str(error))
    if isinstance(error, ProcessEnded):
        return Lost(gone=str(error))
    if isinstance(error, EngineDead):
        return Lost(gone="it died; the same command goes on with the run")
    return Raised(type(error).__name__)


class _WriterHere(AsyncEngineHost):
    def _leave(self) -> None:
        """This process is the driver's and stays: `EngineDead` goes on to who called."""


class _RendererHere(RendererHost):
    def _leave(self) -> None:
        """As `_WriterHere._leave`."""


class EngineHere(Engine):
    """An engine in this process, with a thread and an event loop of its own. Public input only."""

    def __init__(self, role: Role, config: EngineConfig) -> None:
        super().__init__(config)
        self._role: Role = role
        self._dead = False
        self._host: AsyncEngineHost | RendererHost | None = None
        self._loop = asyncio.new_event_loop()
        self._started: Future[dict[str, str]] = Future()
        self._thread = threading.Thread(target=self._serve, name=f"{role} engine", daemon=True)
        self._thread.start()

    def ready(self) -> Future[dict[str, str]]:
        return self._started

    @property
    def is_fit_to_keep(self) -> bool:
        return super().is_fit_to_keep and not self._dead

    def run(self, arguments: tuple[Any, ...]) -> Future[tuple[Any, float]]:
        return asyncio.run_coroutine_threadsafe(self._run(arguments), self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ENDS_WITHIN_S)

    def _serve(self) -> None:
        try:
            host = _WriterHere if self._role == "writer" else _RendererHere
            self._host = host(self._role, self._config)
            identity = self._host.identity()
        except BaseException as error:  # noqa: BLE001 an engine may raise anything
            self._started.set_exception(CallFailed(start_failure(error)))
            return
        self._started.set_result(identity)
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._host.close()
        self._loop.close()

    async def _run(self, arguments: tuple[Any, ...]) -> tuple[Any, float]:
        assert self._host is not None
        try:
            return await self._host.run(*arguments)
        except EngineDead:
            self._dead = True
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            # They would end the loop; an actor's process they would end too.
            failure = EngineDead(type(error).__name__)
        self._dead = True
        raise failure


class PrivateEngine(Engine):
    """An engine in the private process."""

    def __init__(self, process: Process, role: Role, config: EngineConfig, serving: tuple[Role, ...]) -> None:
        super().__init__(config)
        self.key = f"{role} {config.model_dump_json()} {' '.join(serving)}"
        self._process = process
        self._loaded: Future[dict[str, str]] = process.ask("load", self.key, role, config, serving)

    @property
    def waits_for_others(self) -> bool:
        return self._process.works_for_shards

    def ready(self) -> Future[dict[str, str]]:
        return self._loaded

    def run(self, arguments: tuple[Any, ...]) -> Future[tuple[Any, float]]:
        return self._process.ask("run", self.key, arguments)

    def close(self) -> None:
        self._process.ask("drop", self.key)


class Engines:
    """Engines and the private process, of one run or of several."""

    def __init__(self, kept: bool = False) -> None:
        """`kept`: a known kind of engine stays, for whoever asks for one of the same settings, until `close`."""
        self._kept = kept
        self._here: dict[str, EngineHere] = {}
        self._private: list[PrivateEngine] = []
        self._process: Process | None = None
        self._before: dict[str, str | None] = {}
        """What variables of this process were before a run set them."""

    def prepare(self, public: Mapping[Role, EngineConfig], private: Mapping[Role, EngineConfig]) -> None:
        """For one run: set what public engines' libraries read as they are imported, and start the private process.

        An environment is a process's: what the engines of one disagree on (threads, whether models may be downloaded)
        is taken as the most that one of them needs. What is loaded already in this process stays as it is.
        """
        if private:
            self._start_process(dict(os.environ) | _environment(private))
        for name, value in (_environment(public) | _START_BY).items() if public else ():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def _start_process(self, environment: dict[str, str]) -> None:
        """Unless there is one with these variables."""
        environment.pop("PYTEST_CURRENT_TEST", None)
        if self._process is not None and not (self._process.is_alive and self._process.environment == environment):
            self._process.close()
            self._process = None
        if self._process is None:
            self._process = Process(environment)

    @property
    def process(self) -> Process:
        """The private process, once there is one."""
        assert self._process is not None
        return self._process

    def here(self, role: Role, config: EngineConfig) -> EngineHere:
        """An engine in this process."""
        config = hosted(config, takes_turns=False, tells=False)
        key = f"{role} {config.model_dump_json()}"
        if key not in self._here:
            self._here[key] = EngineHere(role, config)
        return self._here[key]

    def private(self, role: Role, config: EngineConfig, serving: tuple[Role, ...]) -> PrivateEngine:
        """An engine in the private process."""
        engine = PrivateEngine(self.process, role, config, serving)
        self._private.append(engine)
        return engine

    def let_go(self, engine: Engine) -> None:
        """A run needs it no more."""
        if not (self._kept and engine.is_fit_to_keep):
            self._here = {key: other for key, other in self._here.items() if other is not engine}
            engine.close()

    def end_run(self) -> None:
        """Let go of all that is private; unless they are kept, of the engines too."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}
        if not self._kept:
            self.close()
            return
        for engine in [*self._here.values(), *self._private]:
            self.let_go(engine)
        self._private = []
        if self._process is not None:
            self._process.ask("forget_shards")

    def close(self) -> None:
        """End all of it."""
        for engine in self._here.values():
            engine.close()
        self._here = {}
        if self._process is not None:
            self._process.close()
            self._process = None


def _environment(engines: Mapping[Role, EngineConfig]) -> dict[str, str]:
    """Of one process that has all of these engines."""
    each = [engine_environment(role, config) for role, config in engines.items()]
    together: dict[str, str] = {}
    for variables in each:
        together |= variables
    together["OMP_NUM_THREADS"] = str(max(int(variables["OMP_NUM_THREADS"]) for variables in each))
    if not all(_OFFLINE in variables for variables in each):
        together.pop(_OFFLINE, None)
    return together


_kept: Engines | None = None


@contextmanager
def kept_engines() -> Iterator[Engines]:
    """Within, local runs of this process leave their engines and the private process to the next run; for tests.

    An engine is taken again by a run that asks for one with the same role, settings and environment. Shards never are.
    """
    global _kept
    before, _kept = _kept, Engines(kept=True)
    try:
        yield _kept
    finally:
        _kept.close()
        _kept = before


@contextmanager
def engines_of_run() -> Iterator[Engines]:
    """Engines for one run: the kept ones, or such as end with it."""
    engines = _kept or Engines()
    try:
        yield engines
    finally:
        engines.end_run()

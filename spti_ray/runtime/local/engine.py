"""One engine of a local run, as the driver has it: in a thread of its own process, or in the private process."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from spti_ray.config import EngineConfig, Role
from spti_ray.models.factory import KINDS
from spti_ray.models.output_tail import OutputTail
from spti_ray.models.protocols import EngineDead
from spti_ray.runtime.hosting.engine import AsyncEngineHost, RendererHost
from spti_ray.runtime.hosting.failures import PublicCallFailed, start_failure
from spti_ray.runtime.hosting.threads import ENGINE_THREAD
from spti_ray.runtime.local.private_process import CallFailed
from spti_ray.runtime.local.process import Process, ProcessEnded
from spti_ray.runtime.scheduling.events import Finished, Lost, Outcome, Raised

_ENDS_WITHIN_S = 10.0
_MARKS_S = 2.0

_LOADING = threading.Lock()
"""One engine of this process is loaded at a time: two threads that import the same model libraries may wait for each
other's modules."""


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
    def start_marks(self) -> Sequence[tuple[str, float]]:
        """How it started (`EngineHost.start_marks`); empty where it does not answer at once."""

    @abstractmethod
    def give_up(self) -> None:
        """It hangs: nobody waits for it any more, or asks it again."""

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
        self._thread = threading.Thread(target=self._serve, name=f"{ENGINE_THREAD}{role}", daemon=True)
        self._thread.start()

    def ready(self) -> Future[dict[str, str]]:
        return self._started

    @property
    def is_fit_to_keep(self) -> bool:
        return super().is_fit_to_keep and not self._dead

    def run(self, arguments: tuple[Any, ...]) -> Future[tuple[Any, float]]:
        return asyncio.run_coroutine_threadsafe(self._run(arguments), self._loop)

    def start_marks(self) -> Sequence[tuple[str, float]]:
        return self._host.start_marks() if self._host is not None else ()

    def give_up(self) -> None:
        self._dead = True  # a thread can't be ended

    def close(self) -> None:
        with suppress(RuntimeError):  # it never began
            self._loop.call_soon_threadsafe(self._loop.stop)
        if not self._started.done():
            # It can't be told to stop, and lets go of its model once that is there (see `leaving`).
            OutputTail.abandon()
            return
        self._thread.join(0.0 if self._dead else _ENDS_WITHIN_S)

    def _serve(self) -> None:
        try:
            host = _WriterHere if self._role == "writer" else _RendererHere
            with _LOADING:
                self._host = host(self._role, self._config)
            identity = self._host.identity()
        except BaseException as error:  # noqa: BLE001 an engine may raise anything
            self._loop.close()
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

    def start_marks(self) -> Sequence[tuple[str, float]]:
        try:
            return self._process.ask("start_marks", self.key).result(_MARKS_S)
        except Exception:  # noqa: BLE001 it is at work, or gone: the timeline does without
            return ()

    def give_up(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.ask("drop", self.key)

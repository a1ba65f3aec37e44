"""What stands around an engine in the process that it runs in: an actor of Ray's, or one that a local run started.

Public images travel as PNG: the renderer's host makes them, and reads those that it varies; the image embedder's reads
them.

Shards call engines on private images and captions, and by `run_private` only. A host whose engine never serves a
shard, such as the writer's or (but see UNPROTECTED_ROLES) the renderer's, has no such method. Only such a one may take
turns on its GPU with others: it starts without an engine, loads it when it is woken, and from then on sleeps and wakes
as it is told.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import numpy as np
import psutil

from spti_ray.config import Config, EngineConfig, Role
from spti_ray.config.method_traits import shards_caption
from spti_ray.models.answers import caption_text
from spti_ray.models.engine_process import threads_beside
from spti_ray.models.factory import EMBED_PREPARED, ENGINE_METHODS, PREPARE, build_engine
from spti_ray.models.out_of_memory import retry_in_smaller_batches
from spti_ray.models.pixels import from_png, to_png
from spti_ray.models.protocols import EngineDead
from spti_ray.models.render_calls import render_call
from spti_ray.private.output_suppression import suppress_crash_output, suppressed_output
from spti_ray.runtime.hosting.failures import PrivateCallFailed, PublicCallFailed
from spti_ray.runtime.hosting.start_order import import_in_line, step_back
from spti_ray.runtime.hosting.threads import ENGINE_THREAD
from spti_ray.types import RenderBatch

PRIVATE_ROLES: tuple[Role, ...] = ("image_embedder", "captioner", "text_embedder")
"""Roles whose engines shards may call where there is privacy to keep."""

UNPROTECTED_ROLES: tuple[Role, ...] = ("captioner", "renderer")
"""Those of `method: captions`, which is not private: its renderer reads captions, for shards alone."""

_DEAD_ENGINE_EXIT_CODE = 41


def serving_roles(config: Config) -> tuple[Role, ...]:
    """The roles whose engines shards may call in a run."""
    return UNPROTECTED_ROLES if shards_caption(config) else PRIVATE_ROLES


StartMarks = tuple[tuple[str, float], ...]
"""What has happened on the way to an engine, and when, in seconds since the epoch. The first is the process's start."""


class EngineHost:
    """What all hosts share: the engine, and leaving the process when it is dead, so that a new one can be started."""

    def __init__(self, role: Role, config: EngineConfig, takes_turns: bool = False) -> None:
        """One that `takes_turns` must be woken first: the GPU may be another's now, after a crash as at the start."""
        self._role: Role = role
        self._config = config
        self._marks = [("process", psutil.Process().create_time()), ("its actor", time.time())]
        self._engine: Any = None if takes_turns else self._built()
        self._awake = not takes_turns

    def _built(self, takes_turns: bool = False) -> Any:
        importing = partial(import_in_line, self._role)
        engine = build_engine(self._role, self._config, takes_turns, lambda: self._mark("import"), importing)
        self._mark("load")
        return engine

    def _mark(self, what: str) -> None:
        self._marks.append((what, time.time()))

    def start_marks(self) -> StartMarks:
        """How long it took to have the engine, for the timeline. Nothing private is seen before it is there."""
        return tuple(self._marks)

    def identity(self) -> dict[str, str]:
        """What runs here."""
        return self._must_be_awake().identity()

    def _must_be_awake(self) -> Any:
        if not self._awake:
            raise RuntimeError(f"the {self._role} sleeps: it is not its turn")
        return self._engine

    def close(self) -> None:
        """Free what the engine holds, in a process that goes on without it."""
        close = getattr(self._engine, "close", None)
        self._engine, self._awake = None, False
        if close is not None:
            close()

    def _leave(self) -> None:
        # A vLLM engine that died can't be revived, and its process may hang on exit.
        os._exit(_DEAD_ENGINE_EXIT_CODE)


class RendererHost(EngineHost):
    """Hosts a renderer: public input only. While a batch's images are made into PNG, by several threads, the next batch
    is rendered."""

    def __init__(self, role: Role, config: EngineConfig, takes_turns: bool = False) -> None:
        # The engine keeps to one thread: each thread that calls OpenMP would have a team of its own.
        self._rendering = ThreadPoolExecutor(1, f"{ENGINE_THREAD}{role}")
        self._encoding = ThreadPoolExecutor(threads_beside(config))
        self._rendering.submit(super().__init__, role, config, takes_turns).result()

    def close(self) -> None:
        super().close()
        self._rendering.shutdown(wait=False)
        self._encoding.shutdown(wait=False)

    async def ready(self) -> dict[str, str]:
        await asyncio.sleep(0)
        return self.identity()

    async def wake(self) -> dict[str, str]:
        """Take the GPU, and load the engine if it is not there yet; returns its identity."""
        return await asyncio.get_running_loop().run_in_executor(self._rendering, self._wake)

    async def sleep(self) -> None:
        """Free the GPU; nothing if it is not in use. No batch is at work then."""
        await asyncio.get_running_loop().run_in_executor(self._rendering, self._sleep)

    def _wake(self) -> dict[str, str]:
        if self._engine is None:
            self._engine = self._built(takes_turns=True)
        elif not self._awake:
            self._engine.wake()
        self._awake = True
        return self._engine.identity()

    def _sleep(self) -> None:
        if self._awake:
            self._engine.sleep()
            self._awake = False

    async def run(self, batch: RenderBatch) -> tuple[Any, float]:
        """PNG images of one batch, and the seconds that the engine was busy with it."""
        loop = asyncio.get_running_loop()
        images, seconds = await loop.run_in_executor(self._rendering, self._render, batch)
        pngs = (loop.run_in_executor(self._encoding, _png, image, batch.png_level) for image in images)
        return list(await asyncio.gather(*pngs)), seconds

    def _render(self, batch: RenderBatch) -> tuple[Any, float]:
        start = time.perf_counter()
        try:
            method, arguments = render_call(batch)
            images = retry_in_smaller_batches(self._must_be_awake(), method, *arguments)
        except EngineDead:
            self._leave()
            raise
        except Exception as error:
            raise PublicCallFailed.of(error) from error
        return images, time.perf_counter() - start


def _png(image: Any, level: int) -> bytes | None:
    return None if image is None else to_png(image, level)


CALLS_AT_A_TIME = 3
"""Calls of an image embedder's host that may be under way: one has the engine, and those that come next are decoded and
prepared meanwhile."""


class PrivateEngineHost(EngineHost):
    """Hosts an engine that serves the public side by `run` and shards by `run_private`.

    That of an image embedder takes several calls at a time. Their images are decoded, resized and so on beside each
    other; the engine itself has one call at a time, and one thread (see `RendererHost`).
    """

    def __init__(self, role: Role, config: EngineConfig, serving: tuple[Role, ...] = PRIVATE_ROLES) -> None:
        """`serving`: PRIVATE_ROLES, or UNPROTECTED_ROLES in a run that says that it is not private."""
        if role not in serving:
            raise ValueError(f"the {role} must not see private input")
        suppress_crash_output()
        self._turn = self._beside = None
        if role != "image_embedder":
            super().__init__(role, config)
            return
        # On CPU it would take the cores from the writer, with private images that nobody waits for yet.
        begin = None if config.num_gpus else partial(step_back, role)
        self._turn = ThreadPoolExecutor(1, f"{ENGINE_THREAD}{role}", initializer=begin)
        self._beside = ThreadPoolExecutor(threads_beside(config))
        self._turn.submit(super().__init__, role, config).result()

    def close(self) -> None:
        super().close()
        for threads in (self._turn, self._beside):
            if threads is not None:
                threads.shutdown(wait=False)

    def ready(self) -> dict[str, str]:
        return self.identity()

    def run(self, items: list[Any]) -> tuple[Any, float]:
        """The engine's method on one public batch; returns its result and the seconds that the engine was busy."""
        try:
            given = items if self._beside is None else list(self._beside.map(from_png, items))
            method, arguments = self._prepared(given)
            return self._in_turn(retry_in_smaller_batches, self._engine, method, *arguments)
        except EngineDead:
            self._leave()
            raise

    def run_private(self, *arguments: Any) -> tuple[Any, float]:
        """As `run`, on private input: nothing is printed or logged, and an error says its type alone.

        Ray would keep the text of an exception for everyone who may look at the cluster.

        Raises:
            PrivateCallFailed: whatever the engine raised, except that a dead engine ends the process.
        """
        with suppressed_output():
            try:
                method, prepared = self._prepared(*arguments)
                # No `retry_in_smaller_batches`: a record that exhausts memory must not change others' batches.
                result, seconds = self._in_turn(getattr(self._engine, method), *prepared)
                result = self._plain(result)
            except EngineDead:
                self._leave()
                failure = EngineDead.__name__
            except BaseException as error:  # noqa: BLE001 SystemExit too: Ray publishes its text as the exit code
                failure = type(error).__name__
            else:
                return result, seconds
        # Raised here, after the handler: inside, the engine's exception would become its __context__.
        raise PrivateCallFailed(f"the {self._role} failed on private input ({failure})")

    def _prepared(self, *arguments: Any) -> tuple[str, tuple[Any, ...]]:
        """What is left to be called, after all that needs no turn: a method of the engine's, and its arguments."""
        prepare = getattr(self._engine, PREPARE, None) if self._turn is not None else None
        if prepare is None:
            return ENGINE_METHODS[self._role], arguments
        return EMBED_PREPARED, (prepare(*arguments),)

    def _in_turn(self, call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
        """Call when it is this call's turn; returns the result and the seconds that it took."""

        def timed() -> tuple[Any, float]:
            start = time.perf_counter()
            result = call(*arguments)
            return result, time.perf_counter() - start

        if self._turn is None:
            return timed()
        return self._turn.submit(copy_context().run, timed).result()

    def _plain(self, result: Any) -> Any:
        """The result as plain values: Ray's own error about one that it can't send would quote it."""
        if self._role == "captioner":
            # A refusal or reasoning is no caption, also not of an engine of the user's own.
            return [caption_text(str(text)) for text in result]
        if self._role == "renderer":
            return [np.asarray(image, dtype=np.uint8) for image in result]
        return np.asarray(result, dtype=np.float32)


class AsyncEngineHost(EngineHost):
    """Hosts an asynchronous engine, so that the batches in flight share its continuous batch. Public input only."""

    async def ready(self) -> dict[str, str]:
        await asyncio.sleep(0)
        return self.identity()

    async def run(self, requests: list[Any]) -> tuple[Any, float]:
        start = time.perf_counter()
        try:
            result = await getattr(self._must_be_awake(), ENGINE_METHODS[self._role])(requests)
        except EngineDead:
            self._leave()
            raise
        except Exception as error:
            raise PublicCallFailed.of(error) from error
        return result, time.perf_counter() - start

    async def wake(self) -> dict[str, str]:
        """As `RendererHost.wake`."""
        if self._engine is None:
            self._engine = self._built(takes_turns=True)
        elif not self._awake:
            await self._engine.wake()
        self._awake = True
        return self._engine.identity()

    async def sleep(self) -> None:
        """As `RendererHost.sleep`. Requests that are under way would be aborted."""
        if self._awake:
            await self._engine.sleep()
            self._awake = False

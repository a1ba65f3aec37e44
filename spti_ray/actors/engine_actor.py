"""The actors around engines: a few lines each. All engine code is plain and runs without Ray."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import ray

from spti_ray.config import EngineConfig, Role
from spti_ray.models.factory import METHODS, build
from spti_ray.models.protocols import EngineDead

_DEAD_ENGINE_EXIT_CODE = 41


class _Hosted:
    """What both actors share: the engine, and leaving the process when it is dead, so that Ray starts a new one."""

    def __init__(self, role: Role, config: EngineConfig) -> None:
        self._method = METHODS[role]
        self._engine = build(role, config)

    def _leave(self) -> None:
        # A vLLM engine that died can't be revived, and its process may hang on exit.
        os._exit(_DEAD_ENGINE_EXIT_CODE)


@ray.remote
class EngineActor(_Hosted):
    """Hosts a synchronous engine."""

    def ready(self) -> dict[str, str]:
        return self._engine.identity()

    def run(self, *arguments: Any) -> tuple[Any, float]:
        """The engine's method on one unit; returns its result and the busy seconds."""
        start = time.perf_counter()
        try:
            result = getattr(self._engine, self._method)(*arguments)
        except EngineDead:
            self._leave()
            raise
        return result, time.perf_counter() - start


@ray.remote
class AsyncEngineActor(_Hosted):
    """Hosts an asynchronous engine, so that the units in flight share its continuous batch."""

    async def ready(self) -> dict[str, str]:
        await asyncio.sleep(0)
        return self._engine.identity()

    async def run(self, *arguments: Any) -> tuple[Any, float]:
        start = time.perf_counter()
        try:
            result = await getattr(self._engine, self._method)(*arguments)
        except EngineDead:
            self._leave()
            raise
        return result, time.perf_counter() - start

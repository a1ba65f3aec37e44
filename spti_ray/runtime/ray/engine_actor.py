"""The actors around engines: their hosts, on Ray, which starts a new process for one whose engine died."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from spti_ray.config import EngineConfig, Role
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES, AsyncEngineHost, PrivateEngineHost, RendererHost
from spti_ray.runtime.ray.engine_metrics import EngineMetrics
from spti_ray.runtime.ray.images import ByteArray, put_together, taken_apart
from spti_ray.types import RenderBatch


@ray.remote
class RendererActor(RendererHost):
    """Hosts a renderer. Public input only."""

    @ray.method(num_returns=2)
    async def run_apart(self, batch: RenderBatch) -> tuple[ByteArray, tuple[tuple[int, ...], float]]:
        """As `run`, in two objects: the PNGs one after the other, and what the driver is told of them.

        The second has the length of each, -1 of one that is missing, and the seconds.
        """
        pngs, seconds = await self.run(batch)
        together, lengths = put_together(pngs)
        return together, (lengths, seconds)


@ray.remote
class PrivateEngineActor(PrivateEngineHost):
    """Hosts an engine that serves the public side by `run` and shards by `run_private`."""

    def run_images(self, places: bytes, *parts: bytes | ByteArray) -> tuple[Any, float]:
        """As `run`, on public images in the form of `images.to_send`; Ray has fetched the parts."""
        return self.run(taken_apart(places, parts))


@ray.remote
class AsyncEngineActor(AsyncEngineHost):
    """Hosts an asynchronous engine. Public input only.

    Publishes the engine's own figures, if it has any, as `metrics_of` that run.
    """

    def __init__(self, role: Role, config: EngineConfig, takes_turns: bool = False, metrics_of: str = "") -> None:
        if role in PRIVATE_ROLES:
            raise ValueError(f"the {role} sees private input, and its figures would tell of it")
        super().__init__(role, config, takes_turns)
        self._metrics_of = metrics_of
        self._publishing: asyncio.Task[None] | None = None

    async def run(self, requests: list[Any]) -> tuple[Any, float]:
        self._publish()
        return await super().run(requests)

    def _publish(self) -> None:
        """From the first batch on, when there is a loop to do it in."""
        if self._metrics_of and self._publishing is None and hasattr(self._engine, "stats"):
            self._publishing = asyncio.create_task(EngineMetrics(self._metrics_of, self._engine).repeat())

"""The actors around engines: their hosts, on Ray, which starts a new process for one whose engine died."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import islice
from typing import Any

import ray

from spti_ray.config import EngineConfig, Role
from spti_ray.models.gpu_share import hold_torch_to_share
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES, AsyncEngineHost, PrivateEngineHost, RendererHost
from spti_ray.runtime.hosting.failures import PublicCallFailed
from spti_ray.runtime.ray.engine_metrics import EngineMetrics
from spti_ray.runtime.ray.images import ByteArray, put_together, taken_apart
from spti_ray.types import RenderBatch

Tried = tuple[bool, Any]
"""Of one batch of a call: whether it went well; then its result and the seconds, else what may be told of the error."""


async def _tried(run: Awaitable[tuple[Any, float]]) -> Tried:
    """A batch of an engine with public input alone."""
    try:
        return True, await run
    except PublicCallFailed as error:
        return False, str(error)
    except Exception as error:  # noqa: BLE001 the batch's own
        return False, type(error).__name__


@ray.remote
class RendererActor(RendererHost):
    """Hosts a renderer. Public input only."""

    def __init__(self, role: Role, config: EngineConfig, takes_turns: bool = False) -> None:
        hold_torch_to_share(config, takes_turns)
        super().__init__(role, config, takes_turns)

    @ray.method(num_returns=2)
    async def run_apart(self, batch: RenderBatch) -> tuple[ByteArray, tuple[tuple[int, ...], float]]:
        """As `run`, in two objects: the PNGs one after the other, and what the driver is told of them.

        The second has the length of each, -1 of one that is missing, and the seconds.
        """
        pngs, seconds = await self.run(batch)
        together, lengths = put_together(pngs)
        return together, (lengths, seconds)

    async def run_several_apart(self, batches: list[RenderBatch]) -> tuple[Any, ...]:
        """As `run_apart` of each: an object for the images of each batch, and one with what is told of all."""
        each = await asyncio.gather(*(_tried(self.run(batch)) for batch in batches))
        images: list[ByteArray] = []
        told: list[Tried] = []
        for went_well, what in each:
            together, lengths = put_together(what[0] if went_well else ())
            images.append(together)
            told.append((True, (lengths, what[1])) if went_well else (False, what))
        return *images, told


@ray.remote
class PrivateEngineActor(PrivateEngineHost):
    """Hosts an engine that serves the public side by `run` and shards by `run_private`."""

    def __init__(self, role: Role, config: EngineConfig, serving: tuple[Role, ...] = PRIVATE_ROLES) -> None:
        hold_torch_to_share(config)
        super().__init__(role, config, serving)

    def run_images(self, places: bytes, *parts: bytes | ByteArray) -> tuple[Any, float]:
        """As `run`, on public images in the form of `images.to_send`; Ray has fetched the parts."""
        return self.run(taken_apart(places, parts))

    def run_several(self, batches: list[list[Any]]) -> list[Tried]:
        """As `run` of each."""
        return [self._try(batch) for batch in batches]

    def run_several_images(self, lengths: list[int], places: bytes, *parts: bytes | ByteArray) -> list[Tried]:
        """As `run_images` of several batches, of so many images each."""
        images = iter(taken_apart(places, parts))
        return self.run_several([list(islice(images, length)) for length in lengths])

    def _try(self, batch: list[Any]) -> Tried:
        try:
            return True, self.run(batch)
        except Exception as error:  # noqa: BLE001 the batch's own; its text may quote private input
            return False, type(error).__name__


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

    async def run_several(self, batches: list[list[Any]]) -> list[Tried]:
        """As `run` of each, at the same time."""
        return list(await asyncio.gather(*(_tried(self.run(batch)) for batch in batches)))

    def _publish(self) -> None:
        """From the first batch on, when there is a loop to do it in."""
        if self._metrics_of and self._publishing is None and hasattr(self._engine, "stats"):
            self._publishing = asyncio.create_task(EngineMetrics(self._metrics_of, self._engine).repeat())

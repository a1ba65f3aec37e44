"""SIMULATED engines that only take time: what is measured with them is everything around an engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from spti_ray.config import EngineConfig

KIND = "spti_ray.bench.latency:LatencyModel"
WRITER_KIND = "spti_ray.bench.latency:LatencyWriter"


class LatencyModel:
    """Every call takes `options.seconds`, and returns its first argument."""

    def __init__(self, config: EngineConfig) -> None:
        self._seconds = float(config.options["seconds"])

    def identity(self) -> dict[str, str]:
        return {"kind": "latency", "model": "SIMULATED", "revision": "1"}

    def render(self, texts: Sequence[Any], seeds: Sequence[int] = ()) -> list[Any]:
        time.sleep(self._seconds)
        return list(texts)

    embed_images = render


class LatencyWriter(LatencyModel):
    """Serves one call at a time, as an engine does whose time is full."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._turn = asyncio.Lock()

    async def write(self, requests: Sequence[Any]) -> list[Any]:
        async with self._turn:
            await asyncio.sleep(self._seconds)
        return list(requests)


def latency(seconds: float, role: str = "renderer") -> EngineConfig:
    """Settings of such an engine."""
    return EngineConfig(
        kind=WRITER_KIND if role == "writer" else KIND,
        model="SIMULATED",
        batch_size=1,
        num_cpus=0.01,
        threads=1,
        options={"seconds": seconds},
    )

"""SIMULATED engines that only take time, to measure everything around an engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from spti_ray.config import EngineConfig
from spti_ray.types import ImageArray

KIND = "spti_ray.bench.latency:LatencyModel"
WRITER_KIND = "spti_ray.bench.latency:LatencyWriter"


class LatencyModel:
    """Every call takes `options.seconds` and returns its first argument. The items are numbers; images encode them."""

    def __init__(self, config: EngineConfig) -> None:
        self._seconds = float(config.options["seconds"])

    def identity(self) -> dict[str, str]:
        return {"kind": "latency", "model": "SIMULATED", "revision": "1"}

    def render(self, texts: Sequence[Any], seeds: Sequence[int] = ()) -> list[ImageArray]:
        return [_image_of(number) for number in self.embed_texts(texts)]

    def embed_images(self, images: Sequence[ImageArray]) -> list[int]:
        return self.embed_texts([int.from_bytes(image.tobytes(), "big") for image in images])

    def embed_texts(self, texts: Sequence[Any]) -> list[Any]:
        time.sleep(self._seconds)
        return list(texts)


class LatencyWriter(LatencyModel):
    """Serves one call at a time, as an engine does that is fully busy."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._turn = asyncio.Lock()

    async def write(self, requests: Sequence[Any]) -> list[Any]:
        async with self._turn:
            await asyncio.sleep(self._seconds)
        return list(requests)


def _image_of(number: int) -> ImageArray:
    """The smallest image that encodes the number."""
    return np.frombuffer(number.to_bytes(3, "big"), np.uint8).reshape(1, 1, 3)


def latency_engine(seconds: float, role: str = "text_embedder") -> EngineConfig:
    """The settings of an engine of this kind for a role; `seconds` that each call takes."""
    return EngineConfig(
        kind=WRITER_KIND if role == "writer" else KIND,
        model="SIMULATED",
        batch_size=1,
        num_cpus=0.01,
        threads=1,
        options={"seconds": seconds},
    )

"""`public.engines.Engines` on Ray pools: streams of items are cut into units of fixed size and put back together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from spti_ray.actors.pool import Pool
from spti_ray.config import EnginesConfig, Role
from spti_ray.public.engines import RenderJob
from spti_ray.types import Completions, FloatArray, ImageArray, WriteRequest


class RayEngines:
    """The composition of a unit depends on the stream alone, never on timing, so a retried unit reproduces."""

    def __init__(self, pools: dict[Role, Pool], engines: EnginesConfig) -> None:
        self._pools = pools
        self._engines = engines

    def write(self, requests: Iterable[WriteRequest]) -> Iterator[Completions | None]:
        return self._stream("writer", ((unit,) for unit in self._units("writer", requests)))

    def render(self, jobs: Iterable[RenderJob]) -> Iterator[ImageArray | None]:
        units = self._units("renderer", jobs)
        return self._stream("renderer", (([job.text for job in unit], [job.seed for job in unit]) for unit in units))

    def embed_images(self, images: Iterable[ImageArray]) -> Iterator[FloatArray | None]:
        return self._stream("image_embedder", ((unit,) for unit in self._units("image_embedder", images)))

    def embed_texts(self, texts: Iterable[str]) -> Iterator[FloatArray | None]:
        return self._stream("text_embedder", ((unit,) for unit in self._units("text_embedder", texts)))

    def _units(self, role: Role, items: Iterable[Any]) -> Iterator[list[Any]]:
        iterator = iter(items)
        while unit := list(islice(iterator, self._engines.of(role).batch_size)):
            yield unit

    def _stream(self, role: Role, units: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        lengths: list[int] = []

        def counted() -> Iterator[tuple[Any, ...]]:
            for arguments in units:
                lengths.append(len(arguments[0]))
                yield arguments

        for number, results in enumerate(self._pools[role].map(counted())):
            if results is None:
                yield from (None for _ in range(lengths[number]))
            else:
                yield from results

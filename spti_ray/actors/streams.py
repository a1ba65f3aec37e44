"""`public.engines.Engines` on Ray pools: streams of items are cut into units of fixed size and put back together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from spti_ray.actors.pool import Pool
from spti_ray.config import EnginesConfig, Role
from spti_ray.public.engines import RenderJob
from spti_ray.types import Completions, FloatArray, WriteRequest


class RayEngines:
    """The composition of a unit depends on the stream alone, never on timing, so a retried unit reproduces."""

    def __init__(self, pools: dict[Role, Pool], engines: EnginesConfig) -> None:
        self._pools = pools
        self._engines = engines

    def write(self, requests: Iterable[WriteRequest]) -> Iterator[Completions | None]:
        return self._stream("writer", requests)

    def render(self, jobs: Iterable[RenderJob]) -> Iterator[bytes | None]:
        return self._stream("renderer", jobs, lambda unit: ([job.text for job in unit], [job.seed for job in unit]))

    def embed_images(self, images: Iterable[bytes]) -> Iterator[FloatArray | None]:
        return self._stream("image_embedder", images)

    def embed_texts(self, texts: Iterable[str]) -> Iterator[FloatArray | None]:
        return self._stream("text_embedder", texts)

    def _stream(
        self,
        role: Role,
        items: Iterable[Any],
        arguments_of: Callable[[list[Any]], tuple[Any, ...]] = lambda unit: (unit,),
    ) -> Iterator[Any]:
        size = self._engines.of(role).batch_size
        lengths: list[int] = []

        def units() -> Iterator[tuple[Any, ...]]:
            iterator = iter(items)
            while unit := list(islice(iterator, size)):
                lengths.append(len(unit))
                yield arguments_of(unit)

        total = -(-len(items) // size) if isinstance(items, Sized) else None
        for number, results in enumerate(self._pools[role].map(units(), total)):
            if results is None:
                yield from (None for _ in range(lengths[number]))
            else:
                yield from results

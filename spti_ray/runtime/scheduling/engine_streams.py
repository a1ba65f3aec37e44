"""`public.engines.Engines` on Ray pools: streams of items are cut into batches of fixed size and put back together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from spti_ray.config import EnginesConfig, Role
from spti_ray.public.engines import RenderJob
from spti_ray.public.render_jobs import batches_of, render_batch
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.types import Completions, FloatArray, WriteRequest


def _in_batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch


class RayEngines:
    """The composition of a batch depends on the stream alone, never on timing, so a retried batch reproduces."""

    def __init__(self, pools: dict[Role, Pool], engines: EnginesConfig) -> None:
        self._pools = pools
        self._engines = engines

    def write(self, requests: Iterable[WriteRequest]) -> Iterator[Completions | None]:
        for answer in self._stream("writer", requests):
            # The writer sees public prompts alone: why a batch was given up may be told.
            yield Completions((), problem=self._pools["writer"].problem) if answer is None else answer

    def render(self, jobs: Iterable[RenderJob]) -> Iterator[bytes | None]:
        return self._stream("renderer", jobs, batches_of, render_batch)

    def embed_images(self, images: Iterable[bytes]) -> Iterator[FloatArray | None]:
        return self._stream("image_embedder", images)

    def embed_texts(self, texts: Iterable[str]) -> Iterator[FloatArray | None]:
        return self._stream("text_embedder", texts)

    def _stream(
        self,
        role: Role,
        items: Iterable[Any],
        cut: Callable[[Iterator[Any], int], Iterator[list[Any]]] = _in_batches,
        packed: Callable[[list[Any]], Any] = lambda items: items,
    ) -> Iterator[Any]:
        size = self._engines.of(role).batch_size
        lengths: list[int] = []

        def batches() -> Iterator[tuple[Any, ...]]:
            for batch in cut(iter(items), size):
                lengths.append(len(batch))
                yield (packed(batch),)

        # A little less than there will be where batches are of several kinds: it only bounds how a pool grows.
        total = -(-len(items) // size) if isinstance(items, Sized) else None
        for number, results in enumerate(self._pools[role].map(batches(), total)):
            if results is None:
                yield from (None for _ in range(lengths[number]))
            else:
                yield from results

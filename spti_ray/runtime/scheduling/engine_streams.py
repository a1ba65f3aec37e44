"""`public.engines.Engines` on pools: streams of items are cut into batches, and results put back together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from spti_ray.config import EnginesConfig, Role
from spti_ray.public.counted import Counted, counted, made_of, one_for_each, to_come
from spti_ray.public.engines import RenderJob
from spti_ray.public.render_jobs import batches_of, render_batch
from spti_ray.runtime.scheduling.pool import Pool
from spti_ray.types import Completions, FloatArray, Image, ImageBatch, WriteRequest


def _cut(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch


class PooledEngines:
    """The engines of a run, by a pool of actors for each role. Results keep the order of what was put in.

    What is in a batch depends on the stream alone, never on timing: a batch that is run again gives what it gave.
    """

    def __init__(self, pools: dict[Role, Pool], engines: EnginesConfig) -> None:
        """`engines`: whose `batch_size` says how many items a batch of each role has."""
        self._pools = pools
        self._engines = engines

    def write(self, requests: Iterable[WriteRequest]) -> Iterator[Completions | None]:
        answers = self._stream("writer", requests)
        # The writer sees public prompts alone: why a batch was given up may be shown.
        return made_of(answers, (self._why() if answer is None else answer for answer in answers))

    def render(self, jobs: Iterable[RenderJob]) -> Iterator[Image | None]:
        return self._stream("renderer", jobs, batches_of, render_batch)

    def embed_images(self, images: Iterable[Image]) -> Iterator[FloatArray | None]:
        return self._stream("image_embedder", images, packed=ImageBatch)

    def embed_texts(self, texts: Iterable[str]) -> Iterator[FloatArray | None]:
        return self._stream("text_embedder", texts)

    def _why(self) -> Completions:
        return Completions((), problem=self._pools["writer"].problem)

    def _stream(
        self,
        role: Role,
        items: Iterable[Any],
        cut: Callable[[Iterator[Any], int], Iterator[list[Any]]] = _cut,
        packed: Callable[[list[Any]], Any] = lambda batch: batch,
    ) -> Iterator[Any]:
        """`cut` makes lists of at most so many items; `packed` makes of a list what an actor is sent."""
        size, source = self._engines.of(role).batch_size, counted(items)
        lengths: list[int] = []

        def batches() -> Iterator[tuple[Any, ...]]:
            for batch in cut(source, size):
                lengths.append(len(batch))
                yield (packed(batch),)

        def batches_to_come() -> int | None:
            # A little less than there will be where batches are of several kinds: it only bounds how a pool grows.
            left = to_come(source)
            return None if left is None else -(-left // size)

        def results() -> Iterator[Any]:
            for number, batch in enumerate(self._pools[role].map(Counted(batches(), batches_to_come))):
                if batch is None:
                    yield from (None for _ in range(lengths[number]))
                else:
                    yield from batch

        return one_for_each(source, results())
